// Package cascade answers requests to one model name by two or more models of
// the pool, small to large: a row is answered by the first whose output is
// sure enough, and by the last, the reference, where none is (Akbari et al.,
// EBJR: Energy-Based Joint Reasoning, BMVC 2021). Whether one is sure enough is
// decided, and the share of answers that agree with the reference's is held, by
// the very controller that lets rows leave a network by its ramps: stage k is
// ramp k.
package cascade
