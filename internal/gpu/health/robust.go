package health

import (
	"math"
	"slices"
)

// madScale makes the median absolute deviation of normal samples their
// standard deviation.
const madScale = 1.4826

// median returns the median of v, the lower one of an even number, and orders
// v; 0 of nothing.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return v[(len(v)-1)/2]
}

// centre returns the median and the scaled median absolute deviation of v,
// which it destroys.
func centre(v []float64) (mid, spread float64) {
	mid = median(v)
	for i, x := range v {
		v[i] = math.Abs(x - mid)
	}
	return mid, madScale * median(v)
}

// ring keeps the last samples.
type ring struct {
	v    []float64
	next int
	n    int // kept so far
}

func newRing(size int) ring { return ring{v: make([]float64, size)} }

// add puts x in and returns what it pushes out.
func (r *ring) add(x float64) (out float64, full bool) {
	out, full = r.v[r.next], r.n == len(r.v)
	r.v[r.next] = x
	r.next = (r.next + 1) % len(r.v)
	r.n = min(r.n+1, len(r.v))
	return out, full
}

// last appends the last n samples to dst, the newest first.
func (r *ring) last(n int, dst []float64) []float64 {
	for i := range min(n, r.n) {
		dst = append(dst, r.v[(r.next-1-i+2*len(r.v))%len(r.v)])
	}
	return dst
}
