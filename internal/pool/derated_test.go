package pool

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// A derated profile beside its type's, multiplied by hand at the corners and
// held to its promises between and beyond them, while the type learns.
func TestDerated(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for round := range 200 {
		base := newProfile(t)
		if round%2 == 0 {
			base = hundred(t)
		}
		slow, wide, target := 1+3*rng.Float64(), 1+rng.Float64(), time.Duration(0)
		if round%3 == 0 {
			target = time.Duration(1+rng.IntN(200)) * time.Millisecond
		}
		if round%5 == 0 {
			wide = 1
		}
		d := base.Derated(slow, wide, target)
		for range rng.IntN(60) {
			base.Observe(1+rng.IntN(200), law(rng, time.Millisecond, 50*time.Microsecond, 1+rng.IntN(200), 0.2))
		}
		d.Follow()
		if d.Known() != base.Known() || d.Settled() != base.Settled() {
			t.Fatal("it knows something else than its type")
		}
		if !base.Known() {
			continue
		}
		for _, c := range base.whole.corners {
			mean, bound := slow*c.mean, slow*c.bound
			want := mean + wide*(bound-mean)
			if left := float64(target) - bound; target > 0 && want > bound+left/2 {
				want = max(bound, bound+left/2)
			}
			if got := d.Mean(c.n); !near(got, mean) {
				t.Errorf("mean of %d: %v, want %v", c.n, got, time.Duration(mean))
			}
			if got := d.Bound(c.n, 0.99); float64(got) < want-2 || target == 0 && !near(got, want) && got > d.Bound(c.n-1, 0.99)+1 {
				t.Errorf("bound of %d: %v, want %v", c.n, got, time.Duration(want))
			}
		}
		last := time.Duration(0)
		for n := 1; n < 3000; n += 1 + n/10 {
			mean, bound := d.Mean(n), d.Bound(n, 0.99)
			if bound < mean || bound < last || !near(mean, slow*float64(base.Mean(n))) {
				t.Fatalf("%d items: mean %v of %v, bound %v after %v", n, mean, base.Mean(n), bound, last)
			}
			last = bound
		}
		for range 20 {
			limit, most := time.Duration(rng.Int64N(int64(2*d.Mean(300)))), 1+rng.IntN(300)
			want := 0
			for want < most && d.Bound(want+1, 0.99) <= limit {
				want++
			}
			if got := d.Within(limit, most, 0.99); got != want {
				t.Fatalf("within %v: %d items, want %d", limit, got, want)
			}
		}
		if d.Bound(10, 0.9) > d.Bound(10, 0.99) || base.Bound(10, 0.9) > d.Bound(10, 0.9) {
			t.Error("bounds of two probabilities in the wrong order")
		}
	}
}

func near(got time.Duration, want float64) bool {
	return math.Abs(float64(got)-want) <= 5+1e-9*want // a nanosecond of the type is some of its worker
}

// One that is wider only never turns away what the type could answer in half
// the time that is left to the target, and follows without memory of its own.
func TestDeratedFollows(t *testing.T) {
	base := hundred(t)
	d := base.Derated(1, 2, 100*time.Millisecond)
	if b := base.Bound(1000, 0.99); b >= 100*time.Millisecond || d.Bound(1000, 0.99) > b+(100*time.Millisecond-b)/2 {
		t.Errorf("bound %v of %v", d.Bound(1000, 0.99), b)
	}
	if n := testing.AllocsPerRun(100, func() { base.Observe(100, 6*time.Millisecond); d.Follow() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if d.Mean(100) != base.Mean(100) {
		t.Errorf("%v, want %v", d.Mean(100), base.Mean(100))
	}
	unknown := newProfile(t)
	unknown.Suppose(base)
	if e := unknown.Derated(2, 1, 0); e.Known() || e.Mean(10) != base.Mean(10) {
		t.Error("an unknown type's derated worker is not supposed to be as the slowest")
	}
	c := d.Clone()
	before := c.Mean(100)
	base.Observe(100, time.Second)
	if c.Follow(); c.Mean(100) != before {
		t.Error("a clone follows what it was cloned from")
	}
}

// What a batch of which rows stopped early should have taken.
func TestExpected(t *testing.T) {
	p := newProfile(t, Point{Batch: 1, Mean: 10 * time.Millisecond}, Point{Batch: 11, Mean: 20 * time.Millisecond})
	stages := []Stage{{Share: 0.4, Rows: 11}, {Share: 0.6, Rows: 1}}
	for _, c := range []struct {
		n      int
		stages []Stage
		want   time.Duration
	}{{1, nil, 10 * time.Millisecond}, {6, nil, 15 * time.Millisecond}, {11, stages, 14 * time.Millisecond}, {0, nil, 0}} {
		if got := p.Expected(c.n, c.stages); !near(got, float64(c.want)) {
			t.Errorf("%d items, %v: %v, want %v", c.n, c.stages, got, c.want)
		}
	}
	if newProfile(t).Expected(3, nil) != 0 {
		t.Error("an unknown type expects something")
	}
}

// The mix is learned of batches whose time is not.
func TestNoteStages(t *testing.T) {
	timed, noted := hundred(t), hundred(t)
	var a, b Mix
	for range 50 {
		stages := []Stage{{Share: 0.5, Rows: 100}, {Share: 0.5, Rows: 20}}
		timed.ObserveStages(100, 4*time.Millisecond, stages, &a)
		noted.NoteStages(100, stages, &b)
	}
	for i := range a.reach {
		if a.reach[i] != b.reach[i] {
			t.Errorf("stage %d: %v, want %v", i, b.reach, a.reach)
		}
	}
	if noted.Samples() != 0 || noted.Expected(100, nil) != hundred(t).Expected(100, nil) {
		t.Error("it has learned of the time")
	}
	if noted.Mean(100) >= hundred(t).Mean(100) {
		t.Error("the mix makes no difference to the mean")
	}
}
