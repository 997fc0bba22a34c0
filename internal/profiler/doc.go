// Package profiler measures how long a worker takes for batches of a model, by
// the number of items: which sizes to run, and in what order, how often, when
// enough is known, and what to make of the runs.
//
// The decisions and the statistics (plan.go, law.go, stats.go, change.go) are
// pure functions; measure.go carries them out on a backend by the clock.
package profiler
