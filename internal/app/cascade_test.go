package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"motley/internal/cascade"
	"motley/internal/config"
	"motley/internal/live"
	"motley/internal/oip"
)

const twins = `
listen: "127.0.0.1:0"
models:
  - name: both
    qos: {target: 20s}
    cascade: {stages: [{model: first}, {model: second}], label: label}
    early_exit: {mode: compute, target: 0.98}
  - {name: first, qos: {target: 20s}}
  - {name: second, qos: {target: 20s}}
  - name: never
    qos: {target: 20s}
    cascade: {stages: [{model: first}, {model: second}]}
instance_types: [{name: cpu}]
workers:
  - {name: a, type: cpu, models: [first], embedded: {path: ../engine/fashion.onnx}}
  - {name: b, type: cpu, models: [second], embedded: {path: ../engine/fashion.onnx}}
`

// cascadeAnswer is what the tests look at.
type cascadeAnswer struct {
	ModelName  string `json:"model_name"`
	Parameters struct {
		Exit int `json:"ee_exit"`
	}
	Outputs []struct{ Name string }
}

// TestCascade: of two models that always agree the first comes to answer most
// requests, some of which the second is asked about afterwards.
func TestCascade(t *testing.T) {
	cfg, err := config.Parse("twins", []byte(twins))
	if err != nil {
		t.Fatal(err)
	}
	s := serveConfig(t, cfg, Options{})
	c := s.client(1)
	body, err := os.ReadFile("../../examples/infer.json")
	if err != nil {
		t.Fatal(err)
	}
	ask := func(model string) (got cascadeAnswer) {
		t.Helper()
		a, err := infer(c, model, -1, body)
		if err != nil || a.status != 200 {
			t.Fatalf("%s: %d, %v: %s", model, a.status, err, a.body)
		}
		if err := json.Unmarshal(a.body, &got); err != nil || got.ModelName != model {
			t.Fatalf("%s: %v: %s", model, err, a.body)
		}
		return got
	}
	const most = 3000
	early, asked := 0, 0
	for ; asked < most && early < 200; asked++ {
		got := ask("both")
		if len(got.Outputs) != 2 || got.Outputs[1].Name != "label" {
			t.Fatalf("answer %+v", got)
		}
		early += 1 - got.Parameters.Exit
	}
	if early < 200 {
		t.Fatalf("%d of %d requests were answered by the first model", early, asked)
	}
	if got := ask("never"); got.Parameters.Exit != 1 || len(got.Outputs) != 1 {
		t.Errorf("a cascade that is off: %+v", got)
	}
	resp, err := http.Post("http://"+s.addr+"/v2/models/both/infer_stream", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	events, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	ramp, final := bytes.Index(events, []byte(`"ee_exit":0,"ee_final":false`)), bytes.Index(events, []byte(`"ee_exit":1,"ee_final":true`))
	if err != nil || resp.StatusCode != 200 || ramp < 0 || final < ramp {
		t.Errorf("a stream: %d, %v: %s", resp.StatusCode, err, events)
	}
	asked++
	if status, text, err := c.Get(nil, "http://router/v2/models/both"); status != 200 || err != nil || !strings.Contains(string(text), `"name":"both"`) {
		t.Errorf("metadata: %d, %v: %s", status, err, text)
	}
	metrics := s.page(t, "/metrics")
	for _, want := range []string{
		fmt.Sprintf(`motley_cascade_asked_total{model="both",stage="second"} %d`, asked-early),
		`motley_cascade_failed_total{model="never",stage="first"} 0`, `motley_cascade_dropped_audits_total{model="both"} 0`,
		`motley_cascade_direct_total{model="both"} `,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	if err := s.app.pool.closeCascades(context.Background()); err != nil { // audits end
		t.Error(err)
	}
	n := s.app.pool.cascades[0].Counts()
	small := asked - int(n.Direct) // at first nobody knows whether the second could be asked in time
	if n.Direct > 100 || int(n.Asked[0]) != small || int(n.Asked[1]) != asked-early || n.Failed[0]+n.Failed[1]+n.Dropped != 0 {
		t.Errorf("of %d, %d answered early: %+v", asked, early, n)
	}
	r := s.app.pool.cascades[0].Gate().Report()
	if int(r.Seen) != small || int(r.Exited) != early || r.Disagreed != 0 || r.Audited == 0 {
		t.Errorf("of %d, %d answered early: %+v", small, early, r)
	}
}

// TestCascadeScores: what a configuration may say and what there is are the
// same.
func TestCascadeScores(t *testing.T) {
	for i, s := range config.CascadeScores {
		if _, err := cascade.ParseScore(s); err != nil || len(cascade.Scores()) != len(config.CascadeScores) {
			t.Errorf("score %d: %v", i, err)
		}
	}
}

// TestLatestStart: a cascade can wait as long as its reference leaves it, and
// not at all for one that is down.
func TestLatestStart(t *testing.T) {
	_, err := config.Parse("twins", []byte(twins+"  - {name: c, type: cpu, models: [third], remote: {url: \"http://127.0.0.1:1\"}}\n"))
	if err == nil {
		t.Fatal("a model that is not there is served")
	}
	text := strings.Replace(twins, "  - {name: first, q", "  - {name: third}\n  - {name: first, q", 1)
	text = strings.Replace(text, "{name: b, ", "{name: b, count: 2, ", 1)
	cfg, err := config.Parse("twins", []byte(text+"  - {name: c, type: cpu, models: [third], remote: {url: \"http://127.0.0.1:1\"}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	s := serveConfig(t, cfg, Options{})
	if wait, ok := s.app.loop.LatestStart(1, 1, time.Hour); ok {
		t.Errorf("a model without a worker could be asked in %v", wait)
	}
	if s.app.loop.Idles(1) || s.app.loop.Idles(2) || !s.app.loop.Idles(3) {
		t.Error("idle is who has two workers, both of them free")
	}
	body, err := os.ReadFile("../../examples/infer.json")
	if err != nil {
		t.Fatal(err)
	}
	for range 40 { // so that it is known how long it takes
		if a, err := infer(s.client(1), "second", -1, body); err != nil || a.status != 200 {
			t.Fatal(a.status, err)
		}
	}
	if wait, ok := s.app.loop.LatestStart(3, 1, time.Hour); !ok || wait >= time.Hour || wait < time.Hour-time.Second {
		t.Errorf("an idle model could be asked in %v, %v", wait, ok)
	}
	if wait, ok := s.app.loop.LatestStart(3, 1, time.Microsecond); ok {
		t.Errorf("it could answer within a microsecond after %v", wait)
	}
	// A deadline that the reference cannot keep is refused as its own would be.
	req := new(oip.Request)
	if err := req.Parse(body, -1, nil); err != nil {
		t.Fatal(err)
	}
	r := &live.Request{Size: 1, Timeout: time.Nanosecond}
	r.Call.Request = req
	if err := s.app.pool.cascades[0].Do(context.Background(), r); err == nil {
		t.Error("answered within a nanosecond")
	}
}
