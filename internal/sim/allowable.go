package sim

import (
	"fmt"
	"math"
)

// Allowed is the outcome of a search for the allowable throughput.
type Allowed struct {
	Rate float64     // requests/s; 0 = not even a very low rate holds
	At   Measurement // there, over all seeds
	Runs int         // simulations it took, early ends included
}

// How closely Allowable looks.
const (
	tolerance = 1.005 // the ratio of a rate that fails to one that holds
	widest    = 1.5   // the largest step of the bracket
	lowest    = 1e-5  // of the rate at the start: below it the search gives up
)

// Allowable finds the allowable throughput: the highest rate at which, for
// every model, the share of requests within QoS over all seeds together is at
// least the model's Quantile. start is a rate to begin at; 0 = a guess.
//
// The rate is bracketed, by powers of 1.5 from a guess and by steps that grow
// from 4 % where start is given, and then bisected (in the logarithm) until the
// bracket is within 0.5 %. The share falls with the rate only but
// for noise, so the search then tries 1 and 2 % above its answer and moves up
// where one of them holds. It is deterministic.
func (r *Runner) Allowable(start float64) (Allowed, error) {
	s := search{r: r, step: 1.04}
	if !(start > 0) {
		start, s.step = 0.7*r.Capacity(), widest
	}
	if start == 0 { // no worker meets the QoS at any batch size
		return Allowed{}, nil
	}
	low, high := s.bracket(start, start*lowest)
	if low > 0 {
		low = s.bisect(low, high)
		for step := 1; step <= 2 && s.err == nil; step++ {
			up := low * (1 + 0.01*float64(step))
			if s.holds(up) {
				low, step = s.bisect(up, up*1.01), 0
			}
		}
	}
	if s.err != nil {
		return Allowed{}, fmt.Errorf("cannot find the allowable throughput: %w", s.err)
	}
	return Allowed{Rate: low, At: s.at, Runs: s.runs}, nil
}

// Holds reports whether a rate is allowable, in the sense of Allowable. It ends
// as soon as the answer is certain.
func (r *Runner) Holds(rate float64) (bool, error) {
	s := search{r: r}
	holds := s.holds(rate)
	return holds, s.err
}

// Capacity is a guess at the rate that keeps every worker busy, each at the
// batch in which it is best among those within QoS, in requests/s: where a
// search begins. It is no bound for a pool of several models.
func (r *Runner) Capacity() float64 {
	x := &r.x
	need := 0.0 // Σ over models of share / rate of the whole pool
	previous := 0.0
	for m := range x.Models {
		d := &x.Models[m]
		rate, size := 0.0, d.Sizes.Histogram().Mean()
		for t, truth := range x.Truth[m] {
			if truth == nil {
				continue
			}
			best := 0.0 // items per second
			for _, p := range truth.Points() {
				if p.Mean <= d.Model.QoS {
					best = max(best, float64(p.Batch)/p.Mean.Seconds())
				}
			}
			rate += float64(x.Counts[t]*x.Concurrency) * best / size
		}
		if rate == 0 {
			return 0
		}
		need += (r.shares[m] - previous) / rate
		previous = r.shares[m]
	}
	return 1 / need
}

type search struct {
	r    *Runner
	step float64     // of the bracket, the next
	at   Measurement // at the highest rate that held
	runs int
	err  error
}

// bracket returns a rate that holds (0: none down to least) and one that fails.
func (s *search) bracket(start, least float64) (low, high float64) {
	if s.holds(start) {
		for low, high = start, start*s.stride(); s.err == nil && s.holds(high); high *= s.stride() {
			if low = high; high > 1e8 {
				return low, math.Inf(1)
			}
		}
		return low, high
	}
	for low, high = start/s.stride(), start; s.err == nil && !s.holds(low); low /= s.stride() {
		if high = low; low < least {
			return 0, high
		}
	}
	return low, high
}

// stride is the next step of the bracket.
func (s *search) stride() float64 {
	step := s.step
	s.step = min(step*step, widest)
	return step
}

// bisect returns the highest rate found to hold between one that does and one
// that is taken not to.
func (s *search) bisect(low, high float64) float64 {
	if math.IsInf(high, 1) {
		return low
	}
	for high/low > tolerance && s.err == nil {
		if mid := math.Sqrt(low * high); s.holds(mid) {
			low = mid
		} else {
			high = mid
		}
	}
	return low
}

// holds reports whether every model keeps its QoS at the rate. Seeds are run
// until the answer is certain, or a run is hopeless.
func (s *search) holds(rate float64) bool {
	if s.err != nil {
		return false
	}
	r := s.r
	counted := (r.x.Requests - r.x.Warmup) * len(r.x.Seeds)
	least := 1.0
	for i := range r.x.Models {
		least = min(least, r.x.Models[i].Model.Quantile)
	}
	// More misses than this fail for certain: even if they are all of the model
	// that may miss the most.
	budget := int(math.Floor((1-least)*float64(counted) + 1e-6))
	missed := 0
	var all Measurement
	for i, seed := range r.x.Seeds {
		m, err := r.measure(rate, seed, func(m *Measurement) bool {
			now := m.Requests - m.Within
			return missed+now > budget ||
				r.steady && r.x.Hopeless > 0 && m.Requests >= abortAfter && float64(now) > r.x.Hopeless*float64(m.Requests)
		})
		s.runs++
		if err != nil {
			s.err = err
			return false
		}
		if m.Aborted {
			return false
		}
		missed += m.Requests - m.Within
		all.merge(m, i)
	}
	for i := range all.Models {
		if all.Models[i].Share() < r.x.Models[i].Model.Quantile {
			return false
		}
	}
	if rate > s.at.Rate {
		s.at = all
	}
	return true
}
