package earlyexit

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestIsotonic compares with pooling that looks for a violation anew each time.
func TestIsotonic(t *testing.T) {
	chance := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		n := 1 + chance.IntN(12)
		values, weights := make([]float64, n), make([]float64, n)
		for i := range values {
			values[i], weights[i] = math.Round(chance.Float64()*8), 0.5+chance.Float64()
		}
		want := pooled(values, weights)
		got := slices.Clone(values)
		isotonic(got, slices.Clone(weights), make([]int, n))
		for i := range got {
			if math.Abs(got[i]-want[i]) > 1e-9 {
				t.Fatalf("%v with %v gives %v, want %v", values, weights, got, want)
			}
		}
	}
}

func pooled(values, weights []float64) []float64 {
	type block struct {
		v, w float64
		n    int
	}
	var blocks []block
	for i := range values {
		blocks = append(blocks, block{values[i], weights[i], 1})
	}
	for again := true; again; {
		again = false
		for i := 0; i+1 < len(blocks); i++ {
			a, b := blocks[i], blocks[i+1]
			if a.v > b.v {
				blocks[i] = block{(a.v*a.w + b.v*b.w) / (a.w + b.w), a.w + b.w, a.n + b.n}
				blocks = slices.Delete(blocks, i+1, i+2)
				again = true
				break
			}
		}
	}
	var out []float64
	for _, b := range blocks {
		for range b.n {
			out = append(out, b.v)
		}
	}
	return out
}

// TestUpperShare holds the published numbers of rows that prove a share.
func TestUpperShare(t *testing.T) {
	for _, tc := range []struct {
		share float64
		n     []float64 // by losses: the least rows
	}{{0.01, []float64{299, 473, 628, 773, 913, 1049}}, {0.005, []float64{598, 947, 1258}}} {
		for k, n := range tc.n {
			if u := upperShare(float64(k), n, 0.95); u > tc.share {
				t.Errorf("%d of %v: at most %v, want %v proven", k, n, u, tc.share)
			}
			if u := upperShare(float64(k), n-1, 0.95); u <= tc.share {
				t.Errorf("%d of %v: at most %v, want %v not yet proven", k, n-1, u, tc.share)
			}
		}
	}
	for n, want := range map[float64]float64{16: 0.171, 64: 0.046, 128: 0.023, 256: 0.0116, 512: 0.0058} {
		if u := upperShare(0, n, 0.95); math.Abs(u-want) > 0.0006 {
			t.Errorf("0 of %v: at most %v, want %v", n, u, want)
		}
	}
	if upperShare(3, 3, 0.95) != 1 || upperShare(0, 0, 0.95) != 1 {
		t.Error("nothing known must bound nothing")
	}
}

// TestBetaShare compares with sums of the binomial distribution.
func TestBetaShare(t *testing.T) {
	for _, n := range []int{1, 5, 40, 300} {
		for _, p := range []float64{0.001, 0.03, 0.4, 0.97} {
			for k := range min(n, 30) {
				below := 0.0 // P(X ≤ k)
				for j := range k + 1 {
					a, _ := math.Lgamma(float64(n + 1))
					b, _ := math.Lgamma(float64(j + 1))
					c, _ := math.Lgamma(float64(n - j + 1))
					below += math.Exp(a - b - c + float64(j)*math.Log(p) + float64(n-j)*math.Log1p(-p))
				}
				if got := betaShare(p, float64(k+1), float64(n-k)); math.Abs(got-(1-below)) > 1e-9 {
					t.Errorf("I_%v(%d, %d) = %v, want %v", p, k+1, n-k, got, 1-below)
				}
			}
		}
	}
}

// TestLogistic finds the weights that rows were drawn from, and follows when
// they change.
func TestLogistic(t *testing.T) {
	chance := rand.New(rand.NewPCG(3, 3))
	var m logistic
	m.reset(vector{}, 0.5)
	for _, want := range []vector{{0: -2, 1: 1, 2: -1}, {0: 1, 1: -1, 2: 2}} {
		for range 20_000 {
			x := vector{0: 1, 1: chance.NormFloat64(), 2: chance.NormFloat64()}
			y, odds := 0.0, 0.0
			for i := range x {
				odds += want[i] * x[i]
			}
			if chance.Float64() < sigmoid(odds) {
				y = 1
			}
			m.learn(&x, y, 1, 1e-4, varianceMost)
		}
		for i := range 3 {
			if math.Abs(m.w[i]-want[i]) > 0.45 {
				t.Errorf("weights %v, want %v", m.w[:3], want[:3])
			}
		}
	}
}

// TestRecalibration maps a model that is off to what really happens, and never
// falls.
func TestRecalibration(t *testing.T) {
	chance := rand.New(rand.NewPCG(4, 4))
	var c recalibration
	c.refresh(20)
	for o := -11.0; o < 11; o += 0.1 { // nothing known: the model itself
		if got := c.risk(o); math.Abs(logit(got)-o) > 0.01 {
			t.Fatalf("without rows, log-odds %v become %v", o, logit(got))
		}
	}
	truth := func(odds float64) float64 { return sigmoid(0.5*odds - 1) }
	for range 60_000 {
		odds := chance.NormFloat64()*2.5 - 3
		y := 0.0
		if chance.Float64() < truth(odds) {
			y = 1
		}
		c.learn(odds, y, 1, 1-1./20_000)
	}
	c.refresh(20)
	before := 0.0
	for o := -12.0; o < 6; o += 0.01 {
		got := c.risk(o)
		if got < before {
			t.Fatalf("the risk falls at %v", o)
		}
		before = got
		if o > -7 && o < 1 && math.Abs(logit(got)-logit(truth(o))) > 0.5 {
			t.Errorf("at %.2f: %v, want %v", o, got, truth(o))
		}
	}
}

// TestMix compares with a count over rows that were kept.
func TestMix(t *testing.T) {
	chance := rand.New(rand.NewPCG(5, 5))
	m := newMix()
	const n, ramps = 400, 3
	var want [gridSize]float64
	for i := range n {
		var scores, risks [ramps]float64
		for r := range ramps {
			risks[r] = math.Exp(-8 * chance.Float64())
			scores[r] = risks[r] * (0.5 + chance.Float64())
		}
		m.learn(scores[:], risks[:], 7, -1, 1, 100)
		for g, tau := range m.taus {
			for r := range ramps {
				if scores[r] <= tau {
					want[g] += risks[r] * 0.01 * math.Pow(0.99, float64(n-1-i))
					break
				}
			}
		}
	}
	for g := range want {
		if math.Abs(m.risk[g]-want[g]) > 1e-9 {
			t.Errorf("τ = %v: mean risk %v, want %v", m.taus[g], m.risk[g], want[g])
		}
	}
	for _, w := range []float64{1e-6, 0.004, 0.01, 0.9} {
		if tau := m.tau(w); tau > m.taus[gridSize-1] || m.from(tau) > 0 && m.risk[m.from(tau)-1] > w {
			t.Errorf("a mean risk of %v: τ = %v costs %v", w, tau, m.risk[m.from(tau)-1])
		}
	}
}

// TestChoose compares the climb with all sets within the budget.
func TestChoose(t *testing.T) {
	chance := rand.New(rand.NewPCG(6, 6))
	const ramps = 7
	worse := 0
	for range 60 {
		k := newKept(ramps)
		slope := 1 + 4*chance.Float64()
		for range keptRows {
			var risks [ramps]float64
			hard := chance.NormFloat64()
			for r := range ramps {
				risks[r] = sigmoid(-3 - 0.6*float64(r) + slope*hard + 0.5*chance.NormFloat64())
			}
			k.add(risks[:], 1)
		}
		cost := even(ramps, 0)
		for r := range cost.Ramp {
			cost.Ramp[r] = 0.002 + 0.01*chance.Float64()
		}
		price := 5 + 100*chance.Float64()
		within := func(s uint32) bool { return fits(s, &cost, 0.02) }
		best, set := math.Inf(-1), uint32(0)
		for s := range uint32(1 << ramps) {
			if within(s) {
				if v := k.worth(s, &cost, price); v > best {
					best, set = v, s
				}
			}
		}
		start := spread(ramps, within)
		near, v := k.climb(start, &cost, price, within)
		if far, w := k.climb(0, &cost, price, within); w > v {
			near, v = far, w
		}
		if !within(near) {
			t.Fatalf("set %b is beyond the budget", near)
		}
		if v < best-0.004 {
			t.Errorf("set %b is worth %v, but %b is worth %v", near, v, set, best)
		}
		if near != set {
			worse++
		}
	}
	if worse > 6 {
		t.Errorf("another set than the best was chosen %d times of 60", worse)
	}
}

// TestWorth compares the value of a set whose rows are certain with the value
// worked out by hand.
func TestWorth(t *testing.T) {
	k := newKept(2)
	k.add([]float64{1e-9, 1e-9}, 1)           // leaves at ramp 0
	k.add([]float64{0.9999999, 1e-9}, 2)      // leaves at ramp 1
	k.add([]float64{0.9999999, 0.9999999}, 1) // goes on
	cost := Cost{Batch: 1, Whole: 10, Until: []float64{2, 5}, Ramp: []float64{0.1, 0.2}}
	want := (1*(1-0.21) + 2*(1-0.53) + 1*(-0.03)) / 4
	if got := k.worth(3, &cost, 50); math.Abs(got-want) > 1e-6 {
		t.Errorf("both ramps are worth %v, want %v", got, want)
	}
	if got := k.worth(2, &cost, 50); math.Abs(got-(3*(1-0.52)+1*(-0.02))/4) > 1e-6 {
		t.Errorf("the second ramp is worth %v", got)
	}
	if got := k.worth(0, &cost, 50); got != 0 {
		t.Errorf("no ramp is worth %v", got)
	}
}

// TestAlarm counts rows between false alarms, and rows until a change is
// noticed.
func TestAlarm(t *testing.T) {
	const rows = 400_000
	wrong := 0
	for seed := range uint64(4) {
		chance := rand.New(rand.NewPCG(seed, 7))
		var l alarm
		for range rows / 4 {
			if l.learn(3+2.5*chance.NormFloat64(), 200_000) {
				wrong++
			}
		}
	}
	if wrong > 6 {
		t.Errorf("%d false alarms in %d rows", wrong, rows)
	}
	t.Logf("%d false alarms in %d rows", wrong, rows)
	// The same picture for 20 to 60 frames is no change.
	chance := rand.New(rand.NewPCG(9, 7))
	var l alarm
	wrong = 0
	level, left := 0.0, 0
	for range 100_000 {
		if left == 0 {
			level, left = 3+2.5*chance.NormFloat64(), 20+chance.IntN(41)
		}
		left--
		if l.learn(level+0.3*chance.NormFloat64(), 200_000) {
			wrong++
		}
	}
	if wrong > 5 {
		t.Errorf("video: %d false alarms in 100,000 rows", wrong)
	}
	t.Logf("video: %d false alarms in 100,000 rows", wrong)
	for _, shift := range []float64{-2, 2, -4} {
		worst := 0
		for seed := range uint64(20) {
			chance := rand.New(rand.NewPCG(seed, 8))
			var l alarm
			for range 3000 {
				l.learn(3+2*chance.NormFloat64(), 200_000)
			}
			took := 0
			for !l.learn(3+shift+2*chance.NormFloat64(), 200_000) && took < 2000 {
				took++
			}
			worst = max(worst, took)
		}
		if worst > 250 {
			t.Errorf("a shift by %v was noticed after up to %d rows", shift, worst)
		}
		t.Logf("a shift by %v was noticed within %d rows", shift, worst)
	}
}

// TestFlight: exits count until they are learned of, and those that did not
// come about are forgotten.
func TestFlight(t *testing.T) {
	var f flight
	for k := range 4 {
		if got, want := f.alike(3, 0.5), 1+0.5*float64(k); got != want {
			t.Errorf("with %d in flight a risk counts %v times, want %v", k, got, want)
		}
		f.leave(3)
	}
	for what, got := range map[string]float64{
		"another answer": f.alike(4, 0.5), "no answer": f.alike(-1, 0.5), "no correlation": f.alike(3, 0), "the contrary": f.alike(3, -1),
	} {
		if got != 1 {
			t.Errorf("%s: counts %v times", what, got)
		}
	}
	f.land(3, 3)
	if f.n != 3 || f.alike(3, 1) != 4 {
		t.Errorf("%d in flight after one of 4 was learned of", f.n)
	}
	f.land(4, 1)
	if f.n != 0 || f.alike(3, 1) != 1 {
		t.Errorf("%d exits are in flight, but only one row is", f.n)
	}
}
