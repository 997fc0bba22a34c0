package profiler

import (
	"fmt"
	"math"
	"math/bits"
	"time"

	"gonum.org/v1/gonum/stat/distuv"

	"motley/internal/pool"
)

// Law is the affine law Fixed + PerItem·items that the measured means follow:
// the one by which the router, the planner and the simulator extrapolate
// (pool.Profile.Affine).
type Law struct {
	Fixed, PerItem time.Duration
	// Worst is the largest residual of a measured mean, relative to it, at
	// WorstAt items; it tells whether the law holds.
	Worst   float64
	WorstAt int

	// What the interval of a prediction is made of: the covariance of the two
	// parts, and the quantile that goes with it. Infinite where too little is known.
	c11, c12, c22 float64 // ns²
	t             float64
}

// At is what the law says of a batch, in ns.
func (l *Law) At(batch int) float64 { return float64(l.Fixed) + float64(l.PerItem)*float64(batch) }

// predict returns what the law says and half the 95 % interval of the mean.
func (l *Law) predict(batch int) (mean, half float64) {
	n := float64(batch)
	return l.At(batch), l.t * math.Sqrt(max(0, l.c11+2*n*l.c12+n*n*l.c22))
}

// fit finds the law of measured sizes; there must be one, and each only once.
//
// A size weighs count/mean², as in pool: relative errors count. The scatter is
// that of single runs or, where the means lie further from the line than that
// explains, that of the means about the line, which is all that a bend leaves to
// be seen.
func fit(sizes []Size) Law {
	points := pointsOf(sizes)
	p, err := pool.NewProfile(points)
	if err != nil {
		panic(fmt.Sprintf("BUG: measured sizes are no profile: %v", err))
	}
	l := Law{WorstAt: sizes[0].Batch}
	l.Fixed, l.PerItem = p.Affine()
	k := float64(len(sizes))
	var w, wx, wxx, off, scatter, runs float64
	for _, s := range sizes {
		n, mean, count := float64(s.Batch), float64(s.Mean), max(1, float64(s.Count))
		weight := count / (mean * mean)
		w, wx, wxx, runs = w+weight, wx+weight*n, wxx+weight*n*n, runs+count
		r := l.At(s.Batch) - mean
		off += weight * r * r
		scatter += s.variance * count
		if e := math.Abs(r) / mean; e > l.Worst {
			l.Worst, l.WorstAt = e, s.Batch
		}
	}
	det := w*wxx - wx*wx
	if len(sizes) < 2 || !(det > 1e-13*w*wxx) {
		l.c11, l.t = math.Inf(1), 1
		return l
	}
	variance := scatter / runs
	l.t = student(max(1, runs-k))
	if k > 2 && off/(k-2) > variance {
		variance = off / (k - 2)
		l.t = student(k - 2)
	}
	l.c11, l.c12, l.c22 = variance*wxx/det, -variance*wx/det, variance*w/det
	return l
}

func pointsOf(sizes []Size) []pool.Point {
	var points []pool.Point
	for _, s := range sizes {
		p99 := s.P99
		if p99 > 0 { // else unknown
			p99 = max(p99, s.Mean)
		}
		points = append(points, pool.Point{Batch: s.Batch, Mean: s.Mean, P99: p99, Count: s.Count})
	}
	return points
}

// Check is a prediction of a size by the law of all others, beside what was
// measured.
type Check struct {
	Batch         int
	Predicted     time.Duration
	PredictedHalf time.Duration // half the 95 % interval of the prediction
	Measured      time.Duration
	MeasuredHalf  time.Duration

	among int // checks made at once
}

// Error is by how much the prediction is off, as a share of what was measured.
func (c Check) Error() float64 { return float64(c.Predicted)/float64(c.Measured) - 1 }

// Half is half the 95 % interval of Error.
func (c Check) Half() float64 {
	return math.Hypot(float64(c.PredictedHalf), float64(c.MeasuredHalf)) / float64(c.Measured)
}

const (
	// lawTolerance is by how much a prediction may be off, whatever the interval
	// says: no law is exact, and enough runs show it.
	lawTolerance = 0.05
	// lawVague is the half interval above which agreement says nothing.
	lawVague = 0.1
	// paddedAlike is by how much two sizes may differ that take the same.
	paddedAlike = 0.02
)

// Refutes reports whether the law does not hold at this size. The interval is
// widened for the number of checks, so that a law that holds is refuted by one of
// them in 5 % of cases.
func (c Check) Refutes() bool {
	normal := distuv.UnitNormal
	wider := normal.Quantile(1-(1-confidence)/2/float64(max(1, c.among))) / normal.Quantile((1+confidence)/2)
	return math.Abs(c.Error()) > max(c.Half()*wider, lawTolerance)
}

// Holds reports whether the law is confirmed at this size.
func (c Check) Holds() bool { return !c.Refutes() && c.Half() <= lawVague }

// checks holds every size between the outermost out of the fit once.
func checks(sizes []Size) []Check {
	var all []Check
	for i := 1; i < len(sizes)-1; i++ {
		others := append(append([]Size(nil), sizes[:i]...), sizes[i+1:]...)
		l := fit(others)
		mean, half := l.predict(sizes[i].Batch)
		all = append(all, Check{
			Batch: sizes[i].Batch, Predicted: nanoseconds(mean), PredictedHalf: nanoseconds(min(half, mean)),
			Measured: sizes[i].Mean, MeasuredHalf: sizes[i].Half, among: len(sizes) - 2,
		})
	}
	return all
}

// affine reports whether the law holds: no size refutes it, and none lies so far
// from it that its interval does not tell why.
func (r *Result) affine() bool {
	for _, c := range r.HeldOut {
		if c.Refutes() {
			return false
		}
	}
	for _, s := range r.Sizes {
		if off := math.Abs(r.Law.At(s.Batch)/float64(s.Mean) - 1); off > lawVague && off > 2*s.Relative() {
			return false
		}
	}
	return true
}

// padded reports whether every size that is no power of two takes as long as the
// next power does, and there are two of them at least.
func padded(sizes []Size) bool {
	seen := 0
	for i, s := range sizes {
		if power(s.Batch) {
			continue
		}
		next := 1 << bits.Len(uint(s.Batch))
		for _, l := range sizes[i+1:] {
			if l.Batch != next {
				continue
			}
			seen++
			off := math.Abs(float64(s.Mean) - float64(l.Mean))
			if off > max(math.Hypot(float64(s.Half), float64(l.Half)), paddedAlike*float64(l.Mean)) {
				return false
			}
		}
	}
	return seen >= 2
}
