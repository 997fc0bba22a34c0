package planner

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

const (
	// maxCovers bounds the visits of an enumeration of covers, maxRanked the
	// mixes that it estimates.
	maxCovers, maxRanked = 100_000, 3000
	// width is by how much more than the cheapest covers may cost that are
	// listed.
	width = 1.08
	// hopeful is what a mix has to reach of the rate, as far as one can tell,
	// to be measured.
	hopeful = 0.99
)

// cheapest looks for the cheapest mix that carries the rate. Mixes that do by
// their estimates, corrected by what others reached of theirs, are measured,
// the cheapest first, until none is left that may carry it and costs less
// than the best so far.
func (s *solver) cheapest() error {
	if s.p.Verify == nil {
		covers, err := s.covers(s.p.Rate)
		if err == nil && len(covers) == 0 {
			err = ErrNotCarried
		}
		return err
	}
	for {
		before := len(s.judge.measured)
		if err := s.approach(); err != nil {
			return err
		}
		if ok, err := s.settle(); ok || err != nil {
			return err
		}
		// Closer looks found too little of all that seemed to carry it.
		if len(s.judge.measured) == before || len(s.judge.measured) >= s.judge.limit() {
			break
		}
	}
	most := 0.0
	for _, v := range s.judge.measured {
		most = max(most, v.goodput)
	}
	return fmt.Errorf("%w: at most %.5g requests/s were measured, of %d mixes", ErrNotCarried, most, len(s.judge.measured))
}

// approach measures the cheapest mixes that may carry the rate, until one
// does and none is left that is cheaper.
func (s *solver) approach() error {
	j := &s.judge
	ease := 1.0 // falls while nothing that may carry the rate is in the list
	for len(j.measured) < j.limit() {
		best := 1.0
		for i, v := range j.measured {
			if r := v.goodput / v.estimate; i == 0 || r > best {
				best = r
			}
		}
		if best == 0 {
			return nil
		}
		covers, err := s.covers(s.p.Rate / (best * ease))
		if err != nil {
			return err
		}
		limit := s.cheapestCarrier()
		var batch []ranked
		hope := 0.0
		for _, c := range covers {
			if j.knows(&c) {
				continue
			}
			h := c.estimate * j.reached(&c) / s.p.Rate
			hope = max(hope, h)
			if h >= hopeful && c.usd < limit-penny {
				batch = append(batch, c)
			}
		}
		if len(batch) == 0 {
			if !math.IsInf(limit, 1) || len(covers) == 0 {
				return nil
			}
			ease *= min(max(hope, 0.5), 0.98)
			continue
		}
		n := min(max(2, j.limit()/5), len(batch), j.limit()-len(j.measured))
		if err := j.measure(batch[:n], false); err != nil {
			return err
		}
	}
	return nil
}

// settle measures the cheapest carriers as finals until one of these is the
// cheapest; ok is false if none is left.
func (s *solver) settle() (ok bool, err error) {
	for {
		carriers := s.carriers()
		if len(carriers) == 0 || carriers[0].goodput < s.p.Rate {
			return false, nil
		}
		if s.p.Finals == 0 || carriers[0].final {
			return true, nil
		}
		var finals []ranked
		for _, v := range carriers {
			if v.goodput >= s.p.Rate && !v.final && len(finals) < s.p.Finals {
				finals = append(finals, v.ranked)
			}
		}
		if err := s.judge.measure(finals, true); err != nil {
			return false, err
		}
	}
}

// knows reports whether the mix was measured.
func (j *judge) knows(r *ranked) bool {
	return slices.ContainsFunc(j.measured, func(v verdict) bool { return slices.Equal(v.counts, r.counts) })
}

// cheapestCarrier is what the cheapest mix costs that was seen to carry the
// rate.
func (s *solver) cheapestCarrier() float64 {
	least := math.Inf(1)
	for _, v := range s.judge.measured {
		if v.goodput >= s.p.Rate {
			least = min(least, v.usd)
		}
	}
	return least
}

// carriers are the mixes to report: those that carry the rate, cheapest
// first, then those that do not.
func (s *solver) carriers() []verdict {
	if s.p.Verify == nil {
		var all []verdict
		order := slices.Clone(s.mixes)
		slices.SortFunc(order, byCost)
		for _, r := range order {
			if r.estimate >= s.p.Rate*(1-1e-9) && len(all) < s.judge.limit() {
				all = append(all, verdict{r, -1, false})
			}
		}
		return all
	}
	all := slices.Clone(s.judge.measured)
	slices.SortStableFunc(all, func(a, b verdict) int {
		okA, okB := a.goodput >= s.p.Rate, b.goodput >= s.p.Rate
		switch {
		case okA && okB:
			return byCost(a.ranked, b.ranked)
		case okA:
			return -1
		case okB:
			return 1
		}
		return byGoodput(a, b)
	})
	return all
}

// covers lists mixes that by their estimate carry the rate, cheapest first:
// all those that nothing can be taken from and that cost little more than the
// cheapest, or where these are too many what a search finds.
func (s *solver) covers(rate float64) ([]ranked, error) {
	found, err := s.searchCovers(rate)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	if all, ok := s.allCovers(rate, found[0].usd); ok {
		s.exhaustive = true
		return all, nil
	}
	s.exhaustive = false
	return found, nil
}

// searchCovers searches with budgets that grow until the estimate suffices,
// and then takes away what is not needed.
func (s *solver) searchCovers(rate float64) ([]ranked, error) {
	budget, err := s.relaxedCost(rate)
	if err != nil || math.IsInf(budget, 1) {
		return nil, err
	}
	sp := *s.space
	from := len(s.mixes)
	for range 60 {
		sp.budget = max(min(budget, s.space.budget), sp.cost)
		err := s.search(&sp)
		if err != nil && !errors.Is(err, ErrNoMix) {
			return nil, err
		}
		most := 0.0
		for _, r := range s.mixes {
			if r.usd <= sp.budget+penny {
				most = max(most, r.estimate)
			}
		}
		if most >= rate {
			break
		}
		if budget >= s.space.budget {
			return nil, nil
		}
		grow := 1.1
		if most > 0 {
			grow = min(max(rate/most, 1.003), 1.5)
		}
		budget = sp.budget*grow + s.smallest()*0.25
	}
	order := slices.Clone(s.mixes[min(from, len(s.mixes)):])
	if len(order) == 0 {
		order = slices.Clone(s.mixes)
	}
	slices.SortFunc(order, byEstimate)
	for _, r := range order[:min(len(order), 20)] {
		if r.estimate >= rate {
			s.trim(&sp, r.counts, rate)
		}
	}
	return s.listCovers(rate), nil
}

func (s *solver) smallest() float64 {
	least := math.Inf(1)
	for _, f := range s.space.offers {
		least = min(least, f.price)
	}
	return least
}

// listCovers are the mixes ranked so far that carry the rate by their
// estimate and cost little more than the cheapest.
func (s *solver) listCovers(rate float64) []ranked {
	var all []ranked
	least := math.Inf(1)
	for _, r := range s.mixes {
		if r.estimate >= rate*(1-1e-9) && r.usd <= s.space.budget+penny {
			least = min(least, r.usd)
			all = append(all, r)
		}
	}
	all = slices.DeleteFunc(all, func(r ranked) bool { return r.usd > least*width })
	slices.SortFunc(all, byCost)
	return all
}

// relaxedCost is what the rate costs if fractions can be bought, +Inf if
// budget and limits do not suffice.
func (s *solver) relaxedCost(rate float64) (float64, error) {
	lo, hi := 0.0, s.smallest()
	for {
		hi = min(hi, s.space.budget)
		r, err := s.relax(s.space, hi, nil)
		if err != nil {
			return 0, err
		}
		if r.rate >= rate {
			break
		}
		if hi >= s.space.budget || hi > 1e12 || r.perUSD == 0 && lo > 0 {
			return math.Inf(1), nil
		}
		lo, hi = hi, hi*2
	}
	for range 12 {
		mid := (lo + hi) / 2
		r, err := s.relax(s.space, mid, nil)
		if err != nil {
			return 0, err
		}
		if r.rate >= rate {
			hi = mid
		} else {
			lo = mid
		}
	}
	return hi, nil
}

// trim takes instances away, or puts cheaper ones in their places, as long as
// the estimate suffices.
func (s *solver) trim(sp *space, counts []int, rate float64) {
	counts = slices.Clone(counts)
	for {
		best, least := -1, sp.price(counts)
		try := func(next []int) {
			if usd := sp.price(next); usd < least-penny && sum(next) > 0 && sp.fits(next) {
				if k := s.rank(next); s.mixes[k].estimate >= rate {
					best, least = k, usd
				}
			}
		}
		for from := range counts {
			if counts[from] <= sp.forced[from] {
				continue
			}
			counts[from]--
			try(counts)
			for to, f := range sp.offers {
				for k := 1; k <= 3 && to != from && float64(k)*f.price < sp.offers[from].price; k++ {
					counts[to] += k
					try(counts)
					counts[to] -= k
				}
			}
			counts[from]++
		}
		if best < 0 {
			return
		}
		counts = slices.Clone(s.mixes[best].counts)
	}
}
