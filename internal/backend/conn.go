package backend

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// conn is a connection to a worker with all that an exchange needs, so that an
// exchange allocates nothing. One goroutine at a time uses it.
type conn struct {
	net.Conn // TLS where the worker's URL says so
	br       *bufio.Reader
	resp     fasthttp.Response // its header is read by fasthttp, and chunked bodies
	out      []byte            // head of the request, and small bodies
	events   events            // of a stream
	abort    func()            // ends all I/O at once; bound here so that registering it does not allocate
	reused   bool              // it has carried an exchange before
	idle     time.Time         // since when it has been idle
	deadline time.Time         // of all I/O, as it was set last
	got      int64             // bytes read in this exchange
	err      error             // the first I/O error: the codec hides it behind its own
	quiet    quiet
}

func newConn(nc net.Conn) *conn {
	c := &conn{Conn: nc}
	c.quiet.on(nc)
	c.br = bufio.NewReaderSize(c, 16<<10) // also bounds the response head
	c.abort = func() { _ = nc.SetDeadline(time.Unix(1, 0)) }
	return c
}

// endBy sets the deadline of all I/O. To set one moves two timers of the
// runtime, so the one that stands is kept if it takes less than a 64th off the
// time that is left, and none in which deadline would be passed.
func (c *conn) endBy(deadline time.Time) error {
	if early := deadline.Sub(c.deadline); early >= 0 && early <= time.Until(deadline)/64 {
		return nil
	}
	c.deadline = deadline
	return c.SetDeadline(deadline)
}

// Read implements io.Reader for br.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.got += int64(n)
	if err != nil && c.err == nil {
		c.err = err
	}
	return n, err
}

// cut closes the connection without TLS's farewell, which waits up to 5 s for
// a worker that takes no more bytes.
func (c *conn) cut() {
	if tc, ok := c.Conn.(*tls.Conn); ok {
		_ = tc.NetConn().Close()
		return
	}
	_ = c.Close()
}

// connPool keeps at most size connections to one address: those in use and
// the idle ones together. The one that was used last is used next, so that
// the others grow old and are closed.
type connPool struct {
	dial    func(ctx context.Context, deadline time.Time) (net.Conn, error)
	maxIdle time.Duration
	slots   chan struct{} // one token for every connection in use
	mu      struct {
		sync.Mutex
		idle   []*conn // by idle, the oldest first
		closed bool
	}
}

// get returns an idle connection, or a new one when there is none or fresh is
// asked for. While all are in use it waits, until the deadline at the latest.
func (p *connPool) get(ctx context.Context, deadline time.Time, fresh bool) (*conn, *Error) {
	select {
	case p.slots <- struct{}{}:
	default:
		if err := p.wait(ctx, deadline); err != nil {
			return nil, err
		}
	}
	for c := p.pop(fresh); c != nil; c = p.pop(fresh) {
		if c.quiet.still() {
			return c, nil
		}
		c.cut() // what has come would be taken for the answer
	}
	nc, err := p.dial(ctx, deadline)
	if err != nil {
		<-p.slots
		switch {
		case ctx.Err() != nil:
			return nil, ContextError(ctx)
		case !time.Now().Before(deadline):
			return nil, &Error{Class: Timeout, Status: 504, Message: "no connection to the worker until the deadline", Cause: err}
		}
		return nil, &Error{Class: Connect, Status: 502, Message: "cannot connect to the worker", Cause: err, Unserved: true}
	}
	return newConn(nc), nil
}

func (p *connPool) wait(ctx context.Context, deadline time.Time) *Error {
	t := time.NewTimer(time.Until(deadline))
	defer t.Stop()
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ContextError(ctx)
	case <-t.C:
		return &Error{Class: Timeout, Status: 504, Message: "all connections to the worker were in use until the deadline"}
	}
}

// pop takes the youngest idle connection. For a fresh one it makes room
// instead: the oldest is closed and nil is returned.
func (p *connPool) pop(fresh bool) *conn {
	p.mu.Lock()
	p.sweepLocked(time.Now())
	var c *conn
	n := len(p.mu.idle)
	switch {
	case n == 0:
	case fresh:
		_ = p.mu.idle[0].Close()
		p.dropLocked(1)
	default:
		c = p.mu.idle[n-1]
		p.mu.idle[n-1] = nil
		p.mu.idle = p.mu.idle[:n-1]
	}
	p.mu.Unlock()
	return c
}

// put gives a connection back, to be closed unless it may carry another
// exchange.
func (p *connPool) put(c *conn, reuse bool) {
	p.mu.Lock()
	now := time.Now()
	p.sweepLocked(now)
	if reuse = reuse && !p.mu.closed; reuse {
		c.idle, c.reused = now, true
		p.mu.idle = append(p.mu.idle, c)
	}
	p.mu.Unlock()
	if !reuse {
		c.cut()
	}
	<-p.slots
}

// closeIdle closes what is idle now: one stale connection means that the
// worker has dropped them all, or was restarted.
func (p *connPool) closeIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.mu.idle {
		_ = c.Close()
	}
	p.dropLocked(len(p.mu.idle))
}

func (p *connPool) close() {
	p.mu.Lock()
	p.mu.closed = true
	p.mu.Unlock()
	p.closeIdle()
}

// sweepLocked closes what has been idle for too long. It runs at every use,
// probes included, in place of a goroutine with a timer.
func (p *connPool) sweepLocked(now time.Time) {
	n := 0
	for n < len(p.mu.idle) && now.Sub(p.mu.idle[n].idle) > p.maxIdle {
		_ = p.mu.idle[n].Close()
		n++
	}
	if n > 0 {
		p.dropLocked(n)
	}
}

// dropLocked removes the n oldest.
func (p *connPool) dropLocked(n int) {
	kept := copy(p.mu.idle, p.mu.idle[n:])
	clear(p.mu.idle[kept:])
	p.mu.idle = p.mu.idle[:kept]
}
