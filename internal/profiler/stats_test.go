package profiler

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// lognormal has mean 1.
func lognormal(rng *rand.Rand, sigma float64) float64 {
	return math.Exp(sigma*rng.NormFloat64() - sigma*sigma/2)
}

func TestSummarise(t *testing.T) {
	same := func(n int, v float64) []float64 { return slices.Repeat([]float64{v}, n) }
	for _, c := range []struct {
		name            string
		took            []float64
		mean, p99       time.Duration
		count, dropped  int
		unknown, narrow bool // the interval
	}{
		{name: "one run", took: same(1, 50), mean: 50, p99: 50, count: 1, unknown: true},
		{name: "all alike", took: same(9, 50), mean: 50, p99: 50, count: 9, narrow: true},
		{name: "one outlier of twenty", took: append(same(19, 100), 1000), mean: 100, p99: 1000, count: 19, dropped: 1, narrow: true},
		{name: "one too fast", took: append(same(19, 100), 10), mean: 100, p99: 100, count: 19, dropped: 1, narrow: true},
		{name: "too many to be outliers", took: append(same(15, 100), same(5, 200)...), mean: 125, p99: 200, count: 20},
		{name: "within what timers can tell", took: append(same(19, 1000), 1040), mean: 1002, p99: 1040, count: 20, narrow: true},
		{name: "hundred", took: append(same(98, 100), 900, 1000), mean: 100, p99: 900, count: 98, dropped: 2, narrow: true},
		{name: "too few to judge", took: []float64{1, 1, 1, 9}, mean: 3, p99: 9, count: 4},
		{name: "no less than 1 ns", took: same(3, 0), mean: 1, p99: 1, count: 3, narrow: true},
	} {
		s := summarise(7, c.took)
		if s.Batch != 7 || s.Mean != c.mean || s.P99 != c.p99 || s.Count != c.count || s.Dropped != c.dropped {
			t.Errorf("%s: %+v", c.name, s)
		}
		if (s.Relative() == 1) != c.unknown || (s.Relative() < 0.01) != c.narrow {
			t.Errorf("%s: the mean is ± %.3f", c.name, s.Relative())
		}
	}
}

// The interval holds the true mean about as often as it says, and a tail that a
// few disturbed runs make moves the mean by less than 2 %.
func TestMeanIsRecovered(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, c := range []struct {
		name   string
		sigma  float64
		runs   int
		spikes float64 // share of runs that take ×5 to ×50
		covers float64 // at least
	}{
		{"calm", 0.02, 10, 0, 0.93},
		{"few runs, wide", 0.2, 10, 0, 0.92},
		{"wide", 0.3, 40, 0, 0.92},
		{"disturbed", 0.05, 60, 0.03, 0.92},
	} {
		const repeats = 2000
		covered, sum := 0, 0.0
		for range repeats {
			var took []float64
			for range c.runs {
				v := 1e6 * lognormal(rng, c.sigma)
				if rng.Float64() < c.spikes {
					v *= 5 + 45*rng.Float64()
				}
				took = append(took, v)
			}
			s := summarise(1, took)
			sum += float64(s.Mean)
			if math.Abs(float64(s.Mean)-1e6) <= float64(s.Half) {
				covered++
			}
		}
		if share := float64(covered) / repeats; share < c.covers {
			t.Errorf("%s: the interval holds the mean %.3f of the time, want %.2f", c.name, share, c.covers)
		}
		if off := sum/repeats/1e6 - 1; math.Abs(off) > 0.02 {
			t.Errorf("%s: the mean is off by %+.3f", c.name, off)
		}
	}
}

func TestRanks(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for range 200 {
		values := make([]float64, 1+rng.IntN(30))
		for i := range values {
			values[i] = float64(rng.IntN(10))
		}
		got := ranks(values)
		for i, v := range values {
			less, equal := 0, 0
			for _, w := range values {
				if w < v {
					less++
				} else if w == v {
					equal++
				}
			}
			if want := float64(less) + float64(equal+1)/2; got[i] != want {
				t.Fatalf("%v: rank of %v is %v, want %v", values, v, got[i], want)
			}
		}
	}
}

func TestFindChange(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	tail := func() float64 { return lognormal(rng, 0.05) * math.Pow(rng.Float64(), -0.5) } // Pareto of infinite variance
	series := func(n, at int, factor float64, law func() float64) []float64 {
		var all []float64
		for i := range n {
			v := law()
			if i >= at {
				v *= factor
			}
			all = append(all, v)
		}
		return all
	}
	calm := func() float64 { return lognormal(rng, 0.05) }
	for _, c := range []struct {
		name   string
		law    func() float64
		factor float64
		within int // runs of the true moment
	}{
		{"slower by a fifth", calm, 1.2, 4},
		{"faster by a half", calm, 0.5, 4},
		{"twice, under a heavy tail", tail, 2, 30},
	} {
		for range 50 {
			change, found := findChange(series(200, 120, c.factor, c.law))
			if !found || change.Run < 120-c.within || change.Run > 120+c.within || math.Abs(change.Factor/c.factor-1) > 0.35 {
				t.Errorf("%s: found %v: %+v", c.name, found, change)
			}
		}
	}
	alarms := 0
	const healthy = 3000
	for i := range healthy {
		if _, found := findChange(series(20+i%200, 1<<30, 1, tail)); found {
			alarms++
		}
	}
	if alarms > healthy*4/1000 {
		t.Errorf("%d false alarms in %d series", alarms, healthy)
	}
	if _, found := findChange(series(200, 100, 1.03, func() float64 { return 1 })); found {
		t.Error("a change of 3 % is none that matters")
	}
	if _, found := findChange(series(changeRuns-1, 10, 5, calm)); found {
		t.Error("a change seen in hardly any runs")
	}
}
