package gpu

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"motley/internal/gpu/device"
	"motley/internal/gpu/health"
	"motley/internal/gpu/remote"
	"motley/internal/mono"
	"motley/internal/promtest"
)

// script is a source that answers as it is told.
type script struct {
	page  device.Page
	takes time.Duration
	mu    sync.Mutex
	err   error
}

func (s *script) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *script) Read(ctx context.Context) (device.Page, error) {
	if s.takes > 0 {
		select {
		case <-time.After(s.takes):
		case <-ctx.Done():
			return device.Page{}, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.page, s.err
}

func pool() device.Page {
	return device.Page{
		Devices: []device.Device{
			{ID: "GPU-a", Kind: device.GPU, Name: "T4", MemoryBytes: 16 << 30, SMClockMaxMHz: device.Of(1590)},
			{ID: "MIG-b", Kind: device.MIG, Name: "H100 3g", Index: 3, Parent: "GPU-x"},
			{ID: "GPU-c", Kind: device.GPU, Index: 1, Name: "T4"},
			{ID: "cpu:h", Kind: device.CPU, Name: "Xeon", Cores: &device.Cores{Logical: 8, LimitCores: device.Of(2.5), Features: []string{"avx2"}}},
		},
		Samples: []device.Sample{
			{Device: "GPU-a", Access: device.Reachable, Utilisation: device.Of(0.5), MemoryUsed: device.Of(4 << 30), TemperatureC: device.Of(88), PowerW: device.Of(70),
				PowerLimitW: device.Of(72), SMClockMHz: device.Of(795), MemoryClockMHz: device.Of(5000), Throttle: device.HWThermal,
				ECC:  device.ECC{VolatileCorrected: device.Of(1), VolatileUncorrected: device.Of(0), AggregateCorrected: device.Of(3), AggregateUncorrected: device.Of(0)},
				Rows: device.Rows{Correctable: device.Of(1), Uncorrectable: device.Of(2)}, Pages: device.Pages{SingleBit: device.Of(0), DoubleBit: device.Of(1)},
				PCIeReplay: device.Of(4), XIDs: []device.XID{{Seq: 1, Code: 13}}, Processes: []device.Process{{PID: 1}}},
			{Device: "MIG-b", Access: device.Reachable, Missing: []string{"utilisation"}},
			{Device: "GPU-c", Access: device.Lost, Detail: "fallen off the bus"},
			{Device: "cpu:h", Access: device.Reachable, Load: &device.Load{Load1: device.Of(1), MHz: device.Of(2500), Available: device.Of(1 << 30), Throttled: device.Of(0)}},
		},
		Missing: []string{"something was not told"},
	}
}

func TestListing(t *testing.T) {
	l, err := List(t.Context(), &script{page: pool()})
	if err != nil {
		t.Fatal(err)
	}
	var text, js bytes.Buffer
	if err := errors.Join(l.Text(&text), l.JSON(&js)); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(text.String()), "\n")
	if len(lines) != 6 {
		t.Fatalf("%d lines:\n%s", len(lines), &text)
	}
	for i, wants := range [][]string{
		{"DEVICE", "STATE"},
		{"gpu0 GPU-a", "T4", "suspect", "50 %", "4.0/16.0 GiB", "88 °C", "70 W", "795/1590 MHz", "XID 13", "recommended: restart", "hw_thermal"},
		{"mig3 MIG-b", "ok", "not told: utilisation"},
		{"gpu1 GPU-c", "gone", "fallen off the bus"},
		{"cpu:h", "ok", "2500 MHz", "8 processors, 2.5 allowed: avx2"},
		{"something was not told"},
	} {
		for _, want := range wants {
			if !strings.Contains(lines[i], want) {
				t.Errorf("line %d lacks %q: %s", i, want, lines[i])
			}
		}
	}
	var back Listing
	if err := json.Unmarshal(js.Bytes(), &back); err != nil || !reflect.DeepEqual(back, l) {
		t.Errorf("%v\n%s", err, &js)
	}
	text.Reset()
	if l, err = List(t.Context(), &script{page: device.Page{Missing: []string{"none"}}}); err != nil || l.Text(&text) != nil || !strings.Contains(text.String(), "no devices\nnone") {
		t.Errorf("%v: %s", err, &text)
	}
}

// This host: it has processors, and whatever NVML says is no error.
func TestThisHost(t *testing.T) {
	src, err := Open(Options{Library: "/nonexistent/libnvidia-ml.so.1"})
	if err != nil {
		t.Fatal(err)
	}
	page, err := src.Read(t.Context())
	if err != nil || len(page.Devices) != 1 || page.Devices[0].Kind != device.CPU {
		t.Fatalf("%+v, %v", page, err)
	}
	if len(page.Missing) != 1 || !strings.HasPrefix(page.Missing[0], "NVML not available: ") {
		t.Errorf("missing %q", page.Missing)
	}
	if _, err := Open(Options{Agent: "http://a/", Exporter: "http://b/"}); err == nil {
		t.Error("two hosts at once")
	}
}

func TestPoller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &script{page: pool()}
		draws := []float64{0, 1, 0.5}
		p := &Poller{Source: src, Every: 10 * time.Second, MaxAge: 25 * time.Second, Jitter: func() float64 {
			d := draws[0]
			draws = append(draws[1:], d)
			return d
		}}
		if _, err := p.Latest(); !errors.Is(err, errNone) {
			t.Errorf("before the first read: %v", err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { p.Run(ctx); close(done) }()
		synctest.Wait()
		at := func(d time.Duration, reads int) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if n, _ := p.Counts(); n != reads {
				t.Errorf("%d reads, want %d", n, reads)
			}
		}
		at(9*time.Second-1, 1)
		at(1, 2) // 9 s
		at(11*time.Second-1, 2)
		at(1, 3)              // 20 s
		at(10*time.Second, 4) // 30 s: the source fails from now on
		src.fail(errors.New("no answer"))
		at(9*time.Second, 5)
		page, err := p.Latest()
		if err == nil || len(page.Samples) != 4 || page.Samples[0].Age != 9*time.Second || !strings.Contains(strings.Join(page.Missing, " "), "no answer") {
			t.Errorf("%v %+v", err, page)
		}
		time.Sleep(17 * time.Second)
		if page, err = p.Latest(); err == nil || len(page.Samples) != 0 || len(page.Devices) != 4 || !strings.Contains(strings.Join(page.Missing, " "), "older than 25s") {
			t.Errorf("stale: %v %+v", err, page)
		}
		stop()
		<-done
	})
}

func agent(t *testing.T, src Source) *Agent {
	t.Helper()
	a, err := NewAgent(AgentOptions{Source: src, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func get(t *testing.T, h http.Handler, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

func TestMetricsPage(t *testing.T) {
	page := pool()
	page.Samples = append(page.Samples, page.Samples[0]) // named twice
	page.Devices[1].Name = "H100 \xff"
	a := agent(t, &script{page: page})
	if w := get(t, a, "/metrics"); w.Code != 200 || !strings.Contains(w.Body.String(), "motley_gpu_reads_total 0") {
		t.Errorf("before the first read: %d\n%s", w.Code, w.Body)
	}
	a.poller.Poll(t.Context())
	w := get(t, a, "/metrics")
	body := w.Body.String()
	if w.Code != 200 {
		t.Fatalf("%d\n%s", w.Code, body)
	}
	promtest.Check(t, body, "")
	for _, want := range []string{
		`motley_gpu_info{compute_capability="",device="GPU-a",driver="",host="",index="0",kind="gpu",name="T4",parent=""} 1`,
		`motley_gpu_sm_clock_hertz{device="GPU-a"} 7.95e+08`, `motley_gpu_throttled{device="GPU-a",reason="hw_thermal"} 1`,
		`motley_gpu_memory_errors_total{device="GPU-a",kind="corrected",span="aggregate"} 3`, `motley_gpu_reachable{device="GPU-c"} 0`,
		`motley_gpu_access{access="lost",device="GPU-c"} 1`, `motley_gpu_xid_last{device="GPU-a"} 13`, `motley_gpu_host_load1{device="cpu:h"} 1`,
		`motley_gpu_remapped_rows_total{device="GPU-a",kind="uncorrectable"} 2`, `name="H100 ?"`, "motley_gpu_reads_total 1",
	} {
		if !strings.Contains(body, want+"\n") && !strings.Contains(body, want) {
			t.Errorf("no %s in\n%s", want, body)
		}
	}
	if strings.Contains(body, `motley_gpu_power_watts{device="MIG-b"}`) {
		t.Error("a number that is not known")
	}
}

// An agent's page is what its source said, through the client that polls it.
func TestAgentAndClient(t *testing.T) {
	src := &script{page: pool()}
	a := agent(t, src)
	s := httptest.NewServer(a)
	defer s.Close()
	client, err := remote.NewAgent(remote.Options{URL: s.URL + "/v1/devices"})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := client.Read(t.Context()); err != nil || len(p.Devices) != 0 {
		t.Errorf("before the first read: %+v, %v", p, err)
	}
	if w := get(t, a, "/healthz"); w.Code != 503 {
		t.Errorf("healthz before the first read: %d", w.Code)
	}
	a.poller.Poll(t.Context())
	p, err := client.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range p.Samples {
		if p.Samples[i].Age <= 0 {
			t.Errorf("age %v", p.Samples[i].Age)
		}
		p.Samples[i].Age = 0
	}
	if !reflect.DeepEqual(p, pool()) {
		t.Errorf("%+v", p)
	}
	src.fail(errors.New("the driver went away"))
	a.poller.Poll(t.Context())
	if p, err := client.Read(t.Context()); err != nil || len(p.Samples) != 4 || !strings.Contains(strings.Join(p.Missing, " "), "went away") {
		t.Errorf("%+v, %v", p, err)
	}
	for path, want := range map[string]int{"/healthz": 503, "/": 404, "/v1/devices": 200} {
		if w := get(t, a, path); w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
}

// What an agent records can be replayed.
func TestRecordAndReplay(t *testing.T) {
	var out bytes.Buffer
	a, err := NewAgent(AgentOptions{Source: &script{page: pool()}, Record: &out, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	a.poller.Poll(t.Context())
	a.poller.Poll(t.Context())
	if n := strings.Count(out.String(), "\n"); n != 4+2*4 {
		t.Errorf("%d lines", n)
	}
	file := filepath.Join(t.TempDir(), "rec.jsonl")
	if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := OpenRecording(file)
	if err != nil {
		t.Fatal(err)
	}
	r.start = r.start.Add(-time.Hour)
	p, err := r.Read(t.Context())
	if err != nil || len(p.Devices) != 4 || len(p.Samples) != 4 || p.Samples[0].TemperatureC != device.Of(88) || p.Samples[0].Age < 59*time.Minute {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := OpenRecording(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a recording that is not there")
	}
}

// A recording of a GPU that is throttled for a while, judged as it is replayed.
func TestRecordingJudged(t *testing.T) {
	var lines strings.Builder
	e := json.NewEncoder(&lines)
	put := func(entry device.Entry) {
		if err := e.Encode(entry); err != nil {
			t.Fatal(err)
		}
	}
	put(device.Entry{Device: &device.Device{ID: "GPU-a", Kind: device.GPU, SMClockMaxMHz: device.Of(1980)}})
	for i := range 60 {
		s := &device.Sample{Device: "GPU-a", Access: device.Reachable, Utilisation: device.Of(1), SMClockMHz: device.Of(1980)}
		if i >= 20 && i < 30 {
			s.SMClockMHz, s.Throttle = device.Of(990), device.HWThermal
		}
		put(device.Entry{Seconds: float64(i), Sample: s})
	}
	rec, err := device.ReadRecording("lines", strings.NewReader(lines.String()))
	if err != nil {
		t.Fatal(err)
	}
	w := health.NewFleet(health.Config{}).Add("h100")
	w.Describe(rec.Devices()[0])
	var states []string
	for i := range 70 {
		at := time.Duration(i) * time.Second
		w.Sample(mono.Time(at), rec.At(at).Samples[0])
		j := w.Judge(mono.Time(at))
		if state := j.State.String(); len(states) == 0 || states[len(states)-1] != state {
			states = append(states, state)
		}
		if slow := i >= 20 && i < 39; (j.Slowdown == 2) != slow || j.Stale != (i > 59+5) {
			t.Errorf("at %v: %+v", at, j)
		}
	}
	if want := []string{"ok", "derated", "ok"}; !reflect.DeepEqual(states, want) {
		t.Errorf("%v, want %v", states, want)
	}
}

// A source that hangs, or a dead agent, does not keep an agent from ending.
func TestServeEnds(t *testing.T) {
	ln := httptest.NewUnstartedServer(nil).Listener
	a := agent(t, &script{takes: time.Hour})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- a.Serve(ctx, ln) }()
	resp, err := http.Get("http://" + ln.Addr().String() + "/metrics")
	if err != nil || resp.StatusCode != 200 {
		t.Errorf("%v %v", resp, err)
	} else {
		resp.Body.Close()
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	bad, err := NewAgent(AgentOptions{Source: &script{}, Certificate: "/nonexistent", Key: "/nonexistent"})
	if err != nil {
		t.Fatal(err)
	}
	if err := bad.Serve(t.Context(), httptest.NewUnstartedServer(nil).Listener); err == nil {
		t.Error("served with a certificate that is not there")
	}
}
