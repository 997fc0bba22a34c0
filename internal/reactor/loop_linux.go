package reactor

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tick is how often handlers are asked for their timeouts.
const tick = 20 * time.Millisecond

// Loop watches sockets. But for Post, Now and Close, its methods are for its own
// goroutine: that of handlers and tasks.
type Loop struct {
	// Scratch is for reading within one call of a handler.
	Scratch []byte

	epfd   int
	file   *os.File // the same descriptor, for the runtime's poller
	wakefd int
	epoch  time.Time
	events []unix.EpollEvent
	slots  []slot
	free   []int32
	used   int
	later  []Task // of the loop's own, for the end of the round
	values map[any]any
	timer  *time.Timer
	armed  bool
	due    atomic.Bool // a tick is
	coarse atomic.Int64

	mu struct {
		sync.Mutex
		posted []Task
		spare  []Task
		woken  bool // something was written to wakefd that was not yet read
		ending bool // it ends when nothing is posted any more
		closed bool // nothing is run any more
	}
	ended chan struct{}
}

// slot is a socket's place. Descriptors are given again by the system, and so
// are places: nth tells an event of an earlier one.
type slot struct {
	handler Handler
	nth     int32
}

// wakeSlot marks events of wakefd.
const wakeSlot = -1

// New starts a loop. Close ends it.
func New() (*Loop, error) {
	l := &Loop{
		Scratch: make([]byte, 64<<10), epoch: time.Now(), events: make([]unix.EpollEvent, 256),
		values: map[any]any{}, ended: make(chan struct{}),
	}
	var err error
	if l.epfd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("cannot make an epoll descriptor: %w", err)
	}
	if l.wakefd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		_ = unix.Close(l.epfd)
		return nil, fmt.Errorf("cannot make an event descriptor: %w", err)
	}
	if err = unix.SetNonblock(l.epfd, true); err == nil { // or the runtime's poller would not take it
		err = unix.EpollCtl(l.epfd, unix.EPOLL_CTL_ADD, l.wakefd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET&0xffffffff, Fd: wakeSlot})
	}
	var raw syscall.RawConn
	if err == nil {
		l.file = os.NewFile(uintptr(l.epfd), "epoll")
		raw, err = l.file.SyscallConn()
	}
	if err == nil {
		err = l.file.SetReadDeadline(time.Time{}) // fails where the runtime's poller did not take it
	}
	if err != nil {
		_ = unix.Close(l.wakefd)
		if l.file != nil {
			_ = l.file.Close()
		} else {
			_ = unix.Close(l.epfd)
		}
		return nil, fmt.Errorf("cannot watch sockets: %w", err)
	}
	l.timer = time.AfterFunc(time.Hour, l.ticked)
	l.timer.Stop()
	go func() {
		defer close(l.ended)
		_ = raw.Read(func(uintptr) bool { return l.round() }) // fails only once the file is closed
	}()
	return l, nil
}

// round handles all that there is and reports whether the loop is at its end.
// The goroutine waits between rounds. The descriptor is watched by edges: one that comes
// within a round begins the next at once.
func (l *Loop) round() bool {
	for {
		n, _, e := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.epfd), uintptr(unsafe.Pointer(unsafe.SliceData(l.events))), uintptr(len(l.events)), 0, 0, 0)
		if e == unix.EINTR {
			continue
		}
		if e != 0 {
			return true // the descriptor is closed
		}
		l.coarse.Store(l.Now())
		for i := range l.events[:n] {
			ev := &l.events[i]
			if ev.Fd == wakeSlot {
				continue // tasks are looked for in each round
			}
			if s := &l.slots[ev.Fd]; s.nth == ev.Pad && s.handler != nil {
				s.handler.Ready(eventOf(ev.Events))
			}
		}
		closed := l.runTasks()
		if l.due.Swap(false) { // after the wake-up was taken back that may have been for it
			l.tickAll()
		}
		if closed {
			return true
		}
		if int(n) < len(l.events) && len(l.later) == 0 {
			return false
		}
	}
}

func eventOf(bits uint32) (e Event) {
	if bits&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		e |= Readable
	}
	if bits&unix.EPOLLOUT != 0 {
		e |= Writable
	}
	if bits&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		e |= Ended
	}
	if bits&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		e |= Gone
	}
	return e
}

// runTasks runs what was posted and what was put off, and reports whether the
// loop is at its end.
func (l *Loop) runTasks() bool {
	l.mu.Lock()
	posted := l.mu.posted
	l.mu.posted = l.mu.spare[:0]
	if l.mu.woken {
		l.mu.woken = false
		var b [8]byte
		_, _ = unix.Read(l.wakefd, b[:]) // it counts, and all that was counted is in posted
	}
	l.mu.Unlock()
	for _, t := range posted {
		t.Run()
	}
	clear(posted)
	n := len(l.later)
	for i := 0; i < n; i++ {
		l.later[i].Run()
	}
	rest := copy(l.later, l.later[n:])
	clear(l.later[rest:])
	l.later = l.later[:rest]
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.spare = posted[:0]
	if l.mu.ending && rest == 0 && len(l.mu.posted) == 0 {
		l.mu.closed = true
	}
	return l.mu.closed
}

// Post has a task run on the loop's goroutine, soon. It reports false where the
// loop has ended: the task is not run then. Any goroutine may call it.
func (l *Loop) Post(t Task) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.closed {
		return false
	}
	l.mu.posted = append(l.mu.posted, t)
	l.wakeLocked()
	return true
}

func (l *Loop) wakeLocked() {
	if !l.mu.woken {
		l.mu.woken = true
		one := [8]byte{1}
		_, _ = unix.Write(l.wakefd, one[:]) // it fails only when the loop has ended
	}
}

// Later has a task run at the end of this round: the way out of a recursion.
func (l *Loop) Later(t Task) { l.later = append(l.later, t) }

// Now is the time on the loop's clock, in ns. Any goroutine may ask.
func (l *Loop) Now() int64 { return int64(time.Since(l.epoch)) }

// Coarse is when the loop was last awake, which is at most a tick ago while there are
// sockets: good enough for timeouts, and cheaper. Any goroutine may ask.
func (l *Loop) Coarse() int64 { return l.coarse.Load() }

// Value is what SetValue was given for key: state that belongs to the loop's
// goroutine and so needs no lock.
func (l *Loop) Value(key any) any { return l.values[key] }

// SetValue keeps v under key; nil forgets it.
func (l *Loop) SetValue(key, v any) {
	if v == nil {
		delete(l.values, key)
		return
	}
	l.values[key] = v
}

// Add watches a socket, which must not block, until Remove is given what it
// returns. h is told of what is there already.
func (l *Loop) Add(fd int, h Handler) (place int32, err error) {
	if n := len(l.free); n > 0 {
		place, l.free = l.free[n-1], l.free[:n-1]
	} else {
		place = int32(len(l.slots))
		l.slots = append(l.slots, slot{})
	}
	s := &l.slots[place]
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff, Fd: place, Pad: s.nth}
	if err := unix.EpollCtl(l.epfd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		l.free = append(l.free, place)
		return 0, fmt.Errorf("cannot watch a socket: %w", err)
	}
	s.handler = h
	l.used++
	l.arm()
	return place, nil
}

// Remove ends the watch of a socket. It must still be open.
func (l *Loop) Remove(fd int, place int32) {
	_ = unix.EpollCtl(l.epfd, unix.EPOLL_CTL_DEL, fd, nil) // it fails only for one that is not watched
	s := &l.slots[place]
	s.handler = nil
	s.nth++
	l.free = append(l.free, place)
	l.used--
}

func (l *Loop) arm() {
	if !l.armed && l.used > 0 {
		l.armed = true
		l.timer.Reset(tick)
	}
}

// ticked is the timer's.
func (l *Loop) ticked() {
	l.due.Store(true)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.mu.closed {
		l.wakeLocked()
	}
}

func (l *Loop) tickAll() {
	l.armed = false
	now := l.Now()
	for i := range l.slots {
		if h := l.slots[i].handler; h != nil {
			h.Tick(now)
		}
	}
	l.arm()
}

// Close ends the loop once it has run what was posted, and what that posts. Sockets are left as they
// are. It must not be called on the loop's goroutine.
func (l *Loop) Close() {
	l.mu.Lock()
	if !l.mu.ending {
		l.mu.ending = true
		l.mu.woken = false
		l.wakeLocked()
	}
	l.mu.Unlock()
	<-l.ended
	l.timer.Stop()
	_ = l.file.Close() // nothing was written to either
	_ = unix.Close(l.wakefd)
}
