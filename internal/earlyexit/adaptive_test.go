package earlyexit

import (
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

func TestConfigRefused(t *testing.T) {
	cost := even(3, 0.01)
	short := cost
	short.Ramp = short.Ramp[:2]
	falling := even(3, 0.01)
	falling.Until[1] = 0.1
	for _, tc := range []struct {
		want   []string
		config Config
	}{
		{[]string{"ramps: 0"}, Config{}},
		{[]string{"target: 1:", "budget: -1", "audits: 3", "gain: NaN"}, Config{Ramps: 3, Target: 1, Budget: -1, Audits: 3, Gain: math.NaN()}},
		{[]string{"mode: 9", "class_target: 0.1"}, Config{Ramps: 3, Mode: 9, ClassTarget: 0.1}},
		{[]string{"costs: 0: until, ramp: 3, 2"}, Config{Ramps: 3, Costs: []Cost{short}}},
		{[]string{"costs: 0: until: [0.25 0.1 0.75]: must rise", "costs: 1: batch: 1: must rise"}, Config{Ramps: 3, Costs: []Cost{falling, cost}}},
	} {
		_, err := New(tc.config)
		for _, want := range tc.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		}
	}
	a := newAdaptive(t, Config{Ramps: 3, Target: 0.9995})
	if len(a.control.ring) != 10_000 {
		t.Errorf("a window of %d rows for 0.05 %%, want 10,000", len(a.control.ring))
	}
	if err := a.Warm([]Outcome{{Signals: make([]Signal, 2)}}); err == nil || !strings.Contains(err.Error(), "row 0") {
		t.Errorf("a calibration row with too few ramps: %v", err)
	}
}

// TestActive holds the budget at every batch size, for sets as they start and
// as they are learned.
func TestActive(t *testing.T) {
	large := even(5, 0.03)
	large.Batch, large.Whole = 8, 3
	for r := range large.Until {
		large.Until[r] *= 3
	}
	large.Ramp[4] = 0.005
	costs := []Cost{even(5, 0.007), large}
	a := newAdaptive(t, Config{Mode: Latency, Ramps: 5, Costs: costs})
	check := func(when string) {
		for n := 1; n < 20; n++ {
			set := a.Active(n, 0.9)
			if set == 0 {
				t.Fatalf("%s: no ramps for %d rows", when, n)
			}
			if !fits(set, &costs[0], 0.02) && n <= 1 || n > 1 && !(fits(set, &costs[1], 0.02) && (n >= 9 || fits(set, &costs[0], 0.02))) {
				t.Errorf("%s: set %b for %d rows is beyond the budget", when, set, n)
			}
		}
	}
	check("new")
	replay(a, made(31, 6000, 5, 0), &costs[0], Latency, 1, 0)
	check("learned")
	explored, rows := 0, 100_000
	chance := rand.New(rand.NewPCG(1, 12))
	for range rows {
		if a.Active(1, chance.Float64()) == 31 {
			explored++
		}
	}
	if share := float64(explored) / float64(rows); share < 0.025 || share > 0.035 {
		t.Errorf("%v of the batches explore, want 0.03", share)
	}
	if got := newAdaptive(t, Config{Mode: Latency, Ramps: 5}).Active(1, 0.9); got != 31 {
		t.Errorf("without costs the ramps %b are active, want all", got)
	}
	if got := newAdaptive(t, Config{Mode: Off, Ramps: 5}).Active(1, 0); got != 0 {
		t.Errorf("in mode off the ramps %b are active", got)
	}
}

// TestLearnsSet: a ramp that says nothing is dropped, one that tells is taken
// up.
func TestLearnsSet(t *testing.T) {
	cost := even(4, 0.009) // two fit
	rows := made(32, 12_000, 4, 0)
	chance := rand.New(rand.NewPCG(2, 12))
	for i := range rows {
		for _, r := range []int{0, 2} { // the ones to begin with
			rows[i].signals[r] = Signal{Class: int32(chance.IntN(10)), Confidence: 0.6, Margin: 0.5, Entropy: 0.5}
			rows[i].agree &^= 1 << r
		}
	}
	a := newAdaptive(t, Config{Mode: Latency, Ramps: 4, Costs: []Cost{cost}})
	if first := a.Active(1, 0.9); first != 5 {
		t.Fatalf("begins with ramps %b, want 101", first)
	}
	replay(a, rows, &cost, Latency, 1, 0)
	if last := a.Active(1, 0.9); last&5 != 0 || last == 0 {
		t.Errorf("ends with ramps %b, want none of 101", last)
	}
	if n := a.Report().Alarms; n > 0 {
		t.Errorf("%d alarms: another ramp to watch is no change", n)
	}
}

// TestVerdict holds what a request asks for.
func TestVerdict(t *testing.T) {
	cost := even(4, 0.004)
	a := newAdaptive(t, Config{Mode: Compute, Ramps: 4, Costs: []Cost{cost}})
	replay(a, made(41, 4000, 4, 0), &cost, Compute, 1, 0)
	signals := []Signal{{Class: 1, Confidence: 0.99999, Margin: 0.9999, Entropy: 0.0001}, Unseen, Unseen, Unseen}
	ask := func(r Row) Verdict {
		r.Signals = signals
		return a.Decide(&r, 0)
	}
	if v := ask(Row{Mode: Compute, Chance: 0.999}); !v.Exit || !v.Stop || v.Audit >= 1 || v.Audit < Defaults().AuditLeast {
		t.Errorf("a sure row: %+v", v)
	}
	if v := ask(Row{Mode: Compute, Chance: 0}); !v.Exit || v.Stop {
		t.Errorf("a sure row that is drawn for an audit: %+v", v)
	}
	if v := ask(Row{Mode: Compute, Chance: 0.999, Idle: true}); !v.Exit || v.Stop || v.Audit != 1 {
		t.Errorf("a sure row while nothing waits: %+v", v)
	}
	if v := ask(Row{Mode: Latency, Chance: 0.999}); !v.Exit || v.Stop || v.Audit != 1 {
		t.Errorf("a sure row whose request allows latency: %+v", v)
	}
	if v := ask(Row{Mode: Off}); v.Exit {
		t.Errorf("a row whose request allows nothing: %+v", v)
	}
	if v := ask(Row{Mode: Compute, Most: 1e-9}); v.Exit {
		t.Errorf("a row whose request takes no risk: %+v", v)
	}
	unsure := Signal{Class: 1, Confidence: 0.3, Margin: 0.01, Entropy: 0.9}
	for _, s := range []Signal{Unseen, unsure, {Class: 1, Confidence: float32(math.NaN()), Margin: 1, Entropy: 0}} {
		signals[0] = s
		if v := ask(Row{Mode: Compute, Most: 1}); v.Exit || v.Stop || v.Audit != 1 {
			t.Errorf("signal %v: %+v", s, v)
		}
	}
}

// TestNested: whatever exits at some τ exits at every larger one.
func TestNested(t *testing.T) {
	cost := even(4, 0.004)
	a := newAdaptive(t, Config{Mode: Latency, Ramps: 4, Costs: []Cost{cost}})
	replay(a, made(42, 3000, 4, 0), &cost, Latency, 1, 0)
	for _, it := range made(43, 300, 4, 0) {
		before := 99
		for tau := 1e-4; tau < 2; tau *= 1.3 {
			a.tau = tau
			exit := 99
			for r := range it.signals {
				if a.Decide(&Row{Signals: it.signals, Mode: Latency}, r).Exit {
					exit = r
					break
				}
			}
			if exit > before {
				t.Fatalf("left at ramp %d, but at %d with a larger τ", before, exit)
			}
			before = exit
		}
	}
}

// TestAudits: the share of audits is kept to, and their estimate of the losses
// has no bias.
func TestAudits(t *testing.T) {
	cost := even(4, 0.004)
	lost, said, rows := 0.0, 0.0, made(51, 10_000, 4, 0)
	for seed := range uint64(12) {
		a := newAdaptive(t, Config{Mode: Compute, Ramps: 4, Costs: []Cost{cost}})
		got := replay(a, rows, &cost, Compute, seed, 8)
		if share := Defaults().Audits; got.audits > 1.2*share || got.audits < 0.8*share {
			t.Errorf("%v of the rows are audited", got.audits)
		}
		r := a.Report()
		if got.audits*10_000 > float64(r.Audited)+8.5 || r.Exited < r.Audited {
			t.Errorf("report: %d audited of %d exits, but %v of the rows ran on", r.Audited, r.Exited, got.audits)
		}
		lost += float64(got.losses())
		said += r.Disagreed
	}
	t.Logf("%v lost, %.0f by the audits", lost, said)
	if math.Abs(said/lost-1) > 0.3 {
		t.Errorf("%v lost, but %v by the audits", lost, said)
	}
}

// TestLost: audits that are lost are counted, and change nothing but the
// counts' spread.
func TestLost(t *testing.T) {
	a, _ := trained(t, Compute)
	before := a.Report()
	o := Outcome{Signals: made(61, 1, 4, 0)[0].signals, Exit: 0, Audit: 0.1, Lost: true, Class: -1}
	a.Learn(&o)
	if r := a.Report(); r.Lost != before.Lost+1 || r.Exited != before.Exited+1 || r.Audited != before.Audited || r.Disagreed != before.Disagreed {
		t.Errorf("before %+v, after %+v", before, r)
	}
}

// TestClassTarget: a class whose answers are often wrong exits less, and
// others go on as they did.
func TestClassTarget(t *testing.T) {
	cost := even(4, 0.004)
	rows := made(71, 16_000, 4, 0)
	chance := rand.New(rand.NewPCG(3, 12))
	for i := range rows { // sure or not, one in twelve of class 3 is really of class 4
		if rows[i].class == 3 && chance.IntN(12) == 0 {
			rows[i].class, rows[i].agree = 4, 0
		}
	}
	shares := func(target float64) (wrong, exits float64) {
		a := newAdaptive(t, Config{Mode: Latency, Ramps: 4, Costs: []Cost{cost}, ClassTarget: target})
		replay(a, rows, &cost, Latency, 1, 0)
		c := a.Report().Classes
		if len(c) != 10 {
			t.Fatalf("%d classes reported, want 10", len(c))
		}
		return c[4].Disagreed / float64(c[4].Seen), float64(c[7].Exited) / float64(c[7].Seen)
	}
	wrong, exits := shares(0)
	held, still := shares(0.985)
	t.Logf("class 4: %.4f disagree, %.4f with a budget; class 7: %.3f exit, %.3f with a budget", wrong, held, exits, still)
	if wrong < 0.017 {
		t.Fatalf("only %v of class 4 disagree: nothing to hold", wrong)
	}
	if held > 0.022 || still < 0.85*exits {
		t.Errorf("class 4: %v disagree with a budget of 0.015; class 7: %v exit, %v without a budget", held, still, exits)
	}
}

// TestFallback: after a change of the confidences nothing exits in mode
// compute, until enough rows have shown that the calibration holds.
func TestFallback(t *testing.T) {
	cost := even(4, 0.004)
	a := newAdaptive(t, Config{Mode: Compute, Ramps: 4, Costs: []Cost{cost}})
	rows := made(81, 4000, 4, 0)
	replay(a, rows, &cost, Compute, 1, 0)
	if r := a.Report(); r.Safe || r.Alarms > 0 {
		t.Fatalf("an alarm, though nothing has changed: %+v", r)
	}
	hard := made(82, 600, 4, 0)
	for i := range hard {
		for r := range hard[i].signals {
			hard[i].signals[r].Confidence *= 0.6
		}
	}
	noticed, over := -1, -1
	for i := range hard {
		replay(a, hard[i:i+1], &cost, Compute, uint64(i), 0)
		switch r := a.Report(); {
		case r.Safe && noticed < 0:
			noticed = i
			if r.Tau != 0 {
				t.Errorf("τ is %v in the fallback", r.Tau)
			}
		case !r.Safe && noticed >= 0 && over < 0:
			over = i
		}
	}
	t.Logf("noticed after %d rows, over after %d", noticed, over)
	if noticed < 0 || noticed > 100 || over < noticed+99 || over > 599 {
		t.Errorf("noticed after %d rows, over after %d", noticed, over)
	}
}

// TestWarm: a controller that has learned from a calibration file lets rows
// exit at once, and has counted none of them.
func TestWarm(t *testing.T) {
	cost := even(4, 0.004)
	for _, mode := range []Mode{Latency, Compute} {
		exited := func(warm bool) uint64 {
			a := newAdaptive(t, Config{Mode: mode, Ramps: 4, Costs: []Cost{cost}})
			if warm {
				if err := a.Warm(outcomes(made(85, 3000, 4, 0))); err != nil {
					t.Fatal(err)
				}
			}
			if r := a.Report(); r.Seen != 0 || r.Exited != 0 || r.Alarms != 0 || r.Disagreed != 0 || r.Certified != 1 || r.Low95 != 0 {
				t.Errorf("before any row: %+v", r)
			}
			replay(a, made(86, 100, 4, 0), &cost, mode, 1, 0)
			return a.Report().Exited
		}
		cold, warm := exited(false), exited(true)
		t.Logf("mode %v: of the first 100 rows %d exit, %d without a calibration file", mode, warm, cold)
		if warm < 40 || cold >= warm {
			t.Errorf("mode %v: of the first 100 rows %d exit, %d without a calibration file", mode, warm, cold)
		}
	}
}

func TestDeterministic(t *testing.T) {
	cost := even(4, 0.004)
	run := func() (result, Report) {
		a := newAdaptive(t, Config{Mode: Compute, Ramps: 4, Costs: []Cost{cost}})
		return replay(a, made(91, 3000, 4, 0), &cost, Compute, 5, 3), a.Report()
	}
	r1, p1 := run()
	r2, p2 := run()
	if !reflect.DeepEqual(r1, r2) || !reflect.DeepEqual(p1, p2) {
		t.Error("two runs on the same rows differ")
	}
}

func TestNoAllocations(t *testing.T) {
	for _, mode := range []Mode{Latency, Compute} {
		a, _ := trained(t, mode)
		rows := outcomes(made(92, 2000, 4, 0))
		row, i := Row{Mode: mode, Chance: 0.5}, 0
		n := testing.AllocsPerRun(1500, func() {
			row.Signals = rows[i].Signals
			for r := range 4 {
				a.Decide(&row, r)
			}
			a.Learn(&rows[i])
			i++
		})
		if n > 0 {
			t.Errorf("mode %v: %v allocations a row", mode, n)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	a, _ := trained(b, Latency)
	rows := outcomes(made(93, 1000, 4, 0))
	row, i := Row{Mode: Latency}, 0
	b.ReportAllocs()
	for b.Loop() {
		row.Signals = rows[i%1000].Signals
		a.Decide(&row, i%4)
		i++
	}
}

func BenchmarkLearn(b *testing.B) {
	a, _ := trained(b, Latency)
	rows := outcomes(made(94, 1000, 4, 0))
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		a.Learn(&rows[i%1000])
		i++
	}
}

func BenchmarkReconsider(b *testing.B) {
	cost := even(7, 0.0039)
	a := newAdaptive(b, Config{Mode: Latency, Ramps: 7, Costs: []Cost{cost}})
	if err := a.Warm(outcomes(made(95, 2000, 7, 0))); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		a.reconsider()
	}
}

// TestBursts: of rows that are alike and come in runs, so many exit before the
// first is learned of and no more, and as many again once they are; of rows
// that come in any order all do.
func TestBursts(t *testing.T) {
	cost := even(4, 0.004)
	for _, run := range []int{1, 30} {
		var rows []item
		for _, it := range made(21, 6000/run, 4, 0) {
			for range run {
				rows = append(rows, it)
			}
		}
		a := newAdaptive(t, Config{Mode: Latency, Ramps: 4, Costs: []Cost{cost}})
		replay(a, rows, &cost, Latency, 1, 0)
		p := float32(0.998)
		signals := []Signal{{Class: 1, Confidence: p, Margin: 2*p - 1, Entropy: 1 - p}, Unseen, Unseen, Unseen}
		const most = 2000
		burst := func() (n int) {
			for range most {
				if row := (Row{Signals: signals, Mode: Latency}); a.Decide(&row, 0).Exit {
					n++
				}
			}
			return n
		}
		first := burst()
		if run == 1 && first != most || run > 1 && (first == 0 || first > most/2) {
			t.Errorf("runs of %d: %d of %d exit before any is learned of", run, first, most)
		}
		for i := range most {
			o := Outcome{Signals: signals, Exit: -1, Audit: 1, Ran: true, Agree: 15, Class: 1}
			if i < first {
				o.Exit = 0
			}
			a.Learn(&o)
		}
		if a.flight.n != 0 || a.pending != 0 {
			t.Errorf("runs of %d: %d exits, %d rows are in flight after all are learned of", run, a.flight.n, a.pending)
		}
		if again := burst(); again < first/2 {
			t.Errorf("runs of %d: %d exit, but %d once they are learned of", run, first, again)
		}
		t.Logf("runs of %d: %d exit before any is learned of", run, first)
	}
}
