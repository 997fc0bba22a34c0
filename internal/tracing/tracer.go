// Package tracing has OpenTelemetry spans of some requests, by the official
// SDK: a server span each, below it the wait in the queue and the execution, and
// for an execution that several requests share a span that links to theirs.
//
// Whether a request is recorded is decided as it begins: as its client says, or by
// its trace's id where that says nothing. One that is not costs two random numbers.
// Spans are made when a request is at its end, by one goroutine, which sends them
// to a collector by OTLP over HTTP. Nobody waits for it: what finds no room in its
// queue is lost and counted.
package tracing

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"motley/internal/accesslog"
	"motley/internal/tracecontext"
)

// Config says where spans go. Zero fields take the defaults.
type Config struct {
	Endpoint string            // the collector's URL; without a path, /v1/traces is its path
	Sample   float64           // share of the traces that begin here which are recorded, 0 to 1
	Headers  map[string]string // sent along
	Timeout  time.Duration     // for one batch of spans; default 10 s
	Service  string            // service.name; default "motley"
	Version  string            // service.version; none by default
	Log      *slog.Logger      // default: discard
	Client   *http.Client      // default: one of its own
}

// queueLength is how many requests and batches may wait for their spans to be made.
const queueLength = 2048

// Tracer records requests. All methods may be called from several goroutines at
// once. Make one with New, and Close it.
type Tracer struct {
	below   atomic.Uint64 // the trace ids that are sampled; see SetSample
	queue   chan any      // of *finished and *Batch
	sender  *sender
	stop    chan struct{}
	stopped chan struct{}
	closing atomic.Bool
}

// New returns a tracer. It connects to nobody yet.
func New(cfg Config) (*Tracer, error) {
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.Service == "" {
		cfg.Service = "motley"
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s, err := newSender(&cfg)
	if err != nil {
		return nil, fmt.Errorf("cannot trace: %w", err)
	}
	t := &Tracer{queue: make(chan any, queueLength), sender: s, stop: make(chan struct{}), stopped: make(chan struct{})}
	t.SetSample(cfg.Sample)
	go t.run(newSpans(&cfg, s))
	return t, nil
}

// SetSample changes the share of the traces that begin here which are recorded. Of
// which ones, the SDK's TraceIDRatioBased says the same.
func (t *Tracer) SetSample(share float64) {
	t.below.Store(uint64(min(max(share, 0), 1) * (1 << 63)))
}

// Span is a request's place among spans, from Begin to End.
type Span struct {
	Recorded bool
	parent   tracecontext.Context // of the client's; not valid: none
	server   [8]byte
}

// Begin decides whether a request is recorded. place is where its client says that
// it stands, and becomes what its worker is told.
func (t *Tracer) Begin(place *tracecontext.Context) Span {
	parent := *place
	if !parent.Valid() {
		*place = parent.Below(0)
		if !t.sampled(place) {
			return Span{}
		}
	} else if !parent.Sampled() {
		*place = parent.Below(0)
		return Span{}
	}
	server := parent
	if !parent.Valid() {
		server = *place
	} else {
		server.Span = tracecontext.NewSpan()
	}
	*place = server.Below(tracecontext.Sampled) // the execution's
	return Span{Recorded: true, parent: parent, server: server.Span}
}

func (t *Tracer) sampled(c *tracecontext.Context) bool {
	return binary.BigEndian.Uint64(c.Trace[8:])>>1 < t.below.Load()
}

// finished is a request at its end.
type finished struct {
	span  Span
	place tracecontext.Context // the execution's
	asked time.Time            // when the loop was
	entry accesslog.Entry
}

// End records a request that was begun, of which e tells. asked is when the loop was
// asked for it. Nothing of e is kept.
func (t *Tracer) End(s *Span, asked time.Time, e *accesslog.Entry) {
	f := &finished{span: *s, place: *e.Trace, asked: asked, entry: *e}
	keep := []*[]byte{&f.place.State, &f.span.parent.State, &f.entry.ID, &f.entry.Model, &f.entry.Version, &f.entry.Method, &f.entry.Path}
	for _, b := range keep {
		*b = append([]byte(nil), *b...)
	}
	f.entry.Trace = nil
	t.put(f, f.spans())
}

// Batch is an execution that several requests share, some of which are recorded.
type Batch struct {
	Number       uint64 // see tracecontext.OfBatch
	Start        time.Time
	Ran          time.Duration
	Model        string
	Worker, Type string
	Requests     int
	Items        int
	Err          error
	Links        []tracecontext.Context // its members' executions; States are not looked at
}

// Batch records an execution.
func (t *Tracer) Batch(b *Batch) { t.put(b, 1) }

func (t *Tracer) put(r any, spans int) {
	if t.closing.Load() {
		t.sender.dropped.Add(uint64(spans))
		return
	}
	select {
	case t.queue <- r:
	default:
		t.sender.dropped.Add(uint64(spans))
	}
}

// Sent and Dropped count spans so far.
func (t *Tracer) Sent() uint64 { return t.sender.sent.Load() }

// Dropped counts spans that no collector took.
func (t *Tracer) Dropped() uint64 { return t.sender.dropped.Load() }

// Close sends what there is, within ctx. Requests that end later are lost. It may
// be called again.
func (t *Tracer) Close(ctx context.Context) error {
	if !t.closing.Swap(true) {
		close(t.stop)
	}
	select {
	case <-t.stopped:
		return nil
	case <-ctx.Done():
	}
	t.sender.abort()
	<-t.stopped
	return fmt.Errorf("cannot send the last spans: %w", ctx.Err())
}

// The bounds of what is sent at once, and how long spans wait for company.
const (
	maxSend = 512
	maxWait = time.Second
)

// run makes spans and sends them. While the collector does not take them, they
// stay, and the queue fills.
func (t *Tracer) run(made *spans) {
	defer close(t.stopped)
	defer made.close()
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	for {
		var more <-chan any
		if len(made.ended) < maxSend {
			more = t.queue
		}
		select {
		case r := <-more:
			made.make(r)
			if len(made.ended) < maxSend || t.sender.waits() {
				continue
			}
		case <-timer.C:
		case <-t.stop:
			t.finish(made)
			return
		}
		timer.Reset(t.send(made))
	}
}

// send sends the spans that there are and returns when to do so next.
func (t *Tracer) send(made *spans) time.Duration {
	if len(made.ended) == 0 {
		return maxWait
	}
	err := t.sender.send(made.ended)
	if wait := t.sender.note(err, len(made.ended)); wait > 0 {
		return wait
	}
	made.clear()
	return maxWait
}

// finish sends the last spans, as long as the collector takes them.
func (t *Tracer) finish(made *spans) {
	for more := true; more; {
		select {
		case r := <-t.queue:
			made.make(r)
		default:
			more = false
		}
		if n := len(made.ended); n >= maxSend || !more && n > 0 {
			if t.sender.waits() || t.sender.note(t.sender.send(made.ended), n) > 0 {
				t.sender.dropped.Add(uint64(n))
			}
			made.clear()
		}
	}
}

// backoff is how long the collector is left alone after that many failures in a
// row: 1 s, doubling up to 32 s, by chance up to a tenth more.
func backoff(failures int) time.Duration {
	d := time.Second << min(failures-1, 5)
	return d + rand.N(d/10)
}

// errRefused is an answer by which the collector will not take what was sent, ever.
var errRefused = errors.New("the collector refuses it")
