package router

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"
	"time"

	wire "go.opentelemetry.io/proto/otlp/trace/v1"

	"motley/internal/live"
	"motley/internal/tracecontext"
	"motley/internal/tracing"
	"motley/internal/tracing/tracingtest"
)

// traced has requests recorded: of those that begin here, that share.
func traced(t testing.TB, sample float64) (*tracing.Tracer, *tracingtest.Collector) {
	t.Helper()
	c := &tracingtest.Collector{}
	tr, err := tracing.New(tracing.Config{Endpoint: "http://collector", Sample: sample, Client: &http.Client{Transport: c}})
	if err != nil {
		t.Fatal(err)
	}
	return tr, c
}

// TestTraces: inference requests have their spans, by both ways and as streams, at their
// times; their workers are told to be below them; nothing else has any.
func TestTraces(t *testing.T) {
	tr, c := traced(t, 0) // the client decides
	f := newFixture(t, func(cfg *Config) { cfg.Tracer = tr })
	told := make(chan tracecontext.Context, 10)
	f.loop.set(func(r *live.Request) error {
		told <- r.Call.Trace
		return answerWith(jsonAnswer, -1)(r)
	})
	before := time.Now()
	paths := []string{"/v2/models/adder/infer", "//v2/models/adder/infer", "/v2/models/adder/infer_stream"}
	for _, path := range paths {
		for _, flags := range []string{"01", "00"} {
			res := f.do("POST", path, validInfer, "traceparent: "+exampleTrace[:53]+flags)
			if got := res.header.Get("Traceparent"); res.status != 200 || got != exampleTrace[:53]+flags {
				t.Errorf("%s: status %d, traceparent %q", path, res.status, got)
			}
		}
	}
	f.do("POST", paths[0], validInfer) // not in the sample
	f.do("GET", "/v2/health/live", "", "traceparent: "+exampleTrace)
	f.do("POST", "/v2/models/nobody/infer", validInfer, "traceparent: "+exampleTrace)
	f.do("POST", paths[0], "{", "traceparent: "+exampleTrace)
	f.logged()
	if err := tr.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := time.Now()

	byID, names := map[string]*wire.Span{}, map[string]int{}
	for _, s := range c.Spans() {
		byID[string(s.SpanId)] = s
		names[s.Name]++
		if from, to := time.Unix(0, int64(s.StartTimeUnixNano)), time.Unix(0, int64(s.EndTimeUnixNano)); from.Before(before) || to.Before(from) ||
			s.Kind == wire.Span_SPAN_KIND_SERVER && to.After(after) { // the fake says that it took 7 ms, and takes none
			t.Errorf("%s: %v to %v", s.Name, from, to)
		}
	}
	if want := map[string]int{"POST /v2/models/{model}/infer": 4, "POST /v2/models/{model}/infer_stream": 1, "queue": 3, "execute": 3}; fmt.Sprint(names) != fmt.Sprint(want) {
		t.Errorf("spans %v, want %v", names, want)
	}
	for i := range 7 {
		place := <-told
		s := byID[string(place.Span[:])]
		if recorded := i < 6 && i%2 == 0; recorded != (s != nil) || recorded != place.Sampled() || !place.Valid() {
			t.Errorf("request %d: its worker is told %+v; its span is %v", i, place, s)
			continue
		} else if !recorded {
			continue
		}
		top := byID[string(s.ParentSpanId)]
		if top == nil || fmt.Sprintf("%x", top.ParentSpanId) != "b7ad6b7169203331" || !bytes.Equal(top.TraceId, s.TraceId) {
			t.Errorf("request %d: %v is below %v", i, s, top)
		}
	}
}

// BenchmarkTracing is a request by the HTTP library's way, without sockets.
func BenchmarkTracing(b *testing.B) {
	for _, c := range []struct {
		name   string
		sample float64
	}{{"off", -1}, {"1%", .01}, {"100%", 1}} {
		b.Run(c.name, func(b *testing.B) {
			var tr *tracing.Tracer
			if c.sample >= 0 {
				tr, _ = traced(b, c.sample)
			}
			benchmarkServed(b, func(cfg *Config) { cfg.AccessLog, cfg.Tracer = nil, tr })
			if tr == nil {
				return
			}
			if err := tr.Close(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(tr.Dropped())/float64(b.N), "lost/op")
		})
	}
}
