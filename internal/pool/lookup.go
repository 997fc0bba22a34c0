package pool

import (
	"sort"
	"time"
)

// indexed bounds the sizes that are looked up in a table; larger ones are
// found by halving. 2 bytes each.
const indexed = 4096

// reindex makes the table of above. It is due when knots are set; their
// items never change.
func (p *Profile) reindex() {
	k := p.knots
	p.index = make([]uint16, min(k[len(k)-1].n, indexed)+1)
	i := 0
	for n := range p.index {
		for i < len(k) && k[i].n <= n {
			i++
		}
		p.index[n] = uint16(i)
	}
	for i := range k[:len(k)-1] {
		k[i].inverse = 1 / float64(k[i+1].n-k[i].n)
	}
}

// above returns the index of the first knot above n: 0 … len(knots).
func (p *Profile) above(n int) int {
	if uint(n) < uint(len(p.index)) {
		return int(p.index[n])
	}
	return sort.Search(len(p.knots), func(i int) bool { return p.knots[i].n > n })
}

// slopes computes how the knots' means and bounds go on to the next ones'.
func (p *Profile) slopes() {
	k := p.knots
	for i := range k[:len(k)-1] {
		lo, hi := &k[i], &k[i+1]
		lo.meanPer = (hi.mean - lo.mean) * lo.inverse
		lo.boundPer = (hi.bound - lo.bound) * lo.inverse
	}
}

// estimate reads the broken line at n.
func (p *Profile) estimate(n int) (mean, bound float64) {
	i := p.above(n)
	k := p.knots
	if i == 0 || i >= len(k) {
		return p.outside(n, i)
	}
	lo, hi := &k[i-1], &k[i]
	t := float64(n - lo.n)
	// Rounding must not lift the line over its end, nor the mean over the bound.
	mean = min(lo.mean+t*lo.meanPer, hi.mean)
	bound = min(lo.bound+t*lo.boundPer, hi.bound)
	if p.q >= 0.5 {
		bound = max(bound, mean)
	}
	return mean, bound
}

// mean is estimate without the bound: it is asked for most.
func (p *Profile) mean(n int) float64 {
	i := p.above(n)
	k := p.knots
	if i == 0 || i >= len(k) {
		mean, _ := p.outside(n, i)
		return mean
	}
	lo := &k[i-1]
	return min(lo.mean+float64(n-lo.n)*lo.meanPer, k[i].mean)
}

// outside is estimate at sizes below the first knot (i = 0) and from the last
// one on.
func (p *Profile) outside(n, i int) (mean, bound float64) {
	if i == 0 {
		// Down from the first knot by the law, but not through zero.
		first := &p.knots[0]
		slope := min(p.affine().per, first.mean/float64(first.n))
		mean = first.mean - slope*float64(first.n-max(n, 1))
		return mean, mean * (first.bound / first.mean)
	}
	last := &p.knots[len(p.knots)-1]
	mean = last.mean + p.affine().per*float64(n-last.n)
	return mean, mean * (last.bound / last.mean)
}

// longest keeps estimates clear of the overflow of time.Duration, sums of
// some included.
const longest = float64(1000 * time.Hour)

func toDuration(ns float64) time.Duration {
	return time.Duration(min(ns, longest) + 0.5)
}

// Within returns the largest batch, up to most items, whose Bound at q is at
// most limit; 0 where even a single item's is over it. Where nothing is known
// it is most.
func (p *Profile) Within(limit time.Duration, most int, q float64) int {
	if most < 1 || p.Bound(most, q) <= limit {
		return max(most, 0)
	}
	if len(p.knots) == 0 { // p.like, which Bound has asked
		return p.like.Within(limit, most, q)
	}
	// The knots by halving, then the line between two of them; rounding can put
	// the result one off.
	k := p.knots
	i := sort.Search(len(k), func(i int) bool { return k[i].bound > float64(limit) })
	n := most
	switch {
	case i == 0:
		n = sort.Search(min(k[0].n, most), func(n int) bool { return p.Bound(n+1, q) > limit })
		return n
	case i == len(k):
		lo := k[i-1].n
		return lo + sort.Search(most-lo, func(d int) bool { return p.Bound(lo+d+1, q) > limit })
	case k[i-1].boundPer > 0:
		n = min(most, k[i-1].n+int((float64(limit)-k[i-1].bound)/k[i-1].boundPer))
	default:
		n = min(most, k[i].n)
	}
	for n > 0 && p.Bound(n, q) > limit {
		n--
	}
	for n < most && p.Bound(n+1, q) <= limit {
		n++
	}
	return n
}
