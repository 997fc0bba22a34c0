package fleet

import (
	"sync"
	"time"
)

// runtimeClock is the runtime's timer: late by up to a millisecond, but there
// everywhere, and true to the time of a test's bubble.
type runtimeClock struct {
	timer *time.Timer
	ended chan struct{}
	once  sync.Once
}

func newRuntimeClock() *runtimeClock {
	c := &runtimeClock{timer: time.NewTimer(time.Hour), ended: make(chan struct{})}
	c.timer.Stop()
	return c
}

func (c *runtimeClock) set(at time.Time) { c.timer.Reset(time.Until(at)) }

func (c *runtimeClock) wait() bool {
	select {
	case <-c.timer.C:
		return true
	case <-c.ended:
		return false
	}
}

func (c *runtimeClock) until(at time.Time) {
	t := time.NewTimer(time.Until(at))
	defer t.Stop()
	<-t.C
}

func (c *runtimeClock) close() error {
	c.once.Do(func() { close(c.ended) })
	return nil
}
