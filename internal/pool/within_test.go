package pool

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestWithin compares with trying every size.
func TestWithin(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for range 300 {
		var points []Point
		mean := time.Duration(1 + rng.IntN(1000))
		for n := 1 + rng.IntN(20); len(points) < 1+rng.IntN(8); n += 1 + rng.IntN(60) {
			points = append(points, Point{Batch: n, Mean: mean, P99: mean * time.Duration(100+rng.IntN(80)) / 100})
			mean += time.Duration(rng.IntN(900))
		}
		p, err := NewProfile(points)
		if err != nil {
			t.Fatal(err)
		}
		if rng.IntN(4) == 0 {
			p, _ = NewProfile(nil)
		}
		for range rng.IntN(30) {
			n := 1 + rng.IntN(200)
			p.Observe(n, time.Duration(100+n*rng.IntN(30)))
		}
		most := rng.IntN(400)
		limit := time.Duration(rng.IntN(6000))
		want := 0
		for n := 1; n <= most && p.Bound(n, 0.99) <= limit; n++ {
			want = n
		}
		if got := p.Within(limit, most, 0.99); got != want {
			t.Fatalf("%v: Within(%v, %d) is %d, want %d", points, limit, most, got, want)
		}
	}
	unknown, _ := NewProfile(nil)
	known, _ := NewProfile([]Point{{Batch: 1, Mean: 10}, {Batch: 11, Mean: 110}})
	if got := unknown.Within(50, 7, 0.99); got != 7 {
		t.Errorf("of nothing known: %d, want all 7", got)
	}
	unknown.Suppose(known)
	if got, want := unknown.Within(100, 9, 0.99), known.Within(100, 9, 0.99); got != want || want == 9 {
		t.Errorf("supposed: %d, the model says %d", got, want)
	}
}
