package profiler

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// worker says what a run takes, in ns.
type worker func(rng *rand.Rand, batch int) float64

const (
	trueFixed = 2e6
	trueItem  = 0.3e6
)

func affine(n int) float64 { return trueFixed + trueItem*float64(n) }

// stepped is what a server takes that pads to the next power of two.
func stepped(n int) float64 { return affine(1 << bits.Len(uint(n-1))) }

// play carries the plan out on a simulated worker, without a clock.
func play(t *testing.T, sizes []int, w worker, seed uint64) (all []series, end string, runs int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 4))
	for _, n := range sizes {
		all = append(all, series{batch: n})
	}
	for rounds := 0; ; rounds++ {
		round, end := next(all)
		if len(round) == 0 {
			return all, end, runs
		}
		if rounds > 1e5 {
			t.Fatal("the plan does not end")
		}
		sorted := slices.Compact(slices.Sorted(slices.Values(round)))
		if len(sorted) != len(round) || sorted[0] != 0 {
			t.Fatalf("round %v: want every size once, and the smallest among them", round)
		}
		rng.Shuffle(len(round), func(i, j int) { round[i], round[j] = round[j], round[i] })
		for _, i := range round {
			runs++
			all[i].took = append(all[i].took, w(rng, all[i].batch))
			all[i].last = runs
		}
	}
}

func measuredSizes(all []series) []Size {
	var sizes []Size
	for _, s := range all {
		if len(s.took) > 0 {
			sizes = append(sizes, summarise(s.batch, s.took))
		}
	}
	return sizes
}

func TestPlan(t *testing.T) {
	sizes := DefaultBatches(64)
	noisy := func(law func(int) float64, sigma float64) worker {
		return func(rng *rand.Rand, n int) float64 { return law(n) * lognormal(rng, sigma) }
	}
	for _, c := range []struct {
		name   string
		w      worker
		end    string
		most   int     // sizes measured
		least  int     // likewise
		law    float64 // by how much the law may be off at 1, 8 and 64; 0: it need not hold
		doubts bool    // held-out sizes must refute the law
	}{
		{name: "exact", w: noisy(affine, 0), end: endLaw, least: 4, most: 4, law: 0.001},
		{name: "calm", w: noisy(affine, 0.02), end: endLaw, least: 4, most: 6, law: 0.02},
		{name: "wide", w: noisy(affine, 0.1), least: 4, most: 12, law: 0.02},
		{name: "heavy tail", w: func(rng *rand.Rand, n int) float64 {
			v := affine(n) * lognormal(rng, 0.03)
			if rng.Float64() < 0.03 {
				v *= 1 + 5*math.Pow(rng.Float64(), -0.7)
			}
			return v
		}, least: 4, most: 12, law: 0.02},
		{name: "padded to powers of two", w: noisy(stepped, 0.02), end: endAll, least: len(sizes), most: len(sizes), doubts: true},
		{name: "bends at 16", w: noisy(func(n int) float64 { return affine(max(16, n)) }, 0.02), end: endAll, least: len(sizes), most: len(sizes), doubts: true},
		{name: "no fixed part", w: noisy(func(n int) float64 { return trueItem * float64(n) }, 0.02), end: endLaw, least: 4, most: 12},
		{name: "all fixed", w: noisy(func(int) float64 { return trueFixed }, 0.02), end: endLaw, least: 4, most: 12},
		{name: "never certain", w: noisy(affine, 0.5), end: endRuns, least: 4, most: 12},
	} {
		t.Run(c.name, func(t *testing.T) {
			seeds := uint64(20)
			if testing.Short() {
				seeds = 3
			}
			if c.end == endRuns {
				seeds = 1 // it is long
			}
			for seed := range seeds {
				all, end, runs := play(t, sizes, c.w, seed)
				got := measuredSizes(all)
				if c.end != "" && end != c.end || len(got) < c.least || len(got) > c.most {
					t.Errorf("seed %d: %d sizes in %d runs, ended: %s", seed, len(got), runs, end)
				}
				l := fit(got)
				for _, n := range []int{1, 8, 64} {
					if off := l.At(n)/affine(n) - 1; c.law > 0 && math.Abs(off) > c.law {
						t.Errorf("seed %d: the law is off by %+.4f at %d", seed, off, n)
					}
				}
				if c.doubts && !slices.ContainsFunc(checks(got), func(k Check) bool { return k.Refutes() }) {
					t.Errorf("seed %d: nothing refutes an affine law: %+v", seed, checks(got))
				}
				for _, s := range got {
					if s.Count+s.Dropped < leastRuns || end == endAll && s.Relative() > precision {
						t.Errorf("seed %d: %+v is not known well enough", seed, s)
					}
				}
			}
		})
	}
}

// A law that holds is not refuted, as a rule, and its interval holds the truth.
func TestPredictionInterval(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	const repeats = 500
	covered, predictions, held := 0, 0, 0
	for range repeats {
		var sizes []Size
		for _, n := range []int{1, 4, 6, 16, 48, 64} {
			var took []float64
			for range 12 {
				took = append(took, affine(n)*lognormal(rng, 0.1))
			}
			sizes = append(sizes, summarise(n, took))
		}
		l := fit(sizes)
		for _, n := range []int{2, 24, 96} {
			mean, half := l.predict(n)
			predictions++
			if math.Abs(mean-affine(n)) <= half {
				covered++
			}
		}
		all := true
		for _, c := range checks(sizes) {
			all = all && !c.Refutes()
		}
		if all {
			held++
		}
	}
	if share := float64(covered) / float64(predictions); share < 0.93 {
		t.Errorf("the interval of a prediction holds the truth %.3f of the time", share)
	}
	if share := float64(held) / repeats; share < 0.92 {
		t.Errorf("a law that holds stands %.3f of the time", share)
	}
}

func TestFitOfFew(t *testing.T) {
	one := fit([]Size{{Batch: 4, Count: 9, Mean: time.Millisecond, Half: time.Microsecond}})
	if mean, half := one.predict(8); !(mean > 0) || !math.IsInf(half, 1) {
		t.Errorf("one size predicts %v ± %v", mean, half)
	}
	single := fit([]Size{{Batch: 1, Count: 1, Mean: 10, Half: 10}, {Batch: 2, Count: 1, Mean: 20, Half: 20}})
	if mean, half := single.predict(4); math.IsNaN(half) || math.Abs(mean-40) > 1 {
		t.Errorf("single runs predict %v ± %v", mean, half)
	}
	if all, _, runs := play(t, []int{3}, func(*rand.Rand, int) float64 { return 5e5 }, 1); runs != leastRuns {
		t.Errorf("one size that does not vary took %d runs: %v", runs, all)
	}
}

func TestSettled(t *testing.T) {
	for _, c := range []struct {
		took []float64
		want bool
	}{
		{nil, false},
		{[]float64{1, 1, 1, 1, 1, 1, 1, 1, 1}, false},
		{[]float64{1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, true},
		{[]float64{90, 9, 4, 3, 2, 1, 1, 1, 1, 1}, false},
		{[]float64{90, 9, 1, 1, 1, 1, 1, 1, 30, 1}, true},
		{[]float64{1, 1, 1, 1, 1, 1.1, 1.1, 1.1, 1.1, 1.1}, false},
	} {
		if got := settled(c.took); got != c.want {
			t.Errorf("%v: settled %v", c.took, got)
		}
	}
}

func TestSizes(t *testing.T) {
	for _, c := range []struct {
		most   int
		sizes  string
		ladder string
	}{
		{1, "[1]", "[1]"},
		{2, "[1 2]", "[1 2]"},
		{5, "[1 2 3 4 5]", "[1 2 4 5]"},
		{16, "[1 2 3 4 6 8 12 16]", "[1 2 4 8 16]"},
		{100, "[1 2 3 4 6 8 12 16 24 32 48 64 96 100]", "[1 2 4 8 16 32 64 100]"},
	} {
		sizes := DefaultBatches(c.most)
		if got := fmt.Sprint(sizes); got != c.sizes {
			t.Errorf("up to %d: %s", c.most, got)
		}
		if got := fmt.Sprint(ladder(sizes)); got != c.ladder {
			t.Errorf("up to %d: the ladder is %s", c.most, got)
		}
	}
}
