// Package health judges how far a worker can be relied on, from how its
// hardware says it does and from how long its batches take. It is pure: time
// is an argument, and the same events give the same judgements.
//
// It only recommends. Who is asked decides: whatever is unsure here makes a
// worker slower or less certain in the books, never takes it out.
package health

import "motley/internal/mono"

// State is how far a worker can be relied on.
type State uint8

// The states, from good to bad.
const (
	OK        State = iota
	Derated         // works, but slower than its type: see Judgement.Slowdown
	Suspect         // something does not fit; it works
	Unhealthy       // its results or its life are at risk: no new work
	Gone            // it cannot be reached
)

// String names the state as metrics and /debug print it.
func (s State) String() string {
	switch s {
	case OK:
		return "ok"
	case Derated:
		return "derated"
	case Suspect:
		return "suspect"
	case Unhealthy:
		return "unhealthy"
	}
	return "gone"
}

// Action is what is recommended, from the least to the most drastic.
type Action uint8

// The actions.
const (
	None    Action = iota
	Derate         // count with Judgement.Slowdown
	Drain          // no new work until somebody has looked
	Restart        // reset the GPU, restart the server or the machine: Evidence says which
	Replace        // a restart is not expected to help
)

// String names the action.
func (a Action) String() string {
	switch a {
	case None:
		return "none"
	case Derate:
		return "derate"
	case Drain:
		return "drain"
	case Restart:
		return "restart"
	}
	return "replace"
}

// Judgement is what is made of all that is known.
type Judgement struct {
	State State
	Since mono.Time // when the state was entered
	// Slowdown is what to multiply the latency that the type's profile expects
	// by; at least 1.
	Slowdown float64
	// Uncertainty is what to multiply the width of that expectation by; at
	// least 1, more when telemetry is stale or says less than it should.
	Uncertainty float64
	// Ramp is the share of its usual work that it should get: below 1 while it
	// comes back, and 0 when Unhealthy or Gone.
	Ramp   float64
	Action Action
	// Stale is that telemetry has stopped: an alarm, not a reason to stop.
	Stale bool
	// Evidence says why, a sentence a reason, the weightiest first.
	Evidence []string
}

// Takes reports whether the worker should get new work.
func (j Judgement) Takes() bool { return j.State < Unhealthy }
