package router

import (
	"errors"
	"os"
	"time"
)

// aheadSize is the most bytes of a next request that a watch takes in. A
// client that sends more before it has its answer is no longer watched.
const aheadSize = 4 << 10

// past is a deadline that is over.
var past = time.Unix(1, 0)

// watch reads the connection while its goroutine is busy with an answer, so
// that a client that leaves is noticed at once; left is called then, also
// where the client has only closed its own side. What a client sends meanwhile
// is kept for Read. Every watch is ended by endWatch, before the next Read.
//
// The connection of a reactor is watched there.
func (c *clientConn) watch(left func()) {
	if c.home != nil {
		c.home.watch(left)
		return
	}
	c.watched = make(chan struct{})
	if len(c.ahead) == 0 {
		c.ahead = make([]byte, 0, aheadSize)
	}
	c.read.inForce = time.Time{}
	if err := c.Conn.SetReadDeadline(time.Time{}); err != nil {
		left()
		close(c.watched)
		return
	}
	go func() {
		defer close(c.watched)
		for len(c.ahead) < cap(c.ahead) {
			n, err := c.Conn.Read(c.ahead[len(c.ahead):cap(c.ahead)])
			c.ahead = c.ahead[:len(c.ahead)+n]
			if err != nil {
				if !errors.Is(err, os.ErrDeadlineExceeded) { // endWatch's
					left()
				}
				return
			}
		}
	}()
}

// endWatch ends a watch and returns when nothing reads the connection any
// more.
func (c *clientConn) endWatch() {
	if c.home != nil {
		c.home.watch(nil)
		return
	}
	c.read.inForce = past
	_ = c.Conn.SetReadDeadline(past) // it fails where the connection is closed: then the watch has ended
	<-c.watched
}
