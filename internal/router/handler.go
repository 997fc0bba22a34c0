package router

import (
	"bytes"
	"fmt"
	"net/netip"
	"time"

	"github.com/valyala/fasthttp"

	"motley/internal/access"
	"motley/internal/live"
	"motley/internal/oip"
	"motley/internal/tracecontext"
	"motley/internal/tracing"
)

// exchange is the state of one request on its way. Exchanges are reused.
type exchange struct {
	start   time.Time
	target  target
	model   *model // nil where the path names none that is configured
	headers headers
	id      []byte // x-request-id of the answer
	state   []byte // tracestate
	lines   []byte // headers of the answer, as they go out

	pass access.Pass

	call     live.Request
	head     oip.Request
	tenant   string         // who sent it, where that is known
	peer     netip.AddrPort // the client, where the HTTP library does not know it
	ending   ending         // why it got no answer
	span     tracing.Span
	asked    time.Time // when the loop was, where the request is recorded
	received int       // bytes of a body that was taken out of the request

	ran   bool   // the loop was asked
	spare []byte // the decompressed request body, or the uncompressed answer
	held  int    // bytes of the budget, for spare
	num   []byte // scratch for header values
}

// maxSpare is the largest buffer in bytes that an exchange keeps for the next
// one.
const maxSpare = 1 << 20

// Handler answers one request. The server calls it; tests may.
func (s *Server) Handler(ctx *fasthttp.RequestCtx) {
	x := s.acquire(route(ctx.Path()))
	streamed := x.target.endpoint == modelStream
	x.headers.read(&ctx.Request.Header)
	s.readTenant(&x.headers, &ctx.Request.Header)
	s.identify(x)
	x.apply(ctx)

	s.dispatch(ctx, x)
	if s.end.parting.Load() { // since it may have begun meanwhile
		ctx.SetConnectionClose()
	}
	if streamed && (ctx.Response.IsBodyStream() || ctx.Hijacked()) {
		return // its end, which frees the exchange, does the rest
	}
	s.finish(ctx, x)
}

func (s *Server) acquire(t target) *exchange {
	x := s.pool.Get().(*exchange)
	x.start, x.target, x.model, x.ran = time.Now(), t, s.models.Load().byName[string(t.model)], false
	return x
}

// identify has the request, and its answer, carry the request's identifiers.
func (s *Server) identify(x *exchange) {
	h, call := &x.headers, &x.call.Call
	x.id = appendRequestID(x.id[:0], h.requestID)
	x.lines = appendLine(x.lines[:0], headerRequestID, x.id)
	call.ID = x.id
	if h.traceparents == 1 && call.Trace.Parse(h.traceparent) {
		if tracecontext.ValidState(h.tracestate) {
			x.state = append(x.state[:0], h.tracestate...) // streams outlive the headers
			call.Trace.State = x.state
		}
		x.num = call.Trace.Append(x.num[:0])
		x.lines = appendLine(x.lines, headerTraceparent, x.num)
	}
	if e := x.target.endpoint; s.cfg.Tracer != nil && (e == modelInfer || e == modelStream) {
		x.span = s.cfg.Tracer.Begin(&call.Trace)
	}
}

// asks notes that the loop is asked now.
func (x *exchange) asks() {
	x.ran = true
	if x.span.Recorded {
		x.asked = time.Now()
	}
}

// apply moves x.lines to where the HTTP library has an answer's headers.
func (x *exchange) apply(ctx *fasthttp.RequestCtx) {
	for rest := x.lines; len(rest) > 0; {
		end := bytes.IndexByte(rest, '\r')
		colon := bytes.IndexByte(rest, ':')
		ctx.Response.Header.SetCanonical(rest[:colon], rest[colon+2:end])
		rest = rest[end+2:]
	}
	x.lines = x.lines[:0]
}

// finish counts and logs a request that was answered at once, and frees x.
func (s *Server) finish(ctx *fasthttp.RequestCtx, x *exchange) {
	status := ctx.Response.StatusCode()
	took := time.Since(x.start)
	if x.target.endpoint == modelStream || x.target.endpoint == modelInfer {
		s.count(x, status, took)
	}
	s.report(ctx, x, status, took)
	s.release(x)
}

// release makes x ready for the next request: it lets go of the client's
// bytes and of buffers too large to keep.
func (s *Server) release(x *exchange) {
	s.budget.give(x.held)
	x.headers, x.held = headers{}, 0
	x.pass.Leave()
	x.pass = access.Pass{}
	x.target, x.model = target{}, nil
	x.span, x.asked = tracing.Span{}, time.Time{}
	x.tenant, x.peer, x.ending, x.received = "", netip.AddrPort{}, ending{}, 0
	x.call = live.Request{}
	if cap(x.spare) > maxSpare {
		x.spare = nil
	}
	s.pool.Put(x)
}

func (s *Server) dispatch(ctx *fasthttp.RequestCtx, x *exchange) {
	t := x.target
	if t.endpoint == noEndpoint {
		writeError(ctx, fasthttp.StatusNotFound, "Not Found")
		return
	}
	if !t.endpoint.allows(ctx.IsGet() || ctx.IsHead(), ctx.IsPost()) {
		ctx.Response.Header.Set("Allow", methods[t.endpoint])
		writeError(ctx, fasthttp.StatusMethodNotAllowed, "Method Not Allowed")
		return
	}
	switch t.endpoint {
	case modelMetadata, modelReady, modelConfig, modelStats, modelInfer, modelStream, modelGenerate, modelTrace:
		if s.known(ctx, x) {
			s.dispatchModel(ctx, x)
		}
	case healthLive:
		ctx.SetStatusCode(fasthttp.StatusOK)
	case healthReady:
		if !s.ready() {
			ctx.SetStatusCode(fasthttp.StatusBadRequest)
		}
	default:
		if s.identified(ctx, x) {
			s.dispatchServer(ctx, x)
		}
	}
}

func (s *Server) dispatchServer(ctx *fasthttp.RequestCtx, x *exchange) {
	switch x.target.endpoint {
	case serverMetadata:
		s.serverMetadata(ctx)
	case allStats:
		s.allStats(ctx, x)
	case repositoryIndex:
		s.repositoryIndex(ctx, x)
	case repositoryControl:
		writeUnsupported(ctx, "loading and unloading models over the wire is not supported: models are set in the router's configuration")
	case sharedMemory:
		writeUnsupported(ctx, "shared memory is not supported: the router's workers run on other machines")
	case serverTrace:
		writeUnsupported(ctx, "trace settings are not supported")
	case serverLogging:
		writeUnsupported(ctx, "log settings are not supported over the wire: they are set in the router's configuration")
	}
}

// known reports whether the path's model and version are there, and for this client,
// and answers where they are not.
func (s *Server) known(ctx *fasthttp.RequestCtx, x *exchange) bool {
	t := x.target
	switch {
	case !s.identified(ctx, x):
	case x.model == nil:
		writeError(ctx, fasthttp.StatusNotFound, fmt.Sprintf("Request for unknown model: '%s' is not found", cut(t.model)))
	case t.version != nil && !x.model.hasVersion(t.version):
		writeError(ctx, fasthttp.StatusNotFound, fmt.Sprintf("Request for unknown model: '%s' version %s is not found",
			x.model.Name, cut(t.version)))
	default:
		return s.admitted(ctx, x)
	}
	return false
}

func (s *Server) dispatchModel(ctx *fasthttp.RequestCtx, x *exchange) {
	switch x.target.endpoint {
	case modelInfer:
		s.infer(ctx, x)
	case modelStream:
		s.stream(ctx, x)
	case modelMetadata:
		s.modelMetadata(ctx, x.model)
	case modelReady:
		if s.stopping.Load() || !s.loop.ModelReady(x.model.ID) {
			writeError(ctx, fasthttp.StatusBadRequest, "Model version not ready")
		}
	case modelConfig:
		s.modelConfig(ctx, x.model)
	case modelStats:
		writeJSON(ctx, oip.StatsResponse{ModelStats: []oip.ModelStats{x.model.stats()}})
	case modelGenerate:
		writeUnsupported(ctx, "generate is not supported, its text_input is not an inference request: use infer, or infer_stream for the answers of a model's ramps")
	case modelTrace:
		writeUnsupported(ctx, "trace settings are not supported")
	}
}

// count records an inference request's end in the metrics.
func (s *Server) count(x *exchange, status int, took time.Duration) {
	if x.model == nil {
		s.metrics.unknown.answered(status)
		return
	}
	mm := x.model.metrics
	mm.answered(status)
	s.metrics.ended(x.pass.Tenant(), status)
	if status == fasthttp.StatusOK {
		mm.succeeded(&x.call, took, x.start.Add(took))
		if ramps, _ := x.model.ramps(); ramps > 0 && x.call.Exit >= 0 {
			mm.exited(x.call.Exit < ramps, took)
		}
	} else {
		mm.stats.failure(took)
	}
}

// maxCut bounds what an error text or a log line repeats of a client's bytes.
const maxCut = 256

func cut(b []byte) []byte { return b[:min(len(b), maxCut)] }
