package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"motley/internal/config"
	"motley/internal/pool"
)

// profiled profiles and returns the report and the rows of the CSV.
func profiled(t *testing.T, ctx context.Context, cfg *config.Config, opt ProfileOptions) (text string, rows []pool.Row, err error) {
	t.Helper()
	opt.Log = quiet()
	opt.Out = filepath.Join(t.TempDir(), "profiles.csv")
	var out bytes.Buffer
	err = Profile(ctx, cfg, opt, &out)
	f, openErr := os.Open(opt.Out)
	if openErr != nil {
		return out.String(), nil, err
	}
	defer f.Close()
	rows, readErr := pool.ReadProfiles(f)
	if readErr != nil {
		t.Fatalf("what was written cannot be read: %v", readErr)
	}
	return out.String(), rows, err
}

// A profile of emulated workers is the one that they are paced by.
func TestProfileOfEmulatedWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := hetero(t)
		text, rows, err := profiled(t, t.Context(), cfg, ProfileOptions{Budget: 10 * time.Minute, Batches: []int{10, 20, 50, 100, 150, 200, 400, 600, 1000}})
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		sum, worst, types := 0.0, 0.0, map[string]bool{}
		for _, r := range rows {
			types[r.InstanceType] = true
			p, err := pool.NewProfile(cfg.Points("wnd", r.InstanceType))
			if err != nil {
				t.Fatal(err)
			}
			off := math.Abs(float64(r.Mean)/float64(p.Mean(r.Batch)) - 1)
			sum, worst = sum+off, max(worst, off)
		}
		t.Logf("%d sizes: off by %.2f %% on average, %.2f %% at worst\n%s", len(rows), 100*sum/float64(len(rows)), 100*worst, text)
		if len(types) != 3 || worst > 0.02 {
			t.Errorf("%d types, the worst size is off by %.2f %%", len(types), 100*worst)
		}
	})
}

const fewTypes = `
models:
  - name: m
    max_batch: 8
    inputs: [{name: x, datatype: FP32, shape: [-1, 4]}]
    outputs: [{name: x, datatype: FP32, shape: [-1, 4]}]
instance_types: [{name: a}, {name: b}]
profiles: [profiles.csv]
workers:
  - {name: w, type: a, count: 2, emulated: {profile_model: m}}
  - {name: v, type: b, emulated: {profile_model: m}}
`

const fewRows = `m,a,1,40,40.4
m,a,8,61,61.6
m,b,1,60,60.6
m,b,8,60,60.6
`

// The same by the real clock, whose timers are late at times.
func TestProfileByTheClock(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for emulated workers")
	}
	cfg := loadText(t, fewTypes, fewRows)
	text, rows, err := profiled(t, t.Context(), cfg, ProfileOptions{Budget: 4 * time.Second, Batches: []int{1, 2, 4, 8}, Types: []string{"a"}})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, r := range rows {
		p, err := pool.NewProfile(cfg.Points("m", r.InstanceType))
		if err != nil {
			t.Fatal(err)
		}
		if off := float64(r.Mean)/float64(p.Mean(r.Batch)) - 1; math.Abs(off) > 0.02 {
			t.Errorf("%d items on %s: off by %+.2f %%", r.Batch, r.InstanceType, 100*off)
		}
	}
	if len(rows) < 4 {
		t.Errorf("%d rows", len(rows))
	}
	t.Log("\n" + text)
}

func TestProfileOfTheBuiltinModel(t *testing.T) {
	if testing.Short() {
		t.Skip("it measures for 2 s")
	}
	cfg, err := config.Parse("built-in", config.Default())
	if err != nil {
		t.Fatal(err)
	}
	plot := filepath.Join(t.TempDir(), "p.svg")
	began := time.Now()
	text, rows, err := profiled(t, t.Context(), cfg, ProfileOptions{Budget: 2 * time.Second, Plot: plot})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v of a budget of 2 s", took)
	}
	if len(rows) < 3 || !strings.Contains(text, "held out: ") || !strings.Contains(text, "fashion on cpu: measured on local-0 (embedded builtin)") {
		t.Errorf("%d rows\n%s", len(rows), text)
	}
	if data, err := os.ReadFile(plot); err != nil || !bytes.Contains(data, []byte("fashion on cpu")) {
		t.Errorf("the plot: %v", err)
	}
	t.Log("\n" + text)
}

// remoteConfig has a worker that is down, and then a server.
func remoteConfig(t *testing.T, address, model string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("remote", fmt.Appendf(nil, `
models: [{name: %s, max_batch: 16}]
instance_types: [{name: there}]
workers:
  - {name: dead, type: there, remote: {url: "http://127.0.0.1:1", timeout: 1s}}
  - {name: live, type: there, remote: {url: "http://%s", timeout: 10s}}
`, model, address))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// A router is an OIP server like any other, over HTTP.
func TestProfileOfARemoteServer(t *testing.T) {
	if testing.Short() {
		t.Skip("it measures for some seconds")
	}
	served, err := config.Parse("built-in", config.Default())
	if err != nil {
		t.Fatal(err)
	}
	address := serveConfig(t, served, Options{}).addr
	recorded := filepath.Join(t.TempDir(), "requests.jsonl")
	one, err := os.ReadFile("../../examples/infer.json")
	if err != nil {
		t.Fatal(err)
	}
	var line bytes.Buffer
	if err := json.Compact(&line, one); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(recorded, line.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, recording := range []string{"", recorded} {
		text, rows, err := profiled(t, t.Context(), remoteConfig(t, address, "fashion"), ProfileOptions{Budget: 2 * time.Second, Share: 0.8, Recording: recording})
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if len(rows) < 2 || !strings.Contains(text, "measured on live (remote http://") || !strings.Contains(text, "measured on dead") || !strings.Contains(text, "largest batch that worked: 16") {
			t.Errorf("%d rows\n%s", len(rows), text)
		}
		t.Log("\n" + text)
	}
	text, rows, err := profiled(t, t.Context(), remoteConfig(t, address, "other"), ProfileOptions{Budget: time.Second})
	if err == nil || rows != nil || !strings.Contains(err.Error(), "1 of 1 could not be measured, or not to the end: other on there: worker dead: the worker does not answer") ||
		!strings.Contains(err.Error(), "worker live: the worker says that model 'other' is not ready") {
		t.Errorf("a model that the server does not have: %v\n%s", err, text)
	}
}

func TestProfileRefuses(t *testing.T) {
	cfg := loadText(t, fewTypes, fewRows)
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		opt  ProfileOptions
		want string
	}{
		{ProfileOptions{Model: "x"}, `there is no model "x"; there is m`},
		{ProfileOptions{Types: []string{"a", "c"}}, `there is no instance type "c"; there is a, b`},
		{ProfileOptions{Recording: "/nonexistent"}, "cannot read recorded requests"},
		{ProfileOptions{Recording: empty}, "there are none"},
		{ProfileOptions{Batches: []int{9}}, "takes at most 8, and only larger batches"},
	} {
		c.opt.Budget, c.opt.Log = time.Second, quiet()
		if err := Profile(t.Context(), cfg, c.opt, io.Discard); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v", c.opt, err)
		}
	}
	nobody := loadText(t, strings.Replace(fewTypes, "{name: v, type: b,", "{name: v, type: a,", 1), fewRows)
	if err := Profile(t.Context(), nobody, ProfileOptions{Types: []string{"b"}, Log: quiet()}, io.Discard); err == nil || !strings.Contains(err.Error(), "no worker") {
		t.Errorf("a type without workers: %v", err)
	}
}

// Recorded requests are of one model, which must be named where there are more.
func TestProfileRecordedForWhom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := loadText(t, strings.Replace(fewTypes, "models:\n", "models:\n  - {name: other, max_batch: 8, inputs: [{name: y, datatype: FP32, shape: [-1, 9]}], outputs: [{name: y, datatype: FP32, shape: [-1, 9]}]}\n", 1), fewRows)
		path := filepath.Join(t.TempDir(), "requests.jsonl")
		if err := os.WriteFile(path, []byte(`{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}`), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := profiled(t, t.Context(), cfg, ProfileOptions{Budget: time.Minute, Recording: path})
		if err == nil || !strings.Contains(err.Error(), "say which (-model)") {
			t.Errorf("error %v", err)
		}
		text, rows, err := profiled(t, t.Context(), cfg, ProfileOptions{Budget: time.Minute, Recording: path, Model: "m"})
		if err != nil || len(rows) < 4 || strings.Contains(text, "other on") {
			t.Errorf("%v, %v\n%s", err, rows, text)
		}
		_, rows, err = profiled(t, t.Context(), cfg, ProfileOptions{Budget: time.Minute, Recording: path, Model: "other"})
		if err == nil || rows != nil || !strings.Contains(err.Error(), "recorded requests: line 1") {
			t.Errorf("requests of another model: %v", err)
		}
	})
}

// All workers, one model and type; and what there is when it is interrupted.
func TestProfileAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := loadText(t, fewTypes, fewRows)
		text, rows, err := profiled(t, t.Context(), cfg, ProfileOptions{Budget: time.Minute, All: true, Model: "m", Types: []string{"a"}, Batches: []int{1, 8}})
		if err != nil || len(rows) != 2 || !strings.Contains(text, "measured on w-0") || !strings.Contains(text, "measured on w-1") || strings.Contains(text, "on b") {
			t.Errorf("%v, %v\n%s", err, rows, text)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
		defer cancel()
		text, rows, err = profiled(t, ctx, cfg, ProfileOptions{Budget: time.Minute, JSON: true})
		if err == nil || !strings.Contains(err.Error(), "2 of 2 could not be measured, or not to the end: m on a: worker w-0: interrupted; m on b: worker v: interrupted") || len(rows) == 0 || !json.Valid([]byte(text)) {
			t.Errorf("%v, %v\n%s", err, rows, text)
		}
	})
}
