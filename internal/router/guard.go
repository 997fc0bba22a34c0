package router

import (
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"motley/internal/http1"
)

// guard stands between a connection and the HTTP library. It reads each head by the rules
// of package http1 before the library sees more than its first byte, follows the body, and
// hands on the bytes of one request at a time: the library cannot find a request
// where there is none. It also holds clients to the pace, and bodies to the budget.
type guard struct {
	server  *Server
	request http1.Request
	body    http1.Body

	stash  []byte // has come, and is not given on
	pass   int    // so many bytes of it may be
	seen   int    // so many were looked at in vain: the head is not whole
	nudge  bool   // the first byte of it is to be given on ahead
	given  bool   // something of this request was given on
	early  bool   // that was its first byte, which is in the stash still
	within bool   // its head was read

	came   coming // of the request; began 0: nothing
	fault  *http1.Fault
	raised bool // the library was told of the fault

	// Close, which may come from another goroutine, looks at these.
	back   atomic.Bool  // the request is answered, and the connection goes home
	held   atomic.Int64 // bytes of the budget
	upload atomic.Bool  // the request counts as one
}

// roomForHead is how much is read at once between requests, in bytes.
const roomForHead = 4 << 10

// Read implements net.Conn.
func (c *clientConn) Read(p []byte) (int, error) {
	g := &c.guard
	for len(p) > 0 {
		switch {
		case g.pass > 0:
			n := copy(p, g.stash[:g.pass])
			g.drop(n)
			g.given = true
			return n, nil
		case g.nudge:
			g.nudge, g.given, g.early = false, true, true
			p[0] = g.stash[0]
			return 1, nil
		case g.fault != nil && !g.given:
			// The library answers nothing where it has read nothing.
			g.given = true
			p[0] = 'X'
			return 1, nil
		case g.fault != nil:
			g.raised = true
			return 0, g.fault
		case g.within && g.body.Done():
			c.busy.Store(false)
			g.next()
			if c.home != nil {
				g.back.Store(true)
				return 0, io.EOF
			}
		case !g.within && len(g.stash) > g.seen:
			c.busy.Store(true)
			g.look()
			c.busy.Store(g.came.began > 0)
		case g.within:
			if n, err := c.readBody(p); n > 0 || err != nil {
				return n, err
			}
		default:
			g.stash = slices.Grow(g.stash, max(roomForHead-len(g.stash), 512))
			n, err := c.receive(g.stash[len(g.stash):cap(g.stash)])
			g.stash = g.stash[:len(g.stash)+n]
			if n == 0 && err != nil {
				if err := g.failed(err, http1.CutHead); err != nil {
					return 0, err
				}
			}
		}
	}
	return 0, nil
}

// readBody reads what comes of the body straight into p.
func (c *clientConn) readBody(p []byte) (int, error) {
	g := &c.guard
	n, err := c.receive(p)
	if n == 0 {
		if err == nil {
			return 0, nil
		}
		return 0, g.failed(err, http1.CutBody)
	}
	kept, used, f := g.body.Take(p[:n])
	g.came.body += used
	g.stash = append(g.stash, p[used:n]...)
	g.fault = f
	if g.hold(); g.fault != nil {
		return 0, nil // the library must not have the request whole
	}
	return kept, nil
}

// look reads the head, and what has come of the body, in the stash.
func (g *guard) look() {
	if g.came.began == 0 {
		g.came.began = g.now()
	}
	if g.fault = g.request.Parse(g.stash, &g.server.heads); g.fault != nil {
		return
	}
	if g.seen = len(g.stash); g.request.Head == 0 && blank(g.stash) {
		g.came = coming{} // no request has begun
		return
	}
	if g.request.Head == 0 {
		g.nudge = !g.given && g.stash[0] != '\r' // the library counts the connection as in use from here on
		return
	}
	g.within, g.came.head = true, g.now()
	head := g.request.Head
	g.body.Begin(g.request.Length, &g.server.heads)
	kept, used, f := g.body.Take(g.stash[head:])
	g.came.body = used
	rest := copy(g.stash[head+kept:], g.stash[head+used:])
	g.stash = g.stash[:head+kept+rest]
	g.pass = head + kept
	if g.early {
		g.drop(1)
	}
	g.fault = f
	if g.hold(); g.fault != nil {
		g.pass = 0 // the library must not have the request whole
	}
}

// drop forgets the first n bytes of the stash, which were given on.
func (g *guard) drop(n int) {
	rest := copy(g.stash, g.stash[n:])
	g.stash = g.stash[:rest]
	g.pass -= n
	g.seen = max(g.seen-n, 0)
}

// hold takes from the budget what the body has been found to have.
func (g *guard) hold() {
	if n, held := g.body.Announced(), int(g.held.Load()); g.fault == nil && n > held {
		if !g.server.budget.take(n-held, n) {
			g.fault = g.server.noRoom()
			return
		}
		g.held.Add(int64(n - held))
	}
	if g.body.Done() {
		g.arrived()
	}
}

// arrived ends an upload.
func (g *guard) arrived() {
	if g.upload.Swap(false) {
		g.server.uploads.Add(-1)
	}
}

// next makes ready for the next request: the last is answered.
func (g *guard) next() {
	g.end()
	g.given, g.early, g.within, g.seen, g.came = false, false, false, 0, coming{}
	if len(g.stash) == 0 && cap(g.stash) > roomForHead {
		g.stash = nil
	}
}

// end gives back what the request has taken.
func (g *guard) end() {
	g.server.budget.give(int(g.held.Swap(0)))
	g.arrived()
}

// now is the time on the guard's clock.
func (g *guard) now() int64 { return int64(time.Since(g.server.started)) + 1 }

// due is when the next byte must be there; the zero time: whenever, or as the library says.
func (g *guard) due() time.Time {
	if g.came.began == 0 {
		return time.Time{}
	}
	if g.server.end.over.Load() {
		return past
	}
	due := g.server.pace.until(g.came)
	if due == 0 {
		return time.Time{}
	}
	return g.server.started.Add(time.Duration(due - 1))
}

// failed says why a request is not whole; cut where the client sends no more. An error
// between requests is left as it is.
func (g *guard) failed(err error, cut *http1.Fault) error {
	var late interface{ Timeout() bool }
	switch {
	case g.came.began == 0:
		return err
	case errors.As(err, &late) && late.Timeout() && g.server.end.over.Load():
		g.fault = errEnding
	case errors.As(err, &late) && late.Timeout():
		g.fault = g.server.pace.tooSlow(g.came)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		g.fault = cut
	default:
		return err
	}
	return nil
}
