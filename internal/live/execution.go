package live

import (
	"context"
	"errors"
	"time"

	"motley/internal/backend"
	"motley/internal/dispatch"
	"motley/internal/mono"
	"motley/internal/oip"
	"motley/internal/pool"
	"motley/internal/reactor"
)

// execution is one batch on its way through a backend. Its calls are its own,
// so that an execution that was given up cannot write into the answer that
// another one gives.
type execution struct {
	batch     dispatch.BatchID
	worker    pool.WorkerID
	model     pool.ModelID
	member    *Member // the worker
	name      string  // the model's
	items     int
	started   mono.Time
	predicted time.Duration
	lead      *ticket       // whose goroutine carries it; nil: one of its own, or none
	home      *reactor.Loop // of a member; nil: they came without one
	off       bool          // the core has taken the members away; guarded by Loop.mu
	members   []*ticket
	rows      []dispatch.Rows // by member; empty where all run whole
	slices    []oip.Request   // of members of which only some rows run
	calls     []backend.Call
	ptrs      []*backend.Call
	ctx       context.Context // used again until it is cancelled: one that is not holds nothing
	cancel    context.CancelFunc
	staged    backend.Staged // runs it past its exits; nil: it runs as a whole
	watch     *watch         // where it is staged
	loop      *Loop
	flight    backend.Flight // where it runs without a goroutine
	names     names          // names.go
}

// newExecution makes an execution to be used again and again.
func (l *Loop) newExecution() any {
	ex := &execution{loop: l}
	ex.flight.Done = ex
	return ex
}

// wakeList collects the messages of one step. The first few need no memory.
type wakeList struct {
	few  [8]wake
	n    int
	more []wake
}

func (w *wakeList) add(t *ticket, ex *execution) {
	if w.n < len(w.few) {
		w.few[w.n] = wake{t, ex}
		w.n++
		return
	}
	w.more = append(w.more, wake{t, ex})
}

// send delivers the messages. Every channel has room: see tickets. on is the
// reactor whose goroutine this is; nil: another.
func (w *wakeList) send(on *reactor.Loop) {
	for _, m := range w.few[:w.n] {
		m.send(on)
	}
	for _, m := range w.more {
		m.send(on)
	}
}

func (m wake) send(on *reactor.Loop) {
	switch {
	case m.t == nil:
		m.ex.launch(on)
	case m.t.waiter != nil:
		m.t.end()
	default:
		m.t.ch <- m.ex
	}
}

// startLocked makes an execution of a Start action and hands it to the
// goroutine of its first member that carries none yet: that goroutine waits
// for the answer anyway, so no other has to be woken. One that clients may leave
// early has a goroutine of its own.
func (l *Loop) startLocked(a *dispatch.Action, at mono.Time, wakes *wakeList) {
	ex := l.executions.Get().(*execution)
	ex.batch, ex.worker, ex.model, ex.started = a.Batch, a.Worker, a.Model, at
	ex.predicted = l.mu.core.Predicted(a.Batch)
	ex.member, ex.name = l.worker(a.Worker), l.model(a.Model).Name
	ex.member.runs++
	ex.items, ex.lead, ex.home, ex.off = 0, nil, nil, false
	ex.flight.Reset()
	ex.members, ex.calls, ex.ptrs, ex.rows = ex.members[:0], ex.calls[:0], ex.ptrs[:0], append(ex.rows[:0], a.Rows...)
	l.stageLocked(ex, a)
	for i, id := range a.Requests {
		t := l.mu.tickets[id.Index()]
		t.refs++
		t.req.Attempts++
		if a.Rows == nil {
			ex.items += t.req.Size
		} else {
			ex.items += a.Rows[i].Count
		}
		ex.members = append(ex.members, t)
		if ex.lead == nil && !t.busy && ex.staged == nil && t.waiter == nil {
			ex.lead = t
		}
		if ex.home == nil {
			ex.home = t.req.Call.Home
		}
	}
	// Response buffers of earlier executions are used again where they stand.
	for i, t := range ex.members {
		if i < cap(ex.calls) {
			ex.calls = ex.calls[:i+1]
		} else {
			ex.calls = append(ex.calls, backend.Call{})
		}
		c := &ex.calls[i]
		c.Request, c.Err, c.Ramps, c.Mark, c.Exit, c.Confidence = t.req.Call.Request, nil, 0, false, -1, 0
		c.ID, c.Trace = t.req.Call.ID, t.req.Call.Trace
		if ex.staged != nil {
			c.Ramps, c.Mark = t.req.Ramps, true
		}
	}
	for i := range ex.calls {
		ex.ptrs = append(ex.ptrs, &ex.calls[i])
	}
	if ex.ctx == nil || ex.ctx.Err() != nil {
		ex.ctx, ex.cancel = context.WithCancel(context.Background())
	}
	slot := uint32(a.Batch)
	for int(slot) >= len(l.mu.runs) {
		l.mu.runs = append(l.mu.runs, nil)
	}
	l.mu.runs[slot] = ex
	l.done.Add(1) // before the request that it carries can end, hence before Close waits
	if ex.staged == nil && ex.home != nil {
		if _, ok := ex.member.Backend.(backend.Starter); ok {
			ex.lead = nil
			wakes.add(nil, ex)
			return
		}
	}
	if ex.lead == nil {
		go l.carry(ex)
		return
	}
	ex.lead.busy = true
	wakes.add(ex.lead, ex)
}

// launch begins the execution on the reactor whose goroutine this is; where it is none,
// on that of a member.
func (ex *execution) launch(on *reactor.Loop) {
	if on == nil {
		if !ex.home.Post(ex) {
			go ex.loop.carry(ex)
		}
		return
	}
	l := ex.loop
	if err := ex.slice(); err != nil {
		l.finish(ex, err, on)
		return
	}
	ex.identify()
	starter := ex.member.Backend.(backend.Starter)
	if !starter.Start(ex.ctx, on, ex.name, ex.ptrs, &ex.flight) {
		go func() { l.finish(ex, l.run(ex), nil) }()
	}
}

// Run implements reactor.Task, for launch.
func (ex *execution) Run() { ex.launch(ex.home) }

// Ended implements backend.Ender.
func (ex *execution) Ended(on *reactor.Loop, err error) { ex.loop.finish(ex, err, on) }

// The causes that a client is told when the loop itself ended an execution:
// what Run returns then says no more than that it was cancelled.
var (
	errHung = &backend.Error{Class: backend.Timeout, Status: 504, Message: "the worker did not answer in time"}
	errDown = &backend.Error{Class: backend.Connect, Status: 502, Message: "the worker went down"}
)

// callOff stops an execution that the core has taken the members away from,
// on an event of the given kind. The loop's lock is held.
func (ex *execution) callOff(on dispatch.EventKind) {
	ex.off = true
	cause := errHung
	switch on {
	case dispatch.WorkerState, dispatch.WorkerGone:
		cause = errDown
	case dispatch.Finish, dispatch.Exit: // another one has answered its members
		cause = nil
	}
	for _, t := range ex.members {
		if t != nil && !t.ended && cause != nil {
			t.cause = cause
		}
	}
	ex.stop()
}

// stop ends it early, wherever it runs.
func (ex *execution) stop() {
	ex.cancel()
	ex.flight.Cancel()
}

// carry runs an execution and tells the core how it ended.
func (l *Loop) carry(ex *execution) {
	err := ex.slice()
	if err == nil {
		ex.identify()
		err = l.run(ex)
	}
	l.finish(ex, err, nil)
}

// run runs an execution whose calls are made, and waits for its end.
func (l *Loop) run(ex *execution) error {
	if ex.staged != nil {
		return ex.staged.RunStaged(ex.ctx, ex.name, ex.ptrs, ex.watch)
	}
	return ex.member.Backend.Run(ex.ctx, ex.name, ex.ptrs)
}

// finish tells the core how an execution ended. on is the reactor whose goroutine
// this is; nil: another.
func (l *Loop) finish(ex *execution, err error, on *reactor.Loop) {
	var wakes wakeList

	l.mu.Lock()
	at := l.now()
	ran := at.Sub(ex.started)
	l.mu.runs[uint32(ex.batch)] = nil
	retried := l.mu.core.Counts().Retried
	ev := dispatch.Event{At: at, Kind: dispatch.Finish, Batch: ex.batch}
	if err != nil {
		ev.Kind, ev.Fault = dispatch.Fail, faultOf(err)
	} else if ex.staged != nil {
		ev.Stages = ex.watch.stages()
	}
	l.clinic.batchLocked(&ev, ex.started) // health.go
	for i, t := range ex.members {
		if t == nil { // it has left
			continue
		}
		if err == nil && !ex.off && !t.ended {
			first := !ex.partial(i) || t.keep(ex, i)
			if first && ex.staged != nil {
				ex.watch.answered(i)
			}
		}
		if !t.ended && err != nil && ev.Fault != dispatch.NoFault {
			t.cause = err
		}
	}
	if ex.lead != nil {
		ex.lead.busy = false
	}
	ex.member.ranLocked()
	l.stepLocked(ev, &wakes)
	retried = l.mu.core.Counts().Retried - retried
	for i, t := range ex.members {
		if t == nil {
			continue
		}
		t.refs--
		if !t.ended {
			continue
		}
		if t.answered && t.by == ex.batch {
			t.deliver(ex, i, ran)
		}
		if t.refs == 0 {
			wakes.add(t, nil)
		}
	}
	l.mu.Unlock()

	if ex.staged != nil {
		ex.watch.learn()
	}
	if l.cfg.Observer != nil {
		l.cfg.Observer.BatchDone(BatchReport{
			Worker: ex.worker, Model: ex.model, Requests: len(ex.members), Items: ex.items,
			Ran: ran, Predicted: ex.predicted, Err: err,
			Started: l.epoch.Add(time.Duration(ex.started)), Merged: ex.names.number, Links: ex.names.links,
		})
		for range retried {
			l.cfg.Observer.Retried(ex.model)
		}
	}
	ex.release()
	l.executions.Put(ex)
	wakes.send(on)
	l.done.Done()
}

// maxKept bounds the response buffers that an idle execution holds on to.
const maxKept = 1 << 20

// release lets go of what belongs to others, so that ex can be used again.
func (ex *execution) release() {
	clear(ex.members)
	ex.member = nil
	for i := range ex.slices {
		if cap(ex.slices[i].Body) > maxKept {
			ex.slices[i] = oip.Request{}
		}
	}
	if ex.staged != nil {
		ex.staged = nil
		ex.watch.release()
	}
	for i := range ex.calls {
		ex.calls[i].Request, ex.calls[i].ID, ex.calls[i].Trace.State = nil, nil, nil
		if cap(ex.calls[i].Response.Body) > maxKept {
			ex.calls[i].Response.Body = nil
		}
	}
}

// deliver hands member i its answer, by exchanging buffers.
func (t *ticket) deliver(ex *execution, i int, ran time.Duration) {
	r, c := t.req, &ex.calls[i]
	r.Worker, r.Batch, r.Merged, r.Ran, r.Parts = ex.worker, ex.items, ex.names.number, ran, max(1, len(t.parts))
	r.Exit, r.Confidence = c.Exit, c.Confidence
	if len(t.parts) > 0 {
		return // the rows are put together by who waits for them
	}
	r.Queued = ex.started.Sub(t.arrived)
	r.Call.Response, c.Response = c.Response, r.Call.Response
	t.err = c.Err
}

// faultOf says whom a failed execution is blamed on.
func faultOf(err error) dispatch.Fault {
	var e *backend.Error
	if !errors.As(err, &e) {
		return dispatch.WorkerFault
	}
	switch {
	case e.Unserved:
		return dispatch.Unserved
	case e.Class == backend.Client:
		return dispatch.RequestFault
	case e.Class == backend.Canceled:
		return dispatch.NoFault
	case e.Class == backend.Connect:
		return dispatch.Lost
	}
	return dispatch.WorkerFault
}
