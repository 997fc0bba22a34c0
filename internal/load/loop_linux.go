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

// fire sends a request over an idle connection.
func (l *loop) fire(c *conn, x shot) {
	c.bodies = l.plan.Models[x.model]
	rows, labels := c.bodies.build(&c.out, l.prefixes[x.model], x)
	c.labels, c.left = labels, c.out.parts
	c.reply, c.in = reply{}, c.in[:0]
	c.rec = Record{
		At: x.at, Free: max(0, c.since.Sub(x.at)), Rows: uint32(rows),
		Phase: uint16(l.phase), Model: uint8(x.model), Exit: -1, Warm: x.warm,
	}
	l.busy.push(c)
	l.write(c)
	c.fresh = false
}

func (l *loop) write(c *conn) {
	done, err := c.write()
	if err != nil {
		l.fail(c, Reset)
		return
	}
	if c.rec.Sent == 0 { // how long the rest takes is for the server to decide
		c.rec.Sent = l.now().Sub(c.rec.At)
	}
	if done == c.blocked {
		c.blocked = !done
		l.rewatch(c)
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
	c.nth++
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

// expire gives up requests whose time is over.
func (l *loop) expire(now mono.Time) {
	for c := l.busy.first; c != nil && l.expiry(c) <= now; c = l.busy.first {
		l.fail(c, Timeout)
	}
}

// fail ends a request without an answer.
func (l *loop) fail(c *conn, why Outcome) {
	c.rec.Outcome = why
	c.rec.Done = l.now().Sub(c.rec.At)
	if c.rec.Sent == 0 {
		c.rec.Sent = c.rec.Done
	}
	l.add(c.rec)
	c.fresh = false
	l.shut(c)
}

// handle takes what came over a connection.
func (l *loop) handle(c *conn, events uint32) {
	switch {
	case c.on == &l.opening:
		if err := dialed(c.fd); err != nil {
			l.lastErr = err
			l.shut(c)
			return
		}
		c.blocked = false
		l.rewatch(c)
		c.since = l.now()
		l.idle.push(c)
		return
	case c.on == &l.busy && events&unix.EPOLLOUT != 0:
		if l.write(c); c.on != &l.busy {
			return
		}
	}
	if events&^unix.EPOLLOUT != 0 {
		l.read(c)
	}
}

// read takes bytes of an answer.
func (l *loop) read(c *conn) {
	n, err := unix.Read(c.fd, l.scratch)
	if err == unix.EAGAIN || err == unix.EINTR {
		return
	}
	if c.on != &l.busy { // an idle connection that was closed, or speaks unasked
		l.shut(c)
		return
	}
	if err != nil || n <= 0 {
		l.fail(c, Reset)
		return
	}
	b := l.scratch[:n]
	if len(c.in) > 0 {
		c.in = append(c.in, b...)
		b = c.in
	}
	end, err := c.reply.parse(b)
	for err == nil && end > 0 && end < len(b) && c.reply.status < 200 { // an interim answer
		b = b[end:]
		c.reply = reply{}
		end, err = c.reply.parse(b)
	}
	switch {
	case err != nil || end > 0 && (end < len(b) || c.reply.status < 200 || len(c.left) > 0 && c.reply.status < 300):
		l.fail(c, Garbled)
	case end == 0:
		if len(c.in) == 0 || &b[0] != &c.in[0] {
			c.in = append(c.in[:0], b...)
		}
	default:
		l.done(c, b, end)
	}
}

// done ends a request with the answer that b holds.
func (l *loop) done(c *conn, b []byte, end int) {
	now := l.now()
	rec, r := &c.rec, &c.reply
	rec.Done = now.Sub(rec.At)
	rec.Status = uint16(r.status)
	switch {
	case r.status != 200:
		rec.Outcome = Status
	case !l.plan.Unchecked:
		exit := -1
		rec.Outcome, exit = l.check.judge(c.bodies, r.content(b, end), r.headLength, int(rec.Rows))
		if exit < 0 {
			exit = r.exit
		}
		rec.Exit = int8(exit)
		if rec.Outcome == OK && c.labels != nil {
			right := 0
			if right, rec.Labelled = l.check.right(c.labels); rec.Labelled {
				rec.Right = uint32(right)
			}
		}
	}
	l.add(*rec)
	if r.hangUp || len(c.left) > 0 {
		l.shut(c)
		return
	}
	c.since = now
	if cap(c.in) > 64<<10 { // a large answer's memory is not kept with every connection
		c.in = nil
	}
	l.idle.push(c)
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
