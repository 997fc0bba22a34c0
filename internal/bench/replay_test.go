package bench

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"motley/internal/earlyexit"
	"motley/internal/earlyexit/baseline"
	"motley/internal/exitstream"
)

// careful is a controller that exits by a coin, and checks what it is shown.
type careful struct {
	t       *testing.T
	s       *exitstream.Stream
	rng     *rand.Rand
	compute bool
	batch   int
	active  uint32
	begun   int
	waiting map[uint64]earlyexit.Outcome // decided about and not learned of, as far as it is known
	learned int
}

func (c *careful) Active(n int, chance float64) uint32 {
	if len(c.waiting) != 0 {
		c.t.Fatalf("a batch begins while %d rows are out", len(c.waiting))
	}
	if n != min(c.batch, len(c.s.Rows)-c.begun) || !(chance >= 0 && chance < 1) {
		c.t.Fatalf("a batch of %d with chance %v", n, chance)
	}
	for i := range n {
		c.waiting[uint64(c.begun+i)] = earlyexit.Outcome{Exit: -1, Audit: 1, Ran: true}
	}
	c.begun += n
	c.active = uint32(c.rng.IntN(1 << c.s.Ramps))
	return c.active
}

func (c *careful) Decide(row *earlyexit.Row, ramp int) earlyexit.Verdict {
	o, out := c.waiting[row.Seq]
	if !out || o.Exit >= 0 || c.active>>ramp&1 == 0 {
		c.t.Fatalf("asked about row %d at ramp %d", row.Seq, ramp)
	}
	for r, g := range row.Signals {
		if want := r <= ramp && c.active>>r&1 == 1; g.Seen() != want || want && g != c.s.Rows[row.Seq].Signals[r] {
			c.t.Fatalf("row %d at ramp %d of %b is shown %+v", row.Seq, ramp, c.active, row.Signals)
		}
	}
	if c.rng.IntN(3) > 0 {
		return earlyexit.Verdict{}
	}
	v := earlyexit.Verdict{Exit: true, Audit: 1}
	if c.compute {
		v.Audit = 0.25
		v.Stop = row.Chance >= v.Audit
	}
	o.Exit, o.Audit, o.Ran = ramp, v.Audit, !v.Stop
	c.waiting[row.Seq] = o
	return v
}

func (c *careful) Learn(o *earlyexit.Outcome) {
	want, out := c.waiting[o.Seq]
	delete(c.waiting, o.Seq)
	c.learned++
	full := &c.s.Rows[o.Seq]
	if !out || o.Exit != want.Exit || o.Audit != want.Audit || o.Ran != want.Ran || o.Lost {
		c.t.Fatalf("row %d ended as %+v, want %+v", o.Seq, o, want)
	}
	if o.Ran && (o.Class != full.Class || o.Agree != full.Agree&c.active) || !o.Ran && (o.Class != -1 || o.Agree != 0) {
		c.t.Fatalf("row %d of class %d, agreement %b: shown %+v", o.Seq, full.Class, full.Agree, o)
	}
	for r, g := range o.Signals {
		if want := c.active>>r&1 == 1 && (o.Ran || r <= o.Exit); g.Seen() != want {
			c.t.Fatalf("row %d, which left at %d, ends with %+v", o.Seq, o.Exit, o.Signals)
		}
	}
}

func (c *careful) Report() earlyexit.Report { return earlyexit.Report{Bound: math.NaN()} }

// TestReplay: a controller is shown what a worker could show it and nothing
// else, and what rows cost is what a dumb recount says.
func TestReplay(t *testing.T) {
	for _, batch := range []int{1, 4, 7} {
		for _, mode := range []earlyexit.Mode{earlyexit.Latency, earlyexit.Compute} {
			s := random(uint64(batch), 500, 5)
			c := &careful{t: t, s: s, rng: rand.New(rand.NewPCG(1, 2)), compute: mode == earlyexit.Compute, batch: batch, waiting: map[uint64]earlyexit.Outcome{}}
			fates := replay(c, s, mode, batch, 1)
			if c.learned != len(s.Rows) || len(c.waiting) != 0 || len(fates) != len(s.Rows) {
				t.Fatalf("%d rows learned of %d", c.learned, len(s.Rows))
			}
		}
	}
}

// spy notes what a careful controller decided, to count anew.
type spy struct {
	earlyexit.Controller
	careful *careful
	check   func(i int, active uint32, exit int, ran bool)
}

func (s *spy) Learn(o *earlyexit.Outcome) {
	s.check(int(o.Seq), s.careful.active, o.Exit, o.Ran)
	s.Controller.Learn(o)
}

// TestReplayCosts recounts every row's latency and compute.
func TestReplayCosts(t *testing.T) {
	s := random(9, 400, 5)
	s.RampCost = []float64{0.01, 0.02, 0.04, 0.08, 0.16}
	c := &careful{t: t, s: s, rng: rand.New(rand.NewPCG(3, 4)), compute: true, batch: 4, waiting: map[uint64]earlyexit.Outcome{}}
	want := make([]fate, len(s.Rows))
	audits := 0
	fates := replay(&spy{c, c, func(i int, active uint32, exit int, ran bool) {
		f := fate{exit: exit, ran: ran, latency: 1, compute: 1}
		for r, cost := range s.RampCost {
			if active>>r&1 == 1 {
				f.compute += cost
				if exit < 0 || r <= exit {
					f.latency += cost
				}
			}
		}
		if exit >= 0 {
			f.latency += s.Depth[exit] - 1
			f.disagree = s.Rows[i].Signals[exit].Class != s.Rows[i].Class
			if !ran {
				f.compute = f.latency
			} else {
				audits++
			}
		}
		want[i] = f
	}}, s, earlyexit.Compute, 4, 7)
	for i, f := range fates {
		w := want[i]
		if f.exit != w.exit || f.ran != w.ran || f.disagree != w.disagree || math.Abs(f.latency-w.latency) > 1e-9 || math.Abs(f.compute-w.compute) > 1e-9 {
			t.Fatalf("row %d: %+v, want %+v", i, f, w)
		}
	}
	if audits < 20 {
		t.Errorf("%d audits", audits)
	}
}

// TestFigures compares with a count by hand.
func TestFigures(t *testing.T) {
	s := &exitstream.Stream{Name: "s", Segments: []exitstream.Segment{{Name: "a"}, {Name: "b", From: 6}}}
	var fates []fate
	// Wrong at 2, 6, 7 and 9 of 12.
	for i := range 12 {
		f := fate{exit: -1, ran: true, latency: 1.02, compute: 1.02}
		if i%2 == 0 || i == 7 || i == 9 {
			f = fate{exit: 1, ran: i == 4, latency: 0.5, compute: 0.5, disagree: i == 2 || i == 6 || i == 7 || i == 9}
		}
		fates = append(fates, f)
	}
	fates[4].compute = 1.02
	s.Rows = make([]earlyexit.Outcome, 12)
	e := figures(s, fates, 0.75, 4)
	for _, c := range []struct {
		what      string
		got, want float64
	}{
		{"agreement", e.Agreement, 8.0 / 12}, {"worst window", e.WorstWindow, 0.25}, // 6 … 9
		{"windows below", e.WindowsBelow, 4.0 / 9}, // from 4, 5, 6 and 7
		{"exits", e.Exits, 8.0 / 12}, {"mean", e.SavedMean, (8*0.5 - 4*0.02) / 12}, {"median", e.SavedMedian, 0.5}, {"p95", e.SavedP95, -0.02},
		{"compute", e.ComputeSaved, (7*0.5 - 5*0.02) / 12}, {"overhead", e.P95Overhead, 0.02}, {"worst", e.WorstOverhead, 0.02},
		{"audits", e.AuditShare, 1.0 / 12}, {"of exits", e.AuditOfExits, 1.0 / 8},
		{"disagreed", float64(e.Disagreed), 4}, {"recover", float64(e.Recover), 2}, // rows 8 … 11
		{"first segment", e.Segments[0].Agreement, 5.0 / 6}, {"its recovery", float64(e.Segments[0].Recover), 0},
		{"second segment", e.Segments[1].Agreement, 0.5}, {"its saving", e.Segments[1].SavedMean, (5*0.5 - 0.02) / 6},
	} {
		if math.Abs(c.got-c.want) > 1e-6 {
			t.Errorf("%s: %v, want %v", c.what, c.got, c.want)
		}
	}
	if short := figures(s, fates, 0.99, 1000); short.Window != 12 || short.WorstWindow != short.Agreement || short.WindowsBelow != 1 || short.Recover != 6 {
		t.Errorf("windows longer than the stream: %+v", short)
	}
}

// TestClopperPearson checks against the table of the dossier: rows without and
// with few errors from which on the upper bound of the errors is 1 %.
func TestClopperPearson(t *testing.T) {
	for errors, n := range []int{299, 473, 628, 773, 913, 1049} {
		low, _ := clopperPearson(n-errors, n)
		before, _ := clopperPearson(n-1-errors, n-1)
		if low < 0.99 || before >= 0.99 {
			t.Errorf("%d of %d: at least %v, one row fewer %v", errors, n, low, before)
		}
	}
	if low, high := clopperPearson(0, 10); low != 0 || high >= 1 {
		t.Errorf("none of 10: %v to %v", low, high)
	}
	if low, high := clopperPearson(10, 10); high != 1 || low <= 0 {
		t.Errorf("all of 10: %v to %v", low, high)
	}
}

// TestMotleyReplay: the router's controller on a made-up stream holds the target
// and is repeatable; with one parameter changed it is another.
func TestMotleyReplay(t *testing.T) {
	s := random(5, 4000, 5)
	c := newTrial(s, nil, 0, baseline.Config{Target: 0.98, Budget: 0.02})
	for _, a := range arms() {
		if a.name != ours {
			continue
		}
		e, err := c.run(a, 1000, 1)
		if err != nil {
			t.Fatal(err)
		}
		again, err := c.run(a, 1000, 1)
		if err != nil {
			t.Fatal(err)
		}
		if e.Agreement != again.Agreement || e.ComputeSaved != again.ComputeSaved {
			t.Errorf("%s: %+v, then %+v", a.mode, e, again)
		}
		if e.Agreement < 0.97 || e.SavedMean < 0.05 || e.Bound == nil || float64(e.Disagreed) > *e.Bound {
			t.Errorf("%s: %+v", a.mode, e)
		}
		if testing.Short() {
			continue
		}
		different := 0
		all := sensitive([]arm{a})
		if len(all) < 20 || all[0].change != "" {
			t.Fatalf("%d changes", len(all))
		}
		for _, b := range slices.Concat(all[1:4], all[len(all)-2:]) {
			changed, err := c.run(b, 1000, 1)
			if err != nil {
				t.Fatalf("%s: %v", b.change, err)
			}
			if changed.Change == "" {
				t.Error("a change without a name")
			}
			if changed.SavedMean != e.SavedMean {
				different++
			}
		}
		if different < 3 {
			t.Errorf("%s: %d changes changed anything", a.mode, different)
		}
	}
}
