package bench

import (
	"context"
	"math"

	"motley/internal/load"
)

// searchStart is the rate a search begins with unless told, in requests/s, and
// searchStep the ratio between neighbouring rates at which it ends. Where it was
// told, which is near what is carried, steps grow from searchNear to searchFar.
const (
	searchStart = 64
	searchStep  = 1.02
	searchNear  = 1.05
	searchFar   = 2.0
)

// search finds for every target, in every round, the highest rate at which the
// percentile of all requests is answered well within QoS: by growing steps, then by
// halving the interval in logarithms. A rate that fails by little is tried a
// second time.
func (r *loadRun) search(ctx context.Context, start float64) error {
	step := searchNear
	if start == 0 {
		start, step = searchStart, searchFar
	}
	for round := range r.Rounds {
		for target := range r.plan.Targets {
			if err := r.searchOne(ctx, target, round, start, step); err != nil || ctx.Err() != nil {
				return err
			}
		}
	}
	return nil
}

func (r *loadRun) searchOne(ctx context.Context, target, round int, start, step float64) error {
	best := 0.0
	var at []*loadCell
	try := func(rate float64) (bool, error) {
		for range 2 {
			before := len(r.cells)
			t, err := r.phase(ctx, load.Phase{Target: target, Rate: rate, Round: round}, r.hopeless(rate))
			if err != nil {
				return false, err
			}
			cells := r.cells[before:]
			r.cells = r.cells[:before:before]
			share := t.Share()
			if ctx.Err() != nil {
				return false, nil
			}
			if share >= r.Percentile/100 {
				best, at = rate, cells
				return true, nil
			}
			if share < 1-2*(1-r.Percentile/100) {
				break
			}
		}
		return false, nil
	}
	b := bracket{high: math.Inf(1), step: step}
	for rate, more := start, true; more && ctx.Err() == nil; rate, more = b.next() {
		ok, err := try(rate)
		if err != nil {
			return err
		}
		b.note(rate, ok)
	}
	for _, c := range at {
		c.allowable = best
	}
	if at == nil {
		at = []*loadCell{{target: target, model: -1, round: round + 1, tally: r.plan.NewTally(r.QoS)}}
	}
	r.cells = append(r.cells, at...)
	return nil
}

// hopeless tells that so many have missed QoS that the phase cannot be met any
// more.
func (r *loadRun) hopeless(rate float64) func(*load.Tally) bool {
	expected := float64(r.Requests)
	if r.Requests == 0 {
		expected = rate * r.Duration.Seconds()
	}
	most := mostMissed(expected, r.Percentile)
	return func(t *load.Tally) bool { return float64(t.Scheduled-t.Good) > most }
}

// mostMissed is after how many misses, of so many requests, a phase of a search
// ends: three times what is allowed, so that its share tells that it failed by
// far.
func mostMissed(expected, percentile float64) float64 {
	return max(20, 3*(1-percentile/100)*expected)
}

// bracket is where the rate lies that a search is after: low carried, high did
// not.
type bracket struct {
	low, high float64
	step      float64 // to the next rate, while one of them is not known; grows to searchFar
}

func (b *bracket) note(rate float64, carried bool) {
	if carried {
		b.low = rate
	} else {
		b.high = rate
	}
}

// next is the rate to try; false: the search is over.
func (b *bracket) next() (float64, bool) {
	step := b.step
	if b.low == 0 || math.IsInf(b.high, 1) {
		b.step = min(step*step, searchFar)
	}
	switch {
	case math.IsInf(b.high, 1):
		return step * b.low, b.low < 1e6
	case b.low == 0:
		return b.high / step, b.high > 0.1
	}
	return math.Sqrt(b.low * b.high), b.high/b.low > searchStep
}
