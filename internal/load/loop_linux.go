package load

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"motley/internal/mono"
)

// chunk is how many records are handed over at a time.
const chunk = 512

// loop sends and receives one share of a phase. One thread runs it: it sleeps
// until a request is due or something has come, so that no request waits for
// another goroutine to be woken.
type loop struct {
	plan     *Plan
	phase    int
	target   *Target
	prefixes [][]byte // by model
	schedule *schedule
	sink     chan<- []Record
	stop     *atomic.Bool

	begin   time.Time
	epoll   int
	poll    [1]unix.PollFd // the epoll descriptor
	events  []unix.EpollEvent
	scratch []byte
	conns   []conn
	opening list
	idle    list
	busy    list // in the order in which they time out
	down    list // in the order in which they are tried again
	lastErr error

	ahead   shot
	more    bool // ahead is there
	check   checker
	records []Record
	flushed mono.Time
	late    time.Duration // by which sleeps end too late, half of the time
}

func newLoop(p *Plan, phase, share int, sink chan<- []Record, stop *atomic.Bool) (*loop, error) {
	ph := &p.Phases[phase]
	s, err := newSchedule(p, ph, share)
	if err != nil {
		return nil, err
	}
	l := &loop{
		plan: p, phase: phase, target: &p.Targets[ph.Target], schedule: s, sink: sink, stop: stop,
		events: make([]unix.EpollEvent, 256), scratch: make([]byte, 256<<10), epoll: -1,
	}
	for _, b := range p.Models {
		l.prefixes = append(l.prefixes, p.prefix(l.target, b))
	}
	n := p.Connections / p.Threads
	if share < p.Connections%p.Threads {
		n++
	}
	l.conns = make([]conn, n)
	return l, nil
}

func (l *loop) now() mono.Time { return mono.Time(time.Since(l.begin)) }

// run sends and receives until all that was scheduled has ended.
func (l *loop) run(begin time.Time) error {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, since its timer slack was changed
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1000, 0, 0, 0); err != nil {
		return fmt.Errorf("cannot set the timer slack: %w", err)
	}
	shift := begin.Sub(l.begin)
	l.begin = begin
	for i := range l.conns {
		l.conns[i].since = l.conns[i].since.Add(-shift)
	}
	l.advance()
	for l.more || l.busy.n > 0 {
		if l.stop.Load() {
			l.flush()
			return nil
		}
		now := l.now()
		l.send(now)
		l.expire(now)
		l.reopen(now)
		if now.Sub(l.flushed) > longestSleep {
			l.flush()
		}
		if err := l.wait(l.wake()); err != nil {
			return err
		}
	}
	l.flush()
	return nil
}

// close gives back what the loop holds.
func (l *loop) close() {
	for i := range l.conns {
		if fd := l.conns[i].fd; fd >= 0 {
			_ = unix.Close(fd) // nothing more is wanted of it
		}
	}
	if l.epoll >= 0 {
		_ = unix.Close(l.epoll)
	}
}

func (l *loop) advance() { l.ahead, l.more = l.schedule.next() }

// wake is when there is something to do by itself.
func (l *loop) wake() mono.Time {
	at := mono.Never
	if l.more {
		at = l.ahead.at // with no connection free, it may still have to be given up
		if l.idle.n == 0 {
			at = at.Add(l.plan.Timeout)
		}
	}
	if c := l.busy.first; c != nil {
		at = min(at, l.expiry(c))
	}
	if c := l.down.first; c != nil {
		at = min(at, c.since)
	}
	return at
}

// expiry is when a request that is under way is given up: the timeout counts
// from when it had a connection, or was due. Otherwise a server that cannot keep
// up would have every connection closed just before its answer.
func (l *loop) expiry(c *conn) mono.Time { return c.rec.At.Add(c.rec.Free + l.plan.Timeout) }

// longestSleep is after how long the loop looks whether it is to stop.
const longestSleep = 50 * time.Millisecond

// Under shortestSleep the loop does not sleep. It wakes mostLate before the
// instant at the most, to be there in time.
const (
	shortestSleep = 10 * time.Microsecond
	mostLate      = 50 * time.Microsecond
)

// wait handles what comes, until the instant or a little before it. Whole ms are
// left to epoll, which is one system call where what is finer takes three.
func (l *loop) wait(until mono.Time) error {
	ms := int(min(until.Sub(l.now()), longestSleep)/time.Millisecond) - 1
	n, err := unix.EpollWait(l.epoll, l.events, max(ms, 0))
	if n <= 0 && (err == nil || err == unix.EINTR) {
		if ms > 0 {
			return nil
		}
		return l.sleep(until)
	}
	if err != nil {
		return fmt.Errorf("cannot wait: %w", err)
	}
	for i := range l.events[:n] {
		e := &l.events[i]
		c := &l.conns[e.Fd]
		if c.nth != e.Pad {
			continue // closed by what came before it
		}
		l.handle(c, e.Events)
		if l.more && l.idle.n > 0 {
			if now := l.now(); l.ahead.at <= now {
				l.send(now)
			}
		}
	}
	return nil
}

// sleep sleeps until something comes, or as long before the instant as it was
// late lately.
func (l *loop) sleep(until mono.Time) error {
	now := l.now()
	gap := min(until.Sub(now)-l.late, longestSleep)
	if gap < shortestSleep {
		return nil
	}
	ts := unix.NsecToTimespec(int64(gap))
	n, err := unix.Ppoll(l.poll[:], &ts, nil)
	if err != nil && err != unix.EINTR {
		return fmt.Errorf("cannot wait: %w", err)
	}
	if n == 0 {
		// Steps of equal size end at the median.
		if l.now().Sub(now)-gap > l.late {
			l.late = min(l.late+time.Microsecond, mostLate)
		} else {
			l.late = max(l.late-time.Microsecond, 0)
		}
	}
	return nil
}

// send sends what is due while a connection is free, and gives up what was due
// too long ago.
func (l *loop) send(now mono.Time) {
	for range 1024 { // not longer: answers have come meanwhile
		if !l.more || l.ahead.at > now {
			return
		}
		c := l.idle.first
		if late := now.Sub(l.ahead.at); late >= l.plan.Timeout {
			why := Busy
			if l.busy.n+l.idle.n == 0 {
				why = Refused
			}
			l.add(Record{
				At: l.ahead.at, Free: late, Done: late, Rows: uint32(l.ahead.rows), Phase: uint16(l.phase),
				Model: uint8(l.ahead.model), Outcome: why, Exit: -1, Warm: l.ahead.warm,
			})
			l.advance()
			continue
		}
		if c == nil {
			return
		}
		l.fire(c, l.ahead)
		l.advance()
		now = l.now()
	}
}

// expire gives up requests whose time is over.
func (l *loop) expire(now mono.Time) {
	for c := l.busy.first; c != nil && l.expiry(c) <= now; c = l.busy.first {
		l.fail(c, Timeout)
	}
}

// add records a request that has ended.
func (l *loop) add(r Record) {
	if l.records = append(l.records, r); len(l.records) >= chunk {
		l.flush()
	}
}

// flush hands the records over.
func (l *loop) flush() {
	l.flushed = l.now()
	if len(l.records) > 0 {
		l.sink <- l.records
		l.records = make([]Record, 0, chunk)
	}
}
