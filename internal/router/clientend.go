package router

import (
	"time"

	"motley/internal/http1"
	"motley/internal/reactor"
)

// awaits goes on reading a body that is not whole.
func (c *client) awaits() bool {
	got, s := len(c.in())-c.head, c.front.server
	if !s.budget.take(got-c.held, c.need-c.head) {
		c.refuse(s.noRoom())
		return false
	}
	c.held, c.came.body = got, got
	c.pause()
	return true
}

// adopt makes t, which has read the head of what has come, the client's.
func (c *client) adopt(t *talk) {
	if t == c.talk {
		return
	}
	t.in = append(t.in[:0], c.part...)
	t.request.Parse(t.in, &c.front.server.heads)
	c.talk, c.part = t, nil
}

// leaveTo gives t back, unless it is the client's.
func (c *client) leaveTo(t *talk) {
	if t != c.talk {
		t.reset()
		c.front.talks.Put(t)
	}
}

// refuse answers what has come with a fault, and has the connection closed.
func (c *client) refuse(f *http1.Fault) {
	t := c.talk
	if t == nil {
		t = c.front.talks.Get().(*talk)
		c.talk, c.part = t, nil
	}
	c.set(busy)
	t.refuse(c, f)
}

// wait gives the client so long for what it does next; 0 or less = for ever.
func (c *client) wait(d time.Duration) {
	if d > 0 {
		c.due.Store(c.loop.Coarse() + int64(d))
		return
	}
	c.due.Store(0)
}

// pause gives the client the time that it has for the next byte.
func (c *client) pause() {
	cfg := &c.front.server.cfg
	switch {
	case c.came.began > 0:
		c.due.Store(c.front.server.pace.until(c.came))
	case c.heard:
		c.wait(cfg.IdleTimeout)
	default:
		c.wait(cfg.ReadTimeout)
	}
}

// next makes the connection ready for the next request, once t is answered. Any goroutine
// may call it.
func (c *client) next(t *talk) {
	c.release()
	if t.hangUp {
		c.finish()
		return
	}
	rest := t.rest()
	c.heard = true
	if rest {
		c.came.began = c.loop.Coarse()
	}
	c.pause()
	c.mu.Lock()
	again := c.mu.missed || rest
	if !rest {
		c.talk = nil
	}
	c.mu.state = reading // from here on it is the loop's
	c.mu.Unlock()
	if !rest {
		c.front.talks.Put(t)
	}
	if again {
		c.loop.Post(c)
	}
}

// release gives back what a request has taken, but for its talk.
func (c *client) release() {
	c.front.server.budget.give(c.held)
	c.held, c.head, c.need, c.came = 0, 0, 0, coming{}
}

// empty lets go of all buffers.
func (c *client) empty() {
	c.release()
	c.part = nil
	if t := c.talk; t != nil {
		c.talk = nil
		t.reset()
		c.front.talks.Put(t)
	}
}

// finish has the connection closed. Any goroutine that may use it may call it.
func (c *client) finish() {
	c.mu.Lock()
	over := c.mu.state == closing || c.mu.state == lingering || c.mu.state == gone
	if !over {
		c.mu.state = closing
	}
	c.mu.Unlock()
	if !over {
		c.loop.Post(c)
	}
}

// hangUp closes the connection once the client has nothing on its way; see linger.
func (c *client) hangUp() {
	c.empty()
	if reactor.EndSending(c.fd) != nil {
		c.close()
		return
	}
	c.spare = lingerBytes
	c.wait(lingerFor)
	c.set(lingering)
	c.drain()
}

// drain takes in what comes on a connection that is to be closed.
func (c *client) drain() {
	for {
		n, err := reactor.Read(c.fd, c.loop.Scratch)
		if err == reactor.ErrWouldBlock {
			return
		}
		if c.spare -= n; err != nil || c.spare <= 0 {
			c.close()
			return
		}
	}
}

// close closes the connection. Only the loop's goroutine may, and only while it may
// use the connection.
func (c *client) close() {
	c.set(gone)
	c.loop.Remove(c.fd, c.place)
	reactor.CloseSocket(c.fd)
	c.empty()
	c.front.server.open.Add(-1)
}
