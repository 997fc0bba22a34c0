package live

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"motley/internal/backend"
	"motley/internal/dispatch"
	"motley/internal/gate"
	"motley/internal/mono"
	"motley/internal/pool"
)

// Config is what a Loop is made of.
type Config struct {
	Core     dispatch.Config
	Backends []backend.Backend // one per worker, in the order of Core.Workers
	Observer Observer          // nil: nobody is told
	Log      *slog.Logger      // nil: slog.Default()
	// Trace is given every event with the actions that it led to, under the
	// loop's lock. The actions are valid only during the call. nil: none.
	Trace func(dispatch.Event, []dispatch.Action)
	Probe ProbeConfig
	// Gates decide, by model, who is answered early; nil, and past the end of a
	// short slice: nobody.
	Gates []*gate.Gate
	// Traced says that requests have their places in traces, and so shall batches.
	Traced bool
	// Health says how workers are judged; nil: they are not.
	Health *HealthConfig
}

// Loop owns a dispatch core. All methods may be called from several goroutines
// at once.
type Loop struct {
	cfg      Config
	log      *slog.Logger
	epoch    time.Time
	table    atomic.Pointer[table] // table.go
	learning sync.Mutex            // one writer of infos at a time; taken before mu
	done     sync.WaitGroup        // probers and executions
	stop     context.CancelFunc    // ends the probers
	ctx      context.Context

	clinic *clinic // health.go; nil: nobody judges

	tickets, executions sync.Pool // of idle ones: *ticket, *execution

	mu struct {
		sync.Mutex
		core     *dispatch.Core
		ids      dispatch.IDs
		tickets  []*ticket    // by RequestID.Index; nil where no request is live
		runs     []*execution // by the low 32 bits of BatchID
		actions  []dispatch.Action
		steps    uint64 // of the core so far
		timer    *time.Timer
		armed    mono.Time     // when the timer fires
		live     int           // requests inside Do
		stopping bool          // nothing is let in any more
		closed   bool          // the timer stands still
		watching bool          // workers are probed
		leaving  []*Member     // that are to go; member.go
		idle     chan struct{} // closed when stopping and live is 0
	}
}

// New returns a loop whose workers are in the states that cfg gives them. Call
// Close when it is not needed any more.
func New(cfg Config) (*Loop, error) {
	if len(cfg.Backends) != len(cfg.Core.Workers) {
		return nil, fmt.Errorf("BUG: %d backends for %d workers", len(cfg.Backends), len(cfg.Core.Workers))
	}
	core, err := dispatch.New(cfg.Core)
	if err != nil {
		return nil, err
	}
	l := &Loop{cfg: cfg, log: cfg.Log, epoch: time.Now()}
	if l.log == nil {
		l.log = slog.Default()
	}
	l.ctx, l.stop = context.WithCancel(context.Background())
	l.tickets.New, l.executions.New = newTicket, l.newExecution
	l.table.Store(newTable(l, &cfg))
	l.mu.core = core
	l.mu.armed = mono.Never
	l.mu.timer = time.AfterFunc(time.Hour, l.tick)
	l.mu.timer.Stop()
	l.mu.idle = make(chan struct{})
	l.clinic = newClinic(l, cfg.Health)
	return l, nil
}

// now is the instant on the loop's clock. Only read under the lock does it
// never run backwards.
func (l *Loop) now() mono.Time { return mono.Time(time.Since(l.epoch)) }

// ticket is a request inside Do.
type ticket struct {
	req      *Request
	id       dispatch.RequestID
	arrived  mono.Time
	refs     int              // executions that read the request; guarded by Loop.mu
	busy     bool             // its goroutine carries out an execution; guarded by Loop.mu
	ended    bool             // its outcome is settled; guarded by Loop.mu
	by       dispatch.BatchID // the batch whose answer is the outcome, where answered
	answered bool
	err      error  // the outcome; settled before wake
	parts    []part // answers of some rows each; guarded by Loop.mu until the outcome is settled
	cause    error  // why the last execution of it that failed did
	ch       chan *execution
	waiter   Waiter // who is told of the outcome; nil: a goroutine waits on ch
	loop     *Loop
}

// newTicket makes a ticket to be used again and again. Its goroutine waits on
// ch. It is sent either an execution to carry out, or nil when its outcome is
// settled and nothing reads its request any more. There is never more than one
// message unread: an execution is handed only to a ticket that carries none,
// and nil is sent last.
func newTicket() any { return &ticket{ch: make(chan *execution, 1)} }

// wake is a message to be sent once the lock is released.
type wake struct {
	t  *ticket
	ex *execution
}

// Do runs one request to its end: nil when r.Call.Response holds the answer, a
// *Refusal when no worker answered, an *oip.Error or *backend.Error when the
// request itself is at fault. It blocks until then. The goroutine that calls
// it may carry out executions on behalf of others.
func (l *Loop) Do(r *Request) error { return l.do(context.Background(), r) }

// Waiter is told that its request, which it gave to Begin, is at its end: err is what Do
// would have returned.
type Waiter interface{ Answered(err error) }

// Begin starts what Do does, and returns; w is told the outcome, once, perhaps
// before Begin returns, on any goroutine. Where r.Call.Home is set, Begin is called
// on that reactor's goroutine. What it returns is for Leave.
func (l *Loop) Begin(r *Request, w Waiter) dispatch.RequestID {
	var wakes wakeList
	home := r.Call.Home // r may be answered, and used again, from here on
	t, id := l.enter(r, w, &wakes)
	if t == nil {
		w.Answered(&Refusal{Reason: Stopping})
		return 0
	}
	wakes.send(home)
	return id
}

// do is Do, up to the end of ctx.
func (l *Loop) do(ctx context.Context, r *Request) error {
	var wakes wakeList
	t, id := l.enter(r, nil, &wakes)
	if t == nil {
		return &Refusal{Reason: Stopping}
	}
	wakes.send(nil)
	if ctx.Done() != nil {
		defer l.watchClient(ctx, id)()
	}
	for ex := <-t.ch; ex != nil; ex = <-t.ch {
		l.carry(ex)
	}
	return t.leave()
}

// enter tells the core of a request. It returns nil where nothing is let in any
// more.
func (l *Loop) enter(r *Request, w Waiter, wakes *wakeList) (*ticket, dispatch.RequestID) {
	t := l.tickets.Get().(*ticket)
	*t = ticket{req: r, ch: t.ch, parts: t.parts[:0], waiter: w, loop: l}
	r.reset()

	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.stopping {
		l.tickets.Put(t)
		return nil, 0
	}
	l.mu.live++
	id := l.mu.ids.New()
	t.id = id
	for int(t.id.Index()) >= len(l.mu.tickets) {
		l.mu.tickets = append(l.mu.tickets, nil)
	}
	l.mu.tickets[t.id.Index()] = t
	t.arrived = l.now()
	l.stepLocked(dispatch.Event{
		At: t.arrived, Kind: dispatch.Arrive, Request: t.id, Model: r.Model, Size: r.Size,
		Deadline: l.deadlineLocked(t.arrived, r), Priority: r.Priority, MergeKey: r.MergeKey, Tenant: r.Tenant,
		Whole: r.Whole || r.Ramps != 0, // a ramp is shown whole
	}, wakes)
	return t, id
}

// leave gives the ticket of a request that is at its end back, and returns the
// outcome.
func (t *ticket) leave() error {
	if t.err == nil && len(t.parts) > 0 {
		t.join()
	}
	err := t.err
	t.req, t.waiter = nil, nil
	clear(t.parts)
	t.loop.tickets.Put(t)
	return err
}

// end tells the waiter.
func (t *ticket) end() {
	w := t.waiter
	w.Answered(t.leave())
}

// reset clears what Do fills in.
func (r *Request) reset() {
	r.Worker, r.Batch, r.Merged, r.Parts, r.Attempts, r.Queued, r.Ran, r.Exit, r.Confidence = -1, 0, 0, 0, 0, 0, 0, -1, 0
}

func (l *Loop) deadlineLocked(now mono.Time, r *Request) mono.Time {
	if r.Timeout > 0 {
		return now.Add(r.Timeout)
	}
	return now.Add(l.mu.core.ModelConfig(r.Model).QoS)
}

// stepLocked steps the core and turns its actions into executions and
// outcomes. The wake-ups are left in wakes, to be sent without the lock.
func (l *Loop) stepLocked(ev dispatch.Event, wakes *wakeList) {
	l.mu.steps++
	timed := l.cfg.Observer != nil && l.mu.steps%StepsPerReport == 0
	var began mono.Time
	if timed {
		began = l.now() // ev.At lies further back
	}
	actions := l.mu.core.Step(ev, l.mu.actions[:0])
	l.mu.actions = actions
	if timed {
		l.cfg.Observer.Stepped(l.now().Sub(began))
	}
	if l.cfg.Trace != nil {
		l.cfg.Trace(ev, actions)
	}
	for i := range actions {
		a := &actions[i]
		switch a.Kind {
		case dispatch.Start:
			l.startLocked(a, ev.At, wakes)
		case dispatch.Answer:
			t := l.mu.tickets[a.Request.Index()]
			t.by, t.answered = a.Batch, true
			l.settleLocked(a.Request, nil, wakes)
		case dispatch.Reject, dispatch.GiveUp:
			l.refuseLocked(a, wakes)
		case dispatch.CancelBatch:
			l.mu.runs[uint32(a.Batch)].callOff(ev.Kind)
		}
	}
	if len(l.mu.leaving) > 0 {
		l.vacantLocked()
	}
	l.armLocked(ev.At)
}

// armLocked sees to it that the timer fires by the core's next deadline. A
// timer that stands for an earlier instant is left alone, since putting off
// costs more than a call of tick that finds nothing due.
func (l *Loop) armLocked(now mono.Time) {
	if next := l.mu.core.NextDeadline(); next < l.mu.armed && !l.mu.closed {
		l.mu.armed = next
		l.mu.timer.Reset(max(0, next.Sub(now)))
	}
}

// tick is the timer's: it lets the core notice that time has passed. The core
// is stepped only when something is due, so that how often the timer fires
// does not show in its decisions.
func (l *Loop) tick() {
	var wakes wakeList
	l.mu.Lock()
	l.mu.armed = mono.Never
	if now := l.now(); l.mu.core.NextDeadline() <= now {
		l.stepLocked(dispatch.Event{At: now, Kind: dispatch.Tick}, &wakes)
	} else {
		l.armLocked(now)
	}
	l.mu.Unlock()
	wakes.send(nil)
}

// settleLocked fixes a request's outcome. Its client is woken once nothing
// reads the request any more.
func (l *Loop) settleLocked(id dispatch.RequestID, err error, wakes *wakeList) {
	t := l.mu.tickets[id.Index()]
	l.mu.tickets[id.Index()] = nil
	l.mu.ids.Free(id)
	t.ended, t.err = true, err
	l.mu.live--
	if l.mu.stopping && l.mu.live == 0 {
		close(l.mu.idle)
	}
	if t.refs == 0 {
		wakes.add(t, nil)
	}
}

func (l *Loop) refuseLocked(a *dispatch.Action, wakes *wakeList) {
	t := l.mu.tickets[a.Request.Index()]
	var err error
	switch a.Reason {
	case dispatch.QueueFull:
		err = &Refusal{Reason: QueueFull, RetryAfter: l.mu.core.ComeBack(a.Model)}
	case dispatch.Share:
		err = &Refusal{Reason: Share, RetryAfter: l.mu.core.ComeBack(a.Model)}
	case dispatch.Deadline:
		r := &Refusal{Reason: Deadline, Cause: t.cause}
		// Where even an idle pool would be too late, waiting is no use.
		deadline := l.deadlineLocked(t.arrived, t.req)
		if t.arrived.Add(l.mu.core.Idle(a.Model, t.req.Size)) <= deadline {
			r.RetryAfter = l.mu.core.ComeBack(a.Model)
		}
		err = r
	case dispatch.NoWorker:
		err = &Refusal{Reason: NoWorker, RetryAfter: time.Second, Cause: t.cause}
	case dispatch.TooLarge:
		err = &Refusal{Reason: TooLarge}
	case dispatch.Refused:
		err = t.cause
	case dispatch.Poisoned:
		err = &Refusal{Reason: Poisoned, Cause: t.cause}
	case dispatch.OverBudget:
		err = &Refusal{Reason: OverBudget, RetryAfter: time.Second, Cause: t.cause}
	default:
		err = &Refusal{Reason: Failed, Cause: t.cause}
	}
	l.settleLocked(a.Request, err, wakes)
}

// Close refuses what comes from now on, waits until every request inside Do
// has its outcome and every execution has ended, and frees what the loop holds,
// backends included. When ctx ends first, the requests that are left are
// refused as Stopping, the executions are cancelled, and Close returns an error
// once those have returned.
func (l *Loop) Close(ctx context.Context) error {
	l.mu.Lock()
	if !l.mu.stopping {
		l.mu.stopping = true
		if l.mu.live == 0 {
			close(l.mu.idle)
		}
	}
	l.mu.Unlock()
	var errs []error
	select {
	case <-l.mu.idle:
	case <-ctx.Done():
		if n := l.refuseAll(); n > 0 {
			errs = append(errs, fmt.Errorf("cannot wait for %d requests in flight: %w", n, ctx.Err()))
		}
	}
	l.stop()
	defer context.AfterFunc(ctx, l.stopRuns)()
	l.done.Wait()
	l.mu.Lock()
	l.mu.closed = true
	l.mu.timer.Stop()
	l.mu.Unlock()
	for _, m := range l.table.Load().workers {
		if m.freed == mono.Never {
			errs = append(errs, m.Backend.Close())
		}
	}
	return errors.Join(errs...)
}

// stopRuns cancels the executions that are left: nobody waits for them but those
// who learn how early answers have turned out.
func (l *Loop) stopRuns() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ex := range l.mu.runs {
		if ex != nil {
			ex.stop()
		}
	}
}

// refuseAll ends every request inside Do and returns how many there were. The
// core calls off the executions that nobody waits for then.
func (l *Loop) refuseAll() int {
	var wakes wakeList
	l.mu.Lock()
	n := l.mu.live
	for _, t := range l.mu.tickets {
		if t != nil {
			l.cancelLocked(t.id, &Refusal{Reason: Stopping}, &wakes)
		}
	}
	l.mu.Unlock()
	wakes.send(nil)
	return n
}

// SetState tells the core that a worker's state has changed.
func (l *Loop) SetState(w pool.WorkerID, s pool.State) {
	l.inject(dispatch.Event{Kind: dispatch.WorkerState, Worker: w, State: s})
}

// inject steps the core with an event that happens now.
func (l *Loop) inject(ev dispatch.Event) {
	var wakes wakeList
	l.mu.Lock()
	ev.At = l.now()
	l.stepLocked(ev, &wakes)
	l.mu.Unlock()
	wakes.send(nil)
}
