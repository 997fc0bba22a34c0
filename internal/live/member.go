package live

import (
	"context"
	"errors"
	"slices"
	"time"

	"motley/internal/dispatch"
	"motley/internal/mono"
	"motley/internal/pool"
)

// Member is a worker of the pool, from its joining until it is gone.
type Member struct {
	Joining
	id   pool.WorkerID
	loop *Loop
	ctx  context.Context // of its prober
	stop context.CancelFunc
	up   chan struct{} // closed when it was found up for the first time
	gone chan struct{} // closed when nothing is left of it

	// Guarded by Loop.mu.
	runs      int  // executions on it that have not ended
	leaving   bool // it is to go
	departing bool // depart runs
	resting   bool // it is about to go and gets no work at all
	vacant    bool // nothing held it when that was looked at last
	removed   bool // the core has forgotten it, but for what it still runs
	began     mono.Time
	until     mono.Time
	freed     mono.Time // when its ID was given back; Never before

	nudge   chan struct{} // tells depart that something has changed
	quiet   chan struct{} // closed when it was removed and runs nothing
	watched chan struct{} // closed when its prober has ended; nil: it has none
}

// ErrStopping is that a loop which is being closed takes in nobody.
var ErrStopping = errors.New("the router is stopping")

// reuse is how long the ID of a worker that is gone is left alone: metrics, logs and
// answers under way name workers by ID.
const reuse = time.Minute

// linger is how long a worker that leaves stays at least, where it may: for requests
// that were let in for a model which nobody else serves, and are still being read.
const linger = time.Second

func newMember(l *Loop, j Joining) *Member {
	m := &Member{
		Joining: j, loop: l, up: make(chan struct{}), gone: make(chan struct{}), freed: mono.Never,
		nudge: make(chan struct{}, 1), quiet: make(chan struct{}),
	}
	m.ctx, m.stop = context.WithCancel(l.ctx)
	return m
}

// ID is its place in the core. It may be another worker's a minute after Gone.
func (m *Member) ID() pool.WorkerID { return m.id }

// Up is closed once the worker was found to be up.
func (m *Member) Up() <-chan struct{} { return m.up }

// Gone is closed once the worker is gone and its backend closed.
func (m *Member) Gone() <-chan struct{} { return m.gone }

// Member returns the worker with that ID.
func (l *Loop) Member(id pool.WorkerID) *Member { return l.worker(id) }

// Join takes in a worker. Where the loop watches its workers, this one gets work once it
// has answered a probe. The error is ErrStopping; the backend is not closed then.
func (l *Loop) Join(j Joining) (*Member, error) {
	m := newMember(l, j)
	var wakes wakeList
	l.mu.Lock()
	if l.mu.stopping {
		l.mu.Unlock()
		m.stop()
		return nil, ErrStopping
	}
	if l.mu.watching {
		m.Worker.State = pool.Starting
	}
	now := l.now()
	t := l.table.Load().with()
	m.id = pool.WorkerID(len(t.workers))
	for i, old := range t.workers {
		if old.freed.Add(reuse) <= now && old.freed != mono.Never {
			m.id = pool.WorkerID(i)
			break
		}
	}
	if int(m.id) == len(t.workers) {
		t.workers = append(t.workers, nil)
	}
	t.workers[m.id] = m
	l.table.Store(t)
	if m.Placed != nil {
		m.Placed(m.id)
	}
	l.stepLocked(dispatch.Event{At: now, Kind: dispatch.WorkerJoin, Worker: m.id, Change: &dispatch.Change{Worker: m.Worker}}, &wakes)
	if l.mu.watching {
		l.probeLocked(m, nil)
	}
	l.mu.Unlock()
	wakes.send(nil)
	l.clinic.joined(m)
	return m, nil
}

// Leave has the worker go. It gets no new work that another one which is up could
// do, and goes when nothing holds it any more, but at the end of within at the
// latest: what it runs then is tried elsewhere. Of two calls the later one counts.
func (m *Member) Leave(within time.Duration) {
	l := m.loop
	var wakes wakeList
	l.mu.Lock()
	if !l.mu.stopping && !m.removed {
		now := l.now()
		m.until = now.Add(max(0, within))
		if !m.leaving {
			m.leaving, m.began, m.vacant = true, now, false
			l.mu.leaving = append(l.mu.leaving, m)
			l.stepLocked(dispatch.Event{At: now, Kind: dispatch.WorkerLeave, Worker: m.id}, &wakes)
		}
		if !m.departing {
			m.departing = true
			l.done.Go(m.depart)
		}
		m.poke()
	}
	l.mu.Unlock()
	wakes.send(nil)
}

// Stay takes back a Leave, and reports whether that was in time.
func (m *Member) Stay() bool {
	l := m.loop
	var wakes wakeList
	l.mu.Lock()
	stays := !m.removed
	if stays && m.leaving {
		l.unleaveLocked(m)
		now := l.now()
		l.stepLocked(dispatch.Event{At: now, Kind: dispatch.WorkerStay, Worker: m.id}, &wakes)
		if m.resting {
			m.restOrWorkLocked(now, &wakes)
		}
		m.poke()
	}
	l.mu.Unlock()
	wakes.send(nil)
	return stays
}

// Leaving reports whether the worker is to go.
func (m *Member) Leaving() bool {
	m.loop.mu.Lock()
	defer m.loop.mu.Unlock()
	return m.leaving
}

func (l *Loop) unleaveLocked(m *Member) {
	m.leaving = false
	l.mu.leaving = slices.DeleteFunc(l.mu.leaving, func(o *Member) bool { return o == m })
}

// poke wakes up depart.
func (m *Member) poke() {
	select {
	case m.nudge <- struct{}{}:
	default:
	}
}

// vacantLocked wakes up those that nothing holds any more.
func (l *Loop) vacantLocked() {
	for _, m := range l.mu.leaving {
		vacant := l.mu.core.Vacant(m.id)
		if vacant && !m.vacant {
			m.poke()
		}
		m.vacant = vacant
	}
}

// depart sees a worker off that is to leave.
func (m *Member) depart() {
	l := m.loop
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-m.nudge:
		case <-timer.C:
		}
		next, done := m.look()
		if done {
			break
		}
		if next == mono.Never { // it stays
			return
		}
		timer.Reset(next.Sub(l.now()))
	}
	m.clear()
}

// look reports whether the worker goes now, else when to look again; Never where it
// does not leave any more.
func (m *Member) look() (next mono.Time, done bool) {
	l := m.loop
	var wakes wakeList
	defer func() { wakes.send(nil) }()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !m.leaving {
		m.departing = false
		return mono.Never, false
	}
	now := l.now()
	m.vacant = l.mu.core.Vacant(m.id)
	stays, rest := min(m.began.Add(linger), m.until), m.restLocked()
	switch {
	case now >= m.until, m.vacant && now >= stays:
		m.goLocked(now, &wakes)
		return now, true
	case now >= rest != m.resting: // it was given more time where it rests already
		m.restOrWorkLocked(now, &wakes)
	}
	next = m.until
	for _, at := range []mono.Time{stays, rest} {
		if at > now {
			next = min(next, at)
		}
	}
	return next, false
}

// restOrWorkLocked has a worker rest that works, and work again one that rests.
func (m *Member) restOrWorkLocked(now mono.Time, wakes *wakeList) {
	m.resting = !m.resting
	from, to := pool.Up, pool.Draining
	if !m.resting {
		from, to = to, from
	}
	if m.loop.mu.core.Worker(m.id).State == from {
		m.loop.stepLocked(dispatch.Event{At: now, Kind: dispatch.WorkerState, Worker: m.id, State: to}, wakes)
	}
}

// restLocked is when a worker that leaves stops to take work that only it could do,
// so that it ends before it has to go: as long before as its largest batches take.
func (m *Member) restLocked() mono.Time {
	longest := time.Duration(0)
	for _, s := range m.Worker.Serves {
		p := m.loop.mu.core.Profile(s.Model, m.Worker.Type)
		limit := min(m.loop.mu.core.Limit(m.id, s.Model), m.loop.mu.core.ModelConfig(s.Model).MaxBatch)
		if p != nil && p.Known() && limit > 0 {
			longest = max(longest, p.Mean(limit))
		}
	}
	return m.until.Add(-min(longest, m.until.Sub(m.began)/2))
}

// goLocked has the core forget the worker. What it runs is tried elsewhere.
func (m *Member) goLocked(now mono.Time, wakes *wakeList) {
	l := m.loop
	l.unleaveLocked(m)
	m.removed = true
	l.stepLocked(dispatch.Event{At: now, Kind: dispatch.WorkerGone, Worker: m.id}, wakes)
	if m.runs == 0 {
		close(m.quiet)
	}
}

// clear frees what a worker held that is gone, once it runs nothing.
func (m *Member) clear() {
	l := m.loop
	l.clinic.left(m)
	m.stop()
	if m.watched != nil {
		<-m.watched
	}
	<-m.quiet
	if err := m.Backend.Close(); err != nil {
		l.log.Warn("worker's connections do not close", "worker", m.Worker.Name, "error", err)
	}
	if m.Closed != nil {
		m.Closed()
	}
	l.mu.Lock()
	m.freed = l.now()
	l.mu.Unlock()
	l.log.Info("worker is gone", "worker", m.Worker.Name)
	close(m.gone)
}

// ranLocked notes that an execution on the worker has ended.
func (m *Member) ranLocked() {
	if m.runs--; m.runs == 0 && m.removed {
		close(m.quiet)
	}
}

// tell steps the core with an event about a worker that is there. One that is up again
// while it rests goes on resting, to work when it is to stay after all.
func (m *Member) tell(ev dispatch.Event) {
	l := m.loop
	var wakes wakeList
	l.mu.Lock()
	if !m.removed {
		if m.resting && ev.Kind == dispatch.WorkerState && ev.State == pool.Up {
			ev.State = pool.Draining
		}
		ev.At, ev.Worker = l.now(), m.id
		l.stepLocked(ev, &wakes)
	}
	l.mu.Unlock()
	wakes.send(nil)
}
