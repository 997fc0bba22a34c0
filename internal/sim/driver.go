package sim

import (
	"motley/internal/dispatch"
	"motley/internal/mono"
)

// driver is one run. Its tables are dense and are kept for the next run, so
// that an event allocates nothing.
type driver struct {
	cfg      Config
	core     *dispatch.Core
	ids      dispatch.IDs
	heap     events
	seq      uint64
	arrivals []Arrival
	next     int   // the arrival that comes next
	arrival  []int // by RequestID.Index of a live request: which arrival it is
	live     int   // requests
	runs     []ran // by the low 32 bits of the BatchID
	running  int   // batches
	watch    *watcher
	actions  []dispatch.Action
	sizes    []int
	members  []int
	result   Result
}

// ran is an execution that goes on.
type ran struct {
	id     dispatch.BatchID
	live   bool
	at     mono.Time // its start
	items  int
	stages []dispatch.Stage
}

// Run carries out the experiment until every request has ended. Arrivals are
// sorted by At.
func Run(cfg Config, arrivals []Arrival) (Result, error) { return new(driver).run(cfg, arrivals) }

func (d *driver) run(cfg Config, arrivals []Arrival) (Result, error) {
	core, err := dispatch.New(cfg.Core)
	if err != nil {
		return Result{}, err
	}
	d.cfg, d.core, d.arrivals = cfg, core, arrivals
	d.ids = dispatch.IDs{}
	d.heap, d.seq, d.next, d.live, d.running, d.result = d.heap[:0], 0, 0, 0, 0, Result{}
	for i := range cfg.Changes {
		d.push(event{at: cfg.Changes[i].At, kind: cfg.Changes[i].Kind, batch: dispatch.BatchID(i)})
	}
	d.watch = nil
	if cfg.Watch != nil {
		d.watch = newWatcher(*cfg.Watch, &cfg.Core)
		d.push(event{at: mono.Time(d.watch.Every), kind: dispatch.Tick})
	}
	for d.advance() {
		if cfg.Stop != nil && cfg.Stop() {
			break
		}
	}
	d.result.Counts = core.Counts()
	d.cfg, d.core, d.arrivals, d.watch = Config{}, nil, nil, nil
	return d.result, nil
}

// advance takes the next event, or reports that there is none that matters.
func (d *driver) advance() bool {
	at := d.core.NextDeadline()
	source := 0 // a tick
	if len(d.heap) > 0 && d.heap[0].at <= at {
		at, source = d.heap[0].at, 1
	}
	if d.next < len(d.arrivals) {
		if a := d.arrivals[d.next].At; a < at || a == at && source == 0 {
			at, source = a, 2
		}
	}
	if at == mono.Never || (source == 1 && d.live == 0 && d.next == len(d.arrivals) && d.running == 0) {
		return false
	}
	switch source {
	case 0:
		d.step(dispatch.Event{At: at, Kind: dispatch.Tick})
	case 1:
		d.happen(d.heap.pop())
	case 2:
		d.arrive()
	}
	return true
}

// happen steps the core with an entry of the heap.
func (d *driver) happen(e event) {
	switch e.kind {
	case dispatch.Finish, dispatch.Fail:
		ev := dispatch.Event{At: e.at, Kind: e.kind, Fault: e.fault, Batch: e.batch}
		if e.kind == dispatch.Finish {
			r := &d.runs[uint32(e.batch)]
			ev.Stages = r.stages
			if d.watch != nil {
				worker, expected := d.core.Expected(e.batch, ev.Stages)
				d.watch.ward.Batch(worker, e.at.Sub(r.at), expected)
			}
		}
		d.step(ev)
	case dispatch.Exit:
		// An execution that was given up has no more answers.
		if r := &d.runs[uint32(e.batch)]; r.live && r.id == e.batch {
			d.step(dispatch.Event{At: e.at, Kind: e.kind, Batch: e.batch, Member: int(e.member)})
		}
	case dispatch.Tick:
		d.look(e.at)
	default:
		d.step(d.cfg.Changes[e.batch])
	}
}

func (d *driver) push(e event) {
	d.seq++
	e.seq = d.seq
	d.heap.push(e)
}

func (d *driver) arrive() {
	a := &d.arrivals[d.next]
	id := d.ids.New()
	for int(id.Index()) >= len(d.arrival) {
		d.arrival = append(d.arrival, 0)
	}
	d.arrival[id.Index()] = d.next
	d.live++
	d.next++
	timeout := a.Timeout
	if timeout == 0 {
		timeout = d.core.ModelConfig(a.Model).QoS
	}
	d.step(dispatch.Event{
		At: a.At, Kind: dispatch.Arrive, Request: id, Model: a.Model, Size: a.Size,
		Deadline: a.At.Add(timeout), Priority: a.Priority, MergeKey: a.MergeKey, Tenant: a.Tenant,
	})
}

func (d *driver) step(ev dispatch.Event) {
	items := 0
	switch ev.Kind {
	case dispatch.Finish, dispatch.Fail:
		r := &d.runs[uint32(ev.Batch)]
		r.live = false
		items = r.items
		d.running--
	case dispatch.Exit:
		items = d.runs[uint32(ev.Batch)].items
	}
	d.actions = d.core.Step(ev, d.actions[:0])
	if d.cfg.Trace != nil {
		d.cfg.Trace(ev, d.actions)
	}
	for i := range d.actions {
		a := &d.actions[i]
		switch a.Kind {
		case dispatch.Start:
			d.start(ev.At, a)
		case dispatch.Answer, dispatch.Reject, dispatch.GiveUp:
			d.end(ev.At, a, items)
		case dispatch.CancelBatch:
			d.abort(ev.At, a.Batch)
		}
	}
}

func (d *driver) start(at mono.Time, a *dispatch.Action) {
	d.sizes, d.members = d.sizes[:0], d.members[:0]
	items := 0
	for i, id := range a.Requests {
		n := d.arrivals[d.arrival[id.Index()]].Size
		if a.Rows != nil {
			n = a.Rows[i].Count
		}
		d.sizes, d.members = append(d.sizes, n), append(d.members, d.arrival[id.Index()])
		items += n
	}
	o := d.cfg.Serve(Execution{At: at, Worker: a.Worker, Model: a.Model, Items: items, Sizes: d.sizes, Members: d.members})
	e := event{at: at.Add(o.Took), kind: dispatch.Finish, batch: a.Batch}
	if o.Fault != 0 {
		e.kind, e.fault = dispatch.Fail, o.Fault
	}
	slot := int(uint32(a.Batch))
	for slot >= len(d.runs) {
		d.runs = append(d.runs, ran{})
	}
	r := &d.runs[slot]
	*r = ran{id: a.Batch, live: true, at: at, items: items, stages: append(r.stages[:0], o.Stages...)}
	for _, early := range o.Early {
		if early.After < o.Took {
			d.push(event{at: at.Add(early.After), kind: dispatch.Exit, batch: a.Batch, member: int32(early.Member)})
		}
	}
	d.running++
	d.result.Batches++
	d.result.Items += items
	d.result.Busy += o.Took
	d.push(e)
}

// abort ends an execution that the core gave up, at once.
func (d *driver) abort(at mono.Time, id dispatch.BatchID) {
	for i := range d.heap {
		e := &d.heap[i]
		if (e.kind == dispatch.Finish || e.kind == dispatch.Fail) && e.batch == id {
			d.result.Busy -= e.at.Sub(at)
			e.at, e.kind, e.fault = at, dispatch.Fail, dispatch.NoFault
			d.heap.up(i) // it can only come earlier, or change its kind at the same instant
			d.heap.down(i)
			return
		}
	}
	panic("BUG: an execution is given up that does not run")
}

func (d *driver) end(at mono.Time, a *dispatch.Action, items int) {
	i := d.arrival[a.Request.Index()]
	d.live--
	d.ids.Free(a.Request)
	d.result.Ended = at
	if d.cfg.Done != nil {
		d.cfg.Done(Ended{
			Arrival: i, At: at, Kind: a.Kind, Reason: a.Reason, Took: at.Sub(d.arrivals[i].At), Items: items,
		})
	}
}
