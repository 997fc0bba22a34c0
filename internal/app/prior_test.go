package app

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"

	"motley/internal/config"
	"motley/internal/live"
)

// Model m was measured on a and b only; c and d are hardware that nobody has run it
// on, and of d nobody says what it is. All of them serve, paced as model other.
const unmeasured = `
models:
  - name: m
    qos: {target: 400ms}
    max_batch: 8
    cost: {flops_per_item: 1e9, precision: int8}
    inputs: [{name: x, datatype: INT32, shape: [-1, 2]}]
    outputs: [{name: x, datatype: INT32, shape: [-1, 2]}]
instance_types:
  - {name: a, usd_per_hour: 1, accelerator: T4}
  - {name: b, usd_per_hour: 2, device: A10}
  - {name: c, usd_per_hour: 3, device: L4}
  - {name: d, usd_per_hour: 4}
profiles: [profiles.csv]
workers:
  - {name: v, type: c, emulated: {profile_model: other}}
  - {name: w, type: d, emulated: {profile_model: other}}
  - {name: x, type: a, emulated: {profile_model: m}}
plan: {budget: 6, requests: 1000, seeds: 1, candidates: 2}
`

// An A10 computes 250/130 times as fast as a T4.
const unmeasuredRows = `m,a,1,14,15
m,a,8,98,99
m,b,1,8.24,9
m,b,8,51.92,54
other,c,1,2,2
other,d,1,2,2
`

func profileOf(t *testing.T, l *live.Loop, instanceType string) live.ProfileState {
	t.Helper()
	for _, p := range l.Snapshot().Profiles {
		if p.Type == instanceType {
			return p
		}
	}
	t.Fatalf("no profile on %s", instanceType)
	return live.ProfileState{}
}

// A prior stands in until the first batch, and is marked as such; where there is
// none the slowest type is taken.
func TestPriorStandsIn(t *testing.T) {
	cfg := loadText(t, unmeasured, unmeasuredRows)
	s := serveConfig(t, cfg, Options{})
	c, d := profileOf(t, s.app.Loop(), "c"), profileOf(t, s.app.Loop(), "d")
	if !c.Prior || !c.Supposed || c.Known || c.Means[1].Items != 8 {
		t.Fatalf("on an L4: %+v", c)
	}
	// From an A10, which computes 250/242 times as fast as an L4, and from a T4.
	if got, want := c.Means[1].MS, math.Sqrt(51.92*250/242*(98-8*12*(1-130./242))); math.Abs(got/want-1) > 0.01 {
		t.Errorf("8 items on an L4 are expected to take %g ms, want %g", got, want)
	}
	if d.Prior || !d.Supposed || d.Means[1].MS != 98 {
		t.Errorf("on who knows what: %+v", d)
	}
	if a := profileOf(t, s.app.Loop(), "a"); a.Prior || a.Supposed || !a.Known {
		t.Errorf("on a T4: %+v", a)
	}
	for range 20 { // until c has had one
		resp, err := http.Post("http://"+s.addr+"/v2/models/m/infer", "application/json", strings.NewReader(`{"inputs":[{"name":"x","datatype":"INT32","shape":[1,2],"data":[1,2]}]}`))
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%v, %+v", err, resp)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	if c := profileOf(t, s.app.Loop(), "c"); c.Prior || c.Supposed || c.Samples == 0 || c.Means[0].MS > 10 {
		t.Errorf("after batches on an L4: %+v", c)
	}
}

// A plan says which of its latencies nobody has measured.
func TestPlanWithPrior(t *testing.T) {
	cfg := loadText(t, strings.Replace(unmeasured, "  - {name: d, usd_per_hour: 4}\n", "  - {name: d, usd_per_hour: 4, device: A30}\n", 1), unmeasuredRows)
	for i := range cfg.Workers {
		cfg.Workers[i].Emulated.ProfileModel = "m"
	}
	var text, form bytes.Buffer
	if err := Plan(cfg, PlanOptions{}, &text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"A prior, never measured: m on c: 1 × L4, scaled from a, b, where such priors are off by ×1.0", "A prior, never measured: m on d: 1 × A30"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, &text)
		}
	}
	if err := Plan(cfg, PlanOptions{JSON: true}, &form); err != nil {
		t.Fatal(err)
	}
	var records []struct{ Priors []string }
	if err := json.Unmarshal(form.Bytes(), &records); err != nil || len(records) == 0 || len(records[0].Priors) != 2 {
		t.Errorf("%v, %s", err, &form)
	}
	cfg.InstanceTypes[3].Device = ""
	if err := Plan(cfg, PlanOptions{}, io.Discard); err == nil || !strings.Contains(err.Error(), "no measured latencies of model m on instance type d") ||
		!strings.Contains(err.Error(), "nor is there a prior: its hardware is not said") {
		t.Errorf("of unknown hardware: %v", err)
	}
}

func TestProfilePriors(t *testing.T) {
	cfg := loadText(t, unmeasured, unmeasuredRows)
	var text bytes.Buffer
	if err := ProfilePriors(cfg, ProfileOptions{Log: quiet()}, &text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"m on c: prior, not measured: 1 × L4, scaled from a, b", "m on d: prior, not measured: there is none: its hardware is not said"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, &text)
		}
	}
	for _, opt := range []ProfileOptions{{Types: []string{"a"}}, {Model: "x"}, {Out: t.TempDir() + "/p.csv"}} {
		opt.Log = quiet()
		if err := ProfilePriors(cfg, opt, io.Discard); err == nil {
			t.Errorf("%+v: no error", opt)
		}
	}
}

// What a model costs is what the configuration says, else what its graph does.
func TestCostOf(t *testing.T) {
	cfg, err := config.Parse("built-in", config.Default())
	if err != nil {
		t.Fatal(err)
	}
	c := costOf(cfg, &cfg.Models[0])
	if c.FLOPs < 1e6 || c.Bytes < 4*784 || c.Fixed < 1e4 || c.Precision != "fp32" {
		t.Errorf("the built-in model: %+v", c)
	}
	cfg.Models[0].Cost.Bytes = 7
	if c := costOf(cfg, &cfg.Models[0]); c.Bytes != 7 || c.FLOPs != 0 {
		t.Errorf("as configured: %+v", c)
	}
	remote := loadText(t, unmeasured, unmeasuredRows)
	remote.Models[0].Cost.FLOPs = 0
	if c := costOf(remote, &remote.Models[0]); c.Known() {
		t.Errorf("of a model that nobody knows: %+v", c)
	}
}
