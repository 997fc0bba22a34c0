package pool

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func newProfile(t testing.TB, points ...Point) *Profile {
	t.Helper()
	p, err := NewProfile(points)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func off(got, want time.Duration) float64 {
	return math.Abs(float64(got)-float64(want)) / float64(want)
}

func TestUnknownProfile(t *testing.T) {
	p := newProfile(t)
	if p.Known() || p.Mean(3) != 0 || p.Bound(3, 0.99) != 0 || p.Samples() != 0 {
		t.Errorf("a profile without points or batches claims to know something: %v %v", p.Mean(3), p.Bound(3, 0.99))
	}
	if a, b := p.Affine(); a != 0 || b != 0 {
		t.Errorf("Affine() = %v, %v, want zeros", a, b)
	}
	p.Observe(0, time.Second)
	p.Observe(1, 0)
	p.Observe(1, -time.Second)
	if p.Known() {
		t.Error("a batch of no items, or one that took no time, was learned from")
	}
}

func TestNewProfileRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		points []Point
		want   string
	}{
		{"no items", []Point{{Batch: 0, Mean: 1}}, "point 0: batch 0"},
		{"no mean", []Point{{Batch: 1, Mean: 1}, {Batch: 2}}, "point 1: batch 2: mean 0s"},
		{"negative mean", []Point{{Batch: 1, Mean: -1}}, "mean -1ns"},
		{"negative p99", []Point{{Batch: 1, Mean: 1, P99: -1}}, "p99 -1ns"},
		{"negative count", []Point{{Batch: 1, Mean: 1, Count: -1}}, "count -1"},
		{"twice", []Point{{Batch: 4, Mean: 1}, {Batch: 1, Mean: 1}, {Batch: 4, Mean: 2}}, "batch 4: measured twice"},
	} {
		if _, err := NewProfile(c.points); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}

func TestTableInterpolatesAndExtrapolates(t *testing.T) {
	ms := func(f float64) time.Duration { return time.Duration(f * 1e6) }
	p := newProfile(t, Point{Batch: 40, Mean: ms(50), P99: ms(60)}, Point{Batch: 10, Mean: ms(20), P99: ms(22)}, Point{Batch: 20, Mean: ms(30), P99: ms(33)})
	for n, want := range map[int]time.Duration{1: ms(11), 10: ms(20), 15: ms(25), 20: ms(30), 30: ms(40), 40: ms(50), 100: ms(110)} {
		if got := p.Mean(n); off(got, want) > 1e-6 {
			t.Errorf("Mean(%d) = %v, want %v", n, got, want)
		}
	}
	if got := p.Bound(40, 0.99); off(got, ms(60)) > 1e-3 {
		t.Errorf("Bound(40, 0.99) = %v, want the measured 60ms", got)
	}
	if a, b := p.Affine(); off(a, ms(10)) > 1e-6 || off(b, ms(1)) > 1e-6 {
		t.Errorf("Affine() = %v, %v, want 10ms, 1ms", a, b)
	}
}

// law is what batches really take in the tests: a + b·n with relative noise.
func law(r *rand.Rand, a, b time.Duration, n int, noise float64) time.Duration {
	return time.Duration(float64(a+b*time.Duration(n)) * math.Exp(noise*r.NormFloat64()))
}

func TestLearnsAffineLaw(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	p := newProfile(t)
	for range 500 {
		n := 1 + r.IntN(64)
		p.Observe(n, law(r, 4*time.Millisecond, 100*time.Microsecond, n, 0.05))
	}
	for n := 1; n <= 64; n++ {
		want := 4*time.Millisecond + 100*time.Microsecond*time.Duration(n)
		if e := off(p.Mean(n), want); e > 0.06 {
			t.Errorf("Mean(%d) = %v, want %v: %.1f %% off", n, p.Mean(n), want, 100*e)
		}
	}
	if e := off(p.Mean(500), 54*time.Millisecond); e > 0.2 {
		t.Errorf("Mean(500) = %v, want 54ms", p.Mean(500))
	}
	if p.Samples() != 500 {
		t.Errorf("Samples() = %d", p.Samples())
	}
}

func TestLearnsFromOneSize(t *testing.T) {
	p := newProfile(t)
	p.Observe(8, 10*time.Millisecond)
	if e := off(p.Mean(8), 10*time.Millisecond); e > 1e-3 {
		t.Errorf("after one batch Mean(8) = %v, want 10ms", p.Mean(8))
	}
	for range 50 {
		p.Observe(8, 10*time.Millisecond)
	}
	if e := off(p.Mean(8), 10*time.Millisecond); e > 1e-3 {
		t.Errorf("Mean(8) = %v, want 10ms", p.Mean(8))
	}
	// What one size leaves open lies between all fixed and all per item.
	if m := p.Mean(16); m < 11*time.Millisecond || m > 19*time.Millisecond {
		t.Errorf("Mean(16) = %v, want well between 10ms and 20ms", m)
	}
}

func TestTableIsScaledByOneSize(t *testing.T) {
	points := []Point{{Batch: 1, Mean: 2 * time.Millisecond}, {Batch: 8, Mean: 5 * time.Millisecond}, {Batch: 64, Mean: 30 * time.Millisecond}}
	p := newProfile(t, points...)
	for range 50 {
		p.Observe(8, 10*time.Millisecond)
	}
	for _, pt := range points {
		if e := off(p.Mean(pt.Batch), 2*pt.Mean); e > 0.1 {
			t.Errorf("twice as slow at batch 8: Mean(%d) = %v, want %v", pt.Batch, p.Mean(pt.Batch), 2*pt.Mean)
		}
	}
}

func TestOutliersDoNotRuinTheFit(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, first := range []time.Duration{0, 3 * time.Second} { // a cold first batch, too
		p := newProfile(t)
		p.Observe(4, first)
		for i := range 400 {
			n := 1 + r.IntN(32)
			took := law(r, 3*time.Millisecond, 200*time.Microsecond, n, 0.05)
			if i%50 == 49 {
				took *= 100
			}
			p.Observe(n, took)
		}
		for _, n := range []int{1, 8, 16, 32} {
			want := 3*time.Millisecond + 200*time.Microsecond*time.Duration(n)
			if e := off(p.Mean(n), want); e > 0.1 {
				t.Errorf("first batch %v: Mean(%d) = %v, want %v: %.1f %% off", first, n, p.Mean(n), want, 100*e)
			}
		}
	}
}

func TestChangeIsFollowed(t *testing.T) {
	for _, factor := range []float64{0.2, 0.5, 1.3, 2, 10} {
		for _, seeded := range []bool{false, true} {
			r := rand.New(rand.NewPCG(5, 6))
			var points []Point
			if seeded {
				points = []Point{{Batch: 1, Mean: 3200 * time.Microsecond}, {Batch: 32, Mean: 9400 * time.Microsecond}}
			}
			p := newProfile(t, points...)
			for i := range 350 {
				n := 1 + r.IntN(32)
				took := law(r, 3*time.Millisecond, 200*time.Microsecond, n, 0.05)
				if i >= 300 {
					took = time.Duration(factor * float64(took))
				}
				p.Observe(n, took)
			}
			for _, n := range []int{1, 16, 32} {
				want := time.Duration(factor * float64(3*time.Millisecond+200*time.Microsecond*time.Duration(n)))
				if e := off(p.Mean(n), want); e > 0.12 {
					t.Errorf("factor %v, seeded %v: 50 batches later Mean(%d) = %v, want %v: %.1f %% off", factor, seeded, n, p.Mean(n), want, 100*e)
				}
			}
			if b := float64(p.Bound(16, 0.99)) / float64(p.Mean(16)); b > 1.6 {
				t.Errorf("factor %v, seeded %v: the bound is %.2f times the mean after the change", factor, seeded, b)
			}
		}
	}
}

// checkShape asserts what callers rely on, whatever was observed.
func checkShape(t *testing.T, p *Profile) {
	t.Helper()
	for _, q := range []float64{0.3, 0.5, 0.9, 0.99, 0.999, -1, 2, math.NaN()} {
		var mean, bound time.Duration
		for n := -1; n < 200_000; n += 1 + n/7 {
			m, b := p.Mean(n), p.Bound(n, q)
			if m < mean || b < bound {
				t.Fatalf("falls at %d: mean %v after %v, bound(%v) %v after %v", n, m, mean, q, b, bound)
			}
			if q >= 0.5 && b < m {
				t.Fatalf("Bound(%d, %v) = %v is under the mean %v", n, q, b, m)
			}
			if p.Known() && (m < 0 || m > time.Duration(longest)) {
				t.Fatalf("Mean(%d) = %v", n, m)
			}
			mean, bound = m, b
		}
	}
}

// anyProfile is a profile of up to eight points, or of none where it is not seeded.
func anyProfile(t *testing.T, r *rand.Rand, seeded bool) *Profile {
	t.Helper()
	var points []Point
	for i := 0; seeded && i < 1+r.IntN(8); i++ {
		points = append(points, Point{Batch: 1 + i*(1+r.IntN(50)*8) + i*1000, Mean: 1 + time.Duration(r.Int64N(1e10)), P99: time.Duration(r.Int64N(1e10))})
	}
	p, err := NewProfile(points)
	if err != nil {
		t.Skip(err)
	}
	return p
}

func FuzzProfileShape(f *testing.F) {
	f.Add(uint64(1), true)
	f.Add(uint64(2), false)
	f.Fuzz(func(t *testing.T, seed uint64, seeded bool) {
		r := rand.New(rand.NewPCG(seed, 1))
		p := anyProfile(t, r, seeded)
		for range r.IntN(100) {
			p.Observe(1+r.IntN(1<<r.IntN(30)), time.Duration(r.Int64N(1<<(1+r.IntN(62)))))
		}
		checkShape(t, p)
		again, err := LoadProfiles(bytes.NewReader(save(t, []Learned{{"m", "t", p}})))
		if err != nil {
			t.Fatal(err)
		}
		sameEstimates(t, "saved and loaded", p, again[0].Profile)
	})
}

func TestNoAllocations(t *testing.T) {
	p := newProfile(t)
	p.Observe(3, time.Millisecond)
	var sum time.Duration
	n := testing.AllocsPerRun(100, func() {
		p.Observe(5, time.Millisecond)
		sum += p.Mean(7) + p.Bound(7, 0.99) + p.Bound(7, 0.9)
	})
	if n != 0 || sum == 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkProfile(b *testing.B) {
	p := newProfile(b)
	r := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		n := 1 + r.IntN(64)
		p.Observe(n, law(r, time.Millisecond, 50*time.Microsecond, n, 0.1))
	}
	b.Run("Mean", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			p.Mean(1 + i&63)
		}
	})
	b.Run("Bound", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			p.Bound(1+i&63, 0.99)
		}
	})
	b.Run("Observe", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			p.Observe(1+i&63, time.Millisecond+50*time.Microsecond*time.Duration(1+i&63))
		}
	})
}
