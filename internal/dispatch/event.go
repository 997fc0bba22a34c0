package dispatch

import (
	"fmt"

	"motley/internal/mono"
	"motley/internal/pool"
)

// RequestID names a request among the live ones. Its low 32 bits index a table
// of the core, so drivers take them from an IDs allocator, which keeps them
// dense.
type RequestID uint64

// BatchID names one execution. The core gives it out with Start.
type BatchID uint64

// EventKind says what happened. The order of the constants is the order of
// simultaneous events: what frees capacity comes before what asks for it. An Exit
// of a batch always comes before its Finish or Fail.
type EventKind uint8

// The kinds of event, with the fields that each reads beside At.
const (
	Finish       EventKind = iota + 1 // Batch, Stages: it ended and every live member has its answer
	Fail                              // Batch, Fault: it ended without answers
	Exit                              // Batch, Member: that member has its answer early; the batch goes on, and keeps its worker, to its Finish or Fail
	WorkerState                       // Worker, State
	WorkerLimit                       // Worker, Model, Size: the most items it takes; 0 = it does not serve the model now. A model that it did not list is added
	WorkerHealth                      // Worker, Health: how far it can be relied on
	TypeAdd                           // Change.Type: another instance type, with the next ID
	ModelSet                          // Model, Change.Model, and where the ID is the next one Change.Profiles: the model is as that says from now on
	WorkerJoin                        // Worker, Change.Worker: it is there now; the ID is the next one, or that of a worker which is gone
	WorkerLeave                       // Worker: it is to go, and gets no new work that another one which is up could do
	WorkerStay                        // Worker: it is not to go after all
	WorkerGone                        // Worker: it is not there any more; what it runs is tried elsewhere, and Fail or Finish of that is still owed
	TenantsSet                        // Change.Tenants: the weights by which they share
	Cancel                            // Request: its client is gone
	Arrive                            // Request, Model, Size, Deadline, Priority, MergeKey, Whole, Tenant
	Tick                              // nothing but the passing of time
)

// Fault says who is to blame for a failed execution.
type Fault uint8

// The kinds of fault.
const (
	WorkerFault  Fault = iota + 1 // it failed at the worker, by whoever's fault: see failures.go
	RequestFault                  // the worker refused: a lone member fails, members of a batch are tried apart
	NoFault                       // the driver gave it up; members are tried again
	Unserved                      // the worker did not take it (no connection, overload): counts against the worker, says nothing of the members
	Lost                          // the worker or the way to it broke with it: counts against the worker, of members only against a lone one
)

// Event is one thing that happened. Which fields mean something is said at the
// kinds.
type Event struct {
	At       mono.Time
	Kind     EventKind
	Fault    Fault
	State    pool.State
	Worker   pool.WorkerID
	Model    pool.ModelID
	Request  RequestID
	Batch    BatchID
	Size     int       // items
	Deadline mono.Time // when the answer is worth nothing any more
	Priority int       // OIP: 1 is highest; 0 stands for DefaultPriority
	MergeKey uint64    // requests share a batch only where this is equal; 0 = alone
	Whole    bool      // its rows may not run apart, nor does one with a MergeKey of 0
	Member   int       // position in the Requests of the batch's Start
	Stages   []Stage   // how far a batch's rows ran; empty where all ran to the end
	Tenant   int       // whose it is: an index of Config.Tenants
	Health   Health
	Change   *Change
}

// Stage is a part of an execution that its rows may leave after.
type Stage = pool.Stage

// DefaultPriority is the level of a request that names none: one below the
// highest.
const DefaultPriority = 2

// ActionKind says what the driver is to do.
type ActionKind uint8

// The kinds of action, with the fields that each sets.
const (
	Start       ActionKind = iota + 1 // Batch, Worker, Model, Requests, Rows: run them together
	Answer                            // Request, Batch: hand out the answer of its batch, or of all its parts' batches; Batch is the last
	Reject                            // Request, Reason: it was never run
	GiveUp                            // Request, Reason: it was tried and is out of attempts or time
	CancelBatch                       // Batch, Worker: nobody waits for it any more, it hangs, or its worker is down; Fail or Finish is still owed
)

// Reason says why a request got no answer.
type Reason uint8

// The reasons.
const (
	QueueFull  Reason = iota + 1 // the model's queue is at its limit
	Deadline                     // no worker can answer before the deadline
	NoWorker                     // no worker serves the model
	TooLarge                     // more items than any worker takes
	Refused                      // the worker refused the request itself
	Exhausted                    // every attempt failed
	Share                        // its tenant has its share, and others wait
	Poisoned                     // it failed on several workers that do well otherwise
	OverBudget                   // it failed, and the model's budget of retries is spent
)

// Action is one decision. Requests belongs to the core and is valid until the
// batch has ended (the Finish or Fail event of it is stepped).
type Action struct {
	Kind     ActionKind
	Reason   Reason
	Worker   pool.WorkerID
	Model    pool.ModelID
	Request  RequestID
	Batch    BatchID
	Requests []RequestID
	// Rows, like Requests, is set where a batch runs but a part of some request:
	// then it says for each which rows. A request can be a member twice.
	Rows []Rows
}

var (
	eventNames  = [...]string{"?", "finish", "fail", "exit", "worker-state", "worker-limit", "worker-health", "type-add", "model-set", "worker-join", "worker-leave", "worker-stay", "worker-gone", "tenants-set", "cancel", "arrive", "tick"}
	actionNames = [...]string{"?", "start", "answer", "reject", "give-up", "cancel-batch"}
	reasonNames = [...]string{"none", "queue_full", "deadline", "no_worker", "too_large", "refused", "exhausted", "share", "poisoned", "retry_budget"}
	faultNames  = [...]string{"none", "worker", "request", "nobody", "unserved", "lost"}
)

// String names the kind as transcripts print it.
func (k EventKind) String() string { return eventNames[k] }

// String names the kind as transcripts print it.
func (k ActionKind) String() string { return actionNames[k] }

// String names the reason as metrics label it.
func (r Reason) String() string { return reasonNames[r] }

// String names the fault as transcripts print it.
func (f Fault) String() string { return faultNames[f] }

// String prints the event on one line.
func (e Event) String() string {
	s := fmt.Sprintf("%v %v", e.At, e.Kind)
	switch e.Kind {
	case Finish:
		s = fmt.Sprintf("%s b%d", s, e.Batch)
		for i, st := range e.Stages {
			sep := "/"
			if i == 0 {
				sep = " rows="
			}
			s += fmt.Sprintf("%s%d", sep, st.Rows)
		}
		return s
	case Fail:
		return fmt.Sprintf("%s b%d fault=%v", s, e.Batch, e.Fault)
	case Exit:
		return fmt.Sprintf("%s b%d member=%d", s, e.Batch, e.Member)
	case WorkerState:
		return fmt.Sprintf("%s w%d %v", s, e.Worker, e.State)
	case WorkerLimit:
		return fmt.Sprintf("%s w%d m%d %d", s, e.Worker, e.Model, e.Size)
	case WorkerHealth:
		return fmt.Sprintf("%s w%d %v", s, e.Worker, e.Health)
	case TypeAdd:
		return fmt.Sprintf("%s %v", s, e.Change)
	case ModelSet:
		return fmt.Sprintf("%s m%d %v", s, e.Model, e.Change)
	case WorkerJoin:
		return fmt.Sprintf("%s w%d %v", s, e.Worker, e.Change)
	case WorkerLeave, WorkerStay, WorkerGone:
		return fmt.Sprintf("%s w%d", s, e.Worker)
	case Cancel:
		return fmt.Sprintf("%s r%d", s, e.Request)
	case Arrive:
		s = fmt.Sprintf("%s r%d m%d size=%d deadline=%v", s, e.Request, e.Model, e.Size, e.Deadline)
		if e.Tenant != 0 {
			s += fmt.Sprintf(" tenant=%d", e.Tenant)
		}
		return s
	}
	return s
}

// String prints the action on one line.
func (a Action) String() string {
	switch a.Kind {
	case Start:
		if a.Rows == nil {
			return fmt.Sprintf("start b%d on w%d: %v", a.Batch, a.Worker, a.Requests)
		}
		s := fmt.Sprintf("start b%d on w%d:", a.Batch, a.Worker)
		for i, r := range a.Rows {
			s += fmt.Sprintf(" r%d rows %d+%d", a.Requests[i], r.From, r.Count)
		}
		return s
	case Answer:
		return fmt.Sprintf("answer r%d", a.Request)
	case Reject, GiveUp:
		return fmt.Sprintf("%v r%d %v", a.Kind, a.Request, a.Reason)
	}
	return fmt.Sprintf("%v b%d on w%d", a.Kind, a.Batch, a.Worker)
}
