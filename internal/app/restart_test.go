package app

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"motley/internal/config"
	"motley/internal/live"
)

// learner is a router over two emulated types that keeps what it learns in
// path. Of the model's own latencies nothing is measured.
func learner(t *testing.T, path string) *config.Config {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"router.yaml": `
policy: least-load # so that both types get work
models: [{name: m, qos: {target: 10s}}]
instance_types: [{name: fast}, {name: slow}]
profiles: [measured.csv]
workers:
  - {name: f, type: fast, emulated: {profile_model: true-m}}
  - {name: s, type: slow, emulated: {profile_model: true-m}}
`,
		"measured.csv": "model,instance_type,batch,mean_ms,p99_ms\ntrue-m,fast,1,1,1\ntrue-m,fast,64,1,1\ntrue-m,slow,1,3,3\ntrue-m,slow,64,3,3\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := config.Load(filepath.Join(dir, "router.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Learned.File, cfg.Learned.Interval = path, time.Millisecond
	return cfg
}

const oneRow = `{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}]}`

// profilesOf returns what /debug/state shows of the profiles, by type.
func profilesOf(t *testing.T, s *served) map[string]live.ProfileState {
	t.Helper()
	var state struct{ Loop live.Snapshot }
	if err := json.Unmarshal([]byte(s.page(t, "/debug/state")), &state); err != nil {
		t.Fatal(err)
	}
	all := map[string]live.ProfileState{}
	for _, p := range state.Loop.Profiles {
		all[p.Type] = p
	}
	return all
}

// What is learned outlives a restart. Saving goes on all the while, every
// millisecond, beside four clients.
func TestRestartKeepsWhatWasLearned(t *testing.T) {
	path := filepath.Join(t.TempDir(), "learned")
	want := map[string]int{}
	for run := range 3 {
		t.Run("", func(t *testing.T) {
			s := serveConfig(t, learner(t, path), Options{})
			for name, p := range profilesOf(t, s) {
				if p.Samples != want[name] || p.Known != (run > 0) || len(p.Means) != 3*min(run, 1) {
					t.Errorf("run %d begins with %+v, want %d samples", run, p, want[name])
				}
			}
			c := s.client(4)
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for range 25 {
						if a, err := infer(c, "m", -1, []byte(oneRow)); err != nil || a.status != 200 {
							t.Errorf("%d, %v: %s", a.status, err, a.body)
						}
					}
				})
			}
			wg.Wait()
			for name, p := range profilesOf(t, s) {
				if p.Samples <= want[name] {
					t.Errorf("run %d: %s has %d samples, as before", run, name, p.Samples)
				}
				want[name] = p.Samples
			}
		})
	}
}

// A file that cannot be understood stops nobody.
func TestServesOnWithADamagedMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "learned")
	if err := os.WriteFile(path, []byte("not profiles"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Run("", func(t *testing.T) {
		s := serveConfig(t, learner(t, path), Options{})
		if a, err := infer(s.client(1), "m", -1, []byte(oneRow)); err != nil || a.status != 200 {
			t.Errorf("%d, %v: %s", a.status, err, a.body)
		}
	})
	if got := read(t, path+".damaged-1"); got != "not profiles" {
		t.Errorf("kept aside: %q", got)
	}
	m := remember(path, quiet())
	if len(m.read) == 0 {
		t.Error("nothing was saved at the end")
	}
}

// A type of which nothing is known is taken for the slowest known one, and no
// more than that.
func TestUnknownTypeIsSupposedSlow(t *testing.T) {
	cfg := learner(t, "")
	for i := range cfg.Rows {
		if cfg.Rows[i].InstanceType == "slow" {
			cfg.Rows[i].Model = "m" // measured for the model itself
		}
	}
	cfg.Workers = cfg.Workers[:1]
	cfg.Workers[0].Type, cfg.Workers[0].Models = "fast", nil
	a, err := New(cfg, Options{Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := a.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	s := a.Loop().Snapshot()
	if len(s.Profiles) != 1 {
		t.Fatalf("profiles %+v", s.Profiles)
	}
	if p := s.Profiles[0]; p.Type != "fast" || !p.Supposed || p.Known || p.Samples != 0 || len(p.Means) != 3 || p.Means[0].MS != 3 {
		t.Errorf("%+v, want it supposed to take 3 ms", p)
	}
}
