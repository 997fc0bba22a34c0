package pool

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Profile estimates how long an instance type takes to execute a batch of one
// model, by its number of items: a table where it was measured, an affine law
// with residual quantiles elsewhere, both corrected by every batch that
// finishes. Where rows stop early (see ObserveStages) that is what a whole run
// takes, and the estimates are of what is left of it.
//
// The estimate is a broken line through knots, which never falls as batches
// grow, and the affine law beyond the outermost ones. The knots are the
// measured batch sizes, or the powers of two where nothing was measured. A
// knot's mean is
//
//	(a + b·u) × correction
//
// where u is the measured mean (a = 0, b = 1 until batches say otherwise) or,
// without measurements, the number of items; a and b are fitted to finished
// batches by least squares of the relative error, and the correction is the
// mean ratio by which batches near the knot depart from that line.
//
// A Profile is not safe for concurrent use; Bound changes it too, since it
// remembers the last q.
type Profile struct {
	knots  []knot // by rising n; empty until something is known
	seeded bool   // the knots were measured
	table  line   // the affine fit of the measured points by items
	law    line   // a and b over u

	sums  sums
	seen  int     // batches observed
	shift drift   // what tells a change from noise
	ratio spread  // what the batches took, relative to the mean
	q     float64 // the probability that the knots' bounds are for

	whole curve    // of a run of all rows to the end
	mixed *mixed   // what rows that stop early make of it; nil: none do. See exits.go
	like  *Profile // what serves until something is known; see prior.go
	prior bool     // like was computed for this type, not another one's
	of    *derated // of a slower worker of the type; nil: of the type. See derated.go
}

// Point is one measured batch size.
type Point struct {
	Batch int           // items
	Mean  time.Duration // mean latency
	P99   time.Duration // 99th percentile; 0 = not measured
	Count int           // samples behind it; 0 = unknown
}

// knot is what is known at one batch size. Times are in ns.
type knot struct {
	n       int
	u       float64 // measured mean, or n
	p99     float64 // P99 over the mean, before anything is observed
	w, r    float64 // weight and weighted sum of the ratios observed near here
	learned float64 // ratio that a share q of batches near here stays under
}

// line is fixed + perUnit·x.
type line struct{ fixed, per float64 }

func (l line) at(x float64) float64 { return l.fixed + l.per*x }

const (
	defaultQ = 0.99
	// defaultP99 is the 99th percentile over the mean where none was measured:
	// that of a log-normal with a standard deviation of about a fifth.
	defaultP99 = 1.6
	// octaves bounds the knots of a profile without measurements: 1 … 65,536
	// items, extrapolated beyond.
	octaves = 17
)

// NewProfile returns a profile that knows nothing, or what the points say.
// The points may come in any order; a batch size below 1 or named twice, a
// mean that is not positive, and a negative P99 or Count are errors.
func NewProfile(points []Point) (*Profile, error) {
	p := &Profile{q: defaultQ, law: line{0, 1}}
	for i, pt := range points {
		if err := pt.check(); err != nil {
			return nil, fmt.Errorf("cannot use profile point %d: %w", i, err)
		}
	}
	if len(points) == 0 {
		return p, nil
	}
	sorted := slices.Clone(points)
	slices.SortStableFunc(sorted, func(a, b Point) int { return a.Batch - b.Batch })
	logSpread, spreads := 0.0, 0
	for i, pt := range sorted {
		if i > 0 && pt.Batch == sorted[i-1].Batch {
			return nil, fmt.Errorf("cannot use profile point for batch %d: measured twice", pt.Batch)
		}
		k := knot{n: pt.Batch, u: float64(pt.Mean), p99: defaultP99}
		if pt.P99 > 0 {
			k.p99 = max(1, float64(pt.P99)/float64(pt.Mean))
			logSpread += math.Log(k.p99)
			spreads++
		}
		p.knots = append(p.knots, k)
	}
	p.seeded = true
	p.reindex()
	p.table = fitPoints(sorted)
	p.shift = newDrift()
	if spreads > 0 {
		p.shift.deviation = max(0.01, logSpread/float64(spreads)/2.326)
	}
	p.refresh()
	return p, nil
}

func (pt Point) check() error {
	switch {
	case pt.Batch < 1:
		return fmt.Errorf("batch %d: must be at least 1", pt.Batch)
	case pt.Mean <= 0:
		return fmt.Errorf("batch %d: mean %v: must be positive", pt.Batch, pt.Mean)
	case pt.P99 < 0:
		return fmt.Errorf("batch %d: p99 %v: must not be negative", pt.Batch, pt.P99)
	case pt.Count < 0:
		return fmt.Errorf("batch %d: count %d: must not be negative", pt.Batch, pt.Count)
	}
	return nil
}

// Known reports whether there is anything to estimate from.
func (p *Profile) Known() bool { return len(p.knots) > 0 }

// settledAfter is how many batches it takes to believe in what was observed
// alone: the first executions of a process are often its slowest.
const settledAfter = 8

// Settled reports whether the estimates are good enough to turn work away by:
// there were measured points, or at least 8 batches were observed.
func (p *Profile) Settled() bool { return p.seeded || p.seen >= settledAfter }

// Measured reports whether there were measured points.
func (p *Profile) Measured() bool { return p.seeded }

// Samples returns how many batches were observed; measured points do not
// count.
func (p *Profile) Samples() int { return p.seen }

// Drifts returns how often batches, all told, began to lie off the estimate,
// so that it was left to fade quickly, and how often several in a row lay so
// far off that what was known was dropped.
func (p *Profile) Drifts() (drifts, replacements int) { return p.shift.drifts, p.shift.replacements }

// Clone returns a copy that shares nothing with the profile.
func (p *Profile) Clone() *Profile {
	c := *p
	c.knots = slices.Clone(p.knots)
	c.whole = p.whole.clone()
	if p.mixed != nil {
		c.mixed = p.mixed.clone()
	}
	if p.like != nil {
		c.like = p.like.Clone()
	}
	if p.of != nil {
		c.of = p.of.clone()
	}
	return &c
}

// Affine returns the law fixed + perItem·n behind the extrapolation. Both are
// 0 when nothing is known.
func (p *Profile) Affine() (fixed, perItem time.Duration) {
	if !p.Known() {
		return 0, 0
	}
	l := p.affine()
	return toDuration(l.fixed), toDuration(l.per)
}

func (p *Profile) affine() line {
	if !p.seeded {
		return p.law
	}
	return line{p.law.at(p.table.fixed), p.law.per * p.table.per}
}

// Mean estimates the mean latency of a batch of n items; n below 1 counts as
// 1. 0 when nothing is known or supposed. It never falls as n grows.
func (p *Profile) Mean(n int) time.Duration {
	if len(p.knots) == 0 {
		if p.like != nil {
			return p.like.Mean(n)
		}
		return 0
	}
	return toDuration(p.line().at(n))
}

// Bound estimates the latency that a batch of n items stays under with
// probability q, 0 < q < 1; q is held to 0.001 … 0.999. 0 when nothing is
// known or supposed. It never falls as n grows, and is at least Mean for q ≥ 0.5. Asking
// for another q than the last time costs as much as an Observe.
func (p *Profile) Bound(n int, q float64) time.Duration {
	if len(p.knots) == 0 {
		if p.like != nil {
			return p.like.Bound(n, q)
		}
		return 0
	}
	if q != p.q {
		// The negation catches NaN, which otherwise would never be cached.
		if !(q >= 0.001) {
			q = 0.001
		}
		q = min(q, 0.999)
		if q != p.q {
			p.q = q
			p.refresh()
		}
	}
	_, bound := p.line().estimate(n)
	return toDuration(bound)
}

// line is what batches are expected to take now.
func (p *Profile) line() *curve {
	if p.mixed != nil {
		return &p.mixed.curve
	}
	return &p.whole
}
