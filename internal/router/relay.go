package router

import (
	"io"
	"net"
	"sync/atomic"

	"motley/internal/reactor"
)

// handOver gives the connection to the HTTP library: for this request alone, or
// for good.
func (c *client) handOver(once bool) {
	t := c.talk
	if c.nc == nil {
		nc, err := reactor.Attach(c.fd)
		if err != nil {
			c.close()
			return
		}
		c.nc = nc
	}
	r := &relay{Conn: c.nc, client: c, once: once && !t.streams()}
	n := len(t.in)
	if whole := t.request.Head + t.request.Length; r.once {
		n = min(n, whole)
		r.left = whole - n
	}
	r.ahead = append([]byte(nil), t.in[:n]...)
	t.whole = n
	if !t.rest() {
		c.talk = nil
		c.front.talks.Put(t)
	}
	c.wait(0)
	c.set(away)
	cfg := &c.front.server.cfg
	c.front.hand(newClientConn(r, cfg.ReadTimeout, cfg.IdleTimeout, cfg.WriteTimeout))
}

// relay is a client's connection in the hands of the HTTP library.
type relay struct {
	net.Conn
	client *client
	ahead  []byte // what came before
	once   bool   // for one request, of which left bytes are yet to come
	left   int
	wrote  atomic.Bool
	back   atomic.Bool // it is not to be closed
	closed atomic.Bool
}

// Read implements net.Conn. Behind the one request, and its answer, is the end.
func (r *relay) Read(p []byte) (int, error) {
	switch {
	case len(r.ahead) > 0:
		n := copy(p, r.ahead)
		if r.ahead = r.ahead[n:]; len(r.ahead) == 0 {
			r.ahead = nil
		}
		return n, nil
	case r.once && r.left > 0:
		n, err := r.Conn.Read(p[:min(len(p), r.left)])
		r.left -= n
		return n, err
	case r.once && r.wrote.Load():
		r.back.Store(true)
		return 0, io.EOF
	case r.wrote.Load() && r.client.front.server.closing.Load():
		return 0, io.EOF // no further request is waited for
	}
	n, err := r.Conn.Read(p)
	r.once = r.once && n == 0 // it has more than the one request now
	return n, err
}

// Write implements net.Conn.
func (r *relay) Write(p []byte) (int, error) {
	r.wrote.Store(true)
	return r.Conn.Write(p)
}

// Close implements net.Conn. Only the first call counts: the library may close what it
// has given back when it shuts down.
func (r *relay) Close() error {
	c := r.client
	switch {
	case r.closed.Swap(true):
	case r.back.Load():
		c.wait(c.front.server.cfg.IdleTimeout)
		c.heard = true
		c.set(reading)
		c.loop.Post(c)
	default:
		c.finish()
		return c.nc.Close() // who reads it returns
	}
	return nil
}
