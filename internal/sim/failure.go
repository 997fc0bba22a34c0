package sim

import (
	"fmt"
	"time"

	"motley/internal/dispatch"
	"motley/internal/mono"
	"motley/internal/pool"
)

// Failing has a share of a worker's executions that start from one instant up to
// another fail with the given fault after the given time, however long they would
// have taken.
func Failing(worker pool.WorkerID, from, to mono.Time, share float64, fault dispatch.Fault, after time.Duration) Disturbance {
	return func(next Serve, s Setting) (Serve, error) {
		if err := checkShare("let a worker fail", share); err != nil {
			return nil, err
		}
		if worker < 0 || int(worker) >= len(s.Workers) || after < 0 {
			return nil, fmt.Errorf("cannot let worker %d of %d fail after %v", worker, len(s.Workers), after)
		}
		return func(e Execution) Outcome {
			o := next(e)
			if e.Worker == worker && e.At >= from && e.At < to && s.Rng.Float64() < share {
				o = Outcome{Took: after, Fault: fault}
			}
			return o
		}, nil
	}
}

// Straggling has a share of all executions, or of a worker's where that is not −1, take
// the given time longer.
func Straggling(worker pool.WorkerID, share float64, longer time.Duration) Disturbance {
	return func(next Serve, s Setting) (Serve, error) {
		if err := checkShare("let executions straggle", share); err != nil {
			return nil, err
		}
		return func(e Execution) Outcome {
			o := next(e)
			if (worker < 0 || e.Worker == worker) && s.Rng.Float64() < share {
				o.Took += longer
			}
			return o
		}, nil
	}
}

// Poison has every n-th arrival make each execution fail that it is a member of, by the
// worker's fault, when that would have ended.
func Poison(n int) Disturbance {
	return func(next Serve, _ Setting) (Serve, error) {
		if n < 1 {
			return nil, fmt.Errorf("cannot poison every %d-th request", n)
		}
		return func(e Execution) Outcome {
			o := next(e)
			for _, i := range e.Members {
				if Poisoned(i, n) {
					o = Outcome{Took: o.Took, Fault: dispatch.WorkerFault}
				}
			}
			return o
		}, nil
	}
}

// Poisoned reports whether Poison has arrival i, by number, be one.
func Poisoned(i, n int) bool { return i%n == n-1 }

func checkShare(what string, share float64) error {
	if !(share >= 0 && share <= 1) { // the negation catches NaN
		return fmt.Errorf("cannot %s: a share of %v", what, share)
	}
	return nil
}
