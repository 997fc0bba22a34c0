package router

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"motley/internal/accesslog"
	"motley/internal/backend"
	"motley/internal/live"
	"motley/internal/oip"
)

// logged ends the server and returns the lines of its access log, in the order of
// their ids.
func (f *fixture) logged() (all []map[string]any) {
	f.t.Helper()
	if err := f.server.Shutdown(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	f.access.Close()
	for text := range strings.Lines(f.lines.String()) {
		var one map[string]any
		if err := json.Unmarshal([]byte(text), &one); err != nil {
			f.t.Fatalf("%v: %q", err, text)
		}
		all = append(all, one)
	}
	return all
}

// TestAccessLog: every request has one line, which says how it ended, on both ways to serve.
func TestAccessLog(t *testing.T) {
	f := newFixture(t, func(cfg *Config) { cfg.Models[0].Ramps = func() (int, []float64) { return 3, nil } })
	refuse := func(err error) func(*live.Request) error {
		return func(r *live.Request) error {
			r.Attempts = 2
			return err
		}
	}
	ran := func(r *live.Request) error {
		err := answerWith(jsonAnswer, -1)(r)
		r.Exit, r.Merged, r.Parts, r.Worker = 1, 0xabc, 1, 1
		return err
	}
	worker := func(c backend.Class, status int) error {
		return &backend.Error{Class: c, Status: status, Message: "it said so"}
	}
	type want map[string]any
	cases := []struct {
		path, body string
		do         func(*live.Request) error
		want       want
	}{
		{"/v2/models/adder/versions/1/infer", validInfer, ran, want{
			"status": 200., "outcome": "answered", "reason": nil, "model": "adder", "version": "1", "items": 1., "worker": "w1", "instance_type": "r5n.large",
			"batch_items": 4., "batch_id": "batch-0000000000000abc", "attempts": 1., "parts": 1., "queue_ms": 1.234, "service_ms": 5.678, "exit": 1.,
			"bytes_in": float64(len(validInfer)), "bytes_out": float64(len(jsonAnswer)), "error": nil, "method": "POST", "tenant": nil,
			"trace_id": "0af7651916cd43dd8448eb211c80319c", "path": "/v2/models/adder/versions/1/infer",
		}},
		{"/v2/models/adder/infer_stream", validInfer, ran, want{
			"status": 200., "outcome": "answered", "worker": "w1", "bytes_in": float64(len(validInfer)), "path": "/v2/models/adder/infer_stream", "model": "adder",
		}},
		{"/v2/models/adder/infer", "{", nil, want{
			"status": 400., "outcome": "rejected", "reason": "bad_request", "items": nil, "worker": nil, "attempts": nil, "queue_ms": nil, "exit": nil, "bytes_in": 1.,
		}},
		{"/v2/models/nobody/infer", validInfer, nil, want{
			"status": 404., "outcome": "rejected", "reason": "not_found", "model": "nobody", "error": "Request for unknown model: 'nobody' is not found",
		}},
		{"/v2/models/adder/infer", validInfer, refuse(&live.Refusal{Reason: live.QueueFull, RetryAfter: 1500 * time.Millisecond}), want{
			"status": 429., "outcome": "rejected", "reason": "queue_full", "retry_after_ms": 1500., "attempts": 2., "worker": nil,
		}},
		{"/v2/models/adder/infer", validInfer, refuse(&live.Refusal{Reason: live.NoWorker}), want{"status": 503., "outcome": "rejected", "reason": "no_worker"}},
		{"/v2/models/adder/infer", validInfer, refuse(&live.Refusal{Reason: live.Deadline, Cause: worker(backend.Server, 502)}), want{
			"status": 429., "outcome": "rejected", "reason": "deadline",
		}},
		{"/v2/models/adder/infer", validInfer, refuse(&live.Refusal{Reason: live.Failed, Cause: worker(backend.Timeout, 504)}), want{
			"status": 504., "outcome": "failed", "reason": "worker_timeout",
		}},
		{"/v2/models/adder/infer", validInfer, refuse(&live.Refusal{Reason: live.Failed}), want{"status": 502., "outcome": "failed", "reason": "failed"}},
		{"/v2/models/adder/infer", validInfer, refuse(worker(backend.Client, 422)), want{
			"status": 422., "outcome": "rejected", "reason": "worker_client", "error": "it said so",
		}},
		{"/v2/models/adder/infer", validInfer, refuse(worker(backend.Canceled, 499)), want{"status": 499., "outcome": "left", "reason": nil}},
		{"/v2/models/adder/infer", validInfer, refuse(&oip.Error{Status: 400, Message: "not so"}), want{"status": 400., "outcome": "rejected", "error": "not so"}},
		{"/v2/models/adder/infer", validInfer, refuse(errors.New("what is this")), want{"status": 500., "outcome": "failed", "reason": "internal"}},
		{"/v2/models/adder/infer_stream", validInfer, refuse(&live.Refusal{Reason: live.QueueFull}), want{
			"status": 429., "outcome": "rejected", "reason": "queue_full", "path": "/v2/models/adder/infer_stream",
		}},
	}
	for i, c := range cases {
		if c.do != nil {
			f.loop.set(c.do)
		}
		f.do("POST", c.path+"?key=hidden", c.body, fmt.Sprintf("x-request-id: case-%02d", i), "authorization: Bearer hidden",
			"traceparent: "+exampleTrace)
	}
	f.do("GET", "/v2/health/live", "", "x-request-id: health")
	f.raw("NONSENSE\r\n\r\n")
	lines := f.logged()
	if len(lines) != len(cases)+2 {
		t.Fatalf("%d lines for %d requests", len(lines), len(cases)+2)
	}
	byID := map[any]map[string]any{}
	for _, l := range lines {
		byID[l["id"]] = l
		if id := l["id"].(string); l["reason"] == "malformed" {
			if len(id) != 32 || l["status"] != 400. || l["outcome"] != "rejected" {
				t.Errorf("malformed: %v", l)
			}
		}
		if _, err := time.Parse(time.RFC3339Nano, l["time"].(string)); err != nil {
			t.Error(err)
		}
		if peer, ok := l["client"].(string); onReactors != ok || ok && !netip.MustParseAddrPort(peer).Addr().IsLoopback() {
			t.Errorf("the client of %v is %v", l["id"], l["client"])
		}
	}
	for i, c := range cases {
		l := byID[fmt.Sprintf("case-%02d", i)]
		for name, v := range c.want {
			if l[name] != v {
				t.Errorf("case %d, %s %s: %s is %v, want %v", i, c.path, c.body, name, l[name], v)
			}
		}
	}
	if l := byID["health"]; l["outcome"] != "answered" || l["model"] != nil || l["method"] != "GET" {
		t.Errorf("health: %v", l)
	}
	if strings.Contains(f.lines.String()+f.log.String(), "hidden") {
		t.Error("a log tells a secret")
	}
	// What failed is in the other log, too, and nothing else is.
	if got := strings.Count(f.log.String(), "level=WARN msg=request"); got != 4 {
		t.Errorf("%d warnings:\n%s", got, f.log)
	}
}

// TestAccessLogInjection: what a client puts where a line has it, stays one line.
func TestAccessLogInjection(t *testing.T) {
	f := newFixture(t, nil)
	for _, path := range []string{"/v2/models/a%0d%0ab/infer", "/v2/models/%1b[2J/infer", "/v2/models/%ff%fe/infer", `/v2/models/"},{"/infer`, "/%e2%80%ae%0a"} {
		f.do("POST", path, "{}", `x-request-id: "},{"status":200`)
		f.do("POST", path, `{"id":"\u001b[31m\n","inputs":[{"name":"\r\n","shape":[1],"datatype":"\n"}]}`, "x-request-id: {}")
	}
	lines := f.logged()
	if len(lines) != 10 {
		t.Fatalf("%d lines for 10 requests:\n%s", len(lines), &f.lines.b)
	}
	for i, l := range lines {
		if i%2 == 0 && l["id"] != `"},{"status":200` {
			t.Errorf("line %d: %v", i, l)
		}
	}
	for _, c := range f.lines.String() {
		if c < ' ' && c != '\n' || c == 0x7f || c == 0x202e {
			t.Fatalf("the log has the character %U", c)
		}
	}
}

// TestWarnings: the log tells of ten failures a second, and later of how many more there
// were.
func TestWarnings(t *testing.T) {
	var w warnings
	at := time.Unix(1000, 0)
	for i := range 35 {
		if ok, withheld := w.take(at.Add(time.Duration(i) * time.Millisecond)); ok != (i < 10) || withheld != 0 {
			t.Fatalf("%d: %v, %d", i, ok, withheld)
		}
	}
	if ok, withheld := w.take(at.Add(time.Second)); !ok || withheld != 25 {
		t.Errorf("a second later: %v, %d", ok, withheld)
	}
	if ok, withheld := w.take(at.Add(time.Second)); !ok || withheld != 0 {
		t.Errorf("and once more: %v, %d", ok, withheld)
	}

	f := newFixture(t, nil)
	f.loop.set(func(*live.Request) error { return &live.Refusal{Reason: live.NoWorker} })
	for range 50 {
		f.do("POST", "/v2/models/adder/infer", validInfer)
	}
	if n := strings.Count(f.log.String(), "level=WARN msg=request method=POST path=/v2/models/adder/infer status=503"); n < 10 || n > 30 {
		t.Errorf("%d warnings of 50 failures", n)
	}
}

// TestAccessLogSample: a request of which the log wants nothing is not in it; an error and a
// slow one are.
func TestAccessLogSample(t *testing.T) {
	f := newFixture(t, nil)
	set, err := f.access.Prepare(&accesslog.Settings{File: "-", Factor: 2, Errors: true})
	if err != nil {
		t.Fatal(err)
	}
	set()
	f.do("POST", "/v2/models/adder/infer", validInfer, "x-request-id: fast")
	f.do("POST", "/v2/models/adder/infer", "{", "x-request-id: bad")
	f.loop.set(func(r *live.Request) error {
		<-time.After(11 * time.Millisecond) // twice the target is 10 ms
		return answerWith(jsonAnswer, -1)(r)
	})
	f.do("POST", "/v2/models/adder/infer", validInfer, "x-request-id: slow")
	var ids []any
	for _, l := range f.logged() {
		if l["client"] != nil {
			t.Errorf("%v tells the client", l)
		}
		if l["id"] == "fast" && l["total_ms"].(float64) > 10 {
			continue // this machine was slow, not the log wrong
		}
		ids = append(ids, l["id"])
	}
	if fmt.Sprint(ids) != "[bad slow]" {
		t.Errorf("lines of %v", ids)
	}
}

// BenchmarkAccessLog is a request by the HTTP library's way, without sockets, and its
// line in a file.
func BenchmarkAccessLog(b *testing.B) {
	for _, c := range []struct {
		name string
		set  *accesslog.Settings
	}{{"off", nil}, {"1%", &accesslog.Settings{Sample: .01}}, {"100%", &accesslog.Settings{Sample: 1}}} {
		b.Run(c.name, func(b *testing.B) {
			l := accesslog.New(nil, slog.New(slog.DiscardHandler))
			if c.set != nil {
				c.set.File, c.set.Factor, c.set.Errors, c.set.Client = b.TempDir()+"/access.log", 2, true, true
			}
			set, err := l.Prepare(c.set)
			if err != nil {
				b.Fatal(err)
			}
			set()
			benchmarkServed(b, func(cfg *Config) { cfg.AccessLog = l })
			l.Close()
			b.ReportMetric(float64(l.Dropped())/float64(b.N), "lost/op")
		})
	}
}

// TestAccessLogOfNoRoom: what is turned away for want of room is not said to be malformed, and is told
// when to come back, by the server's name, on both ways to serve.
func TestAccessLogOfNoRoom(t *testing.T) {
	f := newFixture(t, func(cfg *Config) { cfg.MaxBuffered = 10 })
	if res := f.raw(post(validInfer)); res.status != 503 || res.header.Get("Server") != "motley" {
		t.Errorf("%d %v", res.status, res.header)
	}
	lines := f.logged()
	if len(lines) != 1 || lines[0]["reason"] != "unavailable" || lines[0]["retry_after_ms"] != 1000. {
		t.Errorf("lines %v", lines)
	}
}
