package router

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"motley/internal/dispatch"
	"motley/internal/reactor"
)

// clientState says who may use a client's connection.
type clientState uint8

const (
	opening clientState = iota // the front: it is not watched yet
	reading                    // the reactor's goroutine: between requests, or within one that comes
	busy                       // whoever answers
	writing                    // the reactor's goroutine: the socket had no room for all of the answer
	away                       // the HTTP library
	closing                    // the reactor's goroutine: it is to be closed
	gone
)

// client is a client's connection on a reactor.
type client struct {
	front *front
	loop  *reactor.Loop
	fd    int
	place int32
	peer  netip.AddrPort
	due   atomic.Int64 // when it is given up, on the loop's clock; 0 = never
	ended bool         // the client sends no more than what is there
	heard bool         // a request was answered
	nc    net.Conn     // the same socket, for the HTTP library; nil until it had it

	mu struct {
		sync.Mutex
		state  clientState
		missed bool // there may be something to read, of which there is no more news
	}
	asked dispatch.RequestID // what the loop was asked for last; the reactor's goroutine's
	leave func()             // in place of that, where the model has a way of its own
	talk  *talk              // what has come of a request, or the request; nil between requests
}

// Run implements reactor.Task: the loop's goroutine has something to do.
func (c *client) Run() {
	switch c.now() {
	case opening:
		place, err := c.loop.Add(c.fd, c)
		if err != nil {
			c.front.server.open.Add(-1)
			reactor.CloseSocket(c.fd)
			c.set(gone)
			return
		}
		c.place = place
		c.wait(c.front.server.cfg.ReadTimeout)
		c.set(reading)
		c.read() // what came before it was watched may be no news
	case reading:
		if c.talk == nil || c.step() {
			c.miss(false) // what is there is read
			c.read()
		}
	case writing:
		c.talk.flush()
	case closing:
		c.close()
	}
}

func (c *client) now() clientState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.state
}

func (c *client) set(s clientState) {
	c.mu.Lock()
	c.mu.state = s
	c.mu.Unlock()
}

func (c *client) miss(yes bool) {
	c.mu.Lock()
	c.mu.missed = yes
	c.mu.Unlock()
}

// Ready implements reactor.Handler.
func (c *client) Ready(e reactor.Event) {
	c.ended = c.ended || e&reactor.Ended != 0
	c.mu.Lock()
	s := c.mu.state
	if s != reading && e&reactor.Readable != 0 {
		c.mu.missed = true
	}
	c.mu.Unlock()
	switch {
	case s == reading && e&reactor.Readable != 0:
		c.read()
	case s == writing && e&reactor.Writable != 0:
		c.talk.flush()
	case s == busy && e&reactor.Ended != 0 && c.leave != nil:
		c.leave()
	case s == busy && e&reactor.Ended != 0:
		// Should it have been answered meanwhile, nothing happens.
		c.front.server.loop.Leave(c.asked, c.loop)
	}
}

// Tick implements reactor.Handler.
func (c *client) Tick(now int64) {
	due := c.due.Load()
	stopping := c.front.server.closing.Load()
	if (due == 0 || now < due) && !stopping {
		return
	}
	switch s := c.now(); {
	case s == reading && c.talk == nil && (c.heard || stopping):
		c.read() // a request may have come just now
		if c.now() == reading && c.talk == nil {
			c.close()
		}
	case s == reading && due != 0 && now >= due: // a request, or the first one, did not come in time
		if c.talk == nil {
			c.talk = c.front.talks.Get().(*talk)
		}
		c.talk.late(c)
	case s == writing && due != 0 && now >= due:
		c.close()
	}
}

// read reads what there is and begins what is whole.
func (c *client) read() {
	for {
		t := c.talk
		if t == nil {
			t = c.front.talks.Get().(*talk)
			c.talk = t
		}
		room := t.room()
		n, err := reactor.Read(c.fd, room)
		switch {
		case err == reactor.ErrWouldBlock:
			c.settle()
			return
		case err != nil && len(t.in) > 0:
			c.ended = true
			c.handOver(false) // the HTTP library knows what to say of half a request
			return
		case err != nil:
			c.close()
			return
		}
		if len(t.in) == 0 {
			c.wait(c.front.server.cfg.ReadTimeout)
		}
		t.in = t.in[:len(t.in)+n]
		more := n == len(room) || c.ended // bytes, or the end
		if more {
			c.miss(true) // before another goroutine may answer
		}
		if !c.step() || !more {
			return
		}
		c.miss(false)
	}
}

// settle frees the memory of a connection on which nothing has come.
func (c *client) settle() {
	if t := c.talk; t != nil && len(t.in) == 0 {
		c.talk = nil
		c.front.talks.Put(t)
	}
}

// step goes on with what has come, and reports whether more is to be read.
func (c *client) step() bool {
	t, s := c.talk, c.front.server
	if len(t.in) == 0 {
		return true
	}
	r := &t.request
	if r.Head == 0 {
		r.Parse(t.in)
	}
	whole := r.Head + r.Length
	switch {
	case r.Head == 0 && len(t.in) < s.cfg.MaxHeader:
		return true
	case r.Head == 0 || !r.Plain || r.Head > s.cfg.MaxHeader:
		c.handOver(false)
	case r.Length > maxInPlace:
		c.handOver(true)
	case len(t.in) < whole:
		return true
	case t.begins():
		c.wait(0)
		c.set(busy)
		t.begin(c)
	default:
		c.handOver(true)
	}
	return false
}

// wait gives the client so long for what it does next; 0 or less = for ever.
func (c *client) wait(d time.Duration) {
	if d > 0 {
		c.due.Store(c.loop.Coarse() + int64(d))
		return
	}
	c.due.Store(0)
}

// next makes the connection ready for the next request, once t is answered. Any goroutine
// may call it.
func (c *client) next(t *talk) {
	if t.hangUp || c.front.server.closing.Load() {
		c.finish()
		return
	}
	rest := t.rest()
	c.heard = true
	if rest {
		c.wait(c.front.server.cfg.ReadTimeout) // it has begun
	} else {
		c.wait(c.front.server.cfg.IdleTimeout)
	}
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

// finish has the connection closed. Any goroutine that may use it may call it.
func (c *client) finish() {
	c.mu.Lock()
	over := c.mu.state == closing || c.mu.state == gone
	if !over {
		c.mu.state = closing
	}
	c.mu.Unlock()
	if !over {
		c.loop.Post(c)
	}
}

// close closes the connection. Only the loop's goroutine may, and only while it may
// use the connection.
func (c *client) close() {
	c.set(gone)
	c.loop.Remove(c.fd, c.place)
	reactor.CloseSocket(c.fd)
	if c.nc != nil {
		_ = c.nc.Close()
	}
	if t := c.talk; t != nil {
		c.talk = nil
		t.reset()
		c.front.talks.Put(t)
	}
	c.front.server.open.Add(-1)
}
