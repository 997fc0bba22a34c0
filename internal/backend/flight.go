package backend

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"sync/atomic"
	"time"

	"motley/internal/oip"
	"motley/internal/reactor"
)

// Starter is a Backend that can run batches without a goroutine that waits.
type Starter interface {
	Backend
	// Start is Run, on a reactor's goroutine, and returns at once; f.Done is told the
	// outcome later on, once, from that goroutine as a rule. Where it reports false, nothing
	// was begun, and the batch wants Run. The calls, ctx and f are in use until Done.
	Start(ctx context.Context, on *reactor.Loop, model string, calls []*Call, f *Flight) bool
}

// Flight is an execution that Start began. It is used again and again; Reset
// comes first.
type Flight struct {
	Done Ender

	canceled atomic.Bool
	nth      atomic.Uint64                // of its executions
	loop     atomic.Pointer[reactor.Loop] // who alone may end it; nil while nobody has to

	remote   *Remote
	ctx      context.Context
	model    string
	x        *remoteScratch
	msg      *oip.Message
	dst      *[]byte
	deadline int64 // on the loop's clock
	sock     *sock // nil while it has none
	retried  bool
}

// Ender is told how an execution ended: as Run's error says. on is the loop on
// whose goroutine it is called; nil: on another.
type Ender interface {
	Ended(on *reactor.Loop, err error)
}

// Reset makes f ready for the next execution.
func (f *Flight) Reset() {
	f.nth.Add(1)
	f.canceled.Store(false)
}

// Cancel ends the execution early, with an error of class Canceled, unless it
// ends by itself meanwhile. Any goroutine may call it, once per Reset.
func (f *Flight) Cancel() {
	f.canceled.Store(true)
	if l := f.loop.Load(); l != nil {
		l.Post(cancellation{f, l, f.nth.Load()})
	}
}

type cancellation struct {
	f   *Flight
	on  *reactor.Loop
	nth uint64
}

// Run implements reactor.Task.
func (c cancellation) Run() {
	// While a connection is being made, that ends by ctx.
	if f := c.f; f.loop.Load() == c.on && f.nth.Load() == c.nth && f.sock != nil {
		f.fail(ContextError(f.ctx))
	}
}

// maxFlight is the largest request that is sent by a reactor, in bytes: to merge and to
// read larger ones would keep the other connections waiting.
const maxFlight = 1 << 20

// Start implements Starter.
func (r *Remote) Start(ctx context.Context, on *reactor.Loop, model string, calls []*Call, f *Flight) bool {
	if on == nil || len(calls) == 0 || r.cfg.TLS != nil || r.cfg.Dial != nil || r.odd.now() {
		return false
	}
	size := 0
	for _, c := range calls {
		size += len(c.Request.Body)
	}
	if size > maxFlight || calls[0].Request.Sequence {
		return false
	}
	select {
	case r.pool.slots <- struct{}{}:
	default:
		return false
	}
	x, _ := r.scratch.Get().(*remoteScratch)
	if x == nil {
		x = new(remoteScratch)
	}
	opt, err := r.options(ctx, time.Time{}, calls)
	var msg *oip.Message
	if err == nil {
		exits := r.exits(model)
		opt.Full = exits != nil && exits.stream
		x.take(calls)
		x.lead = calls[0]
		msg, err = r.merge(ctx, x, opt)
	}
	f.loop.Store(on) // from here on Cancel posts; one that came before is seen below
	if err != nil || len(x.calls) == 0 || f.canceled.Load() {
		f.loop.Store(nil)
		r.release(x)
		<-r.pool.slots
		return false // Run comes to the same
	}
	f.remote, f.ctx, f.model, f.x, f.msg = r, ctx, model, x, msg
	f.dst = x.target(msg, r.upstream(model) == model)
	f.deadline = on.Coarse() + int64(r.cfg.Timeout)
	if d, ok := ctx.Deadline(); ok {
		f.deadline = min(f.deadline, on.Now()+int64(time.Until(d)))
	}
	f.sock, f.retried = nil, false
	f.board(on, r.laneOn(on).pop())
	return true
}

// board sends the request over s; where that is nil, over a new connection.
func (f *Flight) board(on *reactor.Loop, s *sock) {
	if s == nil {
		go func() {
			d := dialed{f: f, on: on}
			d.fd, d.err = f.remote.dialFor(f.ctx)
			if !on.Post(d) {
				d.stranded()
			}
		}()
		return
	}
	f.sock = s
	s.send(f)
}

// dialed is a connection that was made for an execution, or why there is none.
type dialed struct {
	f   *Flight
	on  *reactor.Loop
	fd  int
	err *Error
}

// Run implements reactor.Task.
func (d dialed) Run() {
	l := d.f.remote.laneOn(d.on)
	if d.err == nil {
		s, err := l.add(d.fd)
		switch {
		case err == nil && d.f.canceled.Load(): // the cancellation found no connection to close
			l.push(s) // the next one may use it
			d.f.end(l, ContextError(d.f.ctx))
			return
		case err == nil:
			d.f.board(d.on, s)
			return
		}
		d.err = &Error{Class: Connect, Status: 502, Message: "cannot connect to the worker", Cause: err, Unserved: true}
	}
	d.f.end(l, d.err)
}

// stranded ends an execution whose loop has ended meanwhile.
func (d dialed) stranded() {
	if d.err == nil {
		reactor.CloseSocket(d.fd)
		d.err = &Error{Class: Connect, Status: 502, Message: "cannot connect to the worker", Cause: errEnded}
	}
	d.f.end(nil, d.err)
}

var errEnded = errors.New("the reactor has ended")

// fail ends the execution without an answer; its connection is lost.
func (f *Flight) fail(err *Error) {
	s := f.sock
	f.sock = nil
	s.close()
	f.end(s.lane, err)
}

// broken ends the execution because its connection broke, or sends it once
// more: see Remote.do.
func (f *Flight) broken(cause error) {
	s := f.sock
	if s.reused && s.got == 0 && !f.retried {
		f.retried, f.sock = true, nil
		s.close()
		s.lane.closeIdle()
		f.board(s.lane.loop, nil)
		return
	}
	text := "the worker closed the connection without an answer"
	if s.got > 0 {
		text = "the connection to the worker broke within its answer"
	}
	f.fail(&Error{Class: Connect, Status: 502, Message: text, Cause: cause})
}

// arrived ends the execution with the answer whose body is given; s is free
// again.
func (f *Flight) arrived(s *sock, status, headLength int, body []byte, reuse bool) {
	f.sock = nil
	*f.dst = append((*f.dst)[:0], body...)
	if reuse {
		s.lane.push(s)
	} else {
		s.close()
	}
	rep := reply{status: status, headLength: headLength, body: *f.dst}
	if len(body) > maxFlight {
		f.loop.Store(nil)
		go func() { f.conclude(nil, rep) }()
		return
	}
	f.conclude(s.lane, rep)
}

func (f *Flight) conclude(l *lane, rep reply) {
	f.end(l, f.remote.conclude(f.x, f.model, rep))
}

func (f *Flight) end(l *lane, err error) {
	r := f.remote
	r.release(f.x)
	f.x, f.msg, f.dst = nil, nil, nil
	<-r.pool.slots
	f.loop.Store(nil)
	var on *reactor.Loop
	if l != nil {
		on = l.loop
	}
	f.Done.Ended(on, err)
}

// takeOver goes on reading in the old way an answer that is not of the form that is read
// here; seen is what has come of it. From now on all of this server's are read
// so.
func (f *Flight) takeOver(s *sock, seen []byte) {
	r := f.remote
	r.odd.note()
	nc, err := reactor.Attach(s.fd)
	left := time.Duration(f.deadline - s.lane.loop.Now())
	seen = append([]byte(nil), seen...)
	unsent := net.Buffers{s.left[0], s.left[1]}
	s.close()
	f.sock = nil
	f.loop.Store(nil) // it is in the goroutine's hands from here on, and ends by ctx
	if err != nil {
		f.end(s.lane, &Error{Class: Connect, Status: 502, Message: "the connection to the worker broke within its answer", Cause: err})
		return
	}
	go func() {
		c := newConn(nc)
		defer c.cut()
		c.br.Reset(io.MultiReader(bytes.NewReader(seen), c))
		c.got = int64(len(seen))
		if err := c.endBy(time.Now().Add(left)); err != nil {
			f.end(nil, r.ioError(f.ctx, c, err))
			return
		}
		defer context.AfterFunc(f.ctx, c.abort)()
		_, _ = unsent.WriteTo(nc) // there may be an answer even if it fails
		rep := reply{headLength: -1, body: (*f.dst)[:0]}
		if err := r.read(c, query{}, &rep); err != nil {
			f.end(nil, r.ioError(f.ctx, c, err))
			return
		}
		*f.dst = rep.body
		f.conclude(nil, rep)
	}()
}

// dialFor makes a connection that belongs to a reactor.
func (r *Remote) dialFor(ctx context.Context) (int, *Error) {
	nc, err := r.dial(ctx, time.Now().Add(r.cfg.Timeout))
	if err == nil {
		var fd int
		if fd, err = detach(nc); err == nil {
			return fd, nil
		}
	}
	if ctx.Err() != nil {
		return -1, ContextError(ctx)
	}
	return -1, &Error{Class: Connect, Status: 502, Message: "cannot connect to the worker", Cause: err, Unserved: true}
}

var errNotTCP = errors.New("not a TCP connection")

// inferQuery is the request of an execution.
func (r *Remote) inferQuery(model string, msg *oip.Message, lead *Call) query {
	return query{method: "POST", path: modelsPath, name: url.PathEscape(r.upstream(model)), tail: "/infer", msg: msg, lead: lead}
}
