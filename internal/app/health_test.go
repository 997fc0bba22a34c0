package app

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
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
	"motley/internal/fleet"
	"motley/internal/gpu"
	"motley/internal/gpu/device"
	"motley/internal/live"
	"motley/internal/oip"
	"motley/internal/pool"
	"motley/internal/promtest"
	"motley/internal/sim"
)

// sick is a fleet of servers on real sockets, of three types, two of each, and a
// router over it. trouble is what goes wrong, from a while after the start on.
type sick struct {
	t     *testing.T
	began time.Time
	*served
	client   *http.Client
	within   atomic.Int64 // answers inside the target since count was called last
	failures atomic.Int64
	stop     func()
}

const (
	sickQoS   = 300 * time.Millisecond
	sickAfter = 1500 * time.Millisecond // after the start, trouble begins
)

// sickTypes are the types' times for a batch of 1 and of 8, in ms.
var sickTypes = []struct {
	name       string
	one, eight float64
}{{"fast", 6, 10}, {"mid", 12, 30}, {"slow", 20, 60}}

// newSick starts both. hardware is by worker's name what its configuration says;
// more is added to the configuration.
func newSick(t *testing.T, trouble []string, hardware map[string]string, more string) *sick {
	t.Helper()
	s := &sick{t: t, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	cfg := fleet.Config{
		Models: []fleet.Model{{Name: "m", Inputs: []oip.TensorMetadata{{Name: "x", Datatype: oip.FP32, Shape: []int64{-1, 2}}}, Outputs: []oip.TensorMetadata{{Name: "y", Datatype: oip.FP32, Shape: []int64{-1, 2}}}}},
		Listen: "127.0.0.1:0",
	}
	rows, workers := "model,instance_type,batch,mean_ms,p99_ms\n", ""
	for _, ty := range sickTypes {
		var points []pool.Row
		for _, p := range []struct {
			n  int
			ms float64
		}{{1, ty.one}, {8, ty.eight}} {
			mean := time.Duration(p.ms * float64(time.Millisecond))
			points = append(points, pool.Row{Model: "m", InstanceType: ty.name, Point: pool.Point{Batch: p.n, Mean: mean, P99: mean * 11 / 10}})
			rows += fmt.Sprintf("m,%s,%d,%g,%g\n", ty.name, p.n, p.ms, p.ms*1.2)
		}
		truth, err := sim.TruthFromRows(points, "m", ty.name)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 2 {
			cfg.Workers = append(cfg.Workers, fleet.Worker{Name: fmt.Sprintf("%s-%d", ty.name, i), Type: ty.name, Truth: []*sim.Truth{truth}, MaxBatch: []int{8}})
		}
	}
	for _, text := range trouble {
		f, err := fleet.ParseFault(text)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Faults = append(cfg.Faults, f)
	}
	f, err := fleet.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.began = time.Now()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = f.Shutdown(ctx) // hanging executions are killed
	})
	for i, server := range f.Servers() {
		w := &cfg.Workers[i]
		workers += fmt.Sprintf("  - {name: %s, type: %s, remote: {url: %q, probe_interval: 200ms}", w.Name, w.Type, server.URL)
		if h := hardware[w.Name]; h != "" {
			workers += ", hardware: " + h
		}
		workers += "}\n"
	}
	text := fmt.Sprintf("models: [{name: m, qos: {target: %v}, max_batch: 8}]\ninstance_types: [{name: fast}, {name: mid}, {name: slow}]\nprofiles: [measured.csv]\n%s\nworkers:\n%s", sickQoS, more, workers)
	dir := t.TempDir()
	for name, content := range map[string]string{"router.yaml": text, "measured.csv": rows} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := config.Load(filepath.Join(dir, "router.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s.served = serveConfig(t, c, Options{})
	return s
}

// load has so many clients ask, one request after the other, until it is told to
// end.
func (s *sick) load(clients int) {
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	for range clients {
		all.Go(func() {
			for ctx.Err() == nil {
				began := time.Now()
				resp, err := s.client.Post("http://"+s.addr+"/v2/models/m/infer", "application/json", strings.NewReader(oneRow))
				if err != nil {
					s.t.Error(err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK || err != nil {
					if s.failures.Add(1) <= 3 {
						s.t.Logf("%v after the start: %d %s %v", time.Since(s.began).Round(time.Millisecond), resp.StatusCode, body, err)
					}
				} else if time.Since(began) <= sickQoS {
					s.within.Add(1)
				}
			}
		})
	}
	s.stop = func() { cancel(); all.Wait() }
}

// workers are those of /debug/pool, by name.
func (s *sick) workers() map[string]live.WorkerHealth {
	s.t.Helper()
	var page struct {
		Judged  bool
		Workers []live.WorkerHealth
	}
	if err := json.Unmarshal(s.get("/debug/pool"), &page); err != nil || !page.Judged {
		s.t.Fatalf("/debug/pool: %v, %+v", err, page)
	}
	all := map[string]live.WorkerHealth{}
	for _, w := range page.Workers {
		all[w.Name] = w
	}
	return all
}

func (s *sick) get(path string) []byte {
	s.t.Helper()
	resp, err := s.client.Get("http://" + s.addr + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %d, %v", path, resp.StatusCode, err)
	}
	return body
}

// until waits until what is asked for holds, at most so long after the start.
func (s *sick) until(most time.Duration, what string, holds func(map[string]live.WorkerHealth) bool) map[string]live.WorkerHealth {
	s.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		all := s.workers()
		if holds(all) {
			return all
		}
		if time.Since(s.began) > most {
			page, _ := json.MarshalIndent(all, "", " ")
			s.t.Fatalf("not %s %v after the start:\n%s", what, most, page)
		}
	}
	return nil
}

// wait lets load go on until so long after the start.
func (s *sick) wait(until time.Duration) { <-time.After(until - time.Since(s.began)) }

// count is the rate of answers within the target up to so long after the start,
// from now on.
func (s *sick) count(until time.Duration) float64 {
	s.within.Store(0)
	began := time.Now()
	s.wait(until)
	return float64(s.within.Load()) / time.Since(began).Seconds()
}

// throttledRecording writes a recording of a GPU whose clock falls to a half.
func throttledRecording(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gpu.jsonl")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	e := json.NewEncoder(f)
	put := func(x device.Entry) {
		if err := e.Encode(x); err != nil {
			t.Fatal(err)
		}
	}
	put(device.Entry{Device: &device.Device{ID: "GPU-0", Kind: device.GPU, Name: "T4", SMClockMaxMHz: device.Of(1590)}})
	for at := 0.0; at < 60; at += 0.1 {
		s := device.Sample{Device: "GPU-0", Access: device.Reachable, Utilisation: device.Of(0.9), TemperatureC: device.Of(60), SMClockMHz: device.Of(1590)}
		if at >= sickAfter.Seconds() {
			s.SMClockMHz, s.TemperatureC, s.Throttle = device.Of(795), device.Of(92), device.HWThermal
		}
		put(device.Entry{Seconds: at, Sample: &s})
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

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
		if _, err := watchHardware(cfg, []config.Worker{{Name: "w", Hardware: &h}}, nil); err == nil || !strings.Contains(err.Error(), "worker w") {
			t.Errorf("%+v: %v", h, err)
		}
	}
	got, err := watchHardware(&config.Config{Health: config.Health{Enabled: true}}, []config.Worker{
		{Name: "a", Embedded: &config.Embedded{}}, {Name: "b", Embedded: &config.Embedded{}, Hardware: &config.Hardware{Local: "none"}}, {Name: "c", Remote: &config.Remote{}},
	}, nil)
	if err != nil || len(got.order) != 1 || got.readers[0] == nil || got.readers[1] != nil || got.readers[2] != nil {
		t.Errorf("%+v, %v", got, err)
	}
}
