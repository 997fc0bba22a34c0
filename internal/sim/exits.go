package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"motley/internal/dispatch"
	"motley/internal/workload"
)

// Exits says how the rows of a model leave early. A row leaves after a stage, by
// itself and by chance; a request has its answer when the last of its rows that
// run together has left.
type Exits struct {
	Share []float64 // by stage, of the time of a whole run; together 1
	// Leave is by stage the probability that a row leaves after it, together 1.
	// Where there are several they hold in turn, each for Every.
	Leave [][]float64
	Every time.Duration
	// Stop: rows that have left stop (mode compute), so that a batch takes
	//
	//	Σ_s Share_s·T(rows that run stage s),  T(0) = 0,
	//
	// where T is the truth's mean, times what the draw of the whole batch was over
	// its own mean. Otherwise they run on (mode latency).
	Stop bool
	// Hidden: the core is not told how far the rows ran, and learns from what
	// batches take as if all had run to the end.
	Hidden bool
}

func (x *Exits) check() error {
	if len(x.Leave) < 1 || len(x.Leave) > 1 && x.Every <= 0 {
		return fmt.Errorf("exits: %d laws, each for %v: must be one, or each for a positive time", len(x.Leave), x.Every)
	}
	for _, law := range append([][]float64{x.Share}, x.Leave...) {
		sum := 0.0
		for _, v := range law {
			if !(v >= 0) { // the negation catches NaN
				return fmt.Errorf("exits: share or probability %v is negative", v)
			}
			sum += v
		}
		if len(law) < 1 || len(law) != len(x.Share) || math.Abs(sum-1) > 1e-9 {
			return fmt.Errorf("exits: shares %v, probabilities %v: must be as many, and 1 together", x.Share, law)
		}
	}
	return nil
}

// exiting lets rows leave the executions of models with exits; what these would
// have taken as a whole is what next says.
func (r *Runner) exiting(next Serve, seed uint64) Serve {
	any := false
	for i := range r.x.Models {
		any = any || r.x.Models[i].Exits != nil
	}
	if !any {
		return next
	}
	e := &exiting{rng: workload.Stream(seed, "exits")}
	return func(x Execution) Outcome {
		o := next(x)
		if m := r.x.Models[x.Model].Exits; m != nil && o.Fault == 0 {
			e.leave(m, r.x.Truth[x.Model][r.workers[x.Worker].Type], x, &o)
		}
		return o
	}
}

// exiting keeps the buffers of outcomes.
type exiting struct {
	rng    *rand.Rand
	last   []int // by member: the stage that the last of its rows leaves after
	ends   []time.Duration
	early  []Early
	stages []dispatch.Stage
}

// leave draws where the rows of an execution leave, which as a whole takes
// o.Took.
func (e *exiting) leave(m *Exits, truth *Truth, x Execution, o *Outcome) {
	e.last, e.stages = e.last[:0], e.stages[:0]
	for _, share := range m.Share {
		e.stages = append(e.stages, dispatch.Stage{Share: share})
	}
	law := m.Leave[0]
	if len(m.Leave) > 1 {
		law = m.Leave[int(time.Duration(x.At)/m.Every)%len(m.Leave)]
	}
	for _, size := range x.Sizes {
		last := 0
		for range size {
			s := draw(law, e.rng)
			e.stages[s].Rows++
			last = max(last, s)
		}
		e.last = append(e.last, last)
	}
	for s := len(e.stages) - 2; s >= 0; s-- { // from those that leave to those that reach
		e.stages[s].Rows += e.stages[s+1].Rows
	}
	whole, passed := float64(truth.Mean(x.Items)), 0.0
	e.ends = e.ends[:0]
	for _, s := range e.stages {
		switch {
		case !m.Stop:
			passed += s.Share
		case s.Rows > 0:
			passed += s.Share * float64(truth.Mean(s.Rows)) / whole
		}
		e.ends = append(e.ends, scaled(o.Took, passed))
	}
	e.early = e.early[:0]
	for i, s := range e.last {
		if s < len(e.ends)-1 {
			e.early = append(e.early, Early{i, e.ends[s]})
		}
	}
	o.Early = e.early
	if m.Stop {
		o.Took = e.ends[len(e.ends)-1]
		if !m.Hidden {
			o.Stages = e.stages
		}
	}
}

// draw is the stage that a row leaves after.
func draw(law []float64, rng *rand.Rand) int {
	u := rng.Float64()
	for s, p := range law {
		if u -= p; u < 0 {
			return s
		}
	}
	return len(law) - 1
}
