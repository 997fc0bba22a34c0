package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func tiny(models ...string) Suite {
	return Suite{Models: models, tiny: scale{requests: 1500, seeds: 1, chooseRequests: 600, chooseSeeds: 1, candidates: 8}}
}

// long skips what takes minutes under the race detector, where one suite, run
// twice, has to do.
func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("a suite: not with -short")
	}
}

// printed runs a command for people or machines.
func printed(t *testing.T, run func(Output) error, asJSON bool) string {
	t.Helper()
	var out bytes.Buffer
	if err := run(Output{Stdout: &out, JSON: asJSON}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func parsed[T any](t *testing.T, text string) []T {
	t.Helper()
	var rows []T
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&rows); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	return rows
}

func want(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%q is not in it:\n%s", p, text)
		}
	}
}

// TestKairosSuite: every contender stands in every arena within the budget;
// ratios are what they say; nobody is above a bound that holds for him.
func TestKairosSuite(t *testing.T) {
	long(t)
	c := Kairos{Suite: tiny("dien")}
	arenas, data, err := c.arenas(laws...)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := standings(arenas, nil)
	if err != nil {
		t.Fatal(err)
	}
	each := len(contenders())
	if len(rows) != len(laws)*each {
		t.Fatalf("%d rows, want %d", len(rows), len(laws)*each)
	}
	for i, r := range rows {
		if r.Contender != contenders()[i%each].name || r.Arrivals != laws[i/each] {
			t.Errorf("row %d is %s under %s", i, r.Contender, r.Arrivals)
		}
		if r.AllowableQPS == nil || *r.AllowableQPS != r.RateQPS || r.QoSOK < 0.99 || r.CostUSDH > kairosBudget || r.Bounds == nil {
			t.Errorf("%s: %+v", r.Contender, r.Record)
			continue
		}
		if off := r.OfHighest - r.RateQPS/r.HighestBatching; math.Abs(off) > 1e-4 || r.Bounds.Batching > r.HighestBatching {
			t.Errorf("%s: %.4f of %v at %v", r.Contender, r.OfHighest, r.HighestBatching, r.RateQPS)
		}
		// In a short run a little more than what is sustained fits in.
		if r.RateQPS > 1.05*r.Bounds.Batching/0.99 {
			t.Errorf("%s carries %v, over the bound %v", r.Contender, r.RateQPS, r.Bounds.Batching)
		}
		for _, k := range rows[i-i%each : i-i%each+each] {
			if k.Contender == published && math.Abs(r.OverKairos-r.RateQPS/k.RateQPS) > 1e-4 {
				t.Errorf("%s: %v over KAIROS, %v to %v", r.Contender, r.OverKairos, r.RateQPS, k.RateQPS)
			}
		}
		if r.Contender == ours && r.OverKairos < 1.1 {
			t.Errorf("motley over KAIROS is %v", r.OverKairos)
		}
	}
	var out bytes.Buffer
	if err := c.print(&out, data, arenas, rows); err != nil {
		t.Fatal(err)
	}
	want(t, out.String(), "motley ÷ kairos", "highest batching bound", "333", "(4,0,", "poisson-ms", "embedded")
}

// TestAblationSuite: the whole policy loses nothing, and the losses are those
// of the rates.
func TestAblationSuite(t *testing.T) {
	c := Ablation{tiny("dien")}
	c.tiny.candidates = 3
	text := printed(t, c.Run, true)
	if again := printed(t, c.Run, true); again != text {
		t.Errorf("the same inputs gave\n%s\nthen\n%s", text, again)
	}
	rows := parsed[Ablated](t, text)
	each := len(ingredients) + 1
	if len(rows) != len(ablationMixes)*each {
		t.Fatalf("%d rows", len(rows))
	}
	for i, r := range rows {
		full := rows[i-i%each]
		if (r.Change == "") != (i%each == 0) || r.On != ablationMixes[i/each] || r.Mix != full.Mix ||
			math.Abs(r.Lost-(1-r.RateQPS/full.RateQPS)) > 1e-4 {
			t.Errorf("row %d: %+v", i, r)
		}
	}
	if merging := rows[1]; merging.Lost < 0.05 { // on Motley's mix
		t.Errorf("merging adds %.3f", merging.Lost)
	}
	want(t, printed(t, c.Run, false), "no merging", "no packing", "kairos")
}

// TestPlannerSuite: the pick and the best are what they are said to be.
func TestPlannerSuite(t *testing.T) {
	long(t)
	c := Exhaustive{tiny("wnd")}
	var out bytes.Buffer
	err := c.Run(Output{Stdout: &out, JSON: true})
	if err != nil && !errors.Is(err, ErrOff) { // so few requests are mostly noise
		t.Fatal(err)
	}
	rows := parsed[Picked](t, out.String())
	if len(rows) != 1 {
		t.Fatalf("%d rows", len(rows))
	}
	r := rows[0]
	if r.Mixes < 331 || r.BestQPS < r.RateQPS || math.Abs(r.OfBest-r.RateQPS/r.BestQPS) > 1e-3 || r.OfBest < 0.9 || (err != nil) != (r.OfBest < pickShare) {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestGapSuite: the account adds up to what is reached.
func TestGapSuite(t *testing.T) {
	long(t)
	c := Gap{tiny("dien", "rm2")}
	rows := parsed[Loss](t, printed(t, c.Run, true))
	each := len(oracles) + 1
	if len(rows) != 2*each {
		t.Fatalf("%d rows", len(rows))
	}
	for i, r := range rows {
		if i%each > 0 {
			if r.Account != nil || math.Abs(r.Gained-(r.OfBound-rows[i-i%each].OfBound)) > 2e-4 {
				t.Errorf("%s: %+v", r.Oracle, r)
			}
			continue
		}
		a := r.Account
		if sum := 1 - a.Idle - a.SmallBatches - a.Draws + a.Shed; math.Abs(sum-r.OfBound) > 0.03 {
			t.Errorf("%s reaches %.4f of the bound, the account says %.4f: %+v", r.Model, r.OfBound, sum, a)
		}
		if a.Idle < 0 || a.SmallBatches < -0.01 || a.Shed < -0.02 {
			t.Errorf("%s: %+v", r.Model, a)
		}
	}
	// Without any reason for loss next to nothing is missing.
	if r := rows[each-1]; r.OfBound < 0.95 {
		t.Errorf("%s: %.4f of the bound with %s", r.Model, r.OfBound, r.Oracle)
	}
	want(t, printed(t, c.Run, false), "idle", "small batches", "times known exactly")
}

// TestBooks adds up two executions by hand: a worker of 10 ms and 1 ms per
// item at best, 100 s of the clock, of which it works 3 s.
func TestBooks(t *testing.T) {
	a := tinyArena(t, "rm2")
	b := &books{s: a.measure, unit: []float64{1e-3}, busy: []float64{3}, spent: []float64{2.5}, items: []float64{2000}}
	got := b.close([]int{1}, 100, 21)
	want := Account{Idle: 0.97, IdleByType: []float64{0.97}, SmallBatches: 0.005, Draws: 0.005, Shed: 0.001}
	if got.Idle != want.Idle || got.IdleByType[0] != 0.97 || got.SmallBatches != want.SmallBatches || got.Draws != want.Draws || got.Shed != want.Shed {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestSuiteUsage: what suites are given is checked.
func TestSuiteUsage(t *testing.T) {
	for _, c := range []struct {
		run  func(Output) error
		want string
	}{
		{(&Kairos{Suite: Suite{Models: []string{"resnet"}}}).Run, "resnet"},
		{(&Ablation{Suite{Models: []string{"ncf", "ncf"}}}).Run, "twice"},
		{(&Gap{Suite{Models: []string{""}}}).Run, "-models"},
		{(&Robust{Suite{Dir: "nowhere"}}).Run, "nowhere"},
		{(&Kairos{Suite: Suite{Dir: "suite_test.go"}}).Run, "must be a folder"},
		{(&Kairos{Plot: "x.pdf"}).Run, ".svg"},
	} {
		if err := c.run(Output{Stdout: io.Discard}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

func ribbonDir(t *testing.T, within string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "ribbon"), 0o700); err != nil {
		t.Fatal(err)
	}
	table := "model,type1,type2,type3,n1,n2,n3,cost_usd_per_h,qos_satisfaction_pct\n" +
		"mtwnd,a,b,c,1,0,0,1," + within + "\nmtwnd,a,b,c,0,2,0,1," + within + "\nunknown,a,b,c,1,0,0,1,50\n"
	var samples strings.Builder
	for _, typ := range []string{"a", "b", "c"} { // 1.4 ms, rounded to 1, for gaps of 1.5 ms in the mean
		samples.WriteString(`{"model": "mtwnd", "instance_type": "` + typ + `", "batch": 500, "latency_ms": [1.4]}` + "\n")
	}
	for name, text := range map[string]string{"planner_lookup.csv": table, "latency_samples.jsonl": samples.String()} {
		if err := os.WriteFile(filepath.Join(dir, "ribbon", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestRibbonSuite: a table that is right passes, one that is wrong fails, and
// cells of models without data are left out.
func TestRibbonSuite(t *testing.T) {
	long(t)
	right := Ribbon{Dir: ribbonDir(t, "100"), Cells: 10, Seed: 1}
	cells := parsed[Cell](t, printed(t, right.Run, true))
	if len(cells) != 2 || cells[0].Simulated < 99.9 || cells[0].Off != cells[0].Simulated-100 {
		t.Errorf("%+v", cells)
	}
	want(t, printed(t, right.Run, false), "mtwnd", "median", "100.0 %")
	var out bytes.Buffer
	wrong := Ribbon{Dir: ribbonDir(t, "98.5"), Cells: 10, Seed: 1}
	if err := wrong.Run(Output{Stdout: &out}); !errors.Is(err, ErrOff) || !strings.Contains(out.String(), "98.50") {
		t.Errorf("a wrong table: %v\n%s", err, &out)
	}
}

// TestRibbonPublished replays some cells of the published tables.
func TestRibbonPublished(t *testing.T) {
	long(t)
	c := Ribbon{Dir: shared(t), Cells: 20, Seed: 1}
	cells := parsed[Cell](t, printed(t, c.Run, true))
	if s := sumUp(cells); s.cells != 20 || !s.ok() {
		t.Errorf("%+v", s)
	}
}

func TestSumUp(t *testing.T) {
	s := sumUp([]Cell{{Off: 0.1}, {Off: -0.2}, {Off: 3}, {Off: 0.4}})
	if math.Abs(s.median-0.3) > 1e-12 || s.most != 3 || s.close != 0.75 || s.ok() {
		t.Errorf("%+v", s)
	}
	if s := sumUp(nil); s.ok() {
		t.Errorf("no cells are %+v", s)
	}
}

func TestReadLookupsErrors(t *testing.T) {
	const head = "model,type1,type2,type3,n1,n2,n3,cost_usd_per_h,qos_satisfaction_pct\n"
	for text, want := range map[string]string{
		"":                                     "line 1: want the columns",
		"model,type1\n":                        "line 1: want the columns",
		head + "m,a,b,c,1,0,0,1,NaN\n":         "line 2: qos_satisfaction_pct",
		head + "m,a,b,c,1,0,0,1,101\n":         "line 2: qos_satisfaction_pct",
		head + "m,a,b,c,1,x,0,1,9\n":           "line 2: n2",
		head + "m,a,b,c,1,0,-1,1,9\n":          "line 2: n3",
		head + "m,a,b,c,1,0,0,1,9\nm,a,b\n":    "line 3",
		head + "m,a,b,c,1,0,0,1,9,what else\n": "line 2",
	} {
		if _, err := readLookups(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// TestRobustSuite: undisturbed, all of the advantage is kept; advantages are
// ratios of the rates; the files' disturbances are there if the data is.
func TestRobustSuite(t *testing.T) {
	long(t)
	c := Robust{tiny("dien")}
	text := printed(t, c.Run, true)
	rows := parsed[Endured](t, text)
	each, troubles := len(rivals()), 4
	pairs := 2 * (len(ablationMixes) + 1 + furtherMixes) * len(comparedRates)
	if len(rows) != len(ablationMixes)*troubles*each+pairs {
		t.Fatalf("%d rows", len(rows))
	}
	disturbed := rows[:len(rows)-pairs]
	for i, r := range disturbed {
		own := disturbed[i-i%each]
		if own.Policy != "priced" || r.AllowableQPS == nil || r.Disturbance != own.Disturbance || r.Mix != own.Mix || r.Behind != nil {
			t.Errorf("row %d: %+v", i, r)
			continue
		}
		if r.Advantage == nil || math.Abs(*r.Advantage-own.RateQPS/r.RateQPS) > 1e-3 {
			t.Errorf("%s under %s: advantage %v", r.Policy, r.Disturbance, r.Advantage)
		}
		if r.Disturbance == calm && (r.Kept == nil || *r.Kept != 1) || i%each == 0 && *r.Kept != 1 {
			t.Errorf("%s under %s keeps %v", r.Policy, r.Disturbance, r.Kept)
		}
		if r.Disturbance != calm && r.RateQPS > 1.1*disturbed[i-i%(troubles*each)+i%each].RateQPS {
			t.Errorf("%s carries more under %s", r.Policy, r.Disturbance)
		}
	}
	for i, r := range rows[len(disturbed):] {
		own := rows[len(disturbed)+i-i%2]
		if (r.Behind != nil) != (i%2 == 1) || r.RateQPS != own.RateQPS || r.Mix != own.Mix || r.AllowableQPS != nil {
			t.Errorf("pair %d: %+v", i/2, r)
		}
		if r.Behind != nil && math.Abs(*r.Behind-100*(r.QoSOK-own.QoSOK)) > 1e-3 {
			t.Errorf("pair %d: behind by %v", i/2, *r.Behind)
		}
	}
}

// TestTroubles: each disturbance changes what happens, and the same part of a
// run at every rate.
func TestTroubles(t *testing.T) {
	long(t)
	s := Suite{Dir: shared(t), Models: []string{"dien"}, tiny: scale{requests: 4000, seeds: 1, chooseRequests: 600, chooseSeeds: 1}}
	troubles, err := s.troubles()
	if err != nil || len(troubles) != 6 {
		t.Fatalf("%d disturbances, %v", len(troubles), err)
	}
	arenas, _, err := s.arenas("exponential")
	if err != nil {
		t.Fatal(err)
	}
	counts, v := []int{3, 0, 3, 0}, mustVariant("least-load", "least-load", false, false)
	for _, rate := range []float64{150, 300} {
		calmly := 0.0
		for _, trouble := range troubles {
			set, err := arenas[0].measure.under(trouble, counts)
			if err != nil {
				t.Fatal(err)
			}
			m, err := set.measured(counts, v, rate)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case trouble.name == calm:
				calmly = m.P99MS
			case m.P99MS == calmly:
				t.Errorf("%s at %v/s: nothing happens", trouble.name, rate)
			}
		}
	}
	if arenas[0].measure.Disturb != nil || arenas[0].measure.OutagesOver != nil {
		t.Error("the disturbances stay")
	}
}

func TestPrintRobust(t *testing.T) {
	// Ours and another: calm, then disturbed, on Motley's mix; the same on KAIROS's.
	rows := make([]Endured, 8)
	for i, rate := range []float64{100, 50, 90, 60, 95, 80, 70, 75} {
		rows[i] = Endured{Disturbance: calm, On: ablationMixes[i/4], Record: Record{Model: "m", Policy: "p", Mix: "g4dn.xlarge=1", RateQPS: rate}}
	}
	advantages(rows, 2, 2)
	ownAdvantages(rows, 2, 2)
	for i, want := range map[int][4]float64{1: {2, 1, 1.25, 1}, 3: {1.5, 0.75, 1.2, 0.96}} {
		r := rows[i]
		if got := [4]float64{*r.Advantage, *r.Kept, *r.AdvantageOwn, *r.KeptOwn}; got != want {
			t.Errorf("row %d: %v, want %v", i, got, want)
		}
	}
	if rows[7].AdvantageOwn != nil || *rows[7].Advantage != 0.9333 {
		t.Errorf("on KAIROS's mix: %v, %v", rows[7].AdvantageOwn, *rows[7].Advantage)
	}
	var out bytes.Buffer
	if err := printRobust(&out, &arena{space: *kairosSpace()}, rows, 2); err != nil {
		t.Fatal(err)
	}
	want(t, out.String(), "2.000 (1.000)", "1.500 (0.750)", "does NOT hold", "1.200 (0.960)", "0.95 holds")
	behind, ahead := 0.25, -3.0
	out.Reset()
	pairs := []Endured{{Record: Record{Model: "m", RateQPS: 7, QoSOK: 0.99}}, {Record: Record{QoSOK: 0.9925}, Behind: &behind}, {}, {Behind: &ahead}}
	if err := printBehind(&out, pairs); err != nil {
		t.Fatal(err)
	}
	want(t, out.String(), "2 combinations", "-0.25 points", "at 7/s")
}
