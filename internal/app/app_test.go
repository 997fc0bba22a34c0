package app

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"motley/internal/config"
	"motley/internal/engine"
)

// TestConfigurations starts every configuration of the project. The workers of
// remote.yaml and cascade.yaml are down: the router serves all the same and says so.
func TestConfigurations(t *testing.T) {
	files, err := filepath.Glob("../../configs/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d configurations, %v", len(files), err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			cfg, err := config.Load(f)
			if err != nil {
				t.Fatal(err)
			}
			s := serveConfig(t, cfg, Options{})
			c := s.client(4)
			if page := s.page(t, "/debug/state"); !json.Valid([]byte(page)) {
				t.Fatalf("/debug/state: %s", page)
			}
			status, _, err := c.Get(nil, "http://router/v2/health/ready")
			ready := 200
			if slices.Contains([]string{"remote.yaml", "cascade.yaml"}, filepath.Base(f)) {
				ready = 400
			}
			if err != nil || status != ready {
				t.Errorf("ready: %d, %v; want %d", status, err, ready)
			}
			a, err := infer(c, cfg.Models[0].Name, -1, []byte(`{"inputs":[{"name":"x","shape":[1,8],"datatype":"FP32","data":[1,2,3,4,5,6,7,8]}]}`))
			want := map[string]int{"quickstart.yaml": 400, "earlyexit.yaml": 400, "remote.yaml": 503, "cascade.yaml": 503, "hetero.yaml": 200}[filepath.Base(f)]
			if err != nil || a.status != want {
				t.Errorf("infer: %d, %v: %s; want %d", a.status, err, a.body, want)
			}
		})
	}
}

// TestExamples sends the examples of the README as they stand.
func TestExamples(t *testing.T) {
	cfg, err := config.Parse("built-in", config.Default())
	if err != nil {
		t.Fatal(err)
	}
	cfg.Models[0].QoS.Target = 10 * time.Second // other tests run beside this one
	c := serveConfig(t, cfg, Options{}).client(1)
	for _, f := range []string{"infer.json", "batch.json"} {
		body, err := os.ReadFile("../../examples/" + f)
		if err != nil {
			t.Fatal(err)
		}
		a, err := infer(c, "fashion", -1, body)
		if err != nil || a.status != 200 {
			t.Fatalf("%s: %d, %v: %s", f, a.status, err, a.body)
		}
		var r struct {
			ID      string
			Outputs []struct {
				Name string
				Data []float64
			}
		}
		if err := json.Unmarshal(a.body, &r); err != nil {
			t.Fatal(err)
		}
		var labels []string
		for _, o := range r.Outputs {
			for _, v := range o.Data {
				if o.Name == "label" {
					labels = append(labels, string(rune('0'+int(v))))
				}
			}
		}
		if got := "expect-" + strings.Join(labels, "-"); got != r.ID {
			t.Errorf("%s: got %s for %s", f, got, r.ID)
		}
	}
}

// TestBuiltinModels compares what the configuration believes to be built in
// with what the engine has.
func TestBuiltinModels(t *testing.T) {
	for _, name := range config.BuiltinModels {
		m, err := engine.Builtin(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}
