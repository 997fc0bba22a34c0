package profiler

import (
	"time"

	"motley/internal/pool"
)

// Origin says where the latencies of a Result come from.
type Origin uint8

// The origins.
const (
	Measured  Origin = iota // batches were run, and timed here
	Passive                 // a server's own statistics of the batches that others sent
	Learned                 // a router's estimates, learned from the batches that it served
	Estimated               // a prior: computed from the model's cost and the hardware's rates
)

// String names the origin as reports and JSON do.
func (o Origin) String() string {
	switch o {
	case Passive:
		return "passive"
	case Learned:
		return "learned"
	case Estimated:
		return "prior"
	}
	return "measured"
}

// Told is a result that consists of what somebody else knows: points by rising
// batch, and source, for people, says whose they are. Nothing is told of how sure
// the means are, and a P99 of 0 is unknown.
func Told(model, instanceType string, origin Origin, source string, points []pool.Point) Result {
	r := Result{Target: Target{Model: model, Type: instanceType}, Origin: origin, Source: source}
	for _, pt := range points {
		r.Sizes = append(r.Sizes, Size{Batch: pt.Batch, Count: pt.Count, Mean: pt.Mean, Half: pt.Mean, P99: pt.P99})
	}
	r.conclude()
	return r
}

// of names whose latencies these are, for a plot's legend.
func (r *Result) of() string {
	name := r.Target.Model + " on " + r.Target.Type
	if r.Origin != Measured {
		name += ", " + r.Origin.String()
	}
	return name
}

// unknown reports whether nothing is known of how sure the mean is.
func (s Size) unknown() bool { return s.Count < 2 || s.Half >= s.Mean }

// half is half the interval of the mean in ns, 0 where it is unknown.
func (s Size) half() time.Duration {
	if s.unknown() {
		return 0
	}
	return s.Half
}
