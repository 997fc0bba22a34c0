package planner

import (
	"cmp"
	"math"
	"slices"
)

// offer is a way to rent an instance of a type.
type offer struct {
	typ   int
	spot  bool
	price float64 // USD/h
	worth float64 // instances: the availability
}

// space is the mixes that may be rented, as counts of offers. Of every type
// the spot offer comes first, so that the on-demand one, of which more never
// hurts OnDemandShare, is the last.
type space struct {
	p      *Problem
	offers []offer
	budget float64
	// forced are the instances of Min, by offer, and their cost.
	forced []int
	cost   float64
}

// penny is what a sum of prices may be over the budget by rounding.
const penny = 1e-9

func newSpace(p *Problem, budget float64) *space {
	s := &space{p: p, budget: budget}
	for j := range p.Types {
		t := &p.Types[j]
		if t.SpotUSDPerHour > 0 {
			s.offers = append(s.offers, offer{j, true, t.SpotUSDPerHour, t.Availability()})
			s.forced = append(s.forced, 0)
		}
		s.offers = append(s.offers, offer{j, false, t.USDPerHour, 1})
		s.forced = append(s.forced, t.Min)
		s.cost += float64(t.Min) * t.USDPerHour
	}
	return s
}

func (s *space) price(counts []int) float64 {
	sum := 0.0
	for o, n := range counts {
		sum += float64(n) * s.offers[o].price
	}
	return sum
}

// limited reports whether the counts are within Limit and Min.
func (s *space) limited(counts []int) bool {
	for j, c := range s.mix(counts) {
		t := &s.p.Types[j]
		if t.Limit > 0 && c.Total() > t.Limit || c.OnDemand < t.Min {
			return false
		}
	}
	return true
}

// floored reports whether enough is rented on demand.
func (s *space) floored(counts []int) bool {
	if s.p.OnDemandShare == 0 {
		return true
	}
	onDemand, all := 0.0, 0.0
	for o, n := range counts {
		worth := float64(n) * s.p.Types[s.offers[o].typ].USDPerHour
		all += worth
		if !s.offers[o].spot {
			onDemand += worth
		}
	}
	return onDemand >= s.p.OnDemandShare*all-penny
}

// fits reports whether the mix may be rented.
func (s *space) fits(counts []int) bool {
	return s.price(counts) <= s.budget+penny && s.limited(counts) && s.floored(counts)
}

// room is how many more of offer o fit, as far as Limit and left, in USD/h,
// go.
func (s *space) room(counts []int, o int, left float64) int {
	f := &s.offers[o]
	n := math.MaxInt32
	if r := (left + penny) / f.price; r < math.MaxInt32 {
		n = int(r)
	}
	if limit := s.p.Types[f.typ].Limit; limit > 0 {
		for other, c := range counts {
			if s.offers[other].typ == f.typ {
				limit -= c
			}
		}
		n = min(n, limit)
	}
	return max(n, 0)
}

// maximal reports whether no single instance can be added.
func (s *space) maximal(counts []int) bool {
	left := s.budget - s.price(counts)
	for o := range s.offers {
		if s.room(counts, o, left) == 0 {
			continue
		}
		counts[o]++
		ok := s.floored(counts)
		counts[o]--
		if ok {
			return false
		}
	}
	return true
}

// mix is the counts by type.
func (s *space) mix(counts []int) []Count {
	mix := make([]Count, len(s.p.Types))
	for o, n := range counts {
		if s.offers[o].spot {
			mix[s.offers[o].typ].Spot = n
		} else {
			mix[s.offers[o].typ].OnDemand = n
		}
	}
	return mix
}

// instances sets dst to the instances by type, spot ones by availability.
func (s *space) instances(counts []int, dst []float64) []float64 {
	dst = append(dst[:0], make([]float64, len(s.p.Types))...)
	for o, n := range counts {
		dst[s.offers[o].typ] += float64(n) * s.offers[o].worth
	}
	return dst
}

// ranked is a mix with its estimate.
type ranked struct {
	counts   []int
	usd      float64
	estimate float64
}

// byEstimate puts the best first: of equals the cheaper one, then an order
// that does not depend on how they were found.
func byEstimate(a, b ranked) int {
	return cmp.Or(cmp.Compare(b.estimate, a.estimate), cmp.Compare(a.usd, b.usd), slices.Compare(b.counts, a.counts))
}

// byCost puts the cheapest first.
func byCost(a, b ranked) int {
	return cmp.Or(cmp.Compare(a.usd, b.usd), cmp.Compare(b.estimate, a.estimate), slices.Compare(b.counts, a.counts))
}
