package app

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"motley/internal/config"
	"motley/internal/gpu"
	"motley/internal/gpu/device"
	"motley/internal/live"
	"motley/internal/promtest"
)

const quickHealth = "health: {interval: 50ms, stale_after: 500ms}"

// One of two fast workers is throttled to a half, and its recorded telemetry says
// so: it is derated at once, and its batches do not make the other one look slow.
func TestHealthThrottled(t *testing.T) {
	const clients = 24
	trouble := []string{fmt.Sprintf("fast-0,kind=delay,factor=2,from=%v", sickAfter)}
	hardware := map[string]string{"fast-0": "{recorded: " + throttledRecording(t) + "}"}
	s := newSick(t, trouble, hardware, quickHealth)
	s.load(clients)
	all := s.until(sickAfter+3*time.Second, "derated", func(all map[string]live.WorkerHealth) bool {
		return all["fast-0"].Health == "derated" && all["fast-0"].Used.Slowdown > 1.8
	})
	t.Logf("derated %v after the start: %v", time.Since(s.began), all["fast-0"].Evidence)
	w := all["fast-0"]
	if w.Device == nil || w.Device.Name != "T4" || w.SampleAgeS == nil || *w.SampleAgeS > 1 || w.Recommended != "derate" || !w.Takes || len(w.Evidence) == 0 {
		t.Errorf("%+v", w)
	}
	s.wait(sickAfter + 2*time.Second)
	goodput := s.count(sickAfter + 4*time.Second)
	page := string(s.get("/metrics"))
	s.stop()
	if n := s.failures.Load(); n > 0 {
		t.Errorf("%d requests failed", n)
	}
	t.Logf("goodput after 2 s: %.1f/s", goodput)
	for _, want := range []string{
		`motley_worker_health{instance_type="fast",state="derated",worker="fast-0"} 1`, `motley_worker_health{instance_type="mid",state="ok",worker="mid-0"}`,
		`motley_gpu_throttled{device="GPU-0",reason="hw_thermal"} 1`, `motley_worker_device_info{device="GPU-0",worker="fast-0"} 1`,
		`motley_worker_takes_work{instance_type="fast",worker="fast-0"} 1`, "motley_worker_slowdown_ratio{", "motley_worker_uncertainty_ratio{", "motley_worker_profile_error_ratio{",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	promtest.Check(t, page, "")
}

// A fatal XID, told by an agent over TLS, of a GPU whose server hangs from then on:
// no request fails, and it gets no more work.
func TestHealthFatalXID(t *testing.T) {
	source := &hurt{after: time.Now().Add(sickAfter)}
	agent, err := gpu.NewAgent(gpu.AgentOptions{Source: source, Every: 20 * time.Millisecond, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	server := httptest.NewTLSServer(agent)
	poll := sync.WaitGroup{}
	poll.Go(func() { agent.Poll(ctx) })
	t.Cleanup(func() { cancel(); poll.Wait(); server.Close() })
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSick(t, []string{fmt.Sprintf("fast-0,kind=hang,from=%v", sickAfter)},
		map[string]string{"fast-0": fmt.Sprintf("{agent: %q, ca_file: %s}", server.URL+"/v1/devices", ca)},
		quickHealth)
	s.load(8)
	all := s.until(sickAfter+3*time.Second, "out", func(all map[string]live.WorkerHealth) bool { return !all["fast-0"].Used.Takes })
	w := all["fast-0"]
	if w.Health != "unhealthy" || w.Recommended != "restart" || len(w.Evidence) == 0 || !strings.Contains(w.Evidence[0], "79") {
		t.Errorf("%+v", w)
	}
	t.Logf("out %v after the start: %v", time.Since(s.began), w.Evidence)
	s.wait(sickAfter + time.Second)
	batches := s.workers()["fast-0"].Batches
	s.wait(sickAfter + 2*time.Second)
	after := s.workers()["fast-0"].Batches
	s.stop()
	if n := s.failures.Load(); n > 0 || batches != after || batches == 0 {
		t.Errorf("%d requests failed; %d batches, then %d", n, batches, after)
	}
}

// hurt is a GPU that reports an XID from an instant on.
type hurt struct{ after time.Time }

func (h *hurt) Read(context.Context) (device.Page, error) {
	s := device.Sample{Device: "GPU-1", Access: device.Reachable, Utilisation: device.Of(0.9), SMClockMHz: device.Of(1590)}
	if time.Now().After(h.after) {
		s.XIDs = []device.XID{{Seq: 1, Code: 79}}
	}
	return device.Page{Devices: []device.Device{{ID: "GPU-1", Kind: device.GPU, Name: "T4"}}, Samples: []device.Sample{s}}, nil
}

// A straggler whose hardware nobody knows is found by its latencies.
func TestHealthStraggler(t *testing.T) {
	s := newSick(t, []string{fmt.Sprintf("fast-0,kind=delay,factor=3,from=%v", sickAfter)}, nil, quickHealth+"\npolicy: least-load")
	s.load(2) // so that nothing is merged: many batches
	s.wait(sickAfter)
	before := s.workers()["fast-0"].Batches
	all := s.until(sickAfter+5*time.Second, "suspect", func(all map[string]live.WorkerHealth) bool {
		return all["fast-0"].Health == "suspect" && all["fast-0"].Used.Slowdown > 2
	})
	s.stop()
	found := all["fast-0"].Batches - before
	t.Logf("found after %d batches: %v", found, all["fast-0"].Evidence)
	if before < 64 || found > 50 || s.failures.Load() > 0 {
		t.Errorf("found after %d batches, %d before; %d requests failed", found, before, s.failures.Load())
	}
}

// Telemetry that cannot be had in every way: the router serves on, says so, and
// is less certain.
func TestHealthStaleTelemetry(t *testing.T) {
	good, _ := (&hurt{after: time.Now().Add(time.Hour)}).Read(t.Context())
	page, err := json.Marshal(good)
	if err != nil {
		t.Fatal(err)
	}
	old := good
	old.Samples = []device.Sample{good.Samples[0]}
	old.Samples[0].Age = time.Hour // by a clock that was set
	skewed, err := json.Marshal(old)
	if err != nil {
		t.Fatal(err)
	}
	var dies atomic.Bool
	hang := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/skewed", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(skewed) })
	mux.HandleFunc("/truncated", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(page)))
		_, _ = w.Write(page[:len(page)/2])
	})
	mux.HandleFunc("/huge", func(w http.ResponseWriter, r *http.Request) { // 100 MB, with no length told
		chunk := make([]byte, 1<<20)
		for range 100 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/hangs", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-hang:
		}
	})
	mux.HandleFunc("/dies", func(w http.ResponseWriter, _ *http.Request) {
		if dies.Load() {
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(page)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(func() { close(hang); server.Close() })
	gone := httptest.NewServer(mux)
	gone.Close()
	hardware := map[string]string{
		"fast-0": "{agent: \"" + server.URL + "/dies\"}", "fast-1": "{agent: \"" + server.URL + "/skewed\"}", "mid-0": "{agent: \"" + server.URL + "/truncated\"}",
		"mid-1": "{metrics: \"" + server.URL + "/huge\"}", "slow-0": "{agent: \"" + server.URL + "/hangs\"}", "slow-1": "{agent: \"" + gone.URL + "/x\"}",
	}
	s := newSick(t, nil, hardware, "health: {interval: 50ms, stale_after: 200ms}")
	s.load(8)
	s.until(5*time.Second, "heard", func(all map[string]live.WorkerHealth) bool {
		return all["fast-0"].Device != nil && !all["fast-0"].Stale
	})
	dies.Store(true)
	all := s.until(10*time.Second, "stale", func(all map[string]live.WorkerHealth) bool {
		for _, w := range all {
			if !w.Stale || w.Used.Uncertainty != 2 {
				return false
			}
		}
		return true
	})
	for name, w := range all {
		if w.Health == "unhealthy" || w.Health == "gone" || !w.Takes || w.TelemetryError == "" && name != "fast-1" {
			t.Errorf("%s: %+v", name, w)
		}
		t.Logf("%s: %v; %s", name, w.Evidence, w.TelemetryError)
	}
	before := s.within.Load()
	s.wait(time.Since(s.began) + 500*time.Millisecond)
	text := string(s.get("/metrics"))
	s.stop()
	if n := s.failures.Load(); n > 0 || s.within.Load() < before+50 {
		t.Errorf("%d requests failed, %d answered in time at last", n, s.within.Load()-before)
	}
	if !strings.Contains(text, `motley_worker_telemetry_stale{instance_type="slow",worker="slow-1"} 1`) {
		t.Error("no alarm in the metrics")
	}
	promtest.Check(t, text, "")
}

// Two sources for one worker, files that are no certificates, and a recording
// that is none are refused at the start.
func TestHealthBadSources(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, []byte("not a recording\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, h := range []config.Hardware{{Recorded: path}, {Agent: "https://h/v1/devices", CAFile: path}} {
		cfg := &config.Config{Health: config.Health{Enabled: true}}
		if _, _, err := watchHardware(cfg).reader(&config.Worker{Name: "w", Hardware: &h}); err == nil || !strings.Contains(err.Error(), "worker w") {
			t.Errorf("%+v: %v", h, err)
		}
	}
	got := watchHardware(&config.Config{Health: config.Health{Enabled: true}})
	var readers []live.Telemetry
	for _, w := range []config.Worker{
		{Name: "a", Embedded: &config.Embedded{}}, {Name: "b", Embedded: &config.Embedded{}, Hardware: &config.Hardware{Local: "none"}}, {Name: "c", Remote: &config.Remote{}},
	} {
		r, _, err := got.reader(&w)
		if err != nil {
			t.Fatal(err)
		}
		readers = append(readers, r)
	}
	if len(got.order) != 1 || readers[0] == nil || readers[1] != nil || readers[2] != nil {
		t.Errorf("%+v, %v", got.order, readers)
	}
}

// A source is asked as long as some worker has it.
func TestHardwareIsAskedNoLongerThanNeeded(t *testing.T) {
	tel := watchHardware(&config.Config{Health: config.Health{Enabled: true, Interval: time.Millisecond}})
	tel.run()
	var release [2]func()
	for i := range release {
		var err error
		if _, release[i], err = tel.reader(&config.Worker{Name: "a", Embedded: &config.Embedded{}}); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []int{1, 0} {
		release[i]()
		if n := len(tel.all()); n != want {
			t.Errorf("%d sources are asked after %d of 2 workers have gone, want %d", n, i+1, want)
		}
	}
	tel.close()
}
