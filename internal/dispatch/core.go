package dispatch

import (
	"fmt"
	"time"

	"motley/internal/mono"
	"motley/internal/pool"
)

// Core is the dispatcher's state.
type Core struct {
	cfg      Config
	now      mono.Time
	models   []model
	classes  []class
	workers  []worker
	profiles [][]*pool.Profile // by model and type; nil where no worker needed one yet
	requests []request         // parts of requests; an undivided one is a single part
	byID     []uint32          // by RequestID.Index: the slot of a part, or none
	spare    []uint32          // slots of requests to use again
	batches  []batch           // by the low 32 bits of BatchID
	freed    []uint32          // batch slots to use again
	timers   timers
	tenants  tenants
	turn     Turn
	traits   Traits // of the policy
	seq      uint64
	waiting  int // parts of requests, over all models
	counts   Counts
	out      []Action
	tardy    []BatchID // executions that are late
	copies   []uint32  // members of a copy that begins
	epoch    uint64    // counts changes of what workers there are and what they take
	free     int       // workers that would take a batch now
	wake     mono.Time // when the policy wants to be asked again at the latest
}

// Counts are totals since the start. At every instant Arrived = Answered +
// Rejected + Failed + Cancelled + those that wait or are in flight.
type Counts struct {
	Arrived, Answered, Rejected, Failed, Cancelled uint64
	Retried                                        uint64 // returns of a request, or a part of one, to the queue after a failed execution
	Late                                           uint64 // answered after the deadline
}

type model struct {
	Model
	id       pool.ModelID
	queue    queue
	flying   int // parts of requests in flight
	demand   demand
	byClass  []int32 // index into groups by class, −1 for none
	groups   []group
	old      []group         // before a regroup, while that lasts
	profiles []*pool.Profile // by instance type, of the first groups
	mix      pool.Mix        // how far rows run, on all of them
	cut      int             // the bin of sizes of which the pool can serve but some, and none of those above; see prices.cut
	rate     float64         // items per ns that its workers do in full batches, if they do nothing else; with cut
	crowded  bool            // more waits than makes all workers batches that are worth while; the priced policy's
	judged   float64         // quantile that feasibility is judged by, see judge
	first    int32           // the group of the first worker's type
	up       int             // workers that serve it and are up
	coming   int             // workers that serve it and are starting
	meets    []bool          // by model: some worker that is up serves both
	retries  budget
	hedges   budget
	hedging  Hedging
}

// group is the workers of one class that serve one model: to the estimates they
// are all alike. A model's first groups are of whole instance types, whoever is
// derated left out; those of the derated ones follow, and may be empty.
type group struct {
	class    int32
	typ      pool.TypeID
	profile  *pool.Profile
	workers  []pool.WorkerID
	free     int // how many would take a batch now
	up       int
	maxItems int       // the most that any up worker takes in one execution
	flying   int       // batches of the model that its workers run
	tried    mono.Time // when the last one started
	enough   int       // items of the smallest batch that is worth while; the priced policy's
	busy     float64   // share of its workers that arrivals found busy, over about demandSpan of them
	batch    float64   // mean items of the model's batches that its workers ran, over about batchSpan of them
	most     int       // items of the largest batch of the model that a worker of the type has ended; of a type's group
	cursor   int       // where the search for a free worker goes on, so that equals share the work
}

type worker struct {
	pool.Worker
	present bool     // it has joined, and is not gone
	removed bool     // it is gone as soon as the driver has reported the ends of what it runs
	running []uint32 // batch slots
	free    bool     // up, breaker closed, a slot left
	up      bool     // its state and its health let it work
	out     bool     // its health keeps it from new work
	paced   bool     // it comes back, with a share of its time
	timer   int32
	class   int32
	rested  mono.Time // when it has held still for long enough
	vital   *vital
}

type requestState uint8

const (
	absent requestState = iota
	queued
	flying
	done // its rows are answered, others of the request are not
)

// request is kept small, and what policies read of what waits together: a step looks at
// hundreds.
type request struct {
	id       RequestID
	next     uint32 // slot of the request's next part, round and round; its own where there is but one
	state    requestState
	whole    bool  // its rows run together
	lost     bool  // it was in an execution that its worker broke in
	attempts uint8 // executions it took part in that have ended
	entry    entry
	deadline mono.Time
	arrived  mono.Time
	key      uint64
	size     int
	from     int // its first row
	model    pool.ModelID
	failedOn pool.WorkerID // −1: nowhere
	tenant   int32
	timer    int32
	worth    float64 // what serving it costs the fleet, by the prices of worthAt
	worthAt  uint64
	batch    uint32
	copy     uint32 // the execution that it is a member of, too; none: there is none
	crowd    uint16 // the most members of a batch that it may be in, all alike in this; 0: any number
	excused  uint8  // of its attempts, those that were no fault of its own: see retry
	missed   uint8  // of these, those that no worker took
	struck   strikes
}

type batch struct {
	id       BatchID
	live     bool
	given    bool // CancelBatch was sent or its members were taken away
	left     bool // a member has left early, with its answer
	copied   bool // it was late, and members of it run elsewhere, too
	copy     bool // it is where those do
	won      bool // and has answered one of them first
	worker   pool.WorkerID
	model    pool.ModelID
	items    int
	wanted   int // members whose clients still wait
	started  mono.Time
	ends     mono.Time // predicted, with the rest of a worker that comes back
	hangs    mono.Time // when it is given up
	members  []uint32  // slots; gone marks those that left
	requests []RequestID
	rows     []Rows
	timer    int32
}

const gone = ^uint32(0)

// New returns a core at instant 0.
func New(cfg Config) (*Core, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("cannot set up dispatch: %w", err)
	}
	if cfg.Hang == 0 {
		cfg.Hang = 30 * time.Second
	}
	cfg.Types = append([]pool.InstanceType(nil), cfg.Types...) // more may come
	cfg.Failures.setDefaults()
	c := &Core{cfg: cfg, traits: cfg.Policy.Traits(), wake: mono.Never}
	c.turn.c = c
	c.timers.where = c.timerMoved
	c.tenants.set(cfg.Tenants)
	for _, row := range cfg.Profiles {
		c.profiles = append(c.profiles, append([]*pool.Profile(nil), row...))
	}
	for i, m := range cfg.Models {
		m.setDefaults()
		c.models = append(c.models, model{Model: m, id: pool.ModelID(i), cut: demandBins})
	}
	for i := range cfg.Workers {
		c.workers = append(c.workers, c.newWorker(cfg.Workers[i], -1))
	}
	c.regroup()
	return c, nil
}

// Step advances the core to ev.At, takes the event in, and appends what is to
// be done, in order, to dst. ev.At must not lie before that of the step
// before. Timers due by then fire within the step.
func (c *Core) Step(ev Event, dst []Action) []Action {
	if ev.At < c.now {
		panic(fmt.Sprintf("BUG: time runs backwards, from %v to %v", c.now, ev.At))
	}
	c.now = ev.At
	c.out = dst
	switch ev.Kind {
	case Finish:
		c.finish(ev.Batch, ev.Stages)
	case Fail:
		c.fail(ev.Batch, ev.Fault)
	case Exit:
		c.exit(ev.Batch, ev.Member)
	case WorkerState:
		c.setState(ev.Worker, ev.State)
	case WorkerLimit:
		c.setLimit(ev.Worker, ev.Model, ev.Size)
	case WorkerHealth:
		c.setHealth(ev.Worker, ev.Health)
	case TypeAdd:
		c.addType(ev.Change.Type, ev.Change.Profiles)
	case ModelSet:
		c.setModel(ev.Model, ev.Change)
	case WorkerJoin:
		c.join(ev.Worker, ev.Change.Worker)
	case WorkerLeave:
		c.depart(ev.Worker, true)
	case WorkerStay:
		c.depart(ev.Worker, false)
	case TenantsSet:
		c.tenants.set(ev.Change.Tenants)
	case WorkerGone:
		c.remove(ev.Worker)
	case Cancel:
		c.cancel(ev.Request)
	case Arrive:
		c.arrive(ev)
	}
	c.fire()
	c.wake = mono.Never
	if len(c.tardy) > 0 && c.free > 0 {
		c.copyLate()
	}
	if c.waiting > 0 {
		c.cfg.Policy.Dispatch(&c.turn)
	}
	if checked {
		c.check()
	}
	dst, c.out = c.out, nil
	return dst
}

// NextDeadline is when the core must be stepped again (with a Tick, if nothing
// else happens before), or mono.Never.
func (c *Core) NextDeadline() mono.Time { return min(c.timers.next(), c.wake) }

// Now is the instant of the last step.
func (c *Core) Now() mono.Time { return c.now }

// Counts returns the totals.
func (c *Core) Counts() Counts { return c.counts }

// fire lets every timer that is due have its effect.
func (c *Core) fire() {
	for c.timers.next() <= c.now {
		t := c.timers.heap[0]
		c.timers.removeAt(0)
		switch t.kind {
		case requestTimer:
			c.lastCall(t.slot)
		case batchTimer:
			if c.now < c.batches[t.slot].hangs {
				c.late(t.slot)
			} else {
				c.hung(t.slot)
			}
		case breakerTimer:
			c.refresh(pool.WorkerID(t.slot))
		}
	}
}

func (c *Core) timerMoved(t timer, i int32) {
	switch t.kind {
	case requestTimer:
		c.requests[t.slot].timer = i
	case batchTimer:
		c.batches[t.slot].timer = i
	case breakerTimer:
		c.workers[t.slot].timer = i
	}
}

func (c *Core) emit(a Action) { c.out = append(c.out, a) }
