package pool

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"
)

// exiting draws what batches of a model with exits take.
type exiting struct {
	r           *rand.Rand
	fixed, item time.Duration
	share       []float64
	reach       []float64 // P(a row reaches the stage)
	noise       float64   // standard deviation of the logarithm
	alike       int       // so many rows in a row leave together; 0: each by itself
}

// draw returns how far the rows of a batch of n ran, and what it took.
func (x *exiting) draw(n int) (stages []Stage, took time.Duration) {
	for _, s := range x.share {
		stages = append(stages, Stage{Share: s})
	}
	u := 0.0
	for i := range n {
		if x.alike == 0 || i%x.alike == 0 {
			u = x.r.Float64()
		}
		for s, p := range x.reach {
			if u < p {
				stages[s].Rows++
			}
		}
	}
	ns := 0.0
	for _, s := range stages {
		if s.Rows > 0 {
			ns += s.Share * float64(x.fixed+time.Duration(s.Rows)*x.item)
		}
	}
	return stages, time.Duration(ns * math.Exp(x.noise*x.r.NormFloat64()-x.noise*x.noise/2))
}

// measuredLaw is a profile of the truth as a careful benchmark finds it, whose
// smallest batch is 10.
func (x *exiting) measuredLaw(t testing.TB) *Profile {
	var points []Point
	for n := 10; n <= 500; n += 10 {
		mean := x.fixed + time.Duration(n)*x.item
		points = append(points, Point{Batch: n, Mean: mean, P99: mean + mean/4})
	}
	return newProfile(t, points...)
}

// TestMix holds, at every batch size, that the whole run's law is learned from
// batches that hardly ever are whole runs, that the mean is that of the batches,
// and that the 99 % bound holds at least that often, while it is no more than it
// has to be where batches are large.
func TestMix(t *testing.T) {
	sizes := []int{1, 2, 3, 5, 8, 16, 40, 100, 300}
	for _, reach := range [][]float64{{1, 0.5, 0.3}, {1, 0.9, 0.1}, {1, 0.3, 0.02}} {
		for _, fixed := range []time.Duration{10 * time.Millisecond, time.Millisecond / 2} {
			for k := range 4 {
				x := &exiting{
					r: rand.New(rand.NewPCG(1, 2)), fixed: fixed, item: time.Millisecond,
					share: []float64{0.3, 0.3, 0.4}, reach: reach, noise: 0.1, alike: 4 * (k % 2),
				}
				p, mix := newProfile(t), &Mix{}
				if k >= 2 {
					p = x.measuredLaw(t)
				}
				var asked, within, took, mean, bound [301]float64
				for i := range 12_000 {
					n := sizes[x.r.IntN(len(sizes))]
					stages, d := x.draw(n)
					if i > 1000 {
						asked[n]++
						if d <= p.Bound(n, 0.99) {
							within[n]++
						}
						took[n] += float64(d)
						mean[n] += float64(p.Mean(n))
						bound[n] += float64(p.Bound(n, 0.99))
					}
					p.ObserveStages(n, d, stages, mix)
				}
				for _, n := range sizes {
					whole := p.whole.at(n) / float64(fixed+time.Duration(n)*x.item)
					limit := 0.04
					if n < p.knots[0].n {
						limit = 0.08 // beyond what was measured
					}
					if math.Abs(whole-1) > limit {
						t.Errorf("%+v: a whole run of %d is taken for %.3f of what it is", x, n, whole)
					}
					limit = 0.025
					if x.alike > 0 {
						limit = 0.08 // how many rows are alike is not known
					}
					if off := mean[n] / took[n]; math.Abs(off-1) > limit {
						t.Errorf("%+v: the mean of %d is %.3f of what it is", x, n, off)
					}
					if share := within[n] / asked[n]; share < 0.99 {
						t.Errorf("%+v: %.4f of the batches of %d are within the 99 %% bound", x, share, n)
					}
					if n >= 100 && bound[n] > 1.65*mean[n] {
						t.Errorf("%+v: the bound of %d is %.3f means", x, n, bound[n]/mean[n])
					}
				}
			}
		}
	}
}

// TestMixAgainstBinomial compares what is expected of a stage, and how many rows
// reach it at most, with the binomial law itself.
func TestMixAgainstBinomial(t *testing.T) {
	p := newProfile(t, Point{Batch: 1, Mean: 9000}, Point{Batch: 500, Mean: 9000 + 499*40})
	m := Mix{rows: mixSpan, scatter: 1}
	for _, n := range []int{1, 2, 3, 7, 20, 64, 300} {
		for _, reach := range []float64{0, 0.001, 0.02, 0.3, 0.5, 0.97, 1} {
			want, below := 0.0, 0.0
			quantile := [2]int{-1, -1} // 0.9, 0.99
			for k := range n + 1 {
				a, _ := math.Lgamma(float64(n + 1))
				b, _ := math.Lgamma(float64(k + 1))
				c, _ := math.Lgamma(float64(n - k + 1))
				pmf := math.Exp(a-b-c) * math.Pow(reach, float64(k)) * math.Pow(1-reach, float64(n-k))
				if k > 0 {
					want += pmf * p.whole.at(k)
				}
				below += pmf
				for i, q := range [...]float64{0.9, 0.99} {
					if quantile[i] < 0 && below >= q {
						quantile[i] = k
					}
				}
			}
			if got := m.expected(&p.whole, n, reach); math.Abs(got-want) > 1e-6*want+1e-9 {
				t.Errorf("n=%d, p=%v: %v expected, want %v", n, reach, got, want)
			}
			for i, z := range [...]float64{1.2816, 2.3263} {
				if got := m.most(n, reach, z); math.Floor(got) < float64(quantile[i]) || got > float64(n) {
					t.Errorf("n=%d, p=%v, z=%v: at most %v rows, want %d at least", n, reach, z, got, quantile[i])
				}
			}
		}
	}
}

// TestMixChanges: when all rows run to the end at once, as when a controller
// falls back, a few batches are enough to know, on every instance type that
// shares the mix; and when they leave again some more.
func TestMixChanges(t *testing.T) {
	x := &exiting{r: rand.New(rand.NewPCG(3, 4)), fixed: 4 * time.Millisecond, item: time.Millisecond, share: []float64{0.2, 0.3, 0.5}, noise: 0.05}
	mix := &Mix{}
	p, other := x.measuredLaw(t), x.measuredLaw(t)
	run := func(batches int, reach ...float64) {
		x.reach = reach
		for range batches {
			n := 1 + x.r.IntN(32)
			stages, took := x.draw(n)
			p.ObserveStages(n, took, stages, mix)
			other.Remix()
		}
	}
	x.reach = []float64{1, 1, 1}
	stages, took := x.draw(8)
	other.ObserveStages(8, took, stages, mix) // from now on it knows its stages
	check := func(when string, p *Profile, low, high float64) {
		t.Helper()
		if share := float64(p.Mean(20)) / p.whole.at(20); share < low || share > high {
			t.Errorf("%s: %.3f of a whole run is expected, want %v to %v", when, share, low, high)
		}
	}
	check("at first", p, 1, 1)
	run(2000, 1, 0.3, 0.1)
	// 0.2 + 0.3·(4+6)/24 + 0.5·(4·0.88+2)/24
	check("rows leave", p, 0.42, 0.46)
	check("rows leave, elsewhere", other, 0.42, 0.46)
	run(6, 1, 1, 1)
	check("6 batches after none do", p, 0.8, 1)
	check("6 batches after none do, elsewhere", other, 0.8, 1)
	if bound := float64(p.Bound(20, 0.99)) / p.whole.at(20); bound < 1.05 {
		t.Errorf("6 batches after no row leaves the bound is %.3f of a whole run", bound)
	}
	run(100, 1, 1, 1)
	check("100 batches after none do", p, 0.98, 1)
	run(40, 1, 0.3, 0.1)
	check("40 batches after they do again", p, 0.4, 0.5)
	// A controller that is off tells no stages.
	for range 6 {
		n := 1 + x.r.IntN(32)
		p.ObserveStages(n, x.fixed+time.Duration(n)*x.item, nil, mix)
	}
	check("6 batches after it is off", p, 0.8, 1)
}

// TestMixIsNotSaved: what is saved, and what other programs start from, is the
// whole run; so is a profile whose batches never tell of stages.
func TestMixIsNotSaved(t *testing.T) {
	x := &exiting{r: rand.New(rand.NewPCG(5, 6)), fixed: 2 * time.Millisecond, item: time.Millisecond, share: []float64{0.5, 0.5}, reach: []float64{1, 0.1}, noise: 0.05}
	p, plain, mix := newProfile(t), newProfile(t), &Mix{}
	for range 3000 {
		n := 1 + x.r.IntN(64)
		stages, took := x.draw(n)
		ran := 0.0
		for _, s := range stages {
			if s.Rows > 0 {
				ran += s.Share * float64(x.fixed+time.Duration(s.Rows)*x.item) / float64(x.fixed+time.Duration(n)*x.item)
			}
		}
		p.ObserveStages(n, took, stages, mix)
		plain.ObserveStages(n, time.Duration(float64(took)/ran), nil, mix)
	}
	if plain.mixed != nil {
		t.Error("a profile that was told of no stages has a mix")
	}
	again, err := LoadProfiles(bytes.NewReader(save(t, []Learned{{"m", "t", p}})))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 7, 40, 64} {
		if got, want := again[0].Profile.Mean(n), toDuration(p.whole.at(n)); got != want {
			t.Errorf("%d items: %v was saved, want the whole run's %v", n, got, want)
		}
		if got := off(again[0].Profile.Mean(n), plain.Mean(n)); got > 0.05 {
			t.Errorf("%d items: what was learned of what is left is %.3f off what whole runs teach", n, got)
		}
	}
	if pt := p.Points()[3]; pt.Mean != toDuration(p.whole.at(pt.Batch)) {
		t.Errorf("%+v is exported, want the whole run's %v", pt, toDuration(p.whole.at(pt.Batch)))
	}
}

// TestStagesThatMakeNoSense teach nothing.
func TestStagesThatMakeNoSense(t *testing.T) {
	p, mix := newProfile(t), &Mix{}
	p.Observe(4, time.Millisecond)
	before := p.Mean(4)
	for _, stages := range [][]Stage{
		{{0.5, 4}, {0.4, 4}}, {{0.5, 4}, {0.5, 5}}, {{0.5, 5}, {0.5, 4}}, {{0.5, 0}, {0.5, 0}},
		{{0.5, 4}, {0.5, -1}}, {{1.5, 4}, {-0.5, 4}}, {{math.NaN(), 4}, {0.5, 4}}, {{1, 4}, {0, 4}},
	} {
		p.ObserveStages(4, time.Hour, stages, mix)
		if p.Mean(4) != before || p.mixed != nil || mix.rows != 0 {
			t.Errorf("%v was believed", stages)
		}
	}
	// Of another number of stages the mix is of no use to the profile.
	p.ObserveStages(4, time.Millisecond, []Stage{{0.5, 4}, {0.5, 0}}, mix)
	other := newProfile(t)
	other.ObserveStages(4, time.Millisecond, []Stage{{0.5, 4}, {0.2, 4}, {0.3, 2}}, mix)
	if len(mix.reach) != 2 || len(other.mixed.mix.reach) != 3 {
		t.Errorf("mixes of %d and %d stages, want 2 and 3", len(mix.reach), len(other.mixed.mix.reach))
	}
}

// FuzzMix: whatever is observed, neither estimate falls as batches grow, the
// bound is at least the mean, neither is over the whole run's (up to the last
// corner), and a clone is its own.
func FuzzMix(f *testing.F) {
	f.Add(uint64(1), true)
	f.Add(uint64(2), false)
	f.Fuzz(func(t *testing.T, seed uint64, seeded bool) {
		r := rand.New(rand.NewPCG(seed, 1))
		p := anyProfile(t, r, seeded)
		mix := &Mix{}
		for range 1 + r.IntN(100) {
			n := 1 + r.IntN(1<<r.IntN(30))
			stages := make([]Stage, 1+r.IntN(5))
			rows := n
			for i := range stages {
				stages[i] = Stage{1 / float64(len(stages)), rows}
				rows = r.IntN(rows + 1)
			}
			if r.IntN(8) == 0 {
				stages = nil
			}
			p.ObserveStages(n, time.Duration(r.Int64N(1<<(1+r.IntN(62)))), stages, mix)
		}
		checkShape(t, p)
		if !p.Known() {
			return
		}
		c := p.Clone()
		before := c.Mean(9)
		for n := 1; n <= p.whole.corners[len(p.whole.corners)-1].n; n += 1 + n/7 {
			p.Bound(n, 0.99) // it makes the estimates for that
			mean, bound := p.whole.estimate(n)
			if p.Mean(n) > toDuration(mean)+1 || p.Bound(n, 0.99) > max(toDuration(bound), toDuration(mean))+1 {
				t.Errorf("%d items: %v, %v with a mix, %v, %v without", n, p.Mean(n), p.Bound(n, 0.99), toDuration(mean), toDuration(bound))
			}
		}
		for range 9 {
			p.ObserveStages(9, time.Hour, []Stage{{0.5, 9}, {0.5, 1}}, mix)
		}
		if c.Mean(9) != before {
			t.Error("what the profile learned changed its clone")
		}
	})
}

// TestMixAllocatesNothing once it is there.
func TestMixAllocatesNothing(t *testing.T) {
	x := &exiting{r: rand.New(rand.NewPCG(5, 6)), fixed: 2 * time.Millisecond, item: time.Millisecond, share: []float64{0.5, 0.5}, reach: []float64{1, 0.5}, noise: 0.05}
	p, mix := x.measuredLaw(t), &Mix{}
	stages, took := x.draw(20)
	p.ObserveStages(20, took, stages, mix)
	var sum time.Duration
	if n := testing.AllocsPerRun(1000, func() {
		stages[1].Rows = x.r.IntN(21)
		p.ObserveStages(20, took, stages, mix)
		p.Remix()
		sum += p.Mean(7) + p.Bound(7, 0.99) + p.Bound(7, 0.9) + time.Duration(p.Within(time.Second, 99, 0.99))
	}); n != 0 || sum == 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// BenchmarkObserveStages is of batches whose rows leave as they will, by size.
func BenchmarkObserveStages(b *testing.B) {
	for _, n := range []int{1, 32, 1000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			x := &exiting{
				r: rand.New(rand.NewPCG(5, 6)), fixed: 2 * time.Millisecond, item: time.Millisecond,
				share: []float64{0.3, 0.3, 0.4}, reach: []float64{1, 0.5, 0.2}, noise: 0.05,
			}
			var stages [64][]Stage
			var took [64]time.Duration
			for i := range stages {
				stages[i], took[i] = x.draw(n)
			}
			p, mix := x.measuredLaw(b), &Mix{}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				p.ObserveStages(n, took[i%64], stages[i%64], mix)
			}
		})
	}
}
