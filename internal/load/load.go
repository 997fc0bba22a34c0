// Package load sends inference requests to a server at the instants that a
// schedule names, whatever the server does, and records what became of each.
//
// It is an open loop: a request's latency counts from its scheduled instant, so
// that a server that stalls is charged for all who would have come meanwhile
// (no coordinated omission). A request for which no connection is free waits,
// and its wait counts. What waits is not stored, since the schedule can name it
// when its turn comes: memory is bounded by the connections.
package load

import (
	"slices"
	"time"

	"motley/internal/mono"
)

// Outcome is what became of a request.
type Outcome uint8

const (
	OK      Outcome = iota // answered with what was asked for
	Status                 // answered with a status other than 200
	Wrong                  // status 200, but not the answer to what was asked
	Garbled                // what came is not an HTTP answer
	Reset                  // the connection ended before the whole answer had come
	Timeout                // sent, and no whole answer within the time
	Busy                   // not sent: no connection was free within the time
	Refused                // not sent: no connection could be made within the time
	outcomes
)

var outcomeNames = [outcomes]string{"ok", "status", "wrong", "garbled", "reset", "timeout", "busy", "refused"}

// String is the outcome's name in tables and JSON.
func (o Outcome) String() string {
	if o < outcomes {
		return outcomeNames[o]
	}
	return "invalid"
}

// Sent tells whether the request was written, in whole or in part.
func (o Outcome) Sent() bool { return o < Busy }

// Record is one request. Durations count from its scheduled instant.
type Record struct {
	At   mono.Time     // scheduled, since the phase began
	Free time.Duration // until a connection was free for it; 0: one was before
	Sent time.Duration // until its first bytes were written; 0 where it was not sent
	Done time.Duration // until its last byte had come, or its failure was known

	Rows  uint32 // items it asked for
	Right uint32 // of them, classified as their label says; where Labelled

	Status   uint16 // HTTP; 0 without an answer
	Phase    uint16 // index in the plan; not in the raw form, where it is told by the order
	Model    uint8  // index in the plan
	Outcome  Outcome
	Exit     int8 // the ramp that the answer is from; −1: none is named
	Warm     bool // part of the warm-up, not of what is measured
	Labelled bool
}

// Own is the generator's own delay: from the instant at which the request was
// due and a connection free to its first write.
func (r *Record) Own() time.Duration { return r.Sent - r.Free }

// ErrorKinds are the names of the outcomes that are failures.
func ErrorKinds() []string { return slices.Clone(outcomeNames[1:]) }
