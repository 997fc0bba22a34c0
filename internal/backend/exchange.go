package backend

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"motley/internal/oip"
)

const (
	headLengthHeader = "Inference-Header-Content-Length"
	modelsPath       = "/v2/models/"

	// inlineBody is the largest body that is copied behind its head to go out
	// in one write; a second system call costs more than the copy up to here.
	inlineBody = 16 << 10
	// trustLength is how much memory a Content-Length alone gets: beyond it,
	// memory grows with what really arrives.
	trustLength = 256 << 20
)

// query is one HTTP request to a worker.
type query struct {
	method string
	path   string       // below the base path: starts with a slash
	name   string       // appended to path as it stands,
	tail   string       // and this: joining them beforehand would allocate
	msg    *oip.Message // nil = no body
	lead   *Call        // names the batch, by ID and Trace; nil = no batch
	fresh  bool         // only on a new connection: the exchange must not be repeated
	// event is given each server-sent event of an answer of 200, which must be a
	// stream of them then; errLast and errQuit end it. The slices are the reader's.
	event func(name, data []byte) error
}

// What query.event returns when it has enough.
var (
	errLast = errors.New("the last event")                   // the stream's end is near: the connection can be used again
	errQuit = errors.New("nobody waits for what is to come") // the connection is closed
)

// drainFor and drainBytes bound the wait for the end of a stream whose last event
// has come: another connection costs about as much.
const (
	drainFor   = 50 * time.Millisecond
	drainBytes = 64 << 10
)

// reply is the worker's answer. Its body lies in the memory that do was given.
type reply struct {
	status     int
	headLength int // −1 without the header
	body       []byte
}

// do sends q and reads the whole reply into dst[:0]. It returns when the
// reply is whole, the deadline has passed or ctx is done; nothing runs on
// afterwards, and in the last two cases the connection is closed, by which
// the worker learns that nobody waits.
//
// A worker may close an idle connection at the moment when it is used again.
// Then, and only when not one byte has come back, q is sent once more, on a
// new connection.
func (r *Remote) do(ctx context.Context, deadline time.Time, q query, dst []byte) (reply, *Error) {
	for attempt := 0; ; attempt++ {
		if ctx.Err() != nil {
			return reply{body: dst}, ContextError(ctx)
		}
		c, err := r.pool.get(ctx, deadline, q.fresh || attempt > 0)
		if err != nil {
			return reply{body: dst}, err
		}
		rep, reuse, err := r.exchange(ctx, deadline, c, q, dst)
		stale := err != nil && err.Class == Connect && c.reused && c.got == 0
		r.pool.put(c, reuse)
		dst = rep.body
		if !stale || attempt > 0 {
			return rep, err
		}
		r.pool.closeIdle()
	}
}

func (r *Remote) exchange(ctx context.Context, deadline time.Time, c *conn, q query, dst []byte) (rep reply, reuse bool, err *Error) {
	c.got, c.err = 0, nil
	rep = reply{headLength: -1, body: dst[:0]}
	// Set once and before the abort can come, which must not be overwritten.
	if e := c.endBy(deadline); e != nil {
		return rep, false, r.ioError(ctx, c, e)
	}
	if ctx.Done() != nil {
		stop := context.AfterFunc(ctx, c.abort)
		// An abort that has begun may still come: the connection is lost then.
		defer func() { reuse = stop() && reuse }()
	}
	writeErr := r.write(c, q)
	// A worker that refuses a large body answers before it has read all of it,
	// so there may be a reply even if the write failed.
	e := r.read(c, q, &rep)
	if errors.Is(e, errQuit) {
		return rep, false, nil
	}
	if e != nil {
		if writeErr != nil && c.got == 0 {
			e = writeErr
		}
		return rep, false, r.ioError(ctx, c, e)
	}
	return rep, writeErr == nil && c.err == nil && !c.resp.ConnectionClose() && c.br.Buffered() == 0, nil
}

func (r *Remote) write(c *conn, q query) error {
	var body []byte
	c.out, body = r.appendQuery(c.out[:0], q)
	if _, err := c.Write(c.out); err != nil || body == nil {
		return err
	}
	_, err := c.Write(body)
	return err
}

// appendQuery appends q as it goes to the worker. A body that is too large to be
// copied is left for a write of its own.
func (r *Remote) appendQuery(b []byte, q query) (head, rest []byte) {
	b = append(b, q.method...)
	b = append(b, ' ')
	b = append(b, r.basePath...)
	b = append(b, q.path...)
	b = append(b, q.name...)
	b = append(b, q.tail...)
	if q.event != nil {
		b = append(b, r.streamHeaders...)
	} else {
		b = append(b, r.headers...)
	}
	if q.lead != nil {
		b = q.lead.appendNames(b)
	}
	var body []byte
	if q.msg != nil {
		body = q.msg.Body
		if q.msg.HeadLength >= 0 {
			b = append(b, "Content-Type: application/octet-stream\r\n"+headLengthHeader+": "...)
			b = strconv.AppendInt(b, int64(q.msg.HeadLength), 10)
		} else {
			b = append(b, "Content-Type: application/json"...)
		}
		b = append(b, "\r\nContent-Length: "...)
		b = strconv.AppendInt(b, int64(len(body)), 10)
		b = append(b, "\r\n"...)
	}
	b = append(b, "\r\n"...)
	if len(body) <= inlineBody {
		b, body = append(b, body...), nil
	}
	return b, body
}

// appendNames appends the headers that name the batch.
func (c *Call) appendNames(b []byte) []byte {
	if len(c.ID) > 0 {
		b = append(append(append(b, "X-Request-Id: "...), c.ID...), "\r\n"...)
	}
	if !c.Trace.Valid() {
		return b
	}
	b = append(c.Trace.Append(append(b, "Traceparent: "...)), "\r\n"...)
	if len(c.Trace.State) > 0 {
		b = append(append(append(b, "Tracestate: "...), c.Trace.State...), "\r\n"...)
	}
	return b
}

// read reads one response. What is not an I/O error (see conn.err) breaks
// HTTP or a bound.
func (r *Remote) read(c *conn, q query, rep *reply) error {
	h := &c.resp.Header
	for interim := 0; ; interim++ {
		if err := h.Read(c.br); err != nil {
			return err
		}
		rep.status = h.StatusCode()
		if rep.status >= 200 {
			break
		}
		if rep.status == fasthttp.StatusSwitchingProtocols || interim == 8 {
			return fmt.Errorf("unexpected status %d", rep.status)
		}
	}
	if v := h.Peek(headLengthHeader); v != nil {
		n, err := strconv.Atoi(string(v))
		if err != nil || n < 0 {
			return fmt.Errorf("bad %s: %.40q", headLengthHeader, v)
		}
		rep.headLength = n
	}
	if v := h.ContentEncoding(); len(v) > 0 && string(v) != "identity" {
		return fmt.Errorf("content encoding %.40q, which was not asked for", v)
	}
	if rep.status == fasthttp.StatusNoContent || rep.status == fasthttp.StatusNotModified {
		return nil
	}
	n := h.ContentLength()
	if q.event != nil && rep.status == 200 {
		return r.readEvents(c, n, q.event)
	}
	if n > r.cfg.MaxResponse {
		return fmt.Errorf("a body of %d bytes; the bound is %d", n, r.cfg.MaxResponse)
	}
	if n >= 0 {
		return readBody(c, rep, n)
	}
	err := c.resp.ReadBody(c.br, r.cfg.MaxResponse)
	if err == nil && n == -1 {
		err = h.ReadTrailer(c.br)
	}
	rep.body = append(rep.body, c.resp.Body()...)
	c.resp.ResetBody()
	if n == -2 && errors.Is(c.err, io.EOF) {
		c.err = nil // the end of such a body; the header closes the connection
	}
	return err
}

// readEvents hands on the events of a body of n bytes (as ContentLength says it)
// as they come.
func (r *Remote) readEvents(c *conn, n int, event func(name, data []byte) error) error {
	h := &c.resp.Header
	if kind, _, _ := strings.Cut(string(h.ContentType()), ";"); !strings.EqualFold(strings.TrimSpace(kind), "text/event-stream") {
		return fmt.Errorf("content type %.40q, want text/event-stream", kind)
	}
	var body io.Reader = c.br
	switch {
	case n >= 0:
		body = io.LimitReader(c.br, int64(n))
	case n == -1:
		body = httputil.NewChunkedReader(c.br)
	}
	e := &c.events
	e.reset(body, r.cfg.MaxResponse)
	for {
		name, data, err := e.next()
		if err == io.EOF && (c.err == nil || n == -2) {
			return &Error{Class: Connect, Status: 502, Message: "the worker's stream ended without a last answer"}
		}
		if err == nil {
			err = event(name, data)
		}
		switch {
		case errors.Is(err, errLast):
			return drain(c, n, body)
		case err != nil:
			return err
		}
	}
}

// drain reads what follows the last event.
func drain(c *conn, n int, body io.Reader) error {
	c.deadline = time.Time{} // the next exchange sets its own
	if c.SetReadDeadline(time.Now().Add(drainFor)) != nil {
		return errQuit
	}
	if _, err := io.CopyN(io.Discard, body, drainBytes); err != io.EOF || c.err != nil {
		return errQuit
	}
	if n == -1 && c.resp.Header.ReadTrailer(c.br) != nil {
		return errQuit
	}
	return nil
}

// readBody reads n bytes straight into the caller's memory.
func readBody(c *conn, rep *reply, n int) error {
	for len(rep.body) < n {
		step := min(n-len(rep.body), max(trustLength, len(rep.body)))
		at := len(rep.body)
		rep.body = slices.Grow(rep.body, step)[:at+step]
		got, err := io.ReadFull(c.br, rep.body[at:])
		if err != nil {
			rep.body = rep.body[:at+got]
			return err
		}
	}
	return nil
}

// ioError says why an exchange failed.
func (r *Remote) ioError(ctx context.Context, c *conn, err error) *Error {
	if own, ok := errors.AsType[*Error](err); ok {
		return own
	}
	if ctx.Err() != nil {
		return ContextError(ctx)
	}
	cause := err
	if c.err != nil {
		cause = c.err
	}
	var ne net.Error
	switch {
	case errors.Is(cause, os.ErrDeadlineExceeded) || errors.As(cause, &ne) && ne.Timeout():
		return &Error{Class: Timeout, Status: 504, Message: "the worker did not answer in time", Cause: cause}
	case c.err == nil && !errors.As(err, &ne) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe):
		return &Error{Class: Protocol, Status: 502, Message: "the worker's answer is not understood: " + err.Error(), Cause: err}
	case c.got == 0:
		return &Error{Class: Connect, Status: 502, Message: "the worker closed the connection without an answer", Cause: cause}
	}
	return &Error{Class: Connect, Status: 502, Message: "the connection to the worker broke within its answer", Cause: cause}
}
