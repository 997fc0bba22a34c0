package bench

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"motley/internal/exitstream"
)

// saved writes a stream to a file of the test's.
func saved(t *testing.T, s *exitstream.Stream, name string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := saveStream(s, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestExits: every controller in every mode stands in the output, in terms that
// fit together, and the same command prints the same.
func TestExits(t *testing.T) {
	stream, calibration := saved(t, random(11, 1500, 5), "a.csv.gz"), saved(t, random(12, 600, 5), "b.csv")
	c := Exits{Stream: stream, Calibration: calibration, Controller: "all", Target: 0.97, Budget: 0.02, Batch: 1, Window: 250, Seed: 3}
	text := printed(t, c.Run, true)
	if again := printed(t, c.Run, true); again != text {
		t.Error("the same command printed something else")
	}
	rows := parsed[Exited](t, text)
	var names []string
	for _, e := range rows {
		names = append(names, e.Controller+" "+e.Mode)
		sum, n := 0.0, 0
		for _, g := range e.Segments {
			sum += g.Agreement * float64(g.Rows)
			n += g.Rows
		}
		if e.Stream != "a" || e.Rows != 1500 || n != 1500 || math.Abs(sum/float64(n)-e.Agreement) > 1e-5 || e.Low95 > e.Agreement || e.High95 < e.Agreement ||
			e.WorstWindow > e.Agreement+1e-9 || e.Window != 250 || e.Seed != 3 || e.Batch != 1 || e.Target != 0.97 {
			t.Errorf("%+v", e)
		}
		if e.Mode == "latency" && (e.ComputeSaved > 0 || e.AuditShare != e.Exits) || e.Mode == "compute" && e.ComputeSaved > e.SavedMean+1e-9 {
			t.Errorf("%s saves compute %v, audits %v of %v", names[len(names)-1], e.ComputeSaved, e.AuditShare, e.Exits)
		}
		if (e.Bound != nil) != (e.Controller == ours) {
			t.Errorf("%s has bound %v", names[len(names)-1], e.Bound)
		}
		if e.Controller == "hindsight" && e.Agreement < 0.97 || e.Controller == "clairvoyant" && e.Agreement != 1 {
			t.Errorf("%s agrees on %v", e.Controller, e.Agreement)
		}
	}
	if want := "[static latency static compute apparate-paper latency apparate-code latency motley latency motley compute hindsight latency hindsight compute clairvoyant latency clairvoyant compute]"; fmt.Sprint(names) != want {
		t.Errorf("%v, want %s", names, want)
	}
	want(t, printed(t, c.Run, false), "a: 1500 rows, 5 ramps after 16.7, 33.3, 50, 66.7, 83.3 % of a run", "harder (750)", "clairvoyant")
	c.Calibration = ""
	want(t, printed(t, c.Run, false), "for want of -calibration, static is tuned on the first 10 % of the stream")
	c.Ramps, c.Mode, c.Controller, c.Depths, c.RampCost, c.Batch = "0,3", "latency", "apparate-code", "0.1,0.2,0.3,0.4,0.5", "0.01", 4
	want(t, printed(t, c.Run, false), "2 ramps after 10, 40 % of a run, which add 1 % of one each", "they are {0,3} of the file's")
	if testing.Short() {
		return
	}
	c.Controller, c.Sensitivity = ours, true
	if rows := parsed[Exited](t, printed(t, c.Run, true)); len(rows) < 20 || rows[0].Change != "" || rows[1].Change != "spend ×0.5" {
		t.Errorf("%d rows, %q first", len(rows), rows[1].Change)
	}
}

func TestExitsErrors(t *testing.T) {
	good := Exits{Stream: saved(t, random(13, 50, 3), "a.csv"), Controller: "all", Target: 0.99, Budget: 0.02, Batch: 1, Window: 100}
	for name, c := range map[string]struct {
		spoil func(*Exits)
		want  string
		usage bool
	}{
		"no stream":    {func(c *Exits) { c.Stream = "" }, "-stream", true},
		"target":       {func(c *Exits) { c.Target = 1.5 }, "-target: 1.5", true},
		"no target":    {func(c *Exits) { c.Target = math.NaN() }, "-target", true},
		"budget":       {func(c *Exits) { c.Budget = -1 }, "-budget", true},
		"batch":        {func(c *Exits) { c.Batch = 0 }, "-batch", true},
		"window":       {func(c *Exits) { c.Window = 0 }, "-window", true},
		"mode":         {func(c *Exits) { c.Mode = "off" }, "-mode", true},
		"no such mode": {func(c *Exits) { c.Mode, c.Controller = "compute", "apparate-code" }, "apparate-code has no mode compute", true},
		"controller":   {func(c *Exits) { c.Controller = "best" }, "want all or one of static, apparate-paper", true},
		"ramps":        {func(c *Exits) { c.Ramps = "0,3" }, "-ramps", true},
		"a ramp twice": {func(c *Exits) { c.Ramps = "1,1" }, "-ramps", true},
		"depths":       {func(c *Exits) { c.Depths = "0.1,x,0.3" }, "-depths", true},
		"few depths":   {func(c *Exits) { c.Depths = "0.1,0.2" }, "depths: 2 of them", true},
		"ramp cost":    {func(c *Exits) { c.RampCost = "2" }, "ramp costs", true},
		"other ramps":  {func(c *Exits) { c.Calibration = saved(t, random(14, 50, 4), "b.csv") }, "has 4 ramps", false},
		"no file":      {func(c *Exits) { c.Stream = "nowhere.csv" }, "nowhere.csv", false},
	} {
		r := good
		c.spoil(&r)
		if err := r.Run(Output{Stdout: &bytes.Buffer{}}); err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, ErrUsage) != c.usage {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// givenData is the folder with measured data.
const givenData = "../../../shared/data"

// TestGivenStream holds the baselines against what exploration found with
// programs of its own on the stream of which the data has the first 8,000 rows of
// 35,000: ramps 0, 2, 3, 5 and 6, the set never changed. Figures of the whole
// stream are near, not equal.
func TestGivenStream(t *testing.T) {
	long(t)
	given, err := (&ExitSuite{Dir: givenData}).given()
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			t.Skipf("NOT CHECKED against the recording of an MLP: %v", err)
		}
		t.Fatal(err)
	}
	free := given.stream.Only(0b1111111)
	free.RampCost = make([]float64, free.Ramps)
	calibration := &exitstream.Stream{Ramps: free.Ramps, Rows: given.calibration}
	five := newTrial(given.stream, calibration, 0b1101101, given.config)
	all := newTrial(free, nil, 0b1111111, given.config)
	for _, c := range []struct {
		t            *trial
		name         string
		batch        int
		low, high    float64 // agreement, %
		saved, width float64 // mean saving, %
		median       float64 // 0: not said
	}{
		{all, "clairvoyant", 1, 100, 100, 64.5, 2, 69.7},
		{five, "static", 1, 97.2, 98.5, 49.5, 5, 0},
		{five, "apparate-paper", 1, 95, 98, 48, 8, 0}, // 42.0 % at 97.73 % and 53.8 % at 95.08 %, by when it is tuned
		{five, "apparate-code", 1, 98.9, 99.1, 5.7, 3, 0},
		{five, "apparate-code", 4, 98.9, 99.1, 9.4, 3, 0},
		{five, "apparate-code", 16, 98.9, 99.4, 22.1, 3, 0},
		{five, ours, 1, 99, 99.6, 45.1, 6, 69.3}, // integral control came to 45.1 % at 99.02 %
	} {
		i := slices.IndexFunc(arms(), func(a arm) bool { return a.name == c.name })
		a := arms()[i]
		a.batch = c.batch
		e, err := c.t.run(a, exitWindow, exitSeed)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s in batches of %d: %.2f %%, %.1f %% saved, median %.1f %%", c.name, c.batch, 100*e.Agreement, 100*e.SavedMean, 100*e.SavedMedian)
		if 100*e.Agreement < c.low || 100*e.Agreement > c.high || math.Abs(100*e.SavedMean-c.saved) > c.width || c.median != 0 && math.Abs(100*e.SavedMedian-c.median) > 0.1 {
			t.Errorf("%s in batches of %d: %.2f %% agree, %.1f %% saved, median %.1f %%", c.name, c.batch, 100*e.Agreement, 100*e.SavedMean, 100*e.SavedMedian)
		}
	}
}

// TestExitSuite: every stream and controller stands in it, what must be shown is
// listed, and a failure is one.
func TestExitSuite(t *testing.T) {
	long(t)
	plot := filepath.Join(t.TempDir(), "p.svg")
	c := ExitSuite{
		Fashion: madeUp(t, 30), Plot: plot, Sensitivity: true,
		tiny: exitScale{"clean:300,noise=0.1:300", "clean:600", "clean:100", "0..9", "10..29", 2},
	}
	var out bytes.Buffer
	err := c.Run(Output{Stdout: &out})
	if err != nil && !errors.Is(err, ErrOff) { // on noise nothing has to hold
		t.Fatal(err)
	}
	want(t, out.String(), "shuffled: 600 rows", "video: 600 rows", "hostile: 600 rows", "agreement in the worst segment", "latency saved ÷ hindsight's", "reported",
		"nothing changed", "latency, gain ×2", "answers that disagree, less the bound", "NOT RUN: the given recording of an MLP wants -data")
	for _, ch := range changes() {
		if ch.refused != nil {
			want(t, out.String(), "NOT RUN with "+ch.name+": ")
		}
	}
	if drawn, err := os.ReadFile(plot); err != nil || !bytes.Contains(drawn, []byte("</svg>")) {
		t.Errorf("the plot: %d bytes, %v", len(drawn), err)
	}
	c.Fashion = t.TempDir()
	if err := c.Run(Output{Stdout: &out}); err == nil || errors.Is(err, ErrOff) || !strings.Contains(err.Error(), "there is no stream to run") {
		t.Errorf("without any data: %v", err)
	}
}

// TestCriteria: what falls short is found.
func TestCriteria(t *testing.T) {
	bound := 100.0
	seg := []SegmentExited{{Segment: "a", Agreement: 0.995}, {Segment: "b", Agreement: 0.99}}
	rows := []Exited{
		{Stream: "s", Controller: ours, Mode: "latency", Batch: 1, Agreement: 0.992, WindowsBelow: 0.05, SavedMean: 0.45, P95Overhead: 0.02, Bound: &bound, Disagreed: 90, Segments: seg},
		{Stream: "s", Controller: ours, Mode: "compute", Batch: 1, Agreement: 0.991, WindowsBelow: 0.2, ComputeSaved: 0.36, AuditShare: 0.1, Bound: &bound, Segments: seg},
		{Stream: "s", Controller: "hindsight", Mode: "latency", Batch: 1, Agreement: 0.99, SavedMean: 0.5},
		{Stream: "s", Controller: "apparate-code", Mode: "latency", Batch: 1, Agreement: 0.98, SavedMean: 0.29},
		{Stream: "s", Controller: "clairvoyant", Mode: "latency", Batch: 1, Agreement: 1, SavedMean: 0.6},
	}
	if err := failed(criteria(rows)); err != nil {
		t.Errorf("all hold: %v", err)
	}
	for what, spoil := range map[string]func(rows []Exited){
		"agreement": func(r []Exited) { r[0].Agreement = 0.9899 }, "windows": func(r []Exited) { r[0].WindowsBelow = 0.11 }, "hindsight": func(r []Exited) { r[0].SavedMean = 0.449 },
		"apparate": func(r []Exited) { r[3].SavedMean = 0.31 }, "overhead": func(r []Exited) { r[0].P95Overhead = 0.021 }, "bound": func(r []Exited) { r[0].Disagreed = 101 },
		"segment": func(r []Exited) { r[0].Segments = []SegmentExited{{Agreement: 0.987}} },
		"compute": func(r []Exited) { r[1].ComputeSaved = 0.34 }, "audits": func(r []Exited) { r[1].AuditShare = 0.101 }, "its windows": func(r []Exited) { r[1].WindowsBelow = 0.26 },
		"its agreement": func(r []Exited) { r[1].Agreement = 0.98 },
	} {
		r := slices.Clone(rows)
		spoil(r)
		if err := failed(criteria(r)); !errors.Is(err, ErrOff) || !strings.HasPrefix(err.Error(), "1 criteria") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
