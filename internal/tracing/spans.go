package tracing

import (
	"bytes"
	"context"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"motley/internal/accesslog"
	"motley/internal/tracecontext"
)

// spans makes spans by the SDK, and collects them. It belongs to one goroutine.
type spans struct {
	tracer   trace.Tracer
	provider *sdk.TracerProvider
	ended    []sdk.ReadOnlySpan
	ids      ids
}

func newSpans(cfg *Config, s *sender) *spans {
	m := &spans{}
	about := []attribute.KeyValue{str("service.name", cfg.Service)}
	if cfg.Version != "" {
		about = append(about, str("service.version", cfg.Version))
	}
	if host, err := os.Hostname(); err == nil {
		about = append(about, str("host.name", host))
	}
	m.provider = sdk.NewTracerProvider(
		sdk.WithResource(resource.NewSchemaless(about...)),
		sdk.WithSampler(sdk.AlwaysSample()), // Begin has decided
		sdk.WithIDGenerator(&m.ids), sdk.WithSpanProcessor(m),
	)
	m.tracer = m.provider.Tracer("motley")
	return m
}

// ids gives spans the ids that were drawn when their requests began.
type ids struct {
	trace trace.TraceID
	span  trace.SpanID
}

// NewIDs implements sdk.IDGenerator.
func (i *ids) NewIDs(context.Context) (trace.TraceID, trace.SpanID) { return i.trace, i.span }

// NewSpanID implements sdk.IDGenerator.
func (i *ids) NewSpanID(context.Context, trace.TraceID) trace.SpanID { return i.span }

// OnStart implements sdk.SpanProcessor.
func (m *spans) OnStart(context.Context, sdk.ReadWriteSpan) {}

// OnEnd implements sdk.SpanProcessor.
func (m *spans) OnEnd(s sdk.ReadOnlySpan) { m.ended = append(m.ended, s) }

// Shutdown implements sdk.SpanProcessor.
func (m *spans) Shutdown(context.Context) error { return nil }

// ForceFlush implements sdk.SpanProcessor.
func (m *spans) ForceFlush(context.Context) error { return nil }

func (m *spans) clear() {
	clear(m.ended)
	m.ended = m.ended[:0]
}

func (m *spans) close() { _ = m.provider.Shutdown(context.Background()) } // Shutdown of m is all that can fail

// make makes the spans of what is at its end.
func (m *spans) make(r any) {
	switch r := r.(type) {
	case *finished:
		m.request(r)
	case *Batch:
		m.batch(r)
	}
}

// one makes one span, below the one that ctx is in.
func (m *spans) one(ctx context.Context, name string, id [8]byte, start time.Time, took time.Duration, opt ...trace.SpanStartOption) {
	m.ids.span = id
	_, s := m.tracer.Start(ctx, name, append(opt, trace.WithTimestamp(start))...)
	s.End(trace.WithTimestamp(start.Add(max(took, 0))))
}

// spans is how many spans a request has.
func (f *finished) spans() int {
	switch e := &f.entry; {
	case e.Ran && e.Batch > 0:
		return 3
	case e.Ran && e.Attempts == 0:
		return 2
	}
	return 1
}

func (m *spans) request(f *finished) {
	e := &f.entry
	ctx := context.Background()
	if f.span.parent.Valid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, contextOf(&f.span.parent, true))
	}
	m.ids.trace = f.place.Trace
	m.ids.span = f.span.server
	name := text(e.Method) + " " + route(e)
	ctx, server := m.tracer.Start(ctx, name, trace.WithTimestamp(e.Time), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(about(e)...))
	if e.Status >= 500 {
		server.SetStatus(codes.Error, text(e.Error))
	}
	if n := f.spans(); n > 1 {
		queued := e.Queued
		if n == 2 { // until it was turned away
			queued = e.Time.Add(e.Total).Sub(f.asked)
		}
		m.one(ctx, "queue", tracecontext.NewSpan(), f.asked, queued)
		if n == 3 {
			opt := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(executed(e)...)}
			if e.Merged != 0 {
				place := tracecontext.OfBatch(e.Merged)
				place.Flags |= tracecontext.Sampled
				opt = append(opt, trace.WithLinks(trace.Link{SpanContext: contextOf(&place, false)}))
			}
			m.one(ctx, "execute", f.place.Span, f.asked.Add(queued), e.Service, opt...)
		}
	}
	server.End(trace.WithTimestamp(e.Time.Add(e.Total)))
}

func (m *spans) batch(b *Batch) {
	place := tracecontext.OfBatch(b.Number)
	m.ids.trace, m.ids.span = place.Trace, place.Span
	var links []trace.Link
	for i := range b.Links {
		l := b.Links[i]
		l.State = nil
		links = append(links, trace.Link{SpanContext: contextOf(&l, false)})
	}
	attrs := []attribute.KeyValue{
		str("motley.batch.id", tracecontext.AppendBatch(nil, b.Number)), str("motley.model", b.Model), str("motley.worker", b.Worker),
		str("motley.instance_type", b.Type), attribute.Int("motley.batch", b.Items), attribute.Int("motley.requests", b.Requests),
	}
	_, s := m.tracer.Start(context.Background(), "batch", trace.WithTimestamp(b.Start), trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attrs...), trace.WithLinks(links...))
	if b.Err != nil {
		s.SetStatus(codes.Error, text(b.Err.Error()))
	}
	s.End(trace.WithTimestamp(b.Start.Add(max(b.Ran, 0))))
}

// contextOf is c in the SDK's words.
func contextOf(c *tracecontext.Context, remote bool) trace.SpanContext {
	state, _ := trace.ParseTraceState(string(c.State)) // where the SDK takes less than the standard, without
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: c.Trace, SpanID: c.Span, TraceFlags: trace.TraceFlags(c.Flags), TraceState: state, Remote: remote,
	})
}

// route is the path without what differs by model.
func route(e *accesslog.Entry) string {
	r := "/v2/models/{model}"
	if len(e.Version) > 0 {
		r += "/versions/{version}"
	}
	if i := bytes.LastIndexByte(e.Path, '/'); i >= 0 {
		r += text(e.Path[i:])
	}
	return r
}

// about is what a server span tells of its request, by the conventions of HTTP, and of
// what became of it.
func about(e *accesslog.Entry) []attribute.KeyValue {
	all := []attribute.KeyValue{
		str("http.request.method", e.Method), str("url.path", e.Path),
		str("http.route", route(e)), attribute.Int("http.response.status_code", e.Status),
		attribute.Int("http.request.body.size", e.In), attribute.Int("http.response.body.size", e.Out),
		str("motley.request_id", e.ID), str("motley.model", e.Model),
		str("motley.outcome", e.Outcome.String()),
	}
	if e.Status >= 500 {
		all = append(all, str("error.type", e.Reason))
	}
	if e.Client.IsValid() {
		all = append(all, str("client.address", e.Client.Addr().String()), attribute.Int("client.port", int(e.Client.Port())))
	}
	if e.Reason != "" {
		all = append(all, str("motley.reason", e.Reason))
	}
	if e.Tenant != "" {
		all = append(all, str("motley.tenant", e.Tenant))
	}
	if e.Ran {
		all = append(all, attribute.Int("motley.items", e.Items), attribute.Int("motley.attempts", e.Attempts))
	}
	if e.Batch > 0 {
		all = append(all, executed(e)...)
	}
	return all
}

// executed is what there is to tell of the execution that answered.
func executed(e *accesslog.Entry) []attribute.KeyValue {
	all := []attribute.KeyValue{
		str("motley.worker", e.Worker), str("motley.instance_type", e.Type),
		attribute.Int("motley.batch", e.Batch), attribute.Int("motley.parts", e.Parts),
	}
	if e.Merged != 0 {
		all = append(all, str("motley.batch.id", tracecontext.AppendBatch(nil, e.Merged)))
	}
	if e.Exit >= 0 {
		all = append(all, attribute.Int("motley.exit", e.Exit))
	}
	return all
}

// str is an attribute.
func str[T string | []byte](name string, v T) attribute.KeyValue {
	return attribute.String(name, text(v))
}

// text is v as UTF-8, since protobuf takes no other, and not too long.
func text[T string | []byte](v T) string {
	return strings.ToValidUTF8(string(v[:min(len(v), 256)]), "\ufffd")
}
