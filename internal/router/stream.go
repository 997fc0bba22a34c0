package router

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/bits"
	"net"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"motley/internal/oip"
)

// stream is an answer on its way, event by event. It is the body of its
// response, which the connection's goroutine reads and writes out. A second
// goroutine is inside the loop, and a third, the connection's watch, notices
// that the client leaves.
//
// The exchange and the request's body belong to the stream until Close.
type stream struct {
	server *Server
	x      *exchange
	conn   *clientConn // nil where there is none, in tests
	about  message

	ctx    context.Context // of the request in the loop; ends when the client leaves
	cancel context.CancelFunc
	asked  uint32        // ramps that are shown, as bits
	shown  atomic.Uint32 // those that were
	ramps  chan event    // as many places as asked has bits, so that nobody who shows a ramp waits
	done   chan struct{} // closed when the loop is through with the request; then err holds
	err    error

	next   event  // to be written, where it has a kind
	rest   []byte // what is left of the event that is being written
	buffer []byte
	last   bool // the last event is being written, or was
	end    int  // the status that the last event stands for
	status int  // end once the client was sent everything, else 0
	closed bool
}

// errLeft is the outcome of a request whose client did not wait for it.
var errLeft = errors.New("the client left before it had its answer")

// stream answers one inference request with a stream. The status line waits
// for the first event, so that what fails before it is answered as with infer.
func (s *Server) stream(ctx *fasthttp.RequestCtx, x *exchange) {
	http10 := !ctx.Request.Header.IsHTTP11()
	if http10 && ctx.ConnRequestNum() > 1 {
		// The end of the stream is that of the connection, on which earlier answers
		// may still wait to be written.
		writeError(ctx, fasthttp.StatusHTTPVersionNotSupported, "a stream needs HTTP/1.1, or HTTP/1.0 and a connection of its own")
		return
	}
	if err := s.prepare(ctx, x); err != nil {
		s.refuse(ctx, x, err)
		return
	}
	st := s.start(ctx, x)
	st.next = st.wait()
	if err := st.next.err; err != nil {
		st.stop()
		s.refuse(ctx, x, err)
		return
	}
	h := &ctx.Response.Header
	h.SetContentType("text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no") // nginx passes on what comes as it comes
	if !http10 {
		ctx.Response.SetBodyStream(st, -1)
		return
	}
	// HTTP/1.0 has no chunks. The HTTP server would write them all the same, so
	// it is kept from writing.
	h.SetConnectionClose()
	st.extend()
	if _, err := ctx.Conn().Write(h.Header()); err == nil {
		_, _ = io.Copy(ctx.Conn(), st) // where it fails, the stream has no status
	}
	_ = st.Close()
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(net.Conn) {}) // which closes the connection
}

// start hands the request to the loop.
func (s *Server) start(ctx *fasthttp.RequestCtx, x *exchange) *stream {
	st := &stream{server: s, x: x, about: messageOf(ctx, x), asked: x.call.Ramps, done: make(chan struct{})}
	st.ramps = make(chan event, bits.OnesCount32(st.asked))
	if st.asked != 0 {
		x.call.Show = st.show
	}
	x.received = st.about.in
	// What the HTTP server would use again is taken from it, or copied.
	ctx.Request.SwapBody(nil)
	st.about.method, st.about.path = bytes.Clone(st.about.method), bytes.Clone(st.about.path)
	x.target = route(st.about.path)
	x.call.Call.Response = oip.Message{HeadLength: -1}
	x.asks()

	st.ctx, st.cancel = context.WithCancel(context.Background())
	if conn, ok := ctx.Conn().(*clientConn); ok {
		st.conn = conn
		conn.watch(st.cancel)
		if conn.home != nil && conn.home.ended.Load() { // before it was watched
			st.cancel()
		}
	}
	do := s.loop.DoContext
	if x.model.Do != nil {
		do = x.model.Do
	}
	go func() {
		defer close(st.done)
		st.err = do(st.ctx, &x.call)
	}()
	return st
}

// show takes in a ramp's answer. One that an attempt which failed has shown
// already is not shown again.
func (st *stream) show(ramp int, m oip.Message) {
	bit := uint32(1) << uint(ramp)
	if st.asked&bit != 0 && st.shown.Or(bit)&bit == 0 {
		st.ramps <- answerEvent(eventRamp, m)
	}
}

// wait returns the next event once it is there.
func (st *stream) wait() event {
	select {
	case e := <-st.ramps:
		return e
	case <-st.done:
	}
	select {
	case e := <-st.ramps: // shown before the request ended
		return e
	default:
	}
	switch {
	case st.err == nil:
		return answerEvent(eventFinal, st.x.call.Call.Response)
	case st.ctx.Err() != nil:
		return event{kind: eventError, err: errLeft}
	}
	return event{kind: eventError, err: st.err}
}

// Read implements io.Reader for the response's body. It waits for events.
func (st *stream) Read(p []byte) (int, error) {
	if len(st.rest) == 0 {
		if st.last {
			st.status = st.end
			return 0, io.EOF
		}
		st.load()
	}
	n := copy(p, st.rest)
	st.rest = st.rest[n:]
	st.about.out += n
	return n, nil
}

// load makes the next event the one that is written.
func (st *stream) load() {
	e := st.next
	if e.kind == "" {
		e = st.wait()
	}
	st.next = event{}
	switch e.kind {
	case eventFinal:
		st.last, st.end = true, fasthttp.StatusOK
	case eventError:
		f := st.server.failure(st.x, e.err)
		st.last, st.end = true, f.status
		e.data = oip.AppendError(nil, f.text)
	}
	st.buffer = e.appendTo(st.buffer[:0], st.x.id)
	st.rest = st.buffer
	st.extend()
}

// extend gives the client the time to write one response for the next event.
func (st *stream) extend() {
	if most := st.server.cfg.WriteTimeout; most > 0 && st.conn != nil {
		_ = st.conn.SetWriteDeadline(time.Now().Add(most)) // where it fails, so does the write
	}
}

// Close implements io.Closer: the HTTP server calls it when all is written or
// nothing more can be. It returns when nobody uses the request any more.
func (st *stream) Close() error {
	if st.closed {
		return nil
	}
	st.closed = true
	st.stop()
	s, x := st.server, st.x
	if st.status == 0 {
		st.status, x.ending = statusLeft, ending{failure: failure{text: errLeft.Error()}}
	}
	took := time.Since(x.start)
	s.count(x, st.status, took)
	if s.tells(x, st.status, took) {
		s.tell(&st.about, x, st.status, took)
	}
	x.head = oip.Request{} // its inputs are the body's bytes
	s.release(x)
	return nil
}

// stop ends the request where it has not ended by itself.
func (st *stream) stop() {
	st.cancel()
	<-st.done
	if st.conn != nil {
		st.conn.endWatch()
	}
}
