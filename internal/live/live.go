// Package live drives the dispatch core in real time: the counterpart of
// package sim. A Loop owns the core; the goroutine of an arriving request
// steps it under a lock and then carries out itself what the core decided.
package live

import (
	"time"

	"motley/internal/backend"
	"motley/internal/earlyexit"
	"motley/internal/oip"
	"motley/internal/pool"
	"motley/internal/tracecontext"
)

// Request is one client call on its way through the loop. The caller fills in
// the upper part; Do fills in the lower one.
type Request struct {
	Call     backend.Call // Call.Request is read until Do returns; Call.Response is the answer
	Model    pool.ModelID
	Size     int           // items; at least 1
	Timeout  time.Duration // from now to the deadline; 0 = the model's QoS target
	Priority int           // OIP: 0 default, 1 highest, larger is lower
	MergeKey uint64        // requests merge only where this is equal; 0 = alone
	Whole    bool          // its rows may not run apart
	Tenant   int           // whose it is: an index of dispatch.Config.Tenants

	// Early exit: the most that the request allows (what the model is configured
	// to do holds as well), the largest probability of disagreement that it takes
	// (0 = the model's), and, for a client that wants to see every ramp, which ones
	// (as bits) and who is told. Show is called from the goroutine that runs the
	// batch and must not block; a request that is tried again shows them again.
	Mode  earlyexit.Mode
	Most  float64
	Ramps uint32
	Show  func(ramp int, m oip.Message)

	// Of a request that was cut into parts, Worker, Batch and Ran are of the last
	// one that was answered, and Queued goes up to the start of the first.
	Worker   pool.WorkerID // who answered; −1 when nobody was asked
	Batch    int           // items of the batch that it was answered in
	Merged   uint64        // the number of that batch, where there were others in it; 0 = none
	Parts    int           // executions that answered it, each some of its rows; 1 as a rule
	Attempts int           // executions it took part in
	Queued   time.Duration // from arrival to the start of the execution that answered
	Ran      time.Duration // execution time of that batch; until the answer left where it left early
	// Exit is the latest exit that a row of the answer left by, the ramps counted
	// from 0 and the model's own the last; −1 where the model has no ramps in use.
	// Confidence is the least of what those exits said.
	Exit       int
	Confidence float32
}

// Reason says why a request was refused or failed without an answer of a
// worker; the metric label and the text for people.
type Reason uint8

// The reasons.
const (
	QueueFull  Reason = iota + 1 // the model's queue is at its limit
	Deadline                     // it cannot be answered before its deadline
	NoWorker                     // no worker that serves the model is up
	TooLarge                     // larger than any worker's maximum batch
	Failed                       // workers failed and no attempt is left
	Stopping                     // the router is shutting down
	Share                        // its tenant has its share, and others wait
	Poisoned                     // it failed on several workers that do well otherwise
	OverBudget                   // a worker failed, and the model's budget of retries is spent
)

// Refusal is the error of Do when no worker's answer is to be had.
type Refusal struct {
	Reason     Reason
	RetryAfter time.Duration // when trying again makes sense; 0 = no advice
	Cause      error         // the last *backend.Error, for Failed, Poisoned and OverBudget
}

// Reasons lists every reason, for metrics that pre-declare their labels.
func Reasons() []Reason {
	return []Reason{QueueFull, Deadline, NoWorker, TooLarge, Failed, Stopping, Share, Poisoned, OverBudget}
}

// String is the metric label: queue_full, deadline, no_worker, too_large,
// failed, stopping, share, poisoned, retry_budget.
func (r Reason) String() string {
	switch r {
	case QueueFull:
		return "queue_full"
	case Deadline:
		return "deadline"
	case NoWorker:
		return "no_worker"
	case TooLarge:
		return "too_large"
	case Failed:
		return "failed"
	case Share:
		return "share"
	case Poisoned:
		return "poisoned"
	case OverBudget:
		return "retry_budget"
	}
	return "stopping"
}

func (r *Refusal) Error() string { return r.Reason.String() }

// Unwrap gives the worker's own failure, if any.
func (r *Refusal) Unwrap() error { return r.Cause }

// BatchReport is what the loop tells of one ended execution.
type BatchReport struct {
	Worker    pool.WorkerID
	Model     pool.ModelID
	Requests  int
	Items     int
	Ran       time.Duration
	Predicted time.Duration // the estimate at start; 0 = nothing was known
	Err       error         // nil, or the *backend.Error

	// Of a batch of several requests some of which are in a trace that is recorded: when
	// it started, its number, and where those members stand. Links holds during the
	// call; it is empty otherwise.
	Started time.Time
	Merged  uint64
	Links   []tracecontext.Context
}

// Observer is told of what ended. Methods are called without the loop's lock, but
// for Stepped, from many goroutines, and must not block.
type Observer interface {
	BatchDone(BatchReport)
	Retried(model pool.ModelID)
	// Stepped says how long the core took to decide on one event; of StepsPerReport
	// steps it is told of one, under the loop's lock.
	Stepped(took time.Duration)
}

// StepsPerReport is how many steps there are to one that an Observer is told of: few
// enough, and prime, lest in a steady course of arrivals and ends it always be the
// same kind.
const StepsPerReport = 17

// ModelState is one model's part of a snapshot.
type ModelState struct {
	Name        string `json:"name"`
	Queued      int    `json:"queued_requests"`
	QueuedItems int    `json:"queued_items"`
	InFlight    int    `json:"in_flight_requests"`
	Hedges      uint64 `json:"hedges"`     // executions that were started because another was late
	HedgesWon   uint64 `json:"hedges_won"` // of these, those that had the first answer
}

// WorkerState is one worker's part of a snapshot.
type WorkerState struct {
	Name     string  `json:"name"`
	Type     string  `json:"instance_type"`
	Backend  string  `json:"backend"`
	State    string  `json:"state"`   // starting, up, draining, down
	Breaker  string  `json:"breaker"` // closed, open, half_open
	Batches  int     `json:"in_flight_batches"`
	Items    int     `json:"in_flight_items"`
	BusyMS   float64 `json:"predicted_busy_ms"` // until its next slot is free
	Finished uint64  `json:"finished_batches"`
	Failures uint64  `json:"failed_batches"`
	Leaving  bool    `json:"leaving,omitempty"` // it is to go
	// Ejections is how often its breaker has opened: by failures in a row, or by their rate.
	Ejections uint64 `json:"ejections"`
}

// ProfileState is one learned profile's part of a snapshot.
type ProfileState struct {
	Model     string  `json:"model"`
	Type      string  `json:"instance_type"`
	Known     bool    `json:"known"`
	Supposed  bool    `json:"supposed"` // unknown, and taken for the slowest type that is known, or for its prior
	Prior     bool    `json:"prior"`    // supposed by a prior: the model's cost and the hardware's rates
	Samples   int     `json:"samples"`  // batches, of earlier runs too
	FixedMS   float64 `json:"fixed_ms"` // affine fit: fixed + per item × n
	PerItemMS float64 `json:"per_item_ms"`
	// Drifts is how often batches began to lie off the estimate, Replacements
	// how often so far that what was known was dropped.
	Drifts       int        `json:"drifts"`
	Replacements int        `json:"replacements"`
	Means        []MeanTime `json:"means"` // at some batch sizes; empty while nothing is known or supposed
}

// MeanTime is the mean latency that is expected of a batch.
type MeanTime struct {
	Items int     `json:"items"`
	MS    float64 `json:"ms"`
}

// Snapshot is the loop's state at one instant, for /debug/state and gauges.
type Snapshot struct {
	Policy   string         `json:"policy"`
	Models   []ModelState   `json:"models"`
	Workers  []WorkerState  `json:"workers"`
	Profiles []ProfileState `json:"profiles"`
}
