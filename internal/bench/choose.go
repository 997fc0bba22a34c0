package bench

// entry is a mix with a policy, and about the rate that it was seen to carry.
type entry struct {
	counts []int
	v      Variant
	rate   float64 // requests/s; 0 = unknown
}

// margin is by how much a rate must be higher to count as better: less is
// noise.
const margin = 1.01

// beats reports whether e carries more than a rate, and if so finds how much.
func (s *Setup) beats(e *entry, rate float64) (bool, error) {
	r, err := s.runner(e.counts, e.v)
	if err != nil {
		return false, err
	}
	if rate > 0 {
		if holds, err := r.Holds(rate * margin); err != nil || !holds {
			return false, err
		}
	}
	a, err := r.Allowable(rate * margin)
	e.rate = a.Rate
	return a.Rate > rate, err
}

// race finds the mix on which the policy carries most, of those given. Each
// but the first is only asked whether it carries more than the best so far, so
// that good ones had better come first.
func (s *Setup) race(mixes [][]int, v Variant) (entry, error) {
	best := entry{v: v}
	for _, counts := range mixes {
		e := entry{counts: counts, v: v}
		better, err := s.beats(&e, best.rate)
		if err != nil {
			return entry{}, err
		}
		if better || best.counts == nil {
			best = e
		}
	}
	return best, nil
}

// climb goes from start, one of n in a row, to the better neighbour until
// there is none. beats reports whether i is better than the best so far, and
// takes it for that if so.
func climb(n, start int, beats func(i int) (bool, error)) error {
	if _, err := beats(start); err != nil {
		return err
	}
	for _, step := range []int{1, -1} {
		moved := false
		for i := start + step; i >= 0 && i < n; i += step {
			better, err := beats(i)
			if err != nil {
				return err
			}
			if !better {
				break
			}
			moved = true
		}
		if moved {
			return nil // what lies behind the start is worse
		}
	}
	return nil
}
