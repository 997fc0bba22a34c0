package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"motley/internal/pool"
)

// Truth is how long one instance type really takes for batches of one model,
// which no policy sees. It does not change.
//
// A batch takes a draw from the cell of its size, or from the next larger cell
// where its own was not measured: conservative, and what KAIROS's and RIBBON's
// simulators do. Rows of a profile file may be far apart: there the draw is
// scaled to the mean on the straight line between the two cells. A batch beyond the largest cell takes a draw from that,
// scaled by (a + b·n) / (a + b·largest), where a + b·n is fitted to the cells'
// means by least squares of the relative error.
type Truth struct {
	cells []truthCell // by rising batch
	fixed float64     // a and b, in ns
	per   float64
}

// truthCell is either samples or a log-normal law.
type truthCell struct {
	batch     int
	took      []time.Duration
	mu, sigma float64 // of the logarithm of ns, where took is empty
	mean      float64 // ns
}

// NewTruth takes the cells of one model on one instance type out of all that
// were read. None is an error.
func NewTruth(cells []Cell, model, instanceType string) (*Truth, error) {
	t := &Truth{}
	for _, c := range cells {
		if c.Model != model || c.InstanceType != instanceType {
			continue
		}
		if c.Batch < 1 || len(c.Took) == 0 {
			return nil, fmt.Errorf("cannot use samples of %s on %s: batch %d has %d samples", model, instanceType, c.Batch, len(c.Took))
		}
		sum := 0.0
		for _, d := range c.Took {
			if d < 0 {
				return nil, fmt.Errorf("cannot use samples of %s on %s: batch %d: %v is negative", model, instanceType, c.Batch, d)
			}
			sum += float64(d)
		}
		t.cells = append(t.cells, truthCell{batch: c.Batch, took: c.Took, mean: sum / float64(len(c.Took))})
	}
	if err := t.finish(); err != nil {
		return nil, fmt.Errorf("cannot use samples of %s on %s: %w", model, instanceType, err)
	}
	return t, nil
}

// z99 is the 99th percentile of the standard normal law.
const z99 = 2.3263478740408408

// TruthFromRows makes a truth of a profile file, for where no samples are
// left: each row of the model on the instance type becomes a log-normal law
// with its mean m and 99th percentile q. With X = exp(μ + σZ) these are
//
//	ln m = μ + σ²/2,  ln q = μ + z₉₉·σ,  so  σ = z₉₉ − √(z₉₉² − 2·ln(q/m)).
//
// No log-normal has q/m over exp(z₉₉²/2) ≈ 15: σ stays at z₉₉ there. Without a
// P99, or with one under the mean, the time is constant.
func TruthFromRows(rows []pool.Row, model, instanceType string) (*Truth, error) {
	t := &Truth{}
	for _, r := range rows {
		if r.Model != model || r.InstanceType != instanceType {
			continue
		}
		if r.Batch < 1 || r.Mean <= 0 || r.P99 < 0 {
			return nil, fmt.Errorf("cannot use rows of %s on %s: batch %d: mean %v, p99 %v", model, instanceType, r.Batch, r.Mean, r.P99)
		}
		c := truthCell{batch: r.Batch, mean: float64(r.Mean)}
		if r.P99 > r.Mean {
			c.sigma = z99 - math.Sqrt(max(0, z99*z99-2*math.Log(float64(r.P99)/float64(r.Mean))))
		}
		c.mu = math.Log(c.mean) - c.sigma*c.sigma/2
		t.cells = append(t.cells, c)
	}
	if err := t.finish(); err != nil {
		return nil, fmt.Errorf("cannot use rows of %s on %s: %w", model, instanceType, err)
	}
	return t, nil
}

func (t *Truth) finish() error {
	if len(t.cells) == 0 {
		return fmt.Errorf("there are none")
	}
	slices.SortFunc(t.cells, func(a, b truthCell) int { return a.batch - b.batch })
	for i := range t.cells[1:] {
		if t.cells[i].batch == t.cells[i+1].batch {
			return fmt.Errorf("batch %d comes twice", t.cells[i].batch)
		}
	}
	var w, n, nn, y, ny float64
	for _, c := range t.cells {
		m := max(c.mean, 1)
		k, x := 1/(m*m), float64(c.batch)
		w, n, nn, y, ny = w+k, n+k*x, nn+k*x*x, y+k*m, ny+k*x*m
	}
	if det := w*nn - n*n; len(t.cells) > 1 && det > 0 {
		t.per = (w*ny - n*y) / det
		t.fixed = (y - t.per*n) / w
	}
	last := t.cells[len(t.cells)-1]
	switch {
	case len(t.cells) == 1:
		t.fixed, t.per = 0, last.mean/float64(last.batch) // for all we know
	case t.per <= 0 || t.fixed+t.per*float64(last.batch) <= 0:
		t.fixed, t.per = last.mean, 0
	}
	return nil
}

// Largest is the largest batch that was measured, in items.
func (t *Truth) Largest() int { return t.cells[len(t.cells)-1].batch }

// cell is the one that a batch of n items draws from, and the factor on it.
func (t *Truth) cell(n int) (*truthCell, float64) {
	lo, hi := 0, len(t.cells)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if t.cells[mid].batch < n {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(t.cells) {
		c := &t.cells[lo]
		if lo == 0 || c.batch == n || len(c.took) > 0 || c.mean == 0 {
			return c, 1
		}
		before := &t.cells[lo-1]
		part := float64(n-before.batch) / float64(c.batch-before.batch)
		return c, (before.mean + part*(c.mean-before.mean)) / c.mean
	}
	last := &t.cells[lo-1]
	return last, (t.fixed + t.per*float64(n)) / (t.fixed + t.per*float64(last.batch))
}

// Draw draws the service time of a batch of n items, n ≥ 1.
func (t *Truth) Draw(n int, rng *rand.Rand) time.Duration {
	c, factor := t.cell(n)
	if len(c.took) > 0 {
		d := c.took[rng.IntN(len(c.took))]
		if factor == 1 {
			return d
		}
		return scaled(d, factor)
	}
	if c.sigma == 0 {
		return scaled(time.Duration(math.Round(c.mean)), factor)
	}
	return scaled(time.Duration(min(math.Exp(c.mu+c.sigma*rng.NormFloat64()), 1e17)), factor)
}

// Mean is the mean service time of a batch of n items.
func (t *Truth) Mean(n int) time.Duration {
	c, factor := t.cell(n)
	return time.Duration(math.Round(c.mean * factor))
}

// Points are what a profiler that sees this truth would report: mean and 99th
// percentile of every cell. They are what a policy's profile is seeded with
// when it is to have been measured beforehand.
func (t *Truth) Points() []pool.Point {
	points := make([]pool.Point, 0, len(t.cells))
	for _, c := range t.cells {
		p := pool.Point{Batch: c.batch, Mean: max(1, time.Duration(math.Round(c.mean)))}
		if n := len(c.took); n > 0 {
			sorted := slices.Sorted(slices.Values(c.took))
			p.P99, p.Count = sorted[int(math.Ceil(0.99*float64(n)))-1], n
		} else {
			p.P99 = time.Duration(math.Exp(min(c.mu+z99*c.sigma, 39)))
		}
		points = append(points, p)
	}
	return points
}

// scaled multiplies a duration, kept clear of overflow.
func scaled(d time.Duration, factor float64) time.Duration {
	return time.Duration(math.Round(min(float64(d)*factor, 1e17)))
}
