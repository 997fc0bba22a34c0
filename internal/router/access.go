package router

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"motley/internal/accesslog"
	"motley/internal/backend"
	"motley/internal/http1"
	"motley/internal/live"
)

// ending is why a request got no answer, for those who ask afterwards.
type ending struct {
	failure
	reason  string // "" = what the status says
	refused bool   // nobody failed: there was no room, no time or no worker
}

// message is what is told of a request besides its exchange.
type message struct {
	method, path []byte
	in, out      int // bytes of the bodies
	peer         netip.AddrPort
}

// messageOf points into the request.
func messageOf(ctx *fasthttp.RequestCtx, x *exchange) message {
	m := message{method: ctx.Method(), path: ctx.Path(), in: max(len(ctx.Request.Body()), x.received), peer: x.peer}
	if !m.peer.IsValid() {
		m.peer = peerOf(ctx.RemoteAddr())
	}
	return m
}

// peerOf is a client's address, where it has one.
func peerOf(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	p := tcp.AddrPort()
	if p.Port() == 0 { // the HTTP library's for a request without a connection
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// report tells of a request that was answered at once.
func (s *Server) report(ctx *fasthttp.RequestCtx, x *exchange, status int, took time.Duration) {
	if !s.tells(x, status, took) {
		return
	}
	m := messageOf(ctx, x)
	m.out = len(ctx.Response.Body())
	if status >= 400 && x.ending.text == "" {
		x.ending.text = string(errorText(ctx.Response.Body()))
		x.ending.after = retryAfter(&ctx.Response.Header)
	}
	s.tell(&m, x, status, took)
}

// retryAfter is when a client was told to come back; 0: it was not.
func retryAfter(h *fasthttp.ResponseHeader) time.Duration {
	ms, _ := strconv.ParseInt(string(h.Peek(headerRetryMs)), 10, 64) // 0 where there is none
	return time.Duration(ms) * time.Millisecond
}

// errorText is the text in an error's body, escaped as it is there.
func errorText(body []byte) []byte {
	body = bytes.TrimPrefix(body, []byte(`{"error":"`))
	return cut(bytes.TrimSuffix(body, []byte(`"}`)))
}

// tells reports whether there is somebody to be told of a request.
func (s *Server) tells(x *exchange, status int, took time.Duration) bool {
	return status >= 500 || x.span.Recorded || s.wantsLine(x, status, took)
}

// wantsLine reports whether the request is to be in the access log.
func (s *Server) wantsLine(x *exchange, status int, took time.Duration) bool {
	return s.cfg.AccessLog != nil && s.cfg.AccessLog.Wants(x.id, status >= 400, took, x.qos())
}

// qos is the latency target of the request's model; 0: it has none.
func (x *exchange) qos() time.Duration {
	if x.model == nil {
		return 0
	}
	return x.model.QoS
}

// tell writes the request's line in the access log, records its spans, and warns where its
// answer is 500 or above. None of them has bodies, query strings or headers,
// but for the identifiers.
func (s *Server) tell(m *message, x *exchange, status int, took time.Duration) {
	if status >= 500 {
		s.warn(m, x, status, took)
	}
	line := s.wantsLine(x, status, took)
	if !line && !x.span.Recorded {
		return
	}
	r := &x.call
	e := accesslog.Entry{
		Time: x.start, ID: x.id, Trace: &r.Call.Trace, Tenant: x.tenant,
		Model: x.target.model, Version: x.target.version, Method: m.method, Path: m.path,
		Status: status, Outcome: accesslog.Answered, Total: took, Exit: -1,
		In: m.in, Out: m.out, RetryAfter: x.ending.after, Client: m.peer,
	}
	if status >= 400 {
		e.Outcome, e.Reason = x.outcome(status)
		e.Error = x.ending.text
	}
	if x.ran {
		e.Ran, e.Items, e.Batch, e.Merged, e.Parts, e.Attempts = true, r.Size, r.Batch, r.Merged, r.Parts, r.Attempts
		e.Queued, e.Service = r.Queued, r.Ran
		w := s.metrics.Worker(r.Worker)
		e.Worker, e.Type = w.Name, w.InstanceType
		if x.model.early(r.Exit) {
			e.Exit = r.Exit
		}
	}
	if line {
		s.cfg.AccessLog.Write(&e)
	}
	if x.span.Recorded {
		s.cfg.Tracer.End(&x.span, x.asked, &e)
	}
}

// outcome says how a request ended that was answered with 400 or above, and why.
func (x *exchange) outcome(status int) (accesslog.Outcome, string) {
	reason := x.ending.reason
	if reason == "" {
		reason = reasons[status]
	}
	switch {
	case status == statusLeft:
		return accesslog.Left, ""
	case status < 500 || x.ending.refused:
		return accesslog.Rejected, reason
	}
	return accesslog.Failed, reason
}

// reasons are those that follow from the status.
var reasons = map[int]string{
	http.StatusBadRequest: "bad_request", http.StatusUnauthorized: "unauthorized", http.StatusForbidden: "forbidden",
	http.StatusNotFound: "not_found", http.StatusMethodNotAllowed: "method_not_allowed", http.StatusRequestTimeout: "timeout",
	http.StatusRequestEntityTooLarge: "body_too_large", http.StatusUnsupportedMediaType: "unsupported_encoding",
	http.StatusTooManyRequests: "limited", http.StatusRequestHeaderFieldsTooLarge: "head_too_large",
	http.StatusInternalServerError: "internal", http.StatusNotImplemented: "unsupported", http.StatusBadGateway: "worker",
	http.StatusServiceUnavailable: "unavailable", http.StatusGatewayTimeout: "timeout",
}

// end notes why a request got no answer.
func (x *exchange) end(f failure, refusal *live.Refusal, worker *backend.Error) {
	x.ending = ending{failure: f}
	switch {
	case worker != nil && (refusal == nil || refusal.Reason == live.Failed):
		x.ending.reason = "worker_" + worker.Class.String()
	case refusal != nil:
		x.ending.reason, x.ending.refused = refusal.Reason.String(), refusal.Reason != live.Failed
	}
}

// warn has the log tell of a request that failed.
func (s *Server) warn(m *message, x *exchange, status int, took time.Duration) {
	ok, withheld := s.warnings.take(x.start.Add(took))
	if !ok {
		return
	}
	attrs := make([]slog.Attr, 0, 8)
	attrs = append(attrs,
		slog.String("method", string(m.method)), slog.String("path", string(cut(m.path))), slog.Int("status", status),
		slog.Duration("took", took), slog.String("request_id", string(x.id)), slog.String("error", cutText(x.ending.text)))
	if x.ran {
		attrs = append(attrs, slog.Int("attempts", x.call.Attempts))
	}
	if withheld > 0 {
		attrs = append(attrs, slog.Uint64("withheld", withheld))
	}
	s.log.LogAttrs(context.Background(), slog.LevelWarn, "request", attrs...)
}

// reportMalformed tells of what was no request, or was not looked at.
func (s *Server) reportMalformed(ctx *fasthttp.RequestCtx, id []byte, peer netip.AddrPort, f *http1.Fault) {
	if s.cfg.AccessLog == nil || !s.cfg.AccessLog.Wants(id, true, 0, 0) {
		return
	}
	reason := "malformed"
	if f.Retry { // there was no room for it
		reason = reasons[f.Status]
	}
	s.cfg.AccessLog.Write(&accesslog.Entry{
		Time: time.Now(), ID: id, Status: f.Status, Outcome: accesslog.Rejected, Reason: reason, Exit: -1,
		Out: len(ctx.Response.Body()), RetryAfter: retryAfter(&ctx.Response.Header), Client: peer, Error: f.Text,
	})
}

func cutText(s string) string { return s[:min(len(s), maxCut)] }
