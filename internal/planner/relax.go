package planner

import (
	"errors"
	"math"
	"slices"

	"motley/internal/fluid"
)

// relaxed is the optimum over counts in fractions.
type relaxed struct {
	rate   float64
	perUSD float64   // ∂rate/∂budget
	buy    []float64 // of each offer
	value  []float64 // of an instance of each: no mix carries more than Σ n·value
}

// relax solves the fluid program in which the counts are bought, without Min,
// at batches of so many instances of each type; nil = as many as the budget
// buys or Limit allows, which bounds every mix. OnDemandShare is taken into
// the prices with a multiplier, of which the best is sought: any gives a
// bound.
func (s *solver) relax(sp *space, budget float64, at []float64) (relaxed, error) {
	t := s.e.t
	f := fluid.Problem{
		Share: t.share, Shed: t.shed, Budget: budget,
		Cost:     make([]float64, len(t.classes)*len(sp.offers)),
		Capacity: make([]float64, len(sp.offers)),
		Price:    make([]float64, len(sp.offers)),
	}
	for o, of := range sp.offers {
		n := math.Inf(1)
		if limit := s.p.Types[of.typ].Limit; limit > 0 {
			n = float64(limit)
		}
		f.Capacity[o] = n
		n = min(n, budget/of.price)
		if at != nil {
			n = at[of.typ]
		} else {
			for k, other := range sp.offers {
				if k != o && other.typ == of.typ {
					n = max(n, budget/other.price)
				}
			}
		}
		for i := range t.classes {
			run := &t.runs[t.classes[i].model*t.types+of.typ]
			f.Cost[i*len(sp.offers)+o] = t.cost(i, of.typ, run.perItem[entry(n)]) / of.worth
		}
	}
	var solver fluid.Solver
	share := s.p.OnDemandShare
	solve := func(mu float64) (relaxed, error) {
		for o, of := range sp.offers {
			worth := s.p.Types[of.typ].USDPerHour
			if of.spot {
				f.Price[o] = of.price + mu*share*worth
			} else {
				f.Price[o] = of.price - mu*(1-share)*worth
			}
		}
		sol, err := solver.Solve(&f)
		if errors.Is(err, fluid.ErrStalled) {
			f.Hint = nil
			sol, err = solver.Solve(&f)
		}
		if err != nil {
			return relaxed{}, err
		}
		f.Hint = slices.Clone(sol.Price)
		return relaxed{sol.Rate, sol.Money, slices.Clone(sol.Load), f.Hint}, nil
	}
	best, err := solve(0)
	if share == 0 || err != nil {
		return best, err
	}
	// The bound is convex in the multiplier.
	lo, hi := 0.0, 1.0
	if share < 1 {
		hi = 0.999 / (1 - share) // no price under 0
	} else {
		hi = 1000
	}
	for range 16 {
		a, b := lo+(hi-lo)/3, hi-(hi-lo)/3
		ra, err := solve(a)
		if err != nil {
			return relaxed{}, err
		}
		rb, err := solve(b)
		if err != nil {
			return relaxed{}, err
		}
		if ra.rate <= rb.rate {
			hi = b
			if ra.rate < best.rate {
				best = ra
			}
		} else {
			lo = a
			if rb.rate < best.rate {
				best = rb
			}
		}
	}
	return best, nil
}
