package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"motley/internal/config"
	"motley/internal/fleet"
	"motley/internal/gpu/device"
	"motley/internal/live"
	"motley/internal/oip"
	"motley/internal/pool"
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
	return []byte(s.page(s.t, path))
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
