package router

import (
	"motley/internal/reactor"
)

// lend gives the connection to the HTTP library for the request that has begun to come, of
// which the head is whole.
func (c *client) lend(in []byte, whole bool) {
	s := c.front.server
	if !whole && s.uploads.Add(1) > int64(s.cfg.MaxUploads) {
		s.uploads.Add(-1)
		c.refuse(tooManyUploads(s.cfg.MaxUploads))
		return
	}
	nc, err := reactor.Attach(c.fd)
	if err != nil {
		if !whole {
			s.uploads.Add(-1)
		}
		c.close()
		return
	}
	cc := newClientConn(nc, s)
	cc.home = c
	cc.upload.Store(!whole)
	cc.stash = append([]byte(nil), in...)
	cc.came.began = max(cc.now()-(c.loop.Coarse()-c.came.began), 1)
	c.empty()
	c.wait(0)
	c.mu.Lock()
	c.mu.state, c.mu.lent = away, cc
	c.mu.Unlock()
	c.front.hand(cc)
}

// comeBack takes the connection back, with what has come of the next request. Any
// goroutine may call it, once.
func (c *client) comeBack(rest []byte) {
	c.came = coming{}
	c.part = nil
	if len(rest) > 0 {
		c.part = rest
		c.came.began = c.loop.Coarse()
	}
	c.heard = true
	c.pause()
	c.mu.Lock()
	c.mu.state = reading // from here on it is the loop's
	c.mu.leave, c.mu.lent = nil, nil
	c.mu.Unlock()
	c.loop.Post(c)
}

// watch has left called when the client leaves, on the loop's goroutine, once; nil ends it.
func (c *client) watch(left func()) {
	c.mu.Lock()
	c.mu.leave = left
	c.mu.Unlock()
}
