// Package oip is the codec of the Open Inference Protocol v2 over HTTP, JSON
// and binary tensor extension alike: it reads heads without looking at tensor
// values more than it must, merges requests into batches, splits responses,
// cuts a large request into parts and joins their responses, and converts
// between the two forms where the two ends differ. It is pure; nothing in it is
// safe for use by several goroutines at once, but values that do not share
// memory are independent.
package oip

import "time"

// Error is a request or response that breaks the protocol: Status is the HTTP
// status it is answered with, Message the text of {"error": …}.
type Error struct {
	Status  int
	Message string
}

func (e *Error) Error() string { return e.Message }

// Limits bound what Parse accepts. Zero fields take the defaults, and a nil
// *Limits all of them.
type Limits struct {
	MaxTensors int   // inputs, and as many outputs; default 1024; beyond: 413
	MaxDims    int   // dimensions of one tensor, at most 64; default 32; beyond: 400
	MaxDepth   int   // nesting of JSON; default 100 (Triton's); beyond: 400
	MaxItems   int64 // elements of one tensor, its dimensions of 0 left out; at most 1<<58; default 1<<40; beyond: 413
}

func (l *Limits) withDefaults() Limits {
	d := Limits{MaxTensors: 1024, MaxDims: 32, MaxDepth: 100, MaxItems: 1 << 40}
	if l == nil {
		return d
	}
	if l.MaxTensors > 0 {
		d.MaxTensors = l.MaxTensors
	}
	if l.MaxDims > 0 {
		d.MaxDims = min(l.MaxDims, maxLevels)
	}
	if l.MaxDepth > 0 {
		d.MaxDepth = l.MaxDepth
	}
	if l.MaxItems > 0 {
		d.MaxItems = min(l.MaxItems, 1<<58)
	}
	return d
}

// Message is a request or response body as it crosses the wire.
type Message struct {
	Body []byte
	// HeadLength is the length of the JSON part when binary tensor data
	// follows it (the Inference-Header-Content-Length header); −1 when the
	// whole body is JSON and the header is absent.
	HeadLength int

	// shared: Body belongs to somebody else and must not be written to.
	shared bool
}

// Request is the head of an inference request. All slices point into Body and
// live as long as it does. A Request is reused: Parse overwrites it.
type Request struct {
	Message
	// Model is the model's name for the texts of errors. The caller sets it;
	// Parse leaves it as it is.
	Model        string
	ID           []byte        // the JSON string literal, quotes included; nil when absent
	Parameters   []byte        // the JSON object literal; nil when absent
	Timeout      time.Duration // parameters.timeout (µs on the wire); 0 when absent
	Priority     int           // parameters.priority: 0 default, 1 highest, larger is lower
	Sequence     bool          // a sequence_id other than 0 and "" is present: never merge, split or retry
	BinaryOutput bool          // parameters.binary_data_output
	Exits        ExitParams    // early exit
	Raw          bool          // raw binary request: the body is the only input's data
	Inputs       []Input
	Outputs      []Output // requested outputs; empty = all

	scratch []byte  // names with escapes resolved, and what a raw request needs
	slicer  *slicer // Slice made the request: Body is its own to write to
}

// ExitParams are the request parameters of early exit.
type ExitParams struct {
	Mode            []byte  // parameters.ee_mode, escapes resolved; nil when absent
	MaxDisagreement float64 // parameters.ee_max_disagreement, 0 … 1; −1 when absent
	Ramps           uint32  // parameters.ee_active_ramps ("0,3,5"), as bits; means something where RampsGiven
	RampsGiven      bool
	Audit           bool // parameters.ee_audit: run every row to the end

	given bool // one of them is there, whatever it says
}

// Input is the head of one input tensor.
type Input struct {
	Name       []byte // escapes resolved
	Datatype   Datatype
	Shape      []int64
	Parameters []byte // JSON object literal, nil when absent
	JSON       []byte // the data array as it stands in the body; nil when binary
	Binary     []byte // the blob; nil when JSON

	elements int64 // product of Shape
	nested   bool  // JSON holds arrays in its array
	words    bool  // JSON holds NaN or Infinity; in responses only
	blob     int64 // parameters.binary_data_size; −1 when absent
}

// Output is one requested output.
type Output struct {
	Name           []byte
	Parameters     []byte // JSON object literal, nil when absent
	Binary         bool   // resolved: binary_data, else the request's binary_data_output
	Classification int    // parameters.classification; 0 when absent

	given bool // binary_data was given
}
