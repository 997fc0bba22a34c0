package router

import (
	"bytes"
	"fmt"
	"time"

	"github.com/valyala/fasthttp"

	"motley/internal/live"
	"motley/internal/oip"
)

// exchange is the state of one request on its way. Exchanges are reused.
type exchange struct {
	start   time.Time
	target  target
	model   *model // nil where the path names none that is configured
	headers headers
	id      []byte // x-request-id of the answer
	lines   []byte // headers of the answer, as they go out

	call  live.Request
	head  oip.Request
	ran   bool   // the loop was asked
	spare []byte // the decompressed request body, or the uncompressed answer
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
	x.identify()
	x.apply(ctx)

	s.dispatch(ctx, x)
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

// identify has the answer carry the request's identifiers.
func (x *exchange) identify() {
	x.id = appendRequestID(x.id[:0], x.headers.requestID)
	x.lines = appendLine(x.lines[:0], headerRequestID, x.id)
	if validTraceparent(x.headers.traceparent) {
		x.lines = appendLine(x.lines, headerTraceparent, x.headers.traceparent)
	} else {
		x.headers.traceparent = nil
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
	s.logAccess(ctx, x, status, took)
	s.release(x)
}

// release makes x ready for the next request: it lets go of the client's
// bytes and of buffers too large to keep.
func (s *Server) release(x *exchange) {
	x.headers = headers{}
	x.target, x.model = target{}, nil
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
	case serverMetadata:
		s.serverMetadata(ctx)
	case healthLive:
		ctx.SetStatusCode(fasthttp.StatusOK)
	case healthReady:
		if !s.ready() {
			ctx.SetStatusCode(fasthttp.StatusBadRequest)
		}
	case allStats:
		s.allStats(ctx)
	case repositoryIndex:
		s.repositoryIndex(ctx)
	case repositoryControl:
		writeUnsupported(ctx, "loading and unloading models over the wire is not supported: models are set in the router's configuration")
	case sharedMemory:
		writeUnsupported(ctx, "shared memory is not supported: the router's workers run on other machines")
	case serverTrace:
		writeUnsupported(ctx, "trace settings are not supported")
	case serverLogging:
		writeUnsupported(ctx, "log settings are not supported over the wire: they are set in the router's configuration")
	case prometheusMetrics:
		if s.scrape == nil {
			writeError(ctx, fasthttp.StatusNotFound, "Not Found")
			return
		}
		s.scrape(ctx)
	case debugState:
		s.debugState(ctx)
	case debugExits:
		s.debugExits(ctx)
	case debugProfiles:
		s.debugProfiles(ctx)
	case debugPool:
		s.debugPool(ctx)
	}
}

// known reports whether the path's model and version are there, and answers where they
// are not.
func (s *Server) known(ctx *fasthttp.RequestCtx, x *exchange) bool {
	t := x.target
	switch {
	case x.model == nil:
		writeError(ctx, fasthttp.StatusNotFound, fmt.Sprintf("Request for unknown model: '%s' is not found", cut(t.model)))
	case t.version != nil && !x.model.hasVersion(t.version):
		writeError(ctx, fasthttp.StatusNotFound, fmt.Sprintf("Request for unknown model: '%s' version %s is not found",
			x.model.Name, cut(t.version)))
	default:
		return true
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
	if status == fasthttp.StatusOK {
		mm.succeeded(&x.call, took, x.start.Add(took))
		if ramps, _ := x.model.ramps(); ramps > 0 && x.call.Exit >= 0 {
			mm.exited(x.call.Exit < ramps, took)
		}
	} else {
		mm.stats.failure(took)
	}
}

// cut bounds what an error text or a log line repeats of a client's bytes.
func cut(b []byte) []byte { return b[:min(len(b), 256)] }
