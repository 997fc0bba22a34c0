package router

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"motley/internal/backend"
	"motley/internal/http1"
	"motley/internal/live"
	"motley/internal/oip"
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

// failure is why an inference request got no answer, and what the client
// should do about it.
type failure struct {
	status int
	text   string
	retry  bool          // trying again can help
	after  time.Duration // after so long; 0 = no advice
}

// statusLeft is nginx's status for a client that leaves before it has its
// answer; it is counted and logged.
const statusLeft = 499

// refuse answers an inference request that got no answer.
func (s *Server) refuse(ctx *fasthttp.RequestCtx, x *exchange, err error) {
	s.reply(ctx, s.failure(x, err))
}

// failure says what a request's error is to its client, and notes it in x. Refusals
// are counted.
func (s *Server) failure(x *exchange, err error) failure {
	var (
		refusal  *live.Refusal
		protocol *oip.Error
		worker   *backend.Error
		fault    *http1.Fault
	)
	f := failure{status: fasthttp.StatusInternalServerError, text: err.Error()}
	switch {
	case errors.Is(err, errLeft):
		f.status = statusLeft
	case errors.As(err, &refusal):
		f = s.refusal(x, refusal)
		_ = errors.As(err, &worker) // its cause
	case errors.As(err, &fault):
		f = failure{fault.Status, fault.Text, fault.Retry, time.Second}
	case errors.As(err, &protocol):
		f = failure{status: protocol.Status, text: protocol.Message}
	case errors.As(err, &worker):
		f = failure{status: worker.Status, text: worker.Message, retry: worker.Class != backend.Client}
	}
	if f.status < 400 || f.status > 599 {
		f.status = fasthttp.StatusBadGateway
	}
	x.end(f, refusal, worker)
	return f
}

// refusal says what the loop's refusal is to the client, and counts it.
func (s *Server) refusal(x *exchange, r *live.Refusal) failure {
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
		return failure{fasthttp.StatusTooManyRequests, text, true, max(after, time.Second)}
	case live.Share:
		return failure{
			fasthttp.StatusTooManyRequests,
			fmt.Sprintf("model '%s' cannot take the request: its tenant has its share of the workers, and others wait", m.Name), true, max(after, time.Second),
		}
	case live.Deadline:
		limit, whose := x.call.Timeout, "the request's deadline"
		if limit == 0 {
			limit, whose = m.QoS, "the model's QoS target"
		}
		// Without advice the deadline is out of reach however idle the
		// workers are, and another try is of no use.
		return failure{
			fasthttp.StatusTooManyRequests,
			fmt.Sprintf("model '%s' cannot answer within %s: %s would pass first", m.Name, millis(limit), whose), after > 0, after,
		}
	case live.NoWorker:
		return failure{
			fasthttp.StatusServiceUnavailable,
			fmt.Sprintf("model '%s' has no worker that is up", m.Name), true, max(after, time.Second),
		}
	case live.TooLarge:
		text := fmt.Sprintf("inference request batch-size %d is more than any worker of '%s' that is up takes", x.call.Size, m.Name)
		if most := m.Info().MaxBatch; most > 0 && x.call.Size > most {
			text = fmt.Sprintf("inference request batch-size must be <= %d for model '%s', got %d", most, m.Name, x.call.Size)
		}
		return failure{status: fasthttp.StatusBadRequest, text: text}
	case live.Stopping:
		return failure{fasthttp.StatusServiceUnavailable, "the router is shutting down", true, max(after, time.Second)}
	}
	// Every attempt that it got failed; the status is that of the last failure.
	status, cause := fasthttp.StatusBadGateway, "no reason was given"
	var worker *backend.Error
	switch {
	case errors.As(r.Cause, &worker):
		status, cause = worker.Status, worker.Message
	case r.Cause != nil:
		cause = r.Cause.Error()
	}
	switch r.Reason {
	case live.Poisoned: // other workers would fail as well
		return failure{status: status, text: fmt.Sprintf("model '%s' fails with this request, on every worker that was tried, attempts made: %d, the last one: %s", m.Name, x.call.Attempts, cause)}
	case live.OverBudget:
		text := fmt.Sprintf("model '%s' failed, and too many requests of it are tried again now, attempts made: %d, the last one: %s", m.Name, x.call.Attempts, cause)
		return failure{status, text, true, max(after, time.Second)}
	}
	return failure{status, fmt.Sprintf("model '%s' failed, attempts made: %d, the last one: %s", m.Name, x.call.Attempts, cause), true, r.RetryAfter}
}

// reply answers with an error.
func (s *Server) reply(ctx *fasthttp.RequestCtx, f failure) {
	h := &ctx.Response.Header
	h.Set(headerShouldRetry, strconv.FormatBool(f.retry))
	if f.after > 0 {
		h.Set(headerRetryAfter, strconv.FormatInt(int64((f.after+time.Second-1)/time.Second), 10))
		h.Set(headerRetryMs, strconv.FormatInt(int64((f.after+time.Millisecond-1)/time.Millisecond), 10))
	}
	writeError(ctx, f.status, f.text)
}

// millis prints d for people: "5 ms", "0.25 ms".
func millis(d time.Duration) string {
	return strconv.FormatFloat(float64(d)/float64(time.Millisecond), 'f', -1, 64) + " ms"
}
