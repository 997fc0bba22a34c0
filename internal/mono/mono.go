// Package mono is the time of the decision code: nanoseconds since the run
// began, handed in as an argument so that a simulated run and a live one are
// the same computation.
package mono

import (
	"math"
	"time"
)

// Time is an instant, in nanoseconds since the run began. It never runs
// backwards within a run and means nothing outside it.
type Time int64

// Never is later than every instant that a run reaches.
const Never Time = math.MaxInt64

// Add returns t+d, clamped to Never on overflow.
func (t Time) Add(d time.Duration) Time {
	if d > 0 && t > Never-Time(d) {
		return Never
	}
	return t + Time(d)
}

// Sub returns t−u.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// String prints the instant as a duration since the run began.
func (t Time) String() string {
	if t == Never {
		return "never"
	}
	return time.Duration(t).String()
}
