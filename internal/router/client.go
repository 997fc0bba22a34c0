package router

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"motley/internal/dispatch"
	"motley/internal/http1"
	"motley/internal/reactor"
)

// clientState says who may use a client's connection.
type clientState uint8

const (
	opening   clientState = iota // the front: it is not watched yet
	reading                      // the reactor's goroutine: between requests, or within one that comes
	busy                         // whoever answers
	writing                      // the reactor's goroutine: the socket had no room for all of the answer
	away                         // the HTTP library
	closing                      // the reactor's goroutine: it is to be closed
	lingering                    // the reactor's goroutine: nothing more is sent; see linger
	gone
)

// client is a client's connection on a reactor. Between requests it holds no buffers, within one that
// comes slowly only what has come of it.
type client struct {
	front *front
	loop  *reactor.Loop
	fd    int
	place int32
	peer  netip.AddrPort
	due   atomic.Int64 // when it is given up, on the loop's clock; 0 = never
	ended atomic.Bool  // the client sends no more than what is there
	heard bool         // a request was answered
	extra bool         // it is one too many

	mu struct {
		sync.Mutex
		state  clientState
		missed bool   // there may be something to read, of which there is no more news
		leave  func() // away: the client leaves
		lent   *clientConn
	}
	asked dispatch.RequestID // what the loop was asked for last; the reactor's goroutine's
	leave func()             // in place of that, where the model has a way of its own

	talk  *talk  // what has come of a request, or the request; nil between requests
	part  []byte // in place of it, what has come of one that is slow
	came  coming // of it, on the loop's clock
	head  int    // bytes of its head,
	need  int    // and of all of it; 0 while that is not known
	held  int    // bytes of the budget
	spare int    // lingering: bytes that are still taken in
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
		if c.extra {
			c.refuse(c.front.server.tooManyConnections())
			return
		}
		c.pause()
		c.set(reading)
		c.read() // what came before it was watched may be no news
	case reading:
		if c.step() {
			c.miss(false) // what is there is read
			c.read()
		}
	case writing:
		c.talk.flush()
	case closing:
		c.hangUp()
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
	if e&reactor.Ended != 0 {
		c.ended.Store(true)
	}
	var left func()
	c.mu.Lock()
	s := c.mu.state
	if s != reading && e&reactor.Readable != 0 {
		c.mu.missed = true
	}
	if s == away && e&reactor.Ended != 0 {
		left, c.mu.leave = c.mu.leave, nil
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
	case left != nil:
		left()
	case s == lingering && e&reactor.Readable != 0:
		c.drain()
	}
}

// Tick implements reactor.Handler.
func (c *client) Tick(now int64) {
	due := c.due.Load()
	late := due != 0 && now >= due
	end := &c.front.server.end
	stopping := end.idleOver.Load()
	s := c.now()
	if s == reading && c.talk != nil && !late {
		c.shrink()
	}
	if !late && !stopping {
		return
	}
	switch {
	case s == reading && c.idle() && (c.heard || stopping):
		c.read() // a request may have come just now
		if c.now() == reading && c.idle() {
			c.close()
		}
	case s == reading && end.over.Load():
		c.refuse(errEnding)
	case s == away && end.over.Load():
		c.hurry()
	case s == reading && late && c.idle(): // the first one did not come
		p := c.front.server.pace
		p.header = 0
		c.refuse(p.tooSlow(coming{began: 1}))
	case s == reading && late:
		c.refuse(c.front.server.pace.tooSlow(c.came))
	case (s == writing || s == lingering) && late:
		c.close()
	}
}

// idle reports whether nothing has come since the last request.
func (c *client) idle() bool { return blank(c.in()) }

// blank reports whether in is no more than the empty line that may stand before a request.
func blank(in []byte) bool {
	return len(in) == 0 || in[0] == '\r' && (len(in) == 1 || len(in) == 2 && in[1] == '\n')
}

// in is what has come since the last request.
func (c *client) in() []byte {
	if c.talk != nil {
		return c.talk.in
	}
	return c.part
}

// read reads what there is and begins what is whole.
func (c *client) read() {
	for {
		room := c.room()
		n, err := reactor.Read(c.fd, room)
		switch {
		case err == reactor.ErrWouldBlock:
			c.settle()
			return
		case err != nil && c.idle():
			c.close()
			return
		case err != nil && c.need > 0:
			c.refuse(http1.CutBody)
			return
		case err != nil:
			c.refuse(http1.CutHead)
			return
		}
		if c.idle() {
			c.came.began = c.loop.Coarse()
		}
		if c.talk != nil {
			c.talk.in = c.talk.in[:len(c.talk.in)+n]
		} else {
			c.part = c.part[:len(c.part)+n]
		}
		more := n == len(room) || c.ended.Load() // bytes, or the end
		if more {
			c.miss(true) // before another goroutine may answer
		}
		if !c.step() || !more {
			return
		}
		c.miss(false)
	}
}

// room is where the next bytes go.
func (c *client) room() []byte {
	least := 512
	if c.need > 0 {
		least = max(c.need-len(c.in()), 1)
	}
	if len(c.part) > 0 { // memory follows what really comes
		if len(c.part) == cap(c.part) {
			grown := make([]byte, len(c.part), len(c.part)+min(least, max(len(c.part)/2, 64)))
			copy(grown, c.part)
			c.part = grown
		}
		return c.part[len(c.part):cap(c.part)]
	}
	if c.talk == nil {
		c.part = nil
		c.talk = c.front.talks.Get().(*talk)
	}
	return c.talk.room(least)
}

// settle frees the memory of a connection on which nothing has come.
func (c *client) settle() {
	if t := c.talk; t != nil && len(t.in) == 0 {
		c.talk = nil
		c.front.talks.Put(t)
	}
}

// shrink keeps of a request that takes its time no more than what has come.
func (c *client) shrink() {
	if t := c.talk; len(t.in) > 0 {
		c.part = append(make([]byte, 0, len(t.in)), t.in...)
		t.reset()
	}
	c.settle()
}

// step goes on with what has come, and reports whether more is to be read.
func (c *client) step() bool {
	in, s := c.in(), c.front.server
	if len(in) == 0 {
		return true
	}
	if len(in) < c.need {
		return c.awaits()
	}
	t := c.talk
	if t == nil {
		t = c.front.talks.Get().(*talk)
	}
	f := t.request.Parse(in, &s.heads)
	r := &t.request
	whole := r.Head + r.Length
	switch {
	case f != nil:
		c.adopt(t)
		c.refuse(f)
		return false
	case r.Head == 0:
		c.leaveTo(t)
		if c.idle() {
			c.came = coming{}
		}
		c.pause()
		return true
	case !r.Plain || r.Length > maxInPlace || len(in) >= whole && !t.begins():
		done := r.Length >= 0 && len(in) >= whole
		c.leaveTo(t)
		c.lend(in, done)
		return false
	case len(in) < whole:
		c.came.head, c.head, c.need = c.loop.Coarse(), r.Head, whole
		c.leaveTo(t)
		return c.awaits()
	case !s.budget.take(r.Length-c.held, r.Length):
		c.adopt(t)
		c.refuse(s.noRoom())
		return false
	}
	c.held = r.Length
	c.adopt(t)
	c.wait(0)
	c.set(busy)
	t.begin(c)
	return false
}
