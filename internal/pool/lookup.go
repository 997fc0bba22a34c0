package pool

import (
	"slices"
	"sort"
	"time"
)

// indexed bounds the sizes that are looked up in a table; larger ones are
// found by halving. 2 bytes each.
const indexed = 4096

// curve is a broken line, which never falls, for the mean and for the bound. It
// is made to be read often.
type curve struct {
	corners []corner // by rising n
	index   []uint16 // by n: the first corner above it
	per     float64  // what an item adds beyond the last corner, and below the first
	over    bool     // the bound is at least the mean
}

// corner is one of a curve. Times are in ns.
type corner struct {
	n                 int
	mean, bound       float64
	inverse           float64 // 1 over the items to the next corner
	meanPer, boundPer float64 // per item, on the way to the next corner
}

// reindex makes the table of above. It is due when the corners' items change.
func (c *curve) reindex() {
	k := c.corners
	c.index = make([]uint16, min(k[len(k)-1].n, indexed)+1)
	i := 0
	for n := range c.index {
		for i < len(k) && k[i].n <= n {
			i++
		}
		c.index[n] = uint16(i)
	}
	for i := range k[:len(k)-1] {
		k[i].inverse = 1 / float64(k[i+1].n-k[i].n)
	}
}

func (c *curve) clone() curve {
	d := *c
	d.corners, d.index = slices.Clone(c.corners), slices.Clone(c.index)
	return d
}

// above returns the index of the first corner above n: 0 … len(corners).
func (c *curve) above(n int) int {
	if uint(n) < uint(len(c.index)) {
		return int(c.index[n])
	}
	return sort.Search(len(c.corners), func(i int) bool { return c.corners[i].n > n })
}

// slopes computes how the corners' means and bounds go on to the next ones'.
func (c *curve) slopes() {
	k := c.corners
	for i := range k[:len(k)-1] {
		lo, hi := &k[i], &k[i+1]
		lo.meanPer = (hi.mean - lo.mean) * lo.inverse
		lo.boundPer = (hi.bound - lo.bound) * lo.inverse
	}
}

// estimate reads the curve at n.
func (c *curve) estimate(n int) (mean, bound float64) {
	i := c.above(n)
	k := c.corners
	if i == 0 || i >= len(k) {
		return c.outside(float64(n), i)
	}
	lo, hi := &k[i-1], &k[i]
	t := float64(n - lo.n)
	// Rounding must not lift the line over its end, nor the mean over the bound.
	mean = min(lo.mean+t*lo.meanPer, hi.mean)
	bound = min(lo.bound+t*lo.boundPer, hi.bound)
	if c.over {
		bound = max(bound, mean)
	}
	return mean, bound
}

// at is estimate without the bound: it is asked for most.
func (c *curve) at(n int) float64 {
	i := c.above(n)
	k := c.corners
	if i == 0 || i >= len(k) {
		mean, _ := c.outside(float64(n), i)
		return mean
	}
	lo := &k[i-1]
	return min(lo.mean+float64(n-lo.n)*lo.meanPer, k[i].mean)
}

// between is at for a number of items that need not be whole.
func (c *curve) between(n float64) float64 {
	i := c.above(int(n))
	k := c.corners
	if i == 0 || i >= len(k) {
		mean, _ := c.outside(n, i)
		return mean
	}
	lo := &k[i-1]
	return min(lo.mean+(n-float64(lo.n))*lo.meanPer, k[i].mean)
}

// outside is estimate at sizes below the first corner (i = 0) and from the last
// one on.
func (c *curve) outside(n float64, i int) (mean, bound float64) {
	if i == 0 {
		// Down from the first corner by the law, but not through zero.
		first := &c.corners[0]
		slope := min(c.per, first.mean/float64(first.n))
		mean = first.mean - slope*(float64(first.n)-max(n, 1))
		return mean, min(mean*(first.bound/first.mean), first.bound) // whatever the rounding
	}
	last := &c.corners[len(c.corners)-1]
	mean = last.mean + c.per*(n-float64(last.n))
	return mean, max(mean*(last.bound/last.mean), last.bound)
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
	// The corners by halving, then the line between two of them; rounding can put
	// the result one off.
	k := p.line().corners
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
