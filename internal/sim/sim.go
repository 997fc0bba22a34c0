// Package sim drives the dispatch core through simulated time: a heap of
// events in place of clocks, sockets and goroutines. It steps the very code
// that package live drives in real time. The same configuration and arrivals
// give the same result, byte for byte.
package sim

import (
	"container/heap"
	"time"

	"motley/internal/dispatch"
	"motley/internal/mono"
	"motley/internal/pool"
)

// Arrival is one request that will come.
type Arrival struct {
	At       mono.Time
	Model    pool.ModelID
	Size     int           // items; at least 1
	Timeout  time.Duration // from At to the deadline; 0 = the model's QoS target
	Priority int
	MergeKey uint64
}

// Execution is one batch that starts.
type Execution struct {
	At     mono.Time
	Worker pool.WorkerID
	Model  pool.ModelID
	Items  int
	Sizes  []int // of its members, in order; valid during the call
}

// Outcome is the truth of one execution, which the core does not see before
// it has happened.
type Outcome struct {
	Took  time.Duration
	Fault dispatch.Fault // 0: it succeeds
}

// Config is one experiment.
type Config struct {
	Core dispatch.Config
	// Serve draws how an execution goes. It is called once per Start, in order.
	Serve func(Execution) Outcome
	// Changes are worker events (WorkerState, WorkerLimit) to come, by At.
	Changes []dispatch.Event
	// Trace is given every event with its actions, which are valid only during
	// the call. nil: none.
	Trace func(dispatch.Event, []dispatch.Action)
	// Done is told how each request ended. nil: nobody.
	Done func(Ended)
}

// Ended is the end of one request.
type Ended struct {
	Arrival int // its index in the order of arrival
	At      mono.Time
	Kind    dispatch.ActionKind // Answer, Reject or GiveUp
	Reason  dispatch.Reason     // for Reject and GiveUp
	Took    time.Duration       // from arrival to end
	Items   int                 // of the batch that answered it
}

// Result is what an experiment comes to.
type Result struct {
	dispatch.Counts
	Batches int
	Items   int           // over all batches
	Busy    time.Duration // summed over workers
	Ended   mono.Time     // when the last request ended
}

// event is an entry of the heap: (time, kind, sequence) is its order.
type event struct {
	dispatch.Event
	seq uint64
}

type events []event

func (h events) Len() int { return len(h) }
func (h events) Less(i, j int) bool {
	a, b := &h[i], &h[j]
	if a.At != b.At {
		return a.At < b.At
	}
	if a.Kind != b.Kind {
		return a.Kind < b.Kind
	}
	return a.seq < b.seq
}
func (h events) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *events) Push(x any)   { *h = append(*h, x.(event)) }
func (h *events) Pop() any {
	old := *h
	e := old[len(old)-1]
	*h = old[:len(old)-1]
	return e
}

type driver struct {
	cfg      Config
	core     *dispatch.Core
	ids      dispatch.IDs
	heap     events
	seq      uint64
	live     map[dispatch.RequestID]int // index of the arrival; looked up, never walked
	arrivals []Arrival
	next     int // the arrival that comes next
	running  map[dispatch.BatchID]int
	actions  []dispatch.Action
	sizes    []int
	result   Result
}

// Run carries out the experiment until every request has ended. Arrivals are
// sorted by At.
func Run(cfg Config, arrivals []Arrival) (Result, error) {
	core, err := dispatch.New(cfg.Core)
	if err != nil {
		return Result{}, err
	}
	d := &driver{
		cfg: cfg, core: core, arrivals: arrivals,
		live: map[dispatch.RequestID]int{}, running: map[dispatch.BatchID]int{},
	}
	for _, e := range cfg.Changes {
		d.push(event{Event: e})
	}
	for {
		at := core.NextDeadline()
		source := 0 // a tick
		if len(d.heap) > 0 && d.heap[0].At <= at {
			at, source = d.heap[0].At, 1
		}
		if d.next < len(arrivals) && (arrivals[d.next].At < at || arrivals[d.next].At == at && source == 0) {
			at, source = arrivals[d.next].At, 2
		}
		if at == mono.Never || (source == 1 && len(d.live) == 0 && d.next == len(arrivals) && len(d.running) == 0) {
			break
		}
		switch source {
		case 0:
			d.step(dispatch.Event{At: at, Kind: dispatch.Tick})
		case 1:
			d.step(heap.Pop(&d.heap).(event).Event)
		case 2:
			d.arrive()
		}
	}
	d.result.Counts = core.Counts()
	return d.result, nil
}

func (d *driver) push(e event) {
	d.seq++
	e.seq = d.seq
	heap.Push(&d.heap, e)
}

func (d *driver) arrive() {
	a := &d.arrivals[d.next]
	id := d.ids.New()
	d.live[id] = d.next
	d.next++
	timeout := a.Timeout
	if timeout == 0 {
		timeout = d.core.ModelConfig(a.Model).QoS
	}
	d.step(dispatch.Event{
		At: a.At, Kind: dispatch.Arrive, Request: id, Model: a.Model, Size: a.Size,
		Deadline: a.At.Add(timeout), Priority: a.Priority, MergeKey: a.MergeKey,
	})
}

func (d *driver) step(ev dispatch.Event) {
	items := 0
	if ev.Kind == dispatch.Finish || ev.Kind == dispatch.Fail {
		items = d.running[ev.Batch]
		delete(d.running, ev.Batch)
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
	d.sizes = d.sizes[:0]
	items := 0
	for _, id := range a.Requests {
		n := d.arrivals[d.live[id]].Size
		d.sizes = append(d.sizes, n)
		items += n
	}
	o := d.cfg.Serve(Execution{At: at, Worker: a.Worker, Model: a.Model, Items: items, Sizes: d.sizes})
	e := dispatch.Event{At: at.Add(o.Took), Kind: dispatch.Finish, Batch: a.Batch}
	if o.Fault != 0 {
		e.Kind, e.Fault = dispatch.Fail, o.Fault
	}
	d.running[a.Batch] = items
	d.result.Batches++
	d.result.Items += items
	d.result.Busy += o.Took
	d.push(event{Event: e})
}

// abort ends an execution that the core gave up, at once.
func (d *driver) abort(at mono.Time, id dispatch.BatchID) {
	for i := range d.heap {
		e := &d.heap[i]
		if (e.Kind == dispatch.Finish || e.Kind == dispatch.Fail) && e.Batch == id {
			d.result.Busy -= e.At.Sub(at)
			e.At, e.Kind, e.Fault = at, dispatch.Fail, dispatch.NoFault
			heap.Fix(&d.heap, i)
			return
		}
	}
	panic("BUG: an execution is given up that does not run")
}

func (d *driver) end(at mono.Time, a *dispatch.Action, items int) {
	i := d.live[a.Request]
	delete(d.live, a.Request)
	d.ids.Free(a.Request)
	d.result.Ended = at
	if d.cfg.Done != nil {
		d.cfg.Done(Ended{
			Arrival: i, At: at, Kind: a.Kind, Reason: a.Reason, Took: at.Sub(d.arrivals[i].At), Items: items,
		})
	}
}
