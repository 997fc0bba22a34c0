package profiler

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// conclude makes of the runs what can be made of them; err is how they ended.
func (m *measurer) conclude(err error) {
	r := &m.result
	switch {
	case errors.Is(err, errBudget):
		r.Ended = err.Error()
	case err != nil:
		r.Ended, r.Err = err.Error(), err
	}
	if m.sick() {
		// What a failing worker takes is no measure of its type.
		return
	}
	for _, s := range m.all {
		if len(s.took) > 0 {
			r.all = append(r.all, s)
		}
	}
	r.summarise()
	if len(r.Sizes) == 0 && r.Err == nil {
		r.Err = errors.New("the budget was spent before anything was measured")
	}
	if c, ok := findChange(m.relative()); ok {
		m.note("the worker changed: from run %d of %d on, batches took ×%.2f of what they took before; what was measured mixes both, so measure again",
			c.Run+1, c.Of, c.Factor)
	}
}

// summarise fills in what follows from all.
func (r *Result) summarise() {
	r.Sizes = nil
	for _, s := range r.all {
		r.Sizes = append(r.Sizes, summarise(s.batch, s.took))
	}
	r.conclude()
}

// conclude fills in what follows from the sizes.
func (r *Result) conclude() {
	if len(r.Sizes) == 0 {
		return
	}
	r.Law, r.HeldOut = fit(r.Sizes), nil
	if r.Origin == Measured || !slices.ContainsFunc(r.Sizes, Size.unknown) {
		r.HeldOut = checks(r.Sizes)
	}
	if !r.affine() && padded(r.Sizes) {
		r.Notes = append(r.Notes, "batches are padded to the next power of two, it seems: a batch between two takes as long as the larger")
	}
}

// relative is each run over the median of its size, in the order of the runs.
func (m *measurer) relative() []float64 {
	usual := map[int]float64{}
	for _, s := range m.all {
		if len(s.took) > 0 {
			usual[s.batch] = medianOf(s.took)
		}
	}
	var all []float64
	for _, h := range m.history {
		if u := usual[h.batch]; u > 0 {
			all = append(all, h.took/u)
		}
	}
	return all
}

// Pooled puts together what several workers of one type say of one model, which
// is what its profile is to be of. There must be one.
func Pooled(results []Result) Result {
	p := Result{Target: results[0].Target}
	if len(results) == 1 {
		return results[0]
	}
	slow, fast := 0, 0
	for i, r := range results {
		p.Largest = max(p.Largest, r.Largest)
		for _, s := range r.all {
			p.add(s)
		}
		if len(r.all) > 0 && len(results[slow].all) > 0 {
			if r.pace() > results[slow].pace() {
				slow = i
			}
			if r.pace() < results[fast].pace() {
				fast = i
			}
		}
	}
	p.summarise()
	if len(results[slow].all) > 0 && len(results[fast].all) > 0 {
		if factor := results[slow].pace() / results[fast].pace(); factor > 1.1 {
			p.Notes = append(p.Notes, fmt.Sprintf("%s takes ×%.2f of what %s takes, though both are %s",
				results[slow].Target.Worker, factor, results[fast].Target.Worker, p.Target.Type))
		}
	}
	return p
}

// pace is the mean of the smallest size, which is in every result.
func (r *Result) pace() float64 { return float64(r.Sizes[0].Mean) }

func (r *Result) add(s series) {
	for i := range r.all {
		if r.all[i].batch == s.batch {
			r.all[i].took = append(append([]float64(nil), r.all[i].took...), s.took...)
			return
		}
	}
	at := 0
	for at < len(r.all) && r.all[at].batch < s.batch {
		at++
	}
	r.all = append(r.all[:at:at], append([]series{s}, r.all[at:]...)...)
}

// busyShare is how much of the time the worker was at work.
func (r *Result) busyShare() float64 {
	return float64(r.Busy) / float64(max(r.Took, time.Nanosecond))
}
