package load

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"motley/internal/mono"
)

// connect opens all connections, and is an error when none could be within
// the time.
func (l *loop) connect(within time.Duration) (err error) {
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("cannot make an epoll descriptor: %w", err)
	}
	l.poll[0] = unix.PollFd{Fd: int32(l.epoll), Events: unix.POLLIN}
	l.begin = time.Now()
	for i := range l.conns {
		c := &l.conns[i]
		c.fd, c.index = -1, int32(i)
		l.open(c)
	}
	for until := mono.Time(within); l.opening.n > 0 && l.now() < until && !l.stop.Load(); {
		if err := l.wait(until); err != nil {
			return err
		}
	}
	if l.idle.n == 0 && !l.stop.Load() {
		if l.lastErr == nil {
			l.lastErr = unix.ETIMEDOUT
		}
		return fmt.Errorf("cannot connect to %s: %w", l.target.URL, l.lastErr)
	}
	return nil
}

// open begins a connection; it is tried again later where that fails.
func (l *loop) open(c *conn) {
	fd, err := dial(l.target.addr)
	if err != nil {
		l.lastErr = err
		c.since = l.now().Add(retryAfter)
		l.down.push(c)
		return
	}
	c.fd, c.fresh, c.blocked = fd, true, true
	if err := l.watch(c, unix.EPOLL_CTL_ADD); err != nil { // the system watches no more
		l.lastErr = err
		l.shut(c)
		return
	}
	l.opening.push(c)
}

// shut closes a connection that is of no use any more, and opens it anew:
// later, if it never was of use.
func (l *loop) shut(c *conn) {
	_ = unix.Close(c.fd) // nothing more is wanted of it
	c.fd = -1
	c.nth++
	if c.fresh {
		c.since = l.now().Add(retryAfter)
		l.down.push(c)
		return
	}
	l.open(c)
}

// reopen tries what is down again.
func (l *loop) reopen(now mono.Time) {
	for c := l.down.first; c != nil && c.since <= now; c = l.down.first {
		l.open(c)
	}
}

// watch asks for what the connection waits for.
func (l *loop) watch(c *conn, op int) error {
	e := unix.EpollEvent{Events: unix.EPOLLIN, Fd: c.index, Pad: c.nth} // 64 bits of one's own
	if c.blocked {
		e.Events |= unix.EPOLLOUT
	}
	return unix.EpollCtl(l.epoll, op, c.fd, &e)
}

// rewatch is watch where something is watched for already.
func (l *loop) rewatch(c *conn) {
	if err := l.watch(c, unix.EPOLL_CTL_MOD); err != nil {
		panic("BUG: load: cannot watch a connection: " + err.Error())
	}
}
