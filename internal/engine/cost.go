package engine

import (
	"math"
	"time"

	"motley/internal/oip"
)

// Work is what one stage does for one item, in multiply-adds: exact counts
// from the graph.
type Work struct {
	Trunk int64
	Ramp  int64 // what evaluating the stage's ramp adds; 0 for the last stage, whose exit is part of the trunk
}

func (m *builtin) Work() []Work {
	count := func(steps []step) (sum int64) {
		for _, s := range steps {
			sum += s.work()
		}
		return sum
	}
	work := make([]Work, len(m.program.stages))
	for k := range work {
		work[k] = Work{Trunk: count(m.program.stages[k].trunk), Ramp: count(m.program.stages[k].ramp)}
	}
	return work
}

// Timing is what the stages take for a batch of so many items; Trunk and Ramp
// are by stage, as in Work.
type Timing struct {
	Batch       int
	Trunk, Ramp []time.Duration
}

func (m *builtin) Timings() ([]Timing, error) { return m.timings() }

// Bounds of Measure: in time, and in runs for where the clock stands still.
const (
	measureFor  = 400 * time.Millisecond
	measureRuns = 8
)

// Measure times the stages of m for batches of 1, 2, 4, … up to its largest,
// on made-up items: of several runs in turns each part's shortest time, since
// whatever else the machine does only adds. It takes 0.4 s; the largest batches
// are left out where they do not fit in.
//
// On a busy machine long runs are never undisturbed, and short ones are. So no
// batch's trunk is taken to cost more per item than the cheapest's: ramps look
// dearer then, if anything, and a budget for them holds.
func Measure(m Staged) ([]Timing, error) {
	begun := time.Now()
	var timings []Timing
	for n := 1; n <= m.MaxBatch() && 2*time.Since(begun) < measureFor; n *= 2 {
		t := Timing{Batch: n, Trunk: make([]time.Duration, m.Stages()), Ramp: make([]time.Duration, m.Stages())}
		if err := t.run(m); err != nil {
			return nil, err
		}
		timings = append(timings, t)
	}
	first := time.Since(begun)
	for turn := 1; turn < measureRuns && time.Since(begun)+first < measureFor; turn++ {
		for i := range timings {
			if err := timings[i].run(m); err != nil {
				return nil, err
			}
		}
	}
	steady(timings)
	return timings, nil
}

// steady scales the trunks down to the cheapest batch's time per item.
func steady(timings []Timing) {
	perItem := func(t *Timing) float64 {
		var sum time.Duration
		for _, d := range t.Trunk {
			sum += d
		}
		return float64(sum) / float64(t.Batch)
	}
	best := math.Inf(1)
	for i := range timings {
		best = min(best, perItem(&timings[i]))
	}
	for i := range timings {
		t := &timings[i]
		scale := best / perItem(t)
		for k := range t.Trunk {
			t.Trunk[k] = time.Duration(float64(t.Trunk[k]) * scale)
		}
	}
}

// run times one more batch.
func (t *Timing) run(m Staged) error {
	meta := &m.Metadata().Inputs[0]
	in := oip.Tensor{Name: meta.Name, Datatype: meta.Datatype, Shape: append([]int64{int64(t.Batch)}, meta.Shape[1:]...)}
	size := meta.Datatype.Size()
	for _, d := range in.Shape {
		size *= int(d)
	}
	in.Data = make([]byte, size)
	e, err := m.Begin([]oip.Tensor{in})
	if err != nil {
		return err
	}
	defer e.Close()
	for k := range e.model.program.stages {
		s := &e.model.program.stages[k]
		at := time.Now()
		e.run(s.trunk)
		trunk := time.Since(at)
		at = time.Now()
		e.run(s.ramp)
		ramp := time.Since(at)
		if t.Trunk[k] == 0 || trunk < t.Trunk[k] {
			t.Trunk[k] = trunk
		}
		if t.Ramp[k] == 0 || ramp < t.Ramp[k] {
			t.Ramp[k] = ramp
		}
	}
	return nil
}
