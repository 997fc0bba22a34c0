package bench

import (
	"math/rand/v2"
	"testing"

	"motley/internal/earlyexit"
	"motley/internal/exitstream"
)

// random is a stream of a made-up model whose ramps are the likelier right the
// surer and the deeper they are; in its second half they are surer than right.
func random(seed uint64, n, ramps int) *exitstream.Stream {
	rng := rand.New(rand.NewPCG(seed, 1))
	s := &exitstream.Stream{Name: "random", Ramps: ramps, Segments: []exitstream.Segment{{Name: "as trained"}, {Name: "harder", From: n / 2}}}
	for i := range n {
		o := earlyexit.Outcome{Seq: uint64(i), Exit: -1, Audit: 1, Ran: true, Class: int32(rng.IntN(5))}
		ease := rng.Float64()
		for r := range ramps {
			sure := 1 - (1-ease)*rng.Float64()
			g := earlyexit.Signal{Class: o.Class, Confidence: float32(sure), Margin: float32(sure * sure), Entropy: float32(1 - sure)}
			right := 1 - (1-sure)*0.8/float64(r+1)
			if i >= n/2 {
				right -= 0.03
			}
			if rng.Float64() > right {
				g.Class = (o.Class + 1) % 5
			} else {
				o.Agree |= 1 << r
			}
			o.Signals = append(o.Signals, g)
		}
		s.Rows = append(s.Rows, o)
	}
	if err := s.SetCosts(nil, []float64{0.003}); err != nil {
		panic("BUG: " + err.Error())
	}
	return s
}

// TestHostile: all ramps are wrong there, nothing else shows it, and the stream
// that it was made of stays as it is.
func TestHostile(t *testing.T) {
	s := random(2, 60, 3)
	before := s.Rows[20].Signals[0]
	h := hostile(s, 10, 40)
	for i := range h.Rows {
		o := &h.Rows[i]
		for r, g := range o.Signals {
			if g.Confidence != s.Rows[i].Signals[r].Confidence || (g.Class == o.Class) != (o.Agree>>r&1 == 1) || i >= 10 && i < 40 && g.Class == o.Class {
				t.Fatalf("row %d: %+v", i, o)
			}
		}
	}
	if s.Rows[20].Signals[0] != before || len(h.Segments) != 3 {
		t.Errorf("segments %v", h.Segments)
	}
}
