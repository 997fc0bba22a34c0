package router

import (
	"net"
	"time"
)

// clientConn is a client's connection that moves its deadlines only where
// that makes a difference. The HTTP server moves three for every request, each
// of which changes a timer of the runtime, though almost every request is read
// in one piece and answered at once.
//
// A read deadline counts from the next Read on. Either deadline may come early
// by its slack, which is small beside the timeouts. Not more than one
// goroutine uses a clientConn at a time, but for Close and a watch.
type clientConn struct {
	net.Conn
	read, write deadline
	wantRead    time.Time

	ahead   []byte        // read by a watch, for Read
	watched chan struct{} // closed when the last watch has ended
}

// deadline is one of a connection's two.
type deadline struct {
	inForce time.Time
	slack   time.Duration // how much earlier than wanted it may be
}

// slackShare is the share of a timeout by which it may end early.
const slackShare = 64

func newClientConn(c net.Conn, readTimeout, idleTimeout, writeTimeout time.Duration) *clientConn {
	cc := &clientConn{Conn: c}
	cc.read.slack = min(readTimeout, idleTimeout) / slackShare
	cc.write.slack = writeTimeout / slackShare
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

// Read implements net.Conn.
func (c *clientConn) Read(p []byte) (int, error) {
	if len(c.ahead) > 0 {
		n := copy(p, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	if c.read.late(c.wantRead) {
		c.read.inForce = c.wantRead
		if err := c.Conn.SetReadDeadline(c.wantRead); err != nil {
			return 0, err
		}
	}
	return c.Conn.Read(p)
}
