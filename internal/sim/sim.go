// Package sim drives the dispatch core through simulated time: a heap of
// events in place of clocks, sockets and goroutines. It steps the very code
// that package live drives in real time. The same configuration and arrivals
// give the same result, byte for byte.
package sim

import (
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
	Tenant   int // an index of Core.Tenants
}

// Execution is one batch that starts.
type Execution struct {
	At     mono.Time
	Worker pool.WorkerID
	Model  pool.ModelID
	Items  int
	// Sizes are the items of each member, or of the part of it that runs here, and
	// Members which arrival each is, by number; valid during the call.
	Sizes, Members []int
}

// Outcome is the truth of one execution, which the core does not see before
// it has happened.
type Outcome struct {
	Took  time.Duration
	Fault dispatch.Fault // 0: it succeeds
	// Early are the answers that come before the end, and Stages how far its rows
	// ran, which the core is told at the end; both are read before the next call.
	Early  []Early
	Stages []dispatch.Stage
}

// Early is an answer that a member of an execution has before that ends.
type Early struct {
	Member int           // its position in Execution.Sizes
	After  time.Duration // from the start; one that is not before the end comes with it
}

// Config is one experiment.
type Config struct {
	Core dispatch.Config
	// Serve draws how an execution goes. It is called once per Start, in order.
	Serve func(Execution) Outcome
	// Changes are worker events (WorkerState, WorkerLimit, WorkerHealth) to come,
	// by At.
	Changes []dispatch.Event
	// Watch judges the workers' health. nil: nobody does.
	Watch *Watch
	// Stop is asked after each event; true ends the run there. nil: it runs
	// until every request has ended.
	Stop func() bool
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
	Items   int                 // of the batch that answered it, or its last part
}

// Result is what an experiment comes to.
type Result struct {
	dispatch.Counts
	Batches int
	Items   int           // over all batches
	Busy    time.Duration // summed over workers
	Ended   mono.Time     // when the last request ended
}
