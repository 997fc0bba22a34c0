package app

import (
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"motley/internal/config"
)

// An engine is loaded once for all that run it, and closed with the last of them.
func TestEnginesAreLeased(t *testing.T) {
	var all engines
	log := slog.New(slog.DiscardHandler)
	fashion := &config.Embedded{Engine: "builtin"}
	a, b := &lease{of: &all}, &lease{of: &all}
	x, err := a.load(fashion, "fashion", log)
	if err != nil {
		t.Fatal(err)
	}
	y, err := b.load(fashion, "fashion", log)
	if err != nil || x != y {
		t.Errorf("loaded twice: %v", err)
	}
	if _, err := b.load(fashion, "nothing", log); err == nil {
		t.Error("a model that is not there was loaded")
	}
	if _, err := b.load(&config.Embedded{Engine: "builtin", Path: "../engine/fashion.onnx"}, "fashion", log); err != nil || len(all.all) != 2 {
		t.Errorf("from another file: %v, %d engines", err, len(all.all))
	}
	for i, c := range []struct {
		l    *lease
		left int
	}{{b, 1}, {b, 1}, {a, 0}, {a, 0}} {
		if err := c.l.end(); err != nil || len(all.all) != c.left {
			t.Errorf("end %d: %v, %d engines are left, want %d", i, err, len(all.all), c.left)
		}
	}
	if _, err := a.load(fashion, "fashion", log); err != nil {
		t.Error(err)
	}
	if err := all.close(); err != nil || a.end() != nil || len(all.all) != 0 {
		t.Error("not closed")
	}
}

// Embedded workers, cascades and early exit go through a reload: what stays goes on, and a model
// that is new is loaded and answers early where it is to.
func TestReloadEmbedded(t *testing.T) {
	cfg := parsed(t, twins)
	s := serveConfig(t, cfg, Options{})
	body, err := os.ReadFile("../../examples/infer.json")
	if err != nil {
		t.Fatal(err)
	}
	ask := func(model string) int {
		t.Helper()
		a, err := infer(s.client(1), model, -1, body)
		if err != nil {
			t.Fatal(err)
		}
		return a.status
	}
	both := s.app.members.named("a").member
	third := strings.Replace(twins, "instance_types:", "  - {name: third, early_exit: {mode: compute}, qos: {target: 20s}}\ninstance_types:", 1) +
		"  - {name: c, type: cpu, models: [third], embedded: {path: ../engine/fashion.onnx}}\n"
	for _, c := range []struct {
		text    string
		engines int
		want    int // status of third
	}{{third, 3, 200}, {twins, 2, 404}, {third, 3, 200}} {
		if err := s.app.Reload(parsed(t, c.text)); err != nil {
			t.Fatal(err)
		}
		if got := ask("third"); got != c.want {
			t.Errorf("third is answered with %d, want %d", got, c.want)
		}
		for _, m := range []string{"first", "second", "both", "never"} {
			if got := ask(m); got != 200 {
				t.Errorf("%s is answered with %d", m, got)
			}
		}
		for deadline := time.Now().Add(20 * time.Second); ; <-time.After(time.Millisecond) {
			s.app.pool.engines.mu.Lock()
			n := len(s.app.pool.engines.all)
			s.app.pool.engines.mu.Unlock()
			if n == c.engines {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d engines are loaded, want %d", n, c.engines)
			}
		}
	}
	if s.app.members.named("a").member != both {
		t.Error("a worker that did not change was replaced")
	}
	for text, field := range map[string]string{
		strings.Replace(twins, "target: 0.98", "target: 0.97", 1):                                                                          "models[0].early_exit.target",
		strings.Replace(twins, "label: label", "label: other", 1):                                                                          "models[0].cascade.label",
		strings.Replace(twins, "both\n    qos: {target: 20s}", "both\n    qos: {target: 10s}", 1):                                          "models[0].qos.target",
		strings.Replace(twins, "  - name: never\n    qos: {target: 20s}\n    cascade: {stages: [{model: first}, {model: second}]}", "", 1): "models: the cascade never",
	} {
		if err := s.app.Reload(parsed(t, text)); err == nil || !strings.Contains(err.Error(), field+" cannot change") {
			t.Errorf("%s: %v", field, err)
		}
	}
}
