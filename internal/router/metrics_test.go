package router

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"motley/internal/backend"
	"motley/internal/live"
	"motley/internal/promtest"
)

func TestMetrics(t *testing.T) {
	f := newFixture(t, nil)
	post := func(path, body string) { f.do("POST", path, body) }
	post("/v2/models/adder/infer", validInfer)
	post("/v2/models/adder/infer", "{")
	post("/v2/models/"+strings.Repeat("a", 50)+"/infer", validInfer)
	post("/v2/models/other/infer", validInfer)
	f.loop.set(func(*live.Request) error { return &live.Refusal{Reason: live.QueueFull} })
	post("/v2/models/adder/infer", validInfer)
	f.loop.set(func(*live.Request) error { return &backend.Error{Class: backend.Client, Status: 422, Message: "no"} })
	post("/v2/models/adder/infer", validInfer)
	f.raw("nonsense\r\n\r\n")

	o := f.server.Observer()
	o.BatchDone(live.BatchReport{Worker: 0, Model: 0, Requests: 2, Items: 4, Ran: 10 * time.Millisecond, Predicted: 8 * time.Millisecond})
	o.BatchDone(live.BatchReport{Worker: 1, Model: 0, Requests: 1, Items: 1, Err: &backend.Error{Class: backend.Timeout}})
	o.BatchDone(live.BatchReport{Worker: 99, Model: 0, Items: 1})
	o.Retried(0)
	o.Retried(99)
	o.Stepped(3 * time.Microsecond)

	res := f.admin("GET", "/metrics")
	for until := time.Now().Add(5 * time.Second); !strings.Contains(string(res.body), "motley_held_body_bytes 0\n") && time.Now().Before(until); {
		res = f.admin("GET", "/metrics") // what is refused is held until its connection is closed
	}
	if res.status != 200 || !strings.HasPrefix(res.header.Get("Content-Type"), "text/plain") {
		t.Fatalf("status %d, Content-Type %s", res.status, res.header.Get("Content-Type"))
	}
	text := string(res.body)
	for _, want := range []string{
		`motley_requests_total{code="200",model="adder"} 1`,
		`motley_requests_total{code="400",model="adder"} 1`,
		`motley_requests_total{code="422",model="adder"} 1`,
		`motley_requests_total{code="429",model="adder"} 1`,
		`motley_requests_total{code="404",model="_unknown"} 2`,
		`motley_request_duration_seconds_count{model="adder"} 1`,
		`motley_queue_duration_seconds_count{model="adder"} 1`,
		`motley_queue_duration_seconds_sum{model="adder"} 0.001234`,
		`motley_batch_size_items_sum{instance_type="g4dn.xlarge",model="adder"} 4`,
		`motley_batch_size_items_count{instance_type="r5n.large",model="adder"} 1`,
		`motley_service_time_seconds_sum{instance_type="g4dn.xlarge",model="adder"} 0.01`,
		`motley_service_time_seconds_count{instance_type="r5n.large",model="adder"} 0`,
		`motley_profile_error_ratio_sum{instance_type="g4dn.xlarge",model="adder"} 0.2`,
		`motley_rejected_total{model="adder",reason="queue_full"} 1`,
		`motley_rejected_total{model="adder",reason="deadline"} 0`,
		`motley_retries_total{model="adder"} 1`,
		`motley_malformed_requests_total 1`,
		`motley_held_body_bytes 0`,
		`motley_uploads 0`,
		`motley_turned_away_total{limit="max_connections"} 0`,
		`motley_step_seconds_bucket{le="2e-06"} 0`,
		`motley_step_seconds_bucket{le="4e-06"} 1`,
		`motley_step_seconds_count 1`,
		`motley_worker_up{instance_type="g4dn.xlarge",worker="w0"} 1`,
		`motley_worker_in_flight_batches{instance_type="g4dn.xlarge",worker="w0"} 1`,
		`motley_worker_batches_total{instance_type="g4dn.xlarge",outcome="success",worker="w0"} 7`,
		`motley_worker_batches_total{instance_type="g4dn.xlarge",outcome="failure",worker="w0"} 2`,
		`motley_queue_requests{model="adder"} 3`,
		`motley_profile_samples_total{instance_type="g4dn.xlarge",model="adder"} 41`,
		`motley_profile_samples_total{instance_type="r5n.large",model="adder"} 0`,
		`motley_profile_drifts_total{instance_type="g4dn.xlarge",model="adder",outcome="fading"} 3`,
		`motley_profile_drifts_total{instance_type="g4dn.xlarge",model="adder",outcome="replaced"} 1`,
		`motley_profile_mean_seconds{instance_type="g4dn.xlarge",items="8",model="adder"} 0.0025`,
		`motley_in_flight_requests{model="adder"} 2`,
		`version="test"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	if strings.Contains(text, "aaaaa") || strings.Contains(text, `"other"`) {
		t.Error("a client made a label value")
	}
	promtest.Check(t, text, "")

	var stats struct {
		ModelStats []struct {
			InferenceCount int `json:"inference_count"`
			ExecutionCount int `json:"execution_count"`
			LastInference  int `json:"last_inference"`
			InferenceStats struct {
				Success, Fail, Queue struct{ Count, Ns int }
			} `json:"inference_stats"`
			BatchStats []struct {
				BatchSize    int                     `json:"batch_size"`
				ComputeInfer struct{ Count, Ns int } `json:"compute_infer"`
			} `json:"batch_stats"`
		} `json:"model_stats"`
	}
	if err := json.Unmarshal(f.do("GET", "/v2/models/adder/stats", "").body, &stats); err != nil {
		t.Fatal(err)
	}
	s := stats.ModelStats[0]
	if s.InferenceCount != 1 || s.ExecutionCount != 1 || s.LastInference == 0 || s.InferenceStats.Success.Count != 1 ||
		s.InferenceStats.Fail.Count != 3 || s.InferenceStats.Queue.Ns != 1234000 ||
		len(s.BatchStats) != 1 || s.BatchStats[0].BatchSize != 4 || s.BatchStats[0].ComputeInfer.Ns != 10_000_000 {
		t.Errorf("statistics %+v", s)
	}
}

// wantMetric holds a series against its value.
func (f *fixture) wantMetric(series string, value int) {
	f.t.Helper()
	for line := range strings.Lines(string(f.admin("GET", "/metrics").body)) {
		if got, ok := strings.CutPrefix(line, series+" "); ok {
			if got != fmt.Sprintf("%d\n", value) {
				f.t.Errorf("%s is %s, want %d", series, strings.TrimSpace(got), value)
			}
			return
		}
	}
	f.t.Errorf("/metrics has no %s", series)
}

func TestRuntimeCollectors(t *testing.T) {
	reg := prometheus.NewRegistry()
	if _, err := NewMetrics(MetricsConfig{Registerer: reg, Runtime: true}); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, f := range families {
		found[f.GetName()] = true
	}
	for _, want := range []string{"go_goroutines", "process_cpu_seconds_total", "motley_build_info"} {
		if !found[want] {
			t.Errorf("no %s", want)
		}
	}
	if _, err := NewMetrics(MetricsConfig{Registerer: reg}); err == nil {
		t.Error("metrics registered twice without an error")
	}
}

func TestDebugState(t *testing.T) {
	f := newFixture(t, nil)
	var got struct {
		Version string
		Models  []struct {
			Name       string
			QoS        float64 `json:"qos_ms"`
			Percentile float64
			Ready      bool
		}
		Loop struct {
			Policy  string
			Workers []struct{ Name string }
		}
	}
	if err := json.Unmarshal(f.admin("GET", "/debug/state").body, &got); err != nil {
		t.Fatal(err)
	}
	if got.Version != "test" || len(got.Models) != 3 || got.Models[0].QoS != 5 || !got.Models[0].Ready ||
		got.Loop.Policy != "least-load" || len(got.Loop.Workers) != 1 {
		t.Errorf("state %+v", got)
	}
}

// However many sizes of batches clients make up, few are told apart, and all are counted.
func TestBatchSizesAreBounded(t *testing.T) {
	var tally modelTally
	const n = 100_000
	for i := range n {
		tally.batch(i, time.Millisecond)
	}
	stats := tally.stats("m", "1")
	sum := uint64(0)
	for _, b := range stats.BatchStats {
		sum += b.ComputeInfer.Count
	}
	if len(stats.BatchStats) > maxBatchSizes+20 || sum != n || stats.ExecutionCount != n {
		t.Errorf("%d sizes, %d executions of %d", len(stats.BatchStats), sum, stats.ExecutionCount)
	}
}

// TestDroppedModelHasNoSeries: neither a request that is still under way nor a worker of a new type
// brings series of a model back that is not offered any more.
func TestDroppedModelHasNoSeries(t *testing.T) {
	f := newFixture(t, nil)
	entered, release := make(chan struct{}), make(chan struct{})
	f.loop.set(func(*live.Request) error {
		close(entered)
		<-release
		return &backend.Error{Class: backend.Client, Status: 422, Message: "no"}
	})
	c := f.dial()
	send(t, c, post(validInfer))
	<-entered
	if err := f.server.SetModels(f.server.cfg.Models[1:]); err != nil {
		t.Fatal(err)
	}
	f.server.metrics.SetWorker(2, WorkerLabels{"w2", "new"})
	close(release)
	if res := f.read(c); res.status != 422 {
		t.Errorf("status %d", res.status)
	}
	page := string(f.admin("GET", "/metrics").body)
	for line := range strings.Lines(page) {
		if strings.Contains(line, `model="adder"`) && (strings.Contains(line, "motley_requests_total") || strings.Contains(line, `instance_type="new"`)) {
			t.Errorf("after the model is gone: %s", line)
		}
	}
	if !strings.Contains(page, `instance_type="new",model="raw"`) {
		t.Error("a model that is there has no series of the new type")
	}
}
