package tracing

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	wire "go.opentelemetry.io/proto/otlp/trace/v1"

	"motley/internal/accesslog"
	"motley/internal/tracecontext"
	"motley/internal/tracing/tracingtest"
)

const parentText = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0"

func parent(flags string) (c tracecontext.Context) {
	c.Parse([]byte(parentText + flags))
	return c
}

func begin(t *testing.T, cfg Config) *Tracer {
	t.Helper()
	tr, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// TestBegin: a client decides for its own traces, the SDK's sampler for the others.
func TestBegin(t *testing.T) {
	const share = .3
	tr := begin(t, Config{Endpoint: "http://127.0.0.1:1", Sample: share})
	defer tr.Close(t.Context())
	oracle := sdk.TraceIDRatioBased(share)
	n := 0
	for range 10000 {
		var place tracecontext.Context
		s := tr.Begin(&place)
		want := oracle.ShouldSample(sdk.SamplingParameters{TraceID: place.Trace}).Decision == sdk.RecordAndSample
		if s.Recorded != want || place.Sampled() != want || !place.Valid() || s.parent.Valid() || want && (s.server == [8]byte{} || s.server == place.Span) {
			t.Fatalf("%+v, %+v; the SDK says %v", s, place, want)
		}
		if s.Recorded {
			n++
		}
	}
	if n < 2800 || n > 3200 {
		t.Errorf("%d of 10000 at a share of %v", n, share)
	}
	for flags, want := range map[string]bool{"0": false, "1": true, "2": false, "3": true} {
		for _, sample := range []float64{0, 1} {
			tr.SetSample(sample)
			was := parent(flags)
			was.State = []byte("x=1")
			place := was
			s := tr.Begin(&place)
			if s.Recorded != want || place.Sampled() != want || place.Trace != was.Trace || place.Span == was.Span || string(place.State) != "x=1" ||
				want && (s.parent.Span != was.Span || s.server == was.Span || s.server == place.Span) {
				t.Errorf("flags %s, sample %v: %+v, %+v", flags, sample, s, place)
			}
		}
	}
	for sample, want := range map[float64]bool{0: false, 1: true} {
		tr.SetSample(sample)
		var place tracecontext.Context
		if tr.Begin(&place).Recorded != want {
			t.Errorf("sample %v", sample)
		}
	}
	unsampled := parent("0")
	if n := testing.AllocsPerRun(100, func() {
		place := tracecontext.Context{}
		tr.Begin(&place)
		place = unsampled
		tr.Begin(&place)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// answered is a request that was answered in a batch of several.
func answered() accesslog.Entry {
	return accesslog.Entry{
		Time: noon, ID: []byte("run-7"), Tenant: "team-a", Model: []byte("m"), Version: []byte("1"), Method: []byte("POST"),
		Path: []byte("/v2/models/m/versions/1/infer"), Status: 200, Outcome: accesslog.Answered, Items: 3, Worker: "w0", Type: "g4dn", Batch: 8, Merged: 0xabc,
		Parts: 1, Attempts: 2, Ran: true, Queued: 20 * time.Millisecond, Service: 30 * time.Millisecond, Total: 60 * time.Millisecond,
		Exit: 1, In: 10, Out: 20, Client: netip.MustParseAddrPort("192.0.2.1:5000"),
	}
}

// finish ends one request that began at place.
func (t *Tracer) finishOne(place tracecontext.Context, e accesslog.Entry) {
	s := t.Begin(&place)
	e.Trace = &place
	t.End(&s, e.Time.Add(5*time.Millisecond), &e)
}

func span(t *testing.T, all []*wire.Span, name string) *wire.Span {
	t.Helper()
	for _, s := range all {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no span %q among %d", name, len(all))
	return nil
}

// took is from when to when a span is, after noon.
func took(s *wire.Span) string {
	return fmt.Sprint(time.Unix(0, int64(s.StartTimeUnixNano)).Sub(noon), " ", time.Unix(0, int64(s.EndTimeUnixNano)).Sub(noon))
}

// TestSpans: what a collector gets of a request, over a real connection.
func TestSpans(t *testing.T) {
	var c tracingtest.Collector
	server := httptest.NewServer(&c)
	defer server.Close()
	tr := begin(t, Config{Endpoint: server.URL, Sample: 1, Service: "front", Version: "1.2", Headers: map[string]string{"X-Api-Key": "sesame"}})
	place := parent("1")
	place.State = []byte("x=1")
	given := place
	s := tr.Begin(&place)
	e := answered()
	e.Trace = &place
	tr.End(&s, noon.Add(5*time.Millisecond), &e)
	e.ID[0], e.Path[5] = 'X', 'X' // it is the caller's again
	tr.Batch(&Batch{
		Number: 0xabc, Start: noon.Add(25 * time.Millisecond), Ran: 30 * time.Millisecond, Model: "m", Worker: "w0", Type: "g4dn",
		Requests: 2, Items: 8, Links: []tracecontext.Context{place},
	})
	if err := tr.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := c.Spans()
	if len(all) != 4 || tr.Sent() != 4 || tr.Dropped() != 0 {
		t.Fatalf("%d spans, %d sent, %d dropped", len(all), tr.Sent(), tr.Dropped())
	}
	top, queue, execute, batch := span(t, all, "POST /v2/models/{model}/versions/{version}/infer"), span(t, all, "queue"), span(t, all, "execute"), span(t, all, "batch")
	for _, s := range []*wire.Span{top, queue, execute} {
		if !bytes.Equal(s.TraceId, given.Trace[:]) || s.TraceState != "x=1" {
			t.Errorf("%s is in trace %x, %q", s.Name, s.TraceId, s.TraceState)
		}
	}
	if !bytes.Equal(top.ParentSpanId, given.Span[:]) || !bytes.Equal(queue.ParentSpanId, top.SpanId) || !bytes.Equal(execute.ParentSpanId, top.SpanId) {
		t.Errorf("parents %x, %x, %x", top.ParentSpanId, queue.ParentSpanId, execute.ParentSpanId)
	}
	if !bytes.Equal(execute.SpanId, place.Span[:]) {
		t.Errorf("the worker is told to be below %x, and the execution is %x", place.Span, execute.SpanId)
	}
	for _, s := range []struct {
		span *wire.Span
		kind wire.Span_SpanKind
		took string
	}{
		{top, wire.Span_SPAN_KIND_SERVER, "0s 60ms"}, {queue, wire.Span_SPAN_KIND_INTERNAL, "5ms 25ms"},
		{execute, wire.Span_SPAN_KIND_CLIENT, "25ms 55ms"}, {batch, wire.Span_SPAN_KIND_CLIENT, "25ms 55ms"},
	} {
		if s.span.Kind != s.kind || took(s.span) != s.took || s.span.Status.GetCode() != wire.Status_STATUS_CODE_UNSET {
			t.Errorf("%s: %v, %s, %v", s.span.Name, s.span.Kind, took(s.span), s.span.Status)
		}
	}
	own := tracecontext.OfBatch(0xabc)
	if !bytes.Equal(batch.TraceId, own.Trace[:]) || !bytes.Equal(batch.SpanId, own.Span[:]) || len(batch.ParentSpanId) > 0 {
		t.Errorf("the batch is %x in %x, below %x", batch.SpanId, batch.TraceId, batch.ParentSpanId)
	}
	if l := batch.Links; len(l) != 1 || !bytes.Equal(l[0].TraceId, execute.TraceId) || !bytes.Equal(l[0].SpanId, execute.SpanId) {
		t.Errorf("the batch links to %v", l)
	}
	if l := execute.Links; len(l) != 1 || !bytes.Equal(l[0].TraceId, batch.TraceId) || !bytes.Equal(l[0].SpanId, batch.SpanId) {
		t.Errorf("the execution links to %v", l)
	}
	got := tracingtest.Attributes(top.Attributes)
	for name, want := range map[string]string{
		"http.request.method": "POST", "url.path": "/v2/models/m/versions/1/infer", "http.route": "/v2/models/{model}/versions/{version}/infer",
		"http.response.status_code": "200", "client.address": "192.0.2.1", "motley.request_id": "run-7", "motley.model": "m", "motley.worker": "w0",
		"motley.instance_type": "g4dn", "motley.batch": "8", "motley.batch.id": "batch-0000000000000abc", "motley.exit": "1", "motley.attempts": "2",
		"motley.outcome": "answered", "motley.items": "3", "motley.tenant": "team-a", "motley.parts": "1",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if got := tracingtest.Attributes(batch.Attributes); got["motley.batch.id"] != "batch-0000000000000abc" || got["motley.requests"] != "2" || got["motley.worker"] != "w0" {
		t.Errorf("the batch: %v", got)
	}
	if r := c.Resource(); r["service.name"] != "front" || r["service.version"] != "1.2" {
		t.Errorf("resource %v", r)
	}
	if h := c.Headers(); len(h) != 1 || h[0].Get("X-Api-Key") != "sesame" {
		t.Errorf("headers %v", h)
	}
}

// TestSpansOfFailures: a request that nobody answered has no execution.
func TestSpansOfFailures(t *testing.T) {
	var c tracingtest.Collector
	tr := begin(t, Config{Endpoint: "http://collector", Sample: 1, Client: &http.Client{Transport: &c}})
	full := answered()
	full.Status, full.Outcome, full.Reason, full.Batch, full.Worker, full.Merged, full.Attempts, full.Queued = 429, accesslog.Rejected, "queue_full", 0, "", 0, 0, 0
	tr.finishOne(tracecontext.Context{}, full)
	failed := full
	failed.Status, failed.Outcome, failed.Reason, failed.Attempts, failed.Error = 502, accesslog.Failed, "worker_connect", 3, "it \xff broke"
	tr.finishOne(parent("1"), failed)
	bad := full
	bad.Status, bad.Ran, bad.ID, bad.Model, bad.Path, bad.Method = 404, false, []byte("\xff"), []byte("\xff\xfe"), []byte("/\xff/infer"), []byte("\xff")
	bad.Version = nil
	tr.finishOne(tracecontext.Context{}, bad)
	tr.Batch(&Batch{Number: 1, Start: noon, Err: errors.New("it \xff broke")})
	if err := tr.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := c.Spans()
	if len(all) != 5 || tr.Dropped() != 0 {
		t.Fatalf("%d spans, %d dropped", len(all), tr.Dropped())
	}
	var names []string
	for _, s := range all {
		names = append(names, s.Name)
	}
	const route = "POST /v2/models/{model}/versions/{version}/infer"
	if want := []string{"queue", route, route, "\ufffd /v2/models/{model}/infer", "batch"}; fmt.Sprint(names) != fmt.Sprint(want) {
		t.Errorf("spans %q, want %q", names, want)
	}
	if took(all[0]) != "5ms 60ms" || len(all[1].ParentSpanId) > 0 || all[1].Status.GetCode() != wire.Status_STATUS_CODE_UNSET {
		t.Errorf("it waited %s; %v", took(all[0]), all[1])
	}
	if s := all[2].Status; s.GetCode() != wire.Status_STATUS_CODE_ERROR || s.GetMessage() != "it \ufffd broke" || hex.EncodeToString(all[2].ParentSpanId) != "b7ad6b7169203331" {
		t.Errorf("%v", all[2])
	}
	if got := tracingtest.Attributes(all[2].Attributes); got["error.type"] != "worker_connect" || got["motley.reason"] != "worker_connect" {
		t.Errorf("%v", got)
	}
	if all[4].Status.GetCode() != wire.Status_STATUS_CODE_ERROR {
		t.Errorf("%v", all[4])
	}
}

// wires is a collector's network, which may be cut or hang.
type wires struct {
	to   *tracingtest.Collector
	mu   sync.Mutex
	err  error
	ask  int
	hang bool
}

func (w *wires) set(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
}

func (w *wires) RoundTrip(q *http.Request) (*http.Response, error) {
	w.mu.Lock()
	err, hang := w.err, w.hang
	w.ask++
	w.mu.Unlock()
	if hang {
		<-q.Context().Done()
		return nil, q.Context().Err()
	}
	if err != nil {
		return nil, err
	}
	return w.to.RoundTrip(q)
}

// TestDeadCollector: what a collector that is gone costs is bounded, and counted; the log says
// so once; when it is back it gets what was kept.
func TestDeadCollector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told bytes.Buffer
		c := &tracingtest.Collector{}
		w := &wires{to: c, err: errors.New("connection refused")}
		tr := begin(t, Config{
			Endpoint: "http://collector", Sample: 1, Client: &http.Client{Transport: w}, Log: slog.New(slog.NewTextHandler(&told, nil)),
			Headers: map[string]string{"Authorization": "Bearer sesame"},
		})
		const n = 10000
		for range n {
			tr.finishOne(tracecontext.Context{}, answered())
			if len(tr.queue) > queueLength/2 && w.tries() == 0 {
				synctest.Wait()
			}
		}
		time.Sleep(10 * time.Minute)
		// Every 32 s by then, after 1, 2, 4, … s.
		if asked := w.tries(); asked < 10 || asked > 30 {
			t.Errorf("the collector was asked %d times in 10 minutes", asked)
		}
		lost := tr.Dropped()
		if kept := 3*n - lost; kept < 3*queueLength || kept > 3*queueLength+maxSend+3 || tr.Sent() != 0 {
			t.Errorf("%d spans are kept, %d lost, %d sent", kept, lost, tr.Sent())
		}
		w.set(nil)
		time.Sleep(time.Minute)
		if tr.Dropped() != lost || tr.Sent() != 3*n-lost || uint64(len(c.Spans())) != tr.Sent() {
			t.Errorf("%d lost, then %d; %d sent, the collector has %d", lost, tr.Dropped(), tr.Sent(), len(c.Spans()))
		}
		tr.finishOne(tracecontext.Context{}, answered())
		time.Sleep(2 * maxWait)
		if uint64(len(c.Spans())) != 3*n-lost+3 {
			t.Error("after a while alone, a request's spans do not come")
		}
		if err := tr.Close(t.Context()); err != nil {
			t.Error(err)
		}
		tr.finishOne(tracecontext.Context{}, answered()) // after the end
		if tr.Dropped() != lost+3 {
			t.Errorf("%d lost after the end, %d before", tr.Dropped(), lost)
		}
		if text := told.String(); strings.Count(text, "\n") != 2 || !strings.Contains(text, "cannot be sent") || !strings.Contains(text, "sent again") || strings.Contains(text, "sesame") {
			t.Errorf("told:\n%s", text)
		}
	})
}

func (w *wires) tries() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ask
}

// TestRefused: what a collector will never take is not sent again.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told bytes.Buffer
		c := &tracingtest.Collector{}
		w := &wires{to: c}
		tr := begin(t, Config{Endpoint: "http://collector/", Sample: 1, Client: &http.Client{Transport: w}, Log: slog.New(slog.NewTextHandler(&told, nil))})
		one := func() {
			tr.finishOne(tracecontext.Context{}, answered())
			time.Sleep(2 * maxWait)
		}
		c.Answer(400, []byte("no"))
		one()
		one()
		if tr.Dropped() != 6 || w.tries() != 2 {
			t.Errorf("%d lost after %d tries", tr.Dropped(), w.tries())
		}
		c.Answer(200, []byte{0x0a, 0x02, 0x08, 0x02}) // rejected_spans: 2
		one()
		if tr.Dropped() != 8 || tr.Sent() != 1 {
			t.Errorf("%d lost, %d sent", tr.Dropped(), tr.Sent())
		}
		c.Answer(503, nil)
		one()
		c.Answer(200, nil)
		time.Sleep(time.Minute)
		if tr.Dropped() != 8 || tr.Sent() != 4 {
			t.Errorf("%d lost, %d sent after the collector was busy", tr.Dropped(), tr.Sent())
		}
		if err := tr.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if text := told.String(); strings.Count(text, "refused") != 1 || strings.Count(text, "\n") != 3 {
			t.Errorf("told:\n%s", text)
		}
	})
}

// TestCloseHangs: a collector that hangs does not keep the router from ending.
func TestCloseHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := begin(t, Config{Endpoint: "http://collector", Sample: 1, Client: &http.Client{Transport: &wires{hang: true}}, Timeout: time.Hour})
		for range 2000 {
			tr.finishOne(tracecontext.Context{}, answered())
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		at := time.Now()
		if err := tr.Close(ctx); err == nil || time.Since(at) != 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(at))
		}
		if tr.Dropped() != 6000 {
			t.Errorf("%d of 6000 are counted as lost", tr.Dropped())
		}
	})
}

// TestNobodyThere is the same with a port that nobody listens on.
func TestNobodyThere(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	tr := begin(t, Config{Endpoint: "http://" + ln.Addr().String(), Sample: 1})
	tr.finishOne(tracecontext.Context{}, answered())
	if err := tr.Close(t.Context()); err != nil || tr.Dropped() != 3 {
		t.Errorf("%v, %d lost", err, tr.Dropped())
	}
}

// TestRedirect: spans and secrets go where they were meant to, and nowhere else.
func TestRedirect(t *testing.T) {
	var c tracingtest.Collector
	other := httptest.NewServer(&c)
	defer other.Close()
	server := httptest.NewServer(http.RedirectHandler(other.URL+"/v1/traces", http.StatusTemporaryRedirect))
	defer server.Close()
	tr := begin(t, Config{Endpoint: server.URL, Sample: 1, Headers: map[string]string{"Authorization": "sesame"}})
	tr.finishOne(tracecontext.Context{}, answered())
	if err := tr.Close(t.Context()); err != nil || tr.Dropped() != 3 || len(c.Headers()) > 0 {
		t.Errorf("%v, %d lost; the other has %v", err, tr.Dropped(), c.Headers())
	}
}

func TestEndpoints(t *testing.T) {
	for _, bad := range []string{"", "collector:4318", "ftp://collector", "http://", "http://%"} {
		if _, err := New(Config{Endpoint: bad}); err == nil {
			t.Errorf("%q can be used", bad)
		}
	}
	for given, want := range map[string]string{
		"http://c:4318": "http://c:4318/v1/traces", "https://c/": "https://c/v1/traces", "http://c/otlp/v1/traces": "http://c/otlp/v1/traces",
	} {
		if s, err := newSender(&Config{Endpoint: given}); err != nil || s.url != want {
			t.Errorf("%s: %v, %v", given, s, err)
		}
	}
}

func FuzzRejected(f *testing.F) {
	f.Add([]byte{0x0a, 0x02, 0x08, 0x02})
	f.Add([]byte{0x12, 0x01, 'x', 0x0a, 0x05, 0x12, 0x01, 'x', 0x08, 0x7f})
	f.Fuzz(func(t *testing.T, answer []byte) {
		n := rejected(answer)
		if len(answer) < 4 && n != 0 {
			t.Errorf("%x: %d", answer, n)
		}
		// What stands before does not matter.
		if m := rejected(append([]byte{0x12, 0x01, 'x'}, answer...)); m != n {
			t.Errorf("%x: %d, then %d", answer, n, m)
		}
	})
}

func BenchmarkBegin(b *testing.B) {
	tr, err := New(Config{Endpoint: "http://127.0.0.1:1", Sample: .0001})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		var place tracecontext.Context
		tr.Begin(&place)
	}
	if err := tr.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkEnd is a recorded request, with the making of its spans, on another goroutine.
func BenchmarkEnd(b *testing.B) {
	c := &tracingtest.Collector{}
	tr, err := New(Config{Endpoint: "http://collector", Sample: 1, Client: &http.Client{Transport: c}})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	e := answered()
	for b.Loop() {
		tr.finishOne(tracecontext.Context{}, e)
	}
	if err := tr.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(tr.Dropped())/float64(b.N), "lost/op")
}
