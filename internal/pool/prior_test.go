package pool

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestSuppose(t *testing.T) {
	fast := newProfile(t, Point{Batch: 1, Mean: time.Millisecond})
	slow := newProfile(t, Point{Batch: 1, Mean: 9 * time.Millisecond, P99: 12 * time.Millisecond})
	p := newProfile(t)
	all := []*Profile{nil, p, fast, slow, newProfile(t)}

	p.Suppose(newProfile(t))
	if p.Supposed() || p.Mean(1) != 0 {
		t.Error("a profile that knows nothing stands in for another")
	}
	p.Suppose(Slowest(all, 1))
	if !p.Supposed() || p.Mean(4) != slow.Mean(4) || p.Bound(4, 0.99) != slow.Bound(4, 0.99) {
		t.Errorf("Mean(4) = %v, Bound(4) = %v; want the slowest type's %v, %v", p.Mean(4), p.Bound(4, 0.99), slow.Mean(4), slow.Bound(4, 0.99))
	}
	if fixed, per := p.Affine(); p.Known() || p.Settled() || p.Samples() != 0 || fixed != 0 || per != 0 {
		t.Error("what is only supposed is taken for known")
	}
	if p.Suppose(nil); p.Supposed() || p.Mean(1) != 0 {
		t.Error("the supposition did not end")
	}
	p.Suppose(slow)
	p.Observe(1, 2*time.Millisecond)
	if p.Supposed() || off(p.Mean(1), 2*time.Millisecond) > 1e-6 {
		t.Errorf("after a batch of 2ms of its own Mean(1) = %v", p.Mean(1))
	}
	if p.Suppose(slow); p.Supposed() {
		t.Error("a known profile is supposed to be like another")
	}
}

func TestExpect(t *testing.T) {
	slow := newProfile(t, Point{Batch: 1, Mean: 9 * time.Millisecond})
	prior := newProfile(t, Point{Batch: 1, Mean: 3 * time.Millisecond}, Point{Batch: 8, Mean: 5 * time.Millisecond})
	p := newProfile(t)
	p.Suppose(slow)
	p.Expect(newProfile(t))
	if p.Prior() || p.Mean(1) != slow.Mean(1) {
		t.Error("a prior that knows nothing counts")
	}
	p.Expect(prior)
	p.Suppose(slow)
	if !p.Prior() || !p.Supposed() || p.Mean(8) != 5*time.Millisecond || p.Known() || p.Settled() {
		t.Errorf("prior %v, supposed %v, Mean(8) = %v", p.Prior(), p.Supposed(), p.Mean(8))
	}
	if c := p.Clone(); !c.Prior() || c.Mean(1) != p.Mean(1) {
		t.Error("a copy has lost its prior")
	}
	p.Observe(1, 2*time.Millisecond)
	if p.Prior() || p.Supposed() || off(p.Mean(1), 2*time.Millisecond) > 1e-6 {
		t.Errorf("after a batch of 2ms of its own Mean(1) = %v", p.Mean(1))
	}
	if p.Expect(prior); p.Prior() {
		t.Error("a known profile has a prior")
	}
	q := newProfile(t)
	q.Expect(prior)
	if q.Suppose(nil); q.Prior() || q.Mean(1) != 0 {
		t.Error("the prior did not end")
	}
}

func TestSlowest(t *testing.T) {
	if p := Slowest([]*Profile{nil, newProfile(t)}, 1); p != nil {
		t.Errorf("of none that is known %v is the slowest", p)
	}
	fixed := newProfile(t, Point{Batch: 1, Mean: 5 * time.Millisecond}, Point{Batch: 100, Mean: 6 * time.Millisecond})
	perItem := newProfile(t, Point{Batch: 1, Mean: time.Millisecond}, Point{Batch: 100, Mean: 100 * time.Millisecond})
	for n, want := range map[int]*Profile{1: fixed, 100: perItem} {
		if Slowest([]*Profile{fixed, perItem}, n) != want {
			t.Errorf("at %d items the wrong one is the slowest", n)
		}
	}
}

func TestDriftsAreCounted(t *testing.T) {
	for _, c := range []struct {
		name             string
		factor           float64 // from batch 400 on
		drifts, replaced [2]int  // least, most
	}{
		{"none", 1, [2]int{0, 0}, [2]int{0, 0}},
		{"a tenth slower", 1.1, [2]int{1, 2}, [2]int{0, 0}},
		{"five times slower", 5, [2]int{0, 1}, [2]int{1, 1}},
		{"five times faster", 0.2, [2]int{0, 1}, [2]int{1, 1}},
	} {
		r := rand.New(rand.NewPCG(11, 12))
		p := newProfile(t)
		for i := range 800 {
			n := 1 + r.IntN(32)
			took := law(r, 3*time.Millisecond, 200*time.Microsecond, n, 0.05)
			if i >= 400 {
				took = time.Duration(c.factor * float64(took))
			}
			if i == 399 {
				p.shift.drifts, p.shift.replacements = 0, 0 // what finding the law took
			}
			p.Observe(n, took)
		}
		drifts, replaced := p.Drifts()
		if drifts < c.drifts[0] || drifts > c.drifts[1] || replaced < c.replaced[0] || replaced > c.replaced[1] {
			t.Errorf("%s: %d drifts, %d replacements; want %v, %v", c.name, drifts, replaced, c.drifts, c.replaced)
		}
	}
}
