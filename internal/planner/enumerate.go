package planner

import (
	"cmp"
	"slices"
)

// How large a space is enumerated: visits of counts, which cost little, and
// mixes to estimate.
const (
	maxVisits = 2_000_000
	maxMixes  = 10_000
)

// maximalMixes lists the mixes that nothing can be added to; ok is false when
// there are too many.
func (s *space) maximalMixes() (all [][]int, ok bool) {
	counts := append([]int(nil), s.forced...)
	visits := 0
	last := len(s.offers) - 1
	var fill func(o int, left float64) bool
	fill = func(o int, left float64) bool {
		if visits++; visits > maxVisits || len(all) > maxMixes {
			return false
		}
		room := s.room(counts, o, left)
		from := 0
		if o == last {
			from = room // more on demand is always allowed
		}
		for n := from; n <= room; n++ {
			counts[o] = s.forced[o] + n
			rest := left - float64(n)*s.offers[o].price
			if o < last {
				if !fill(o+1, rest) {
					return false
				}
			} else if s.floored(counts) && s.maximal(counts) && sum(counts) > 0 {
				all = append(all, append([]int(nil), counts...))
			}
		}
		counts[o] = s.forced[o]
		return true
	}
	if s.cost > s.budget+penny {
		return nil, true
	}
	ok = fill(0, s.budget-s.cost)
	return all, ok
}

func sum(counts []int) int {
	n := 0
	for _, c := range counts {
		n += c
	}
	return n
}

// allCovers lists the mixes that carry the rate by their estimate and cost at
// most width times the least, given the cost of some; of every choice of the
// other offers only the least count of the last. ok is false when there are
// too many to look at.
//
// A partial mix is given up when even its remaining money, spent where a
// dollar buys most, would not make it carry the rate: by the prices v of the
// relaxed program no mix carries more than Σ n·v.
func (s *solver) allCovers(rate, known float64) (all []ranked, ok bool) {
	sp := s.space
	most := min(sp.budget, known*width)
	r, err := s.relax(sp, most, nil)
	if err != nil {
		return nil, false
	}
	order := make([]int, len(sp.offers))
	per := make([]float64, len(sp.offers)) // v per USD
	for o := range order {
		order[o] = o
		per[o] = r.value[o] / sp.offers[o].price
	}
	// The worst bargains first, but an on-demand offer last.
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(per[a], per[b]) })
	at := len(order) - 1
	for sp.offers[order[at]].spot {
		at--
	}
	last := order[at]
	order = append(slices.Delete(order, at, at+1), last)
	rest := make([]float64, len(order)+1) // the best bargain from there on
	for k := len(order) - 1; k >= 0; k-- {
		rest[k] = max(rest[k+1], per[order[k]])
	}

	counts := slices.Clone(sp.forced)
	value := 0.0
	for o, n := range counts {
		value += float64(n) * r.value[o]
	}
	visits, until := 0, len(s.mixes)+maxRanked
	carries := func() bool {
		if !sp.floored(counts) || sum(counts) == 0 {
			return false
		}
		k := s.rank(counts)
		return s.mixes[k].estimate >= rate
	}
	var fill func(k int, cost, value float64) bool
	fill = func(k int, cost, value float64) bool {
		if visits++; visits > maxCovers || len(s.mixes) > until {
			return false
		}
		o := order[k]
		f := &sp.offers[o]
		room := sp.room(counts, o, most-cost)
		if k == len(order)-1 {
			lo, hi := -1, room+1 // hi carries, or is too much
			for hi-lo > 1 {
				mid := (lo + hi) / 2
				counts[o] = sp.forced[o] + mid
				if carries() {
					hi = mid
				} else {
					lo = mid
				}
			}
			counts[o] = sp.forced[o]
			if hi <= room {
				most = min(most, (cost+float64(hi)*f.price)*width)
			}
			return true
		}
		for n := 0; n <= room; n++ {
			c, v := cost+float64(n)*f.price, value+float64(n)*r.value[o]
			if c > most+penny {
				break
			}
			if v+(most-c)*rest[k+1] < rate {
				if per[o] <= rest[k+1] {
					break // more of it makes it worse
				}
				continue
			}
			counts[o] = sp.forced[o] + n
			if !fill(k+1, c, v) {
				return false
			}
		}
		counts[o] = sp.forced[o]
		return true
	}
	if !fill(0, sp.cost, value) {
		return nil, false
	}
	return s.listCovers(rate), true
}
