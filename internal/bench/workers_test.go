package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"motley/internal/app"
	"motley/internal/config"
)

func someWorkers() Workers {
	return Workers{
		Mix: "g4dn.xlarge=1,r5n.large=2", Models: "wnd,other=ncf", Listen: "127.0.0.1:0", Concurrency: 1, Answer: "echo", Binary: "on",
		Batching: "none", Seed: 1, Dilate: 1, Policy: "priced", RouterListen: "127.0.0.1:0",
	}
}

// signalled is written to by one goroutine, and read by another once it has
// told that so many lines are there.
type signalled struct {
	bytes.Buffer
	lines int
	told  chan struct{}
}

func (s *signalled) Write(p []byte) (int, error) {
	n, err := s.Buffer.Write(p)
	if s.lines > 0 && bytes.Count(s.Bytes(), []byte("\n")) >= s.lines {
		s.lines = 0
		close(s.told)
	}
	return n, err
}

// TestWorkers runs the command, and a router by the configuration that it
// writes: requests are answered, and what each worker did is told.
func TestWorkers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "router.yaml")
	w := someWorkers()
	w.Config, w.QoS, w.Dilate = file, time.Second, 4
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	out := &signalled{lines: 3, told: make(chan struct{})}
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx, Output{Stdout: out}) }()
	select {
	case <-out.told:
	case err := <-ended:
		t.Fatal("the command ended:", err)
	}
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(cfg.Workers); n != 3 || len(cfg.Models) != 2 || cfg.Models[0].MaxBatch != 1000 || cfg.InstanceTypes[0].USDPerHour != 0.526 || len(cfg.Points("other", "r5n.large")) == 0 {
		t.Errorf("the configuration has %d workers, %+v, %+v", n, cfg.Models, cfg.InstanceTypes)
	}
	plain, err := LoadData("", "")
	if err != nil {
		t.Fatal(err)
	}
	truth, err := plain.Truth("wnd", "r5n.large")
	if err != nil {
		t.Fatal(err)
	}
	want, got := 4*truth.Points()[0].Mean, cfg.Points("wnd", "r5n.large")[0].Mean
	if cfg.Models[0].QoS.Target != 4*time.Second || got != want {
		t.Errorf("dilated by 4 the target is %v, and the first mean %v, want %v", cfg.Models[0].QoS.Target, got, want)
	}
	url := route(t, cfg)
	const n = 10
	for i := range n {
		resp, err := http.Post(url+"/v2/models/"+cfg.Models[i%2].Name+"/infer", "application/json",
			strings.NewReader(`{"inputs":[{"name":"x","datatype":"FP32","shape":[2,1],"data":[1.5,2.5]}]}`))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != 200 || !bytes.Contains(body, []byte(`"shape":[2,1],"data":[1.5,2.5]`)) {
			t.Fatalf("%v, %d %s", err, resp.StatusCode, body)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	requests := 0
	for _, l := range lines[5:8] {
		var one int
		var name string
		if _, err := fmt.Sscan(l, &name, &one); err != nil {
			t.Errorf("%v in %q", err, l)
		}
		requests += one
	}
	if requests != n || !strings.HasPrefix(lines[0], "g4dn.xlarge-0 http://127.0.0.1:") || !strings.HasSuffix(lines[0], " g4dn.xlarge") || !strings.Contains(out.String(), "Executions ended later than drawn by p50 ") {
		t.Errorf("%d requests are told of, want %d:\n%s", requests, n, out)
	}
}

// TestDilated: with all times twice as long a mix carries half as much.
func TestDilated(t *testing.T) {
	rate := func(dilate float64) float64 {
		s := Sim{Inputs: Inputs{Dilate: dilate, Model: "wnd", Percentile: 99, Arrivals: "exponential", Sizes: "kairos", Requests: 2000, Seeds: 1},
			Mix: "g4dn.xlarge=1,r5n.large=2", Policy: "priced", Search: true}
		var out bytes.Buffer
		if err := s.Run(Output{Stdout: &out, JSON: true}); err != nil {
			t.Fatal(err)
		}
		var r []Record
		if err := json.Unmarshal(out.Bytes(), &r); err != nil || len(r) != 1 {
			t.Fatal(err, out.String())
		}
		return r[0].RateQPS
	}
	if plain, slow := rate(1), rate(2); plain < 10 || math.Abs(2*slow/plain-1) > 0.02 {
		t.Errorf("%v requests/s, and dilated by 2 %v", plain, slow)
	}
	for _, bad := range []float64{0, -1, math.NaN(), 1e9} {
		w := someWorkers()
		w.Dilate = bad
		if err := w.Run(context.Background(), Output{Stdout: io.Discard}); !errors.Is(err, ErrUsage) {
			t.Errorf("dilated by %v: %v", bad, err)
		}
	}
}

// route serves by the configuration until the test ends, and waits until it is
// ready.
func route(t *testing.T, cfg *config.Config) string {
	t.Helper()
	a, err := app.New(cfg, app.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Serve(ctx, ln) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return "http://" + ln.Addr().String()
}

// TestWorkersJSON: one array, and nothing else.
func TestWorkersJSON(t *testing.T) {
	w := someWorkers()
	w.Concurrency, w.Batching = 2, "dynamic:1ms"
	w.Faults = []string{"r5n.large,kind=500,share=0.5"}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	var out bytes.Buffer
	if err := w.Run(ctx, Output{Stdout: &out, JSON: true}); err != nil {
		t.Fatal(err)
	}
	var records []map[string]any
	if err := json.Unmarshal(out.Bytes(), &records); err != nil || len(records) != 3 || records[2]["worker"] != "r5n.large-1" || records[0]["busy"] != 0.0 {
		t.Errorf("%v: %s", err, out.Bytes())
	}
}

// TestWorkersUsage: what makes no sense is told with the flag's name.
func TestWorkersUsage(t *testing.T) {
	for want, change := range map[string]func(*Workers){
		"-mix":         func(w *Workers) { w.Mix = "g4dn.xlarge" },
		"-model":       func(w *Workers) { w.Models = "" },
		"-answer":      func(w *Workers) { w.Answer = "truth" },
		"-binary":      func(w *Workers) { w.Binary = "auto" },
		"-batching":    func(w *Workers) { w.Batching = "static" },
		"a duration":   func(w *Workers) { w.Batching = "dynamic:soon" },
		"-concurrency": func(w *Workers) { w.Concurrency = 0 },
		"-fault":       func(w *Workers) { w.Faults = []string{"x"} },
		"-input":       func(w *Workers) { w.Tensors = []string{"x"} },
		"-output":      func(w *Workers) { w.Outputs = []string{"y:FP33"} },
		"dimension":    func(w *Workers) { w.Outputs = []string{"y:FP32:0"} },
		"built-in":     func(w *Workers) { w.Answer = "embedded" },
		"-profiles":    func(w *Workers) { w.Profiles, w.Samples = "a", "b" },
	} {
		w := someWorkers()
		change(&w)
		ctx, stop := context.WithCancel(context.Background())
		stop()
		if err := w.Run(ctx, Output{Stdout: io.Discard}); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	w := someWorkers()
	w.Models = "nosuch"
	if err := w.Run(context.Background(), Output{Stdout: io.Discard}); err == nil || !strings.Contains(err.Error(), "was not measured") {
		t.Error(err)
	}
}
