package router

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"motley/internal/backend"
	"motley/internal/live"
	"motley/internal/oip"
)

// The response headers that are set on every request, in canonical form.
var (
	keyRequestID   = []byte(headerRequestID)
	keyTraceparent = []byte(headerTraceparent)
	keyLength      = []byte(headerLength)
	keyTiming      = []byte(headerTiming)
	keyBatch       = []byte(headerBatch)
	keyParts       = []byte(headerParts)
)

// writeError answers with {"error": text}.
func writeError(ctx *fasthttp.RequestCtx, status int, text string) {
	ctx.SetStatusCode(status)
	ctx.Response.Header.SetContentType("application/json")
	ctx.Response.SwapBody(oip.AppendError(ctx.Response.SwapBody(nil)[:0], text))
}

// writeUnsupported answers 501 and tells clients not to try again.
func writeUnsupported(ctx *fasthttp.RequestCtx, text string) {
	ctx.Response.Header.Set(headerShouldRetry, "false")
	writeError(ctx, fasthttp.StatusNotImplemented, text)
}

// writeJSON answers 200 with v.
func writeJSON(ctx *fasthttp.RequestCtx, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		writeError(ctx, fasthttp.StatusInternalServerError, fmt.Sprintf("cannot encode the answer: %v", err))
		return
	}
	ctx.Response.Header.SetContentType("application/json")
	ctx.Response.SetBodyRaw(b)
}

// refuse answers an inference request that got no answer.
func (s *Server) refuse(ctx *fasthttp.RequestCtx, x *exchange, err error) {
	var (
		refusal  *live.Refusal
		protocol *oip.Error
		worker   *backend.Error
	)
	switch {
	case errors.As(err, &refusal):
		s.refusal(ctx, x, refusal)
	case errors.As(err, &protocol):
		s.reply(ctx, protocol.Status, protocol.Message, false, 0)
	case errors.As(err, &worker):
		s.reply(ctx, worker.Status, worker.Message, worker.Class != backend.Client, 0)
	default:
		s.reply(ctx, fasthttp.StatusInternalServerError, err.Error(), false, 0)
	}
}

// refusal answers what the loop refused, and counts it.
func (s *Server) refusal(ctx *fasthttp.RequestCtx, x *exchange, r *live.Refusal) {
	m := x.model
	if int(r.Reason) < len(m.metrics.rejected) && r.Reason > 0 {
		m.metrics.rejected[r.Reason].Inc()
	}
	after := r.RetryAfter
	if after == 0 && (r.Reason == live.QueueFull || r.Reason == live.NoWorker) {
		after = s.loop.RetryAfter(m.ID)
	}
	switch r.Reason {
	case live.QueueFull:
		text := fmt.Sprintf("model '%s' cannot take the request: its queue is full", m.Name)
		if m.MaxQueue > 0 {
			text = fmt.Sprintf("model '%s' cannot take the request: its queue is at the limit of %d requests", m.Name, m.MaxQueue)
		}
		s.reply(ctx, fasthttp.StatusTooManyRequests, text, true, max(after, time.Second))
	case live.Deadline:
		limit, whose := x.call.Timeout, "the request's deadline"
		if limit == 0 {
			limit, whose = m.QoS, "the model's QoS target"
		}
		// Without advice the deadline is out of reach however idle the
		// workers are, and another try is of no use.
		s.reply(ctx, fasthttp.StatusTooManyRequests,
			fmt.Sprintf("model '%s' cannot answer within %s: %s would pass first", m.Name, millis(limit), whose), after > 0, after)
	case live.NoWorker:
		s.reply(ctx, fasthttp.StatusServiceUnavailable,
			fmt.Sprintf("model '%s' has no worker that is up", m.Name), true, max(after, time.Second))
	case live.TooLarge:
		text := fmt.Sprintf("inference request batch-size %d is more than any worker of '%s' that is up takes", x.call.Size, m.Name)
		if most := m.Info().MaxBatch; most > 0 && x.call.Size > most {
			text = fmt.Sprintf("inference request batch-size must be <= %d for model '%s', got %d", most, m.Name, x.call.Size)
		}
		s.reply(ctx, fasthttp.StatusBadRequest, text, false, 0)
	case live.Stopping:
		s.reply(ctx, fasthttp.StatusServiceUnavailable, "the router is shutting down", true, max(after, time.Second))
	default:
		s.failed(ctx, x, r)
	}
}

// failed answers a request whose every attempt failed, with the status of the
// last failure.
func (s *Server) failed(ctx *fasthttp.RequestCtx, x *exchange, r *live.Refusal) {
	status, cause := fasthttp.StatusBadGateway, "no reason was given"
	var worker *backend.Error
	switch {
	case errors.As(r.Cause, &worker):
		status, cause = worker.Status, worker.Message
	case r.Cause != nil:
		cause = r.Cause.Error()
	}
	s.reply(ctx, status, fmt.Sprintf("model '%s' failed, attempts made: %d, the last one: %s",
		x.model.Name, x.call.Attempts, cause), true, r.RetryAfter)
}

// reply answers with an error, and with what the client should do about it:
// whether trying again can help, and after how long (0 = no advice).
func (s *Server) reply(ctx *fasthttp.RequestCtx, status int, text string, retry bool, after time.Duration) {
	if status < 400 || status > 599 {
		status = fasthttp.StatusBadGateway
	}
	h := &ctx.Response.Header
	h.Set(headerShouldRetry, strconv.FormatBool(retry))
	if after > 0 {
		h.Set(headerRetryAfter, strconv.FormatInt(int64((after+time.Second-1)/time.Second), 10))
		h.Set(headerRetryMs, strconv.FormatInt(int64((after+time.Millisecond-1)/time.Millisecond), 10))
	}
	writeError(ctx, status, text)
}

// millis prints d for people: "5 ms", "0.25 ms".
func millis(d time.Duration) string {
	return strconv.FormatFloat(float64(d)/float64(time.Millisecond), 'f', -1, 64) + " ms"
}
