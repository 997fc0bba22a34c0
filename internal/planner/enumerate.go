package planner

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
