package router

import (
	"io"
	"net"
	"sync/atomic"
	"time"
)

// clientConn is a client's connection as the HTTP library has it: guarded, so that
// nothing reaches the library about which it might be mistaken, and with
// deadlines that are moved only where that makes a difference. The library
// moves three for every request, each of which changes a timer of the runtime, though
// almost every request is read in one piece and answered at once.
//
// A read deadline counts from the next Read on. Either deadline may come early
// by its slack, which is small beside the timeouts. Not more than one
// goroutine uses a clientConn at a time, but for Close and a watch.
type clientConn struct {
	net.Conn
	read, write deadline
	wantRead    time.Time
	guard

	ahead   []byte        // read by a watch, for receive
	watched chan struct{} // closed when the last watch has ended

	home   *client     // whose connection it is, where a reactor has lent it
	busy   atomic.Bool // a request is being read or answered
	closed atomic.Bool
}

// deadline is one of a connection's two.
type deadline struct {
	inForce time.Time
	slack   time.Duration // how much earlier than wanted it may be
}

// slackShare is the share of a timeout by which it may end early.
const slackShare = 64

func newClientConn(c net.Conn, s *Server) *clientConn {
	cc := &clientConn{Conn: c}
	cc.server = s
	cc.read.slack = min(s.cfg.ReadTimeout, s.cfg.IdleTimeout) / slackShare
	cc.write.slack = s.cfg.WriteTimeout / slackShare
	return cc
}

// late reports whether d has to be moved for want to hold. The zero time is
// no deadline.
func (d *deadline) late(want time.Time) bool {
	if want.IsZero() || d.inForce.IsZero() {
		return want != d.inForce
	}
	early := want.Sub(d.inForce)
	return early < 0 || early > d.slack
}

// SetReadDeadline implements net.Conn.
func (c *clientConn) SetReadDeadline(t time.Time) error {
	c.wantRead = t
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *clientConn) SetWriteDeadline(t time.Time) error {
	if !c.write.late(t) {
		return nil
	}
	c.write.inForce = t
	return c.Conn.SetWriteDeadline(t)
}

// SetDeadline implements net.Conn.
func (c *clientConn) SetDeadline(t time.Time) error {
	c.wantRead = t
	return c.SetWriteDeadline(t)
}

// receive reads what comes, by the deadline that is wanted.
func (c *clientConn) receive(p []byte) (int, error) {
	if len(c.ahead) > 0 {
		n := copy(p, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	want := c.wantRead
	if due := c.guard.due(); !due.IsZero() {
		want = due
	}
	if c.read.late(want) {
		c.read.inForce = want
		if err := c.Conn.SetReadDeadline(want); err != nil {
			return 0, err
		}
	}
	return c.Conn.Read(p)
}

// Write implements net.Conn.
func (c *clientConn) Write(p []byte) (int, error) {
	c.server.budget.owe(len(p))
	defer c.server.budget.give(len(p))
	return c.Conn.Write(p)
}

// Close implements net.Conn. Only the first call counts: the library may close what it
// has given back, or is reading from, when it shuts down.
func (c *clientConn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	if c.home == nil && c.busy.Load() {
		c.guard.end() // nothing of its body is kept
		linger(c.Conn)
	}
	err := c.Conn.Close() // who reads it returns; a reactor has a descriptor of its own
	c.guard.end()
	switch {
	case c.home == nil:
		c.server.closed(c)
	case c.back.Load():
		c.home.comeBack(append(c.stash, c.ahead...))
	default:
		c.home.finish()
	}
	return err
}

// Bounds of the wait for a client that may still be sending when its connection is closed: were
// there bytes that nobody has read, the system would send a reset, by which the client may
// lose the answer.
const (
	lingerFor   = 500 * time.Millisecond
	lingerBytes = 256 << 10
)

// linger ends the sending, and takes in what the client has on its way.
func linger(c net.Conn) {
	half, ok := c.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || c.SetReadDeadline(time.Now().Add(lingerFor)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, c, lingerBytes) // to its end as a rule
}
