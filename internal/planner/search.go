package planner

import (
	"cmp"
	"math"
	"slices"
)

// How much work the search in a large space is.
const (
	linearised = 4    // relaxed programs with the batches of the one before
	trials     = 1500 // mixes that are tried around each start
	tries      = 60   // of the most promising moves of one step
)

// search ranks mixes around the relaxed optimum: its counts rounded down and
// filled up, and what exchanging instances makes of them. Since batches grow
// with the instances of a type, which the relaxed program does not know, it is
// solved again with the batches of its own answer; each answer is a start.
func (s *solver) search(sp *space) error {
	if sp.cost > sp.budget+penny {
		return ErrNoMix
	}
	var at []float64
	for range linearised {
		r, err := s.relax(sp, sp.budget, at)
		if err != nil {
			return err
		}
		for up := -1; up < len(r.buy); up++ {
			if up >= 0 && r.buy[up]-math.Floor(r.buy[up]) < 0.01 {
				continue
			}
			if counts := s.rounded(sp, r.buy, up); sum(counts) > 0 {
				s.improve(sp, counts)
			}
		}
		at = make([]float64, len(s.p.Types))
		for o, n := range r.buy {
			at[sp.offers[o].typ] += n
		}
	}
	return nil
}

// rounded makes a mix that fits of fractional counts, of which that of offer
// up is rounded up as far as there is money.
func (s *solver) rounded(sp *space, buy []float64, up int) []int {
	counts := make([]int, len(buy))
	for o, n := range buy {
		counts[o] = max(sp.forced[o], int(n+1e-9))
		if o == up {
			counts[o]++
		}
	}
	// What is forced in or rounded up has to be paid for by others, of which
	// those go first that were rounded down least.
	for !sp.fits(counts) {
		worst, least := -1, math.Inf(1)
		for o, n := range counts {
			if n == sp.forced[o] {
				continue
			}
			v := buy[o] - float64(n)
			if o == up {
				v += 1000
			}
			if !sp.shrinks(counts, o) {
				v += 1e6
			}
			if v < least {
				worst, least = o, v
			}
		}
		if worst < 0 {
			break // the forced ones alone fit
		}
		counts[worst]--
	}
	return s.fill(sp, counts)
}

// shrinks reports whether taking an offer away can make the mix fit.
func (s *space) shrinks(counts []int, o int) bool {
	return s.offers[o].spot || s.floored(counts)
}

// fill adds what gives most for its money until nothing fits.
func (s *solver) fill(sp *space, counts []int) []int {
	for {
		left := sp.budget - sp.price(counts)
		var value []float64
		best, most := -1, -1.0
		for o, f := range sp.offers {
			if sp.room(counts, o, left) == 0 {
				continue
			}
			counts[o]++
			ok := sp.floored(counts)
			counts[o]--
			if !ok {
				continue
			}
			if value == nil {
				value = s.values(sp, counts)
			}
			if v := value[o] / f.price; v > most {
				best, most = o, v
			}
		}
		if best < 0 {
			return counts
		}
		counts[best]++
	}
}

// values is what another instance of each offer adds to the mix, by its
// shadow price. A mix that cannot serve everything has none: what is fastest
// then has to come first.
func (s *solver) values(sp *space, counts []int) []float64 {
	value := make([]float64, len(sp.offers))
	s.instances = sp.instances(counts, s.instances)
	sol := s.e.solve(s.instances)
	for o, f := range sp.offers {
		if sol != nil {
			value[o] = sol.Price[f.typ] * f.worth
			continue
		}
		t := s.e.t
		for i := range t.classes {
			served := false
			for j, n := range s.instances {
				served = served || n > 0 && !math.IsInf(t.safe[i*t.types+j], 1)
			}
			if !served && !math.IsInf(t.safe[i*t.types+f.typ], 1) {
				value[o] += t.share[i] * f.worth
			}
		}
	}
	return value
}

// move takes instances of one offer away and adds as many as then fit of
// another.
type move struct {
	from, less, to, more int
	gain                 float64 // expected
}

// improve exchanges instances as long as the estimate rises.
func (s *solver) improve(sp *space, counts []int) {
	at := s.rank(counts)
	until := len(s.mixes) + trials
	var moves []move
	for len(s.mixes) < until {
		counts = s.mixes[at].counts
		moves = s.moves(sp, counts, moves[:0])
		before := s.mixes[at].estimate
		better := false
		for _, m := range moves[:min(len(moves), tries)] {
			next := slices.Clone(counts)
			next[m.from] -= m.less
			next[m.to] += m.more
			if !sp.fits(next) {
				continue
			}
			if k := s.rank(s.fill(sp, next)); s.mixes[k].estimate > before*(1+1e-9) {
				at, better = k, true
				break
			}
		}
		if !better {
			return
		}
	}
}

// moves lists exchanges, the most promising first: by shadow prices, which
// promise too much since they ignore that more of a type is worth less, and
// too little since they ignore batches.
func (s *solver) moves(sp *space, counts []int, dst []move) []move {
	value := s.values(sp, counts)
	left := sp.budget - sp.price(counts)
	for from, n := range counts {
		spare := n - sp.forced[from]
		for _, less := range []int{1, 2, 3, spare} {
			if less > spare || less == 0 || less == spare && spare <= 3 && spare != less {
				continue
			}
			counts[from] -= less
			for to, f := range sp.offers {
				if to == from {
					continue
				}
				fit := sp.room(counts, to, left+float64(less)*sp.offers[from].price)
				if fit == 0 {
					continue
				}
				gain := float64(fit)*value[to] - float64(less)*value[from]
				dst = append(dst, move{from, less, to, fit, gain})
				if f.price < sp.offers[from].price && fit > 1 {
					dst = append(dst, move{from, less, to, 1, value[to] - float64(less)*value[from]})
				}
			}
			counts[from] += less
		}
	}
	slices.SortStableFunc(dst, func(a, b move) int { return cmp.Compare(b.gain, a.gain) })
	return dst
}
