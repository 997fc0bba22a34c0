// Package backend holds the ways to run a batch: embedded (an engine in this
// process), remote (HTTP to any OIP server) and emulated (paced by a profile).
package backend

import (
	"context"

	"motley/internal/oip"
	"motley/internal/reactor"
	"motley/internal/tracecontext"
)

// Call is one request of a batch and, after Run, its own answer.
type Call struct {
	Request  *oip.Request
	Response oip.Message // Body is appended to Response.Body[:0]: the caller owns and reuses it
	Err      error       // set when this member alone failed; an *Error
	// Home is the reactor that the request came by; nil: another way. A Starter's
	// execution of it is best on the same one.
	Home *reactor.Loop
	// ID and Trace name the execution to a worker on another machine: its headers
	// x-request-id, traceparent and tracestate. Those of the first call go with the
	// batch. Empty, or in no trace: without. They must be fit for a header.
	ID    []byte
	Trace tracecontext.Context

	// For staged runs. Ramps is the set, as bits, of ramps whose whole answers the
	// client wants to see; 0 = only one answer. Mark asks for the parameters
	// ee_exit, ee_final and ee_confidence in the answer.
	Ramps uint32
	Mark  bool
	// Exit is the latest exit that a row of the answer left by, and Confidence the
	// least of what those exits said; set where the run was staged.
	Exit       int
	Confidence float32
}

// Class says what kind of failure an Error is; dispatch decides by it whether
// another worker may be tried and whether the worker is to blame.
type Class uint8

// The classes of failure.
const (
	Connect  Class = iota + 1 // no connection, or it broke before the response was whole
	Timeout                   // the worker did not answer in time
	Server                    // the worker answered 5xx
	Client                    // the worker answered 4xx: the request is at fault, not the worker
	Protocol                  // the worker's answer could not be understood
	Canceled                  // the context was cancelled by the caller
)

// Error is a failed execution. Status and Message go to the client.
type Error struct {
	Class   Class
	Status  int // HTTP status for the client: the worker's own for Client, 502, 503 or 504 otherwise
	Message string
	Cause   error
	// Unserved is that the worker did not take the batch: it could not be reached, or
	// said that it would not. Nothing is known of the requests then.
	Unserved bool
}

func (e *Error) Error() string { return e.Message }
func (e *Error) Unwrap() error { return e.Cause }

// Status is what a probe learned of one model on a worker.
type Status struct {
	Ready    bool
	Metadata *oip.ModelMetadata // nil when the server does not tell
	MaxBatch int                // from the server's config; 0 unknown or not batched
	Binary   bool               // the server takes the binary tensor extension
	Platform string             // server name and version
}

// Backend runs batches of one worker. All methods may be called from several
// goroutines at once.
type Backend interface {
	// Run executes calls as one batch on model and fills in every call's
	// Response, or its Err. It returns an *Error when the batch as a whole
	// failed; then no Response is valid. All requests have equal merge keys.
	Run(ctx context.Context, model string, calls []*Call) error
	// Probe asks the worker how the model stands.
	Probe(ctx context.Context, model string) (Status, error)
	// Describe names the backend for people: "embedded builtin", "remote
	// http://…", "emulated g4dn.xlarge (echo)".
	Describe() string
	Close() error
}
