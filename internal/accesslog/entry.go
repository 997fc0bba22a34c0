package accesslog

import (
	"net/netip"
	"time"

	"motley/internal/tracecontext"
)

// Entry is what a line tells of a request. Whatever comes from the client is
// escaped, and cut where it is long. Empty and zero fields are null in JSON, and
// left out of text, but for counts of bytes and times.
type Entry struct {
	Time    time.Time // when the request was there
	ID      []byte
	Trace   *tracecontext.Context // nil, or in no trace: none
	Tenant  string
	Model   []byte // as the client spelt it
	Version []byte
	Method  []byte
	Path    []byte // without the query
	Status  int    // 0: none was sent
	Outcome Outcome
	Reason  string // of what is not answered

	Items    int    // rows
	Worker   string // who answered
	Type     string // its instance type
	Batch    int    // items of the batch
	Merged   uint64 // the number of the batch where it was not the request's alone
	Parts    int
	Attempts int
	Ran      bool // the loop was asked: Queued, Service and Attempts mean something
	Queued   time.Duration
	Service  time.Duration
	Total    time.Duration // from Time to the last of the answer
	Exit     int           // the ramp that it left by; −1: none

	In, Out    int           // bytes of the bodies
	RetryAfter time.Duration // what the client was told
	Client     netip.AddrPort
	Error      string // what the client was told
}

// Outcome is how a request ended.
type Outcome uint8

// The outcomes.
const (
	Answered Outcome = iota + 1
	Rejected         // turned away: the request is at fault, or there is no room or time for it
	Failed           // the router or the workers failed
	Left             // its client did not wait
)

// String is what lines have.
func (o Outcome) String() string {
	switch o {
	case Answered:
		return "answered"
	case Rejected:
		return "rejected"
	case Failed:
		return "failed"
	case Left:
		return "left"
	}
	return ""
}

// append appends the line.
func (e *Entry) append(dst []byte, s *settings) []byte {
	w := line{b: dst, text: s.Text}
	w.begin()
	w.time("time", e.Time)
	w.bytes("id", e.ID)
	if t := e.Trace; t != nil && t.Valid() {
		w.b = tracecontext.AppendHex(w.quoted("trace_id"), t.Trace[:])
		w.unquote()
	} else {
		w.null("trace_id")
	}
	w.string("tenant", e.Tenant)
	w.bytes("model", e.Model)
	w.bytes("version", e.Version)
	w.bytes("method", e.Method)
	w.bytes("path", e.Path)
	w.count("status", e.Status)
	w.string("outcome", e.Outcome.String())
	w.string("reason", e.Reason)
	w.count("items", e.Items)
	w.string("worker", e.Worker)
	w.string("instance_type", e.Type)
	w.count("batch_items", e.Batch)
	if e.Merged != 0 {
		w.b = tracecontext.AppendBatch(w.quoted("batch_id"), e.Merged)
		w.unquote()
	} else {
		w.null("batch_id")
	}
	w.count("parts", e.Parts)
	if e.Ran {
		w.number("attempts", e.Attempts)
		w.millis("queue_ms", e.Queued)
		w.millis("service_ms", e.Service)
	} else {
		w.null("attempts")
		w.null("queue_ms")
		w.null("service_ms")
	}
	w.millis("total_ms", e.Total)
	if e.Exit >= 0 {
		w.number("exit", e.Exit)
	} else {
		w.null("exit")
	}
	w.number("bytes_in", e.In)
	w.number("bytes_out", e.Out)
	if e.RetryAfter > 0 {
		w.millis("retry_after_ms", e.RetryAfter)
	} else {
		w.null("retry_after_ms")
	}
	if s.Client && e.Client.IsValid() {
		w.b = e.Client.AppendTo(w.quoted("client"))
		w.unquote()
	} else {
		w.null("client")
	}
	w.string("error", e.Error)
	return w.end()
}
