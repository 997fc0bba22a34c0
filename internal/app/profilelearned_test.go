package app

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"motley/internal/pool"
	"motley/internal/sim"
)

// saveLearned saves profiles as a router does, and returns the file.
func saveLearned(t *testing.T, all ...pool.Learned) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "learned")
	if err := remember(path, quiet()).save(all); err != nil {
		t.Fatal(err)
	}
	return path
}

// What a router has learned is what a planner, a simulator and another router
// read of it.
func TestExportLearned(t *testing.T) {
	all := []pool.Learned{
		{Model: "m", InstanceType: "a", Profile: taught(t, 300)},
		{Model: "m", InstanceType: "b", Profile: taught(t, 300, pool.Point{Batch: 1, Mean: 4 * time.Millisecond, P99: 5 * time.Millisecond}, pool.Point{Batch: 8, Mean: 9 * time.Millisecond, P99: 11 * time.Millisecond})},
		{Model: "other", InstanceType: "a", Profile: taught(t, 20)},
	}
	dir := t.TempDir()
	opt := ProfileOptions{From: saveLearned(t, all...), Out: filepath.Join(dir, "p.csv"), Plot: filepath.Join(dir, "p.svg"), Model: "m"}
	var out bytes.Buffer
	if err := ExportLearned(opt, &out); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); strings.Contains(text, "other on") || strings.Count(text, "learned, not measured: 300 batches, saved in ") != 2 {
		t.Errorf("the report:\n%s", text)
	}
	csv := read(t, opt.Out)
	if !strings.HasPrefix(csv, "# learned by a router") {
		t.Errorf("the file does not say whose it is:\n%s", csv)
	}
	if plot := read(t, opt.Plot); !strings.Contains(plot, "m on b, learned") {
		t.Error("the plot does not say that it was learned")
	}
	rows, err := pool.ReadProfiles(strings.NewReader(csv))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range all[:2] {
		var points []pool.Point
		for _, r := range rows {
			if r.Model == l.Model && r.InstanceType == l.InstanceType {
				points = append(points, r.Point)
			}
		}
		again, err := pool.NewProfile(points)
		if err != nil {
			t.Fatal(err)
		}
		for n := points[0].Batch; n <= points[len(points)-1].Batch; n++ {
			if e := float64(again.Mean(n))/float64(l.Profile.Mean(n)) - 1; math.Abs(e) > 1e-4 {
				t.Errorf("%s: Mean(%d) is off by %g", l.InstanceType, n, e)
			}
			if e := float64(again.Bound(n, 0.99))/float64(l.Profile.Bound(n, 0.99)) - 1; math.Abs(e) > 1e-3 {
				t.Errorf("%s: Bound(%d) is off by %g", l.InstanceType, n, e)
			}
		}
		if _, err := sim.TruthFromRows(rows, l.Model, l.InstanceType); err != nil {
			t.Error(err)
		}
	}
	// A plan by the exported file is the plan by the learned one.
	const pools = `
models: [{name: m, qos: {target: 30ms}, max_batch: 8, inputs: [{name: x, datatype: FP32, shape: [-1, 4]}], outputs: [{name: x, datatype: FP32, shape: [-1, 4]}]}]
instance_types: [{name: a, usd_per_hour: 1}, {name: b, usd_per_hour: 2}]
profiles: [profiles.csv]
workers:
  - {name: w, type: a, emulated: {profile_model: m}}
  - {name: v, type: b, emulated: {profile_model: m}}
plan: {budget: 4, requests: 500, seeds: 1, candidates: 2}
`
	var byFile, byLearned bytes.Buffer
	if err := Plan(loadText(t, pools, strings.SplitAfterN(csv[strings.Index(csv, "\nmodel")+1:], "\n", 2)[1]), PlanOptions{}, &byFile); err != nil {
		t.Fatal(err)
	}
	cfg := loadText(t, pools, fewRows)
	cfg.Plan.Learned = opt.From
	if err := Plan(cfg, PlanOptions{}, &byLearned); err != nil {
		t.Fatal(err)
	}
	best := func(text string) string { return strings.Fields(text[strings.Index(text, "\n1 ")+2:])[0] }
	if a, b := best(byFile.String()), best(byLearned.String()); a != b {
		t.Errorf("by the exported file the best mix is %s, by what was learned %s", a, b)
	}
	out.Reset()
	opt.JSON = true
	var forms []map[string]any
	if err := ExportLearned(opt, &out); err != nil || json.Unmarshal(out.Bytes(), &forms) != nil || len(forms) != 2 || forms[0]["origin"] != "learned" {
		t.Errorf("as JSON: %v\n%s", err, &out)
	}
}

func TestExportLearnedRefuses(t *testing.T) {
	path := saveLearned(t, pool.Learned{Model: "m", InstanceType: "a", Profile: taught(t, 30)})
	damaged := filepath.Join(t.TempDir(), "damaged")
	if err := os.WriteFile(damaged, []byte(read(t, path)[:200]), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		opt  ProfileOptions
		want string
	}{
		{ProfileOptions{From: "/nonexistent"}, "no such file"},
		{ProfileOptions{From: damaged}, "line 1: incomplete"},
		{ProfileOptions{From: path, Model: "x"}, "nothing in"},
		{ProfileOptions{From: path, Types: []string{"b"}}, "nothing in"},
		{ProfileOptions{From: path, Out: "/nonexistent/p.csv"}, "cannot write the profiles"},
	} {
		if err := ExportLearned(c.opt, io.Discard); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v", c.opt, err)
		}
	}
}
