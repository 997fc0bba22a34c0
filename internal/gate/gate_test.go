package gate

import (
	"errors"
	"sync"
	"testing"

	"motley/internal/earlyexit"
)

// fake lets a row exit at the ramp that its first confidence names, with an
// audit of the second's share, and notes what it is told.
type fake struct {
	ramps   int
	chances []float64
	learned int
}

func (f *fake) Active(_ int, chance float64) uint32 {
	f.chances = append(f.chances, chance)
	return 1
}

func (f *fake) Decide(r *earlyexit.Row, ramp int) earlyexit.Verdict {
	f.chances = append(f.chances, r.Chance)
	audit := float64(r.Signals[1].Confidence)
	if float32(ramp) < r.Signals[0].Confidence {
		return earlyexit.Verdict{}
	}
	return earlyexit.Verdict{Exit: true, Stop: r.Chance >= audit, Audit: audit}
}

func (f *fake) Learn(*earlyexit.Outcome) { f.learned++ }

func (f *fake) Report() earlyexit.Report {
	return earlyexit.Report{Mode: earlyexit.Compute, Ramps: make([]earlyexit.RampReport, f.ramps)}
}

func row(ramp, audit float32) *earlyexit.Row {
	return &earlyexit.Row{Signals: []earlyexit.Signal{{Confidence: ramp}, {Confidence: audit}}}
}

// TestTogether: rows of one call leave only where all of them would, and run on
// with the largest of their probabilities, all or none.
func TestTogether(t *testing.T) {
	f := &fake{ramps: 2}
	g := New(f, 1)
	verdicts := make([]earlyexit.Verdict, 3)
	g.Together(0, []*earlyexit.Row{row(0, 0.1), row(0, 0.1), row(1, 0.1)}, verdicts)
	for _, v := range verdicts {
		if v != (earlyexit.Verdict{}) {
			t.Errorf("one row stays, another has %+v", v)
		}
	}
	const n = 20_000
	on := 0
	for range n {
		g.Together(1, []*earlyexit.Row{row(0, 0.1), row(1, 0.3), row(0, 0.2)}, verdicts)
		if verdicts[0] != verdicts[1] || verdicts[1] != verdicts[2] || !verdicts[0].Exit || verdicts[0].Audit != float64(float32(0.3)) {
			t.Fatalf("%+v", verdicts)
		}
		if !verdicts[0].Stop {
			on++
		}
	}
	if share := float64(on) / n; share < 0.285 || share > 0.315 { // 4.6 standard deviations
		t.Errorf("%v of them run on, want 0.3", share)
	}
}

// TestChance: the same seed draws the same, each row its own.
func TestChance(t *testing.T) {
	drawn := func(seed uint64) []float64 {
		f := &fake{ramps: 2}
		g := New(f, seed)
		g.Active(3)
		g.Decide(0, []*earlyexit.Row{row(0, 0), row(0, 0)}, make([]earlyexit.Verdict, 2))
		return f.chances
	}
	a, b, c := drawn(1), drawn(1), drawn(2)
	for i := range a {
		if a[i] != b[i] || a[i] == c[i] || i > 0 && a[i] == a[i-1] || a[i] < 0 || a[i] >= 1 {
			t.Errorf("draw %d: %v, the same seed %v, another %v", i, a, b, c)
		}
	}
}

// TestLater: a gate opens with the first worker whose exits are known.
func TestLater(t *testing.T) {
	no := errors.New("no")
	fail := true
	f := &fake{ramps: 3}
	g := Later(earlyexit.Compute, 1, func(e Exits) (earlyexit.Controller, error) {
		if e.Ramps != 3 || e.Classes != 10 {
			t.Errorf("opened with %+v", e)
		}
		if fail {
			return nil, no
		}
		return f, nil
	})
	if g.Fits(3) || g.Mode() != earlyexit.Compute {
		t.Error("it is open")
	}
	g.With(func(earlyexit.Controller) { t.Error("there is a controller") })
	if r := g.Report(); r.Mode != earlyexit.Compute || r.Certified != 1 || r.Agreement != 1 {
		t.Errorf("%+v", r)
	}
	if err := g.Open(Exits{Ramps: 3, Classes: 10}); !errors.Is(err, no) || g.Fits(3) {
		t.Errorf("opened: %v", err)
	}
	fail = false
	for range 2 { // the second finds it open
		if err := g.Open(Exits{Ramps: 3, Classes: 10}); err != nil || !g.Fits(3) || g.Fits(2) {
			t.Errorf("not opened: %v", err)
		}
	}
	if err := g.Open(Exits{Ramps: 2, Classes: 10}); err == nil || !g.Fits(3) {
		t.Error("a worker with fewer ramps is taken")
	}
}

// TestRaced: every row has its own place, and none is lost.
func TestRaced(t *testing.T) {
	f := &fake{ramps: 2}
	g := New(f, 1)
	seen := make([]bool, 1000)
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			for range 20 {
				g.Active(5)
				first := g.Number(5)
				for i := range uint64(5) {
					if seen[first+i] { // the race detector watches, too
						t.Errorf("place %d is given out twice", first+i)
					}
					seen[first+i] = true
				}
				g.Decide(0, []*earlyexit.Row{row(0, 0)}, make([]earlyexit.Verdict, 1))
				g.Learn(make([]earlyexit.Outcome, 5))
				g.Report()
			}
		})
	}
	all.Wait()
	if f.learned != 1000 {
		t.Errorf("learned of %d rows", f.learned)
	}
}
