package chaos

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// learned has the router save what it learns, several times a second.
func learned(file string) string { return "learned: {file: " + file + ", interval: 100ms}\n" }

// sound tells whether what the router saved is whole: it says so when it sets a
// file aside, and keeps that.
func sound(t *testing.T, w *World, file string) {
	t.Helper()
	if info, err := os.Stat(file); err != nil || info.Size() == 0 {
		t.Errorf("nothing was saved: %v", err)
	}
	aside, err := filepath.Glob(file + ".damaged-*")
	if err != nil || len(aside) > 0 {
		t.Errorf("a file was damaged: %v, %v", aside, err)
	}
}

// TestRouterKilled: the router is killed while it serves, and started again.
// Clients see connections that break, and no wrong answer; what it saved is
// whole.
func TestRouterKilled(t *testing.T) {
	asked(t)
	file := filepath.Join(t.TempDir(), "learned")
	records := Scene{Options: Options{Config: learned(file)}, Broken: true, Again: true, Lost: 0.5}.play(t, func(w *World, _ *Run) {
		rng := dice(t)
		for range 3 {
			w.Router.Kill()
			Wait(200 * time.Millisecond)
			sound(t, w, file)
			must(t, w.Router.Start())
			must(t, w.Ready(5*time.Second))
			Wait(time.Duration(300+rng.IntN(400)) * time.Millisecond)
		}
	})
	if c := count(records, nil); c[Refused] == 0 {
		t.Error("no client noticed that there was no router")
	}
}

// TestRouterStopped: SIGTERM ends the router after it has answered what it was
// asked. Clients find nobody until it is started again, and lose nothing that they
// had sent.
func TestRouterStopped(t *testing.T) {
	long(t)
	file := filepath.Join(t.TempDir(), "learned")
	records := Scene{Options: Options{Config: learned(file)}, Broken: true, Again: true, Lost: 0.5}.play(t, func(w *World, _ *Run) {
		for range 2 {
			must(t, w.Router.Stop(10*time.Second))
			sound(t, w, file)
			must(t, w.Router.Start())
			must(t, w.Ready(5*time.Second))
			Wait(500 * time.Millisecond)
		}
	})
	if c := count(records, nil); c[Cut] > 0 || c[Refused] == 0 {
		t.Errorf("%v: a router that is asked to stop answers what it has: %s", c, examples(records, nil, Cut))
	}
}

// TestReload: the configuration is read again five times a second under load,
// with other workers each time, and nobody notices.
func TestReload(t *testing.T) {
	Scene{}.play(t, func(w *World, _ *Run) {
		m, err := w.Metrics()
		must(t, err)
		if _, ok := m[`motley_config_reloads_total{result="ok"}`]; !ok {
			t.Skip("NOT RUN: this router does not reload its configuration")
		}
		before := m[`motley_config_reloads_total{result="ok"}`]
		sets := [][]*Worker{w.Workers[:3], w.Workers[1:], {w.Workers[0], w.Workers[1], w.Workers[3]}, w.Workers}
		n := 150 // 30 s
		if testing.Short() {
			n = 30
		}
		for i := range n {
			must(t, w.Configure(sets[i%len(sets)]))
			w.Router.Signal(syscall.SIGHUP)
			Wait(200 * time.Millisecond)
		}
		must(t, w.Configure(w.Workers))
		w.Router.Signal(syscall.SIGHUP)
		must(t, w.Ready(5*time.Second))
		m, err = w.Metrics()
		must(t, err)
		if ok := int(m[`motley_config_reloads_total{result="ok"}`] - before); ok < n*9/10 || m[`motley_config_reloads_total{result="failed"}`] > 0 {
			t.Errorf("%d of %d reloads went well, %v failed", ok, n+1, m[`motley_config_reloads_total{result="failed"}`])
		}
	})
}

// TestReloadBroken: a configuration that makes no sense changes nothing.
func TestReloadBroken(t *testing.T) {
	long(t)
	Scene{}.play(t, func(w *World, _ *Run) {
		m, err := w.Metrics()
		must(t, err)
		if _, ok := m[`motley_config_reloads_total{result="failed"}`]; !ok {
			t.Skip("NOT RUN: this router does not reload its configuration")
		}
		for _, text := range []string{"", "listen: 7", "models: []", "no: such field\n"} {
			must(t, os.WriteFile(w.config, []byte(text), 0o600))
			w.Router.Signal(syscall.SIGHUP)
			Wait(200 * time.Millisecond)
		}
		m, err = w.Metrics()
		must(t, err)
		if n := m[`motley_config_reloads_total{result="failed"}`]; n == 0 || m["motley_config_last_reload_successful"] != 0 {
			t.Errorf("%v reloads failed, the last one well: %v", n, m["motley_config_last_reload_successful"])
		}
	})
}

// TestHandover: the router is replaced by a new process, several times under
// load, and nobody notices.
func TestHandover(t *testing.T) {
	Scene{Again: true}.play(t, func(w *World, _ *Run) {
		if !strings.Contains(w.help, "SIGUSR2") {
			t.Skip("NOT RUN: this router does not hand over")
		}
		for range max(2, int(span(6*time.Second)/(1500*time.Millisecond))) {
			old, err := w.routers()
			must(t, err)
			if len(old) != 1 {
				t.Fatalf("%d routers run: %v", len(old), old)
			}
			must(t, syscall.Kill(old[0], syscall.SIGUSR2))
			for deadline := time.Now().Add(15 * time.Second); ; Wait(50 * time.Millisecond) {
				now, err := w.routers()
				must(t, err)
				if len(now) == 1 && now[0] != old[0] {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("the router %v was not replaced: %v; %s", old, now, w.Log("router"))
				}
			}
			Wait(span(time.Second))
		}
	})
}
