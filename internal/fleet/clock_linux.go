package fleet

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// systemClock is a timer of the kernel's (timerfd) that the runtime's poller
// waits for: precise to what waking up takes, 20 to 30 µs, and asleep till then.
type systemClock struct {
	fd   int
	file *os.File
	buf  [8]byte

	armed atomic.Int64 // ns since epoch: what the kernel's timer is set to
	lead  atomic.Int64 // ns that it is set early by
	epoch time.Time
}

// The lead follows what waking up takes. With these steps one wake-up in five
// comes early, for which until spins.
const (
	leadMost  = 40 * time.Microsecond
	leadLess  = 400 * time.Nanosecond
	leadMore  = 100 * time.Nanosecond
	leadFirst = 15 * time.Microsecond
)

func newClock() (clock, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("cannot make a timer: %w", err)
	}
	c := &systemClock{fd: fd, file: os.NewFile(uintptr(fd), "timer"), epoch: time.Now()}
	c.lead.Store(int64(leadFirst))
	return c, nil
}

func (c *systemClock) set(at time.Time) {
	left := max(time.Until(at)-time.Duration(c.lead.Load()), 1) // 0 would stop it
	c.armed.Store(int64(time.Since(c.epoch) + left))
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(left))}
	if err := unix.TimerfdSettime(c.fd, 0, &spec, nil); err != nil && err != unix.EBADF {
		panic(fmt.Sprintf("BUG: cannot set a timer to %v: %v", left, err)) // closed is no bug
	}
}

func (c *systemClock) wait() bool {
	if _, err := c.file.Read(c.buf[:]); err != nil {
		return false
	}
	took := int64(time.Since(c.epoch)) - c.armed.Load() // 0 and less: it was set anew since
	lead := c.lead.Load()
	switch {
	case took > lead:
		c.lead.Store(min(lead+int64(leadMore), int64(leadMost)))
	case took > 0:
		c.lead.Store(max(lead-int64(leadLess), 0))
	}
	return true
}

func (c *systemClock) until(at time.Time) {
	for time.Now().Before(at) {
	}
}

func (c *systemClock) close() error { return c.file.Close() }
