// Package earlyexit decides which rows of a batch are answered by an
// intermediate exit: by a ramp of a network, or by a small model before a large
// one. It promises a share of answers that agree with the full model's, holds
// that share by control and reports what of it is proven.
//
// It is pure: chance comes in as an argument, rows come one after the other,
// and a controller belongs to one goroutine at a time.
package earlyexit
