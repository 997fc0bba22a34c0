package pool

import (
	"math/rand/v2"
	"testing"
	"time"
)

// hundred is a profile with as many measured points as a careful benchmark has.
func hundred(t testing.TB) *Profile {
	var points []Point
	for n := 10; n <= 1000; n += 10 {
		points = append(points, Point{Batch: n, Mean: time.Duration(n+20) * time.Millisecond / 20, P99: time.Duration(n+30) * time.Millisecond / 18})
	}
	return newProfile(t, points...)
}

// The table finds what a walk over the knots finds, within it and beyond.
func TestAbove(t *testing.T) {
	unmeasured := newProfile(t)
	unmeasured.Observe(1, time.Millisecond)
	for _, p := range []*Profile{
		unmeasured, hundred(t), newProfile(t, Point{Batch: 1, Mean: 1}), newProfile(t, Point{Batch: 7, Mean: 1}, Point{Batch: 100_000, Mean: 9}),
	} {
		for n := -1; n < 200_000; n += 1 + n/300 {
			want := 0
			for want < len(p.knots) && p.knots[want].n <= n {
				want++
			}
			if got := p.whole.above(n); got != want {
				t.Fatalf("above(%d) = %d, want %d of %d knots", n, got, want, len(p.knots))
			}
		}
	}
}

func TestClone(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	p, slow := newProfile(t), hundred(t)
	for i := range 3 { // unknown, known, and both with a supposition
		c := p.Clone()
		before := [...]time.Duration{c.Mean(30), c.Bound(30, 0.9), c.Bound(2000, 0.99)}
		for range 20 {
			p.Observe(1+r.IntN(99), law(r, time.Second, time.Second, 1, 0.1))
			slow.Observe(1+r.IntN(99), law(r, time.Second, time.Second, 1, 0.1))
		}
		if after := [...]time.Duration{c.Mean(30), c.Bound(30, 0.9), c.Bound(2000, 0.99)}; after != before {
			t.Errorf("round %d: what the profile learned changed its clone: %v, then %v", i, before, after)
		}
		if i == 1 {
			p = newProfile(t)
			p.Suppose(slow)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	unmeasured := newProfile(b)
	r := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		n := 1 + r.IntN(1000)
		unmeasured.Observe(n, law(r, time.Millisecond, 50*time.Microsecond, n, 0.1))
	}
	var points []Point
	for n := 1; n <= 2048; n *= 2 {
		points = append(points, Point{Batch: n, Mean: time.Duration(n+9) * time.Millisecond / 9})
	}
	var sizes [1024]int
	for i := range sizes {
		sizes[i] = 1 + r.IntN(1000)
	}
	mixed := hundred(b)
	for range 100 {
		mixed.ObserveStages(100, 5*time.Millisecond, []Stage{{0.5, 100}, {0.5, 30 + r.IntN(20)}}, &Mix{})
	}
	for _, c := range []struct {
		name string
		p    *Profile
	}{{"mixed", mixed}, {"unmeasured", unmeasured}, {"12knots", newProfile(b, points...)}, {"100knots", hundred(b)}} {
		b.Run("Mean/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				c.p.Mean(sizes[i&1023])
			}
		})
		b.Run("Bound/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				c.p.Bound(sizes[i&1023], 0.99)
			}
		})
		b.Run("Observe/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				n := sizes[i&1023]
				c.p.Observe(n, time.Millisecond+50*time.Microsecond*time.Duration(n))
			}
		})
	}
}
