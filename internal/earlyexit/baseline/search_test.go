package baseline

import (
	"math"
	"math/rand/v2"
	"testing"

	"motley/internal/earlyexit"
)

// cost is of n ramps evenly spaced in depth, each of which adds c.
func cost(n int, c float64) earlyexit.Cost {
	k := earlyexit.Cost{Batch: 1, Whole: 1}
	for r := range n {
		k.Until = append(k.Until, float64(r+1)/float64(n+1))
		k.Ramp = append(k.Ramp, c)
	}
	return k
}

// made are rows whose ramps agree the likelier the surer and the deeper they
// are. grain is how many different confidences there are.
func made(rng *rand.Rand, n, ramps, grain int) []earlyexit.Outcome {
	rows := make([]earlyexit.Outcome, n)
	for i := range rows {
		o := earlyexit.Outcome{Seq: uint64(i), Exit: -1, Audit: 1, Ran: true, Class: -1, Signals: make([]earlyexit.Signal, ramps)}
		ease := rng.Float64()
		for r := range ramps {
			conf := min(1, math.Ceil(float64(grain)*(0.7*ease+0.3*rng.Float64()))/float64(grain))
			o.Signals[r] = earlyexit.Signal{Class: -1, Confidence: float32(conf)}
			if rng.Float64() < 0.5+0.5*conf*(0.8+0.2*float64(r+1)/float64(ramps)) {
				o.Agree |= 1 << r
			}
		}
		rows[i] = o
	}
	return rows
}

// exhaustive tries every vector of break points.
func exhaustive(s *search, most int) value {
	v, best := s.never(), s.value(s.never())
	better := within(most)
	var try func(j int)
	try = func(j int) {
		if j == len(v) {
			if got := s.value(v); better(got, best) {
				best = got
			}
			return
		}
		v[j] = math.Inf(1)
		try(j + 1)
		last := math.Inf(1)
		for _, i := range s.order[j] {
			if v[j] = s.conf[j][i]; v[j] != last {
				last = v[j]
				try(j + 1)
			}
		}
	}
	try(0)
	return best
}

// TestSearchExhaustive: on small cases the search finds what trying everything
// finds, nearly always, and never claims more.
func TestSearchExhaustive(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	cases, missed, lost := 0, 0, 0.0
	for range 400 {
		ramps := 1 + rng.IntN(4)
		rows := made(rng, 4+rng.IntN(14), ramps, 4+rng.IntN(20))
		c := cost(ramps, 0.01*rng.Float64())
		s := newSearch(rows, &c, 1<<ramps-1)
		most := rng.IntN(4)
		v, got := s.best(most)
		want := exhaustive(s, most)
		if got.errors > most || got != s.value(v) && math.Abs(got.saved-s.value(v).saved) > 1e-6 {
			t.Fatalf("%v errors, at most %d: %+v, the vector gives %+v", got.errors, most, got, s.value(v))
		}
		if got.saved > want.saved+1e-6 {
			t.Fatalf("%+v is more than the best there is, %+v", got, want)
		}
		cases++
		if got.saved < want.saved-1e-6 {
			missed++
			lost += (want.saved - got.saved) / float64(len(rows))
		}
	}
	t.Logf("the best was missed in %d of %d cases, by %.5f of a run a row on average over all", missed, cases, lost/float64(cases))
	if missed > cases/100 || lost > 0.001*float64(cases) {
		t.Errorf("the best was missed in %d of %d cases, by %.5f on average", missed, cases, lost/float64(cases))
	}
}

// TestLine: the line search gives what its vector gives, and no other break
// point of the ramp is better.
func TestLine(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		rows := made(rng, 40, 3, 15)
		c := cost(3, 0.01)
		s := newSearch(rows, &c, 0b111)
		v := vector{0.5 + rng.Float64(), 0.4 + rng.Float64(), 0.3 + rng.Float64()}
		j, better := rng.IntN(3), within(rng.IntN(10))
		if rng.IntN(2) == 0 {
			better = priced(rng.Float64())
		}
		got := s.line(v, j, better)
		if at := s.value(v); at.errors != got.errors || math.Abs(at.saved-got.saved) > 1e-9 {
			t.Fatalf("line says %+v, its vector gives %+v", got, at)
		}
		for _, i := range s.order[j] {
			w := append(vector{}, v...)
			w[j] = s.conf[j][i]
			if at := s.value(w); better(at, got) && math.Abs(at.saved-got.saved) > 1e-6 {
				t.Fatalf("threshold %v gives %+v, the line search found %+v", w[j], at, got)
			}
		}
	}
}
