package app

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	otlp "go.opentelemetry.io/proto/otlp/trace/v1"

	"motley/internal/config"
	"motley/internal/tracing/tracingtest"
)

// TestTracing: what a collector gets of requests that run alone and merged: every request's spans are
// below its client's, a batch's links lead to its members' executions and back, all lie within
// each other in time, and the worker is told the place that the spans have.
func TestTracing(t *testing.T) {
	var c tracingtest.Collector
	collector := httptest.NewServer(&c)
	defer collector.Close()
	front, back, frontLog, backLog := chain(t, fmt.Sprintf("tracing: {endpoint: %q, sample: 0}", collector.URL))
	const n = 60
	front.postAll(t, n)
	front.stop(t)
	back.stop(t)

	told := map[string]string{} // by name: the trace that the worker was told
	for _, l := range accessLines(t, backLog) {
		told[l["id"].(string)], _ = l["trace_id"].(string)
	}
	merged, alone := 0, 0
	for _, l := range accessLines(t, frontLog) {
		if l["batch_id"] == nil {
			alone++
			if told[l["id"].(string)] != "0af7651916cd43dd8448eb211c80319c" {
				t.Errorf("the worker of %v is told %q", l["id"], told[l["id"].(string)])
			}
		} else {
			merged++
		}
	}
	byID := map[string]*otlp.Span{}
	kinds := map[string]int{}
	for _, s := range c.Spans() {
		byID[string(s.SpanId)] = s
		kinds[s.Name]++
	}
	batches := kinds["batch"]
	if kinds["POST /v2/models/{model}/infer"] != n || kinds["queue"] != n || kinds["execute"] != n || batches == 0 || alone == 0 || len(byID) != 3*n+batches {
		t.Fatalf("%v; %d ran alone, %d merged", kinds, alone, merged)
	}
	links := 0
	for _, s := range byID {
		attrs := tracingtest.Attributes(s.Attributes)
		within := func(outer *otlp.Span, slack uint64) {
			if s.StartTimeUnixNano+slack < outer.StartTimeUnixNano || s.EndTimeUnixNano > outer.EndTimeUnixNano+slack {
				t.Errorf("%s is from %d to %d, and %s from %d to %d", s.Name, s.StartTimeUnixNano, s.EndTimeUnixNano, outer.Name, outer.StartTimeUnixNano, outer.EndTimeUnixNano)
			}
		}
		switch s.Name {
		case "batch":
			if got := fmt.Sprintf("%x", s.TraceId); told[attrs["motley.batch.id"]] != got {
				t.Errorf("the worker of %s is told %s, and the span is in %s", attrs["motley.batch.id"], told[attrs["motley.batch.id"]], got)
			}
			if attrs["motley.requests"] != fmt.Sprint(len(s.Links)) || len(s.Links) < 2 || attrs["motley.worker"] != "far" || attrs["motley.model"] != "m" {
				t.Errorf("%d links; %v", len(s.Links), attrs)
			}
			for _, l := range s.Links {
				links++
				member := byID[string(l.SpanId)]
				if member == nil || member.Name != "execute" || len(member.Links) != 1 || string(member.Links[0].SpanId) != string(s.SpanId) {
					t.Errorf("%s links to %v", attrs["motley.batch.id"], member)
				}
			}
		case "queue", "execute":
			within(byID[string(s.ParentSpanId)], 1e6) // the loop has a clock of its own
		default:
			if fmt.Sprintf("%x %x", s.TraceId, s.ParentSpanId) != "0af7651916cd43dd8448eb211c80319c b7ad6b7169203331" || s.TraceState != "x=1" {
				t.Errorf("a request is in %x, below %x, with %q", s.TraceId, s.ParentSpanId, s.TraceState)
			}
			if attrs["motley.worker"] != "far" || attrs["http.response.status_code"] != "200" || attrs["motley.attempts"] != "1" {
				t.Errorf("%v", attrs)
			}
		}
	}
	if links != merged {
		t.Errorf("%d links to %d requests that ran merged", links, merged)
	}
	if c.Resource()["service.name"] != "motley" {
		t.Errorf("%v", c.Resource())
	}
}

// TestTracingReload: the share may change, where the spans go may not.
func TestTracingReload(t *testing.T) {
	cfg, err := config.Parse("test", append([]byte("tracing: {endpoint: \"http://127.0.0.1:1\"}\n"), config.Default()...))
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(cfg, Options{Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	next := *cfg
	next.Tracing.Sample = 1
	commit, err := a.prepareTracing(&next)
	if err != nil {
		t.Fatal(err)
	}
	commit()
	next.Tracing.Endpoint = ""
	if _, err := a.prepareTracing(&next); err == nil || !strings.Contains(err.Error(), "tracing.endpoint") {
		t.Errorf("another endpoint: %v", err)
	}
	if err := a.Close(context.Background()); err != nil {
		t.Error(err)
	}
}
