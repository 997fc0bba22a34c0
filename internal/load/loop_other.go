//go:build !linux

package load

import (
	"errors"
	"sync/atomic"
	"time"
)

// loop needs Linux: it waits by epoll, with timers of a microsecond.
type loop struct{}

func newLoop(*Plan, int, int, chan<- []Record, *atomic.Bool) (*loop, error) {
	return nil, errors.New("load can be generated on Linux only")
}

func (l *loop) connect(time.Duration) error { return nil }
func (l *loop) run(time.Time) error         { return nil }
func (l *loop) close()                      {}
