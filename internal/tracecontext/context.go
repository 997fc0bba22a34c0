// Package tracecontext reads, checks and writes W3C Trace Context
// (https://www.w3.org/TR/trace-context/): the headers traceparent and
// tracestate, by which a request's spans in several programs find together.
// Nothing here allocates.
package tracecontext

import "math/rand/v2"

// Flags of a traceparent that are handed on; all others are set to zero, as the
// standard asks (§2.2.5, and level 2 §3.2.2.5.2 for Random).
const (
	Sampled = 1 // whoever sent it may have recorded a span
	Random  = 2 // the last 7 bytes of the trace's id are random
)

// Context is where a request stands in a trace. The zero value is in none.
type Context struct {
	Trace [16]byte
	Span  [8]byte // the span that whoever receives this is below
	Flags byte
	State []byte // tracestate, as it is handed on; empty: none. It belongs to whoever filled it in
}

// Length is how long a traceparent of version 00 is, in bytes.
const Length = 55

// Valid reports whether c names a trace and a span.
func (c *Context) Valid() bool { return c.Trace != [16]byte{} && c.Span != [8]byte{} }

// Sampled reports whether the sender may have recorded a span.
func (c *Context) Sampled() bool { return c.Flags&Sampled != 0 }

// Parse reads a traceparent and reports whether it is one; where not, c is the
// zero value. Of versions after 00 it takes what version 00 has, as the
// standard asks (§4.3), State apart.
func (c *Context) Parse(v []byte) bool {
	*c = Context{}
	version, ok := [1]byte{}, len(v) >= Length && v[2] == '-' && v[35] == '-' && v[52] == '-'
	if !ok || !unhex(version[:], v) || version[0] == 0xff || version[0] == 0 && len(v) != Length || len(v) > Length && v[Length] != '-' {
		return false
	}
	var flags [1]byte
	if !unhex(c.Trace[:], v[3:]) || !unhex(c.Span[:], v[36:]) || !unhex(flags[:], v[53:]) || !c.Valid() {
		*c = Context{}
		return false
	}
	c.Flags = flags[0] & (Sampled | Random)
	return true
}

// unhex fills dst from twice as many hexadecimal digits, all of them lower case.
func unhex(dst, v []byte) bool {
	for i := range dst {
		hi, lo := digit(v[2*i]), digit(v[2*i+1])
		if hi|lo > 15 {
			return false
		}
		dst[i] = hi<<4 | lo
	}
	return true
}

func digit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 0x80
}

// Append appends c as a traceparent of version 00.
func (c *Context) Append(dst []byte) []byte {
	dst = append(dst, "00-"...)
	dst = AppendHex(dst, c.Trace[:])
	dst = AppendHex(append(dst, '-'), c.Span[:])
	return AppendHex(append(dst, '-'), []byte{c.Flags})
}

// AppendHex appends bytes as hexadecimal digits.
func AppendHex(dst, v []byte) []byte {
	const digits = "0123456789abcdef"
	for _, b := range v {
		dst = append(dst, digits[b>>4], digits[b&15])
	}
	return dst
}

// Below is the context of a new span of the same trace; of a trace of its own where
// c is in none. Its flags are those given.
func (c *Context) Below(flags byte) Context {
	child := Context{Trace: c.Trace, Span: NewSpan(), Flags: flags | c.Flags&Random, State: c.State}
	if !c.Valid() {
		child.Trace, child.State = newTrace(), nil
		child.Flags |= Random
	}
	return child
}

// NewSpan is a span's id by chance.
func NewSpan() (id [8]byte) {
	for id == [8]byte{} {
		put(id[:], rand.Uint64())
	}
	return id
}

func newTrace() (id [16]byte) {
	for id == [16]byte{} {
		put(id[:8], rand.Uint64())
		put(id[8:], rand.Uint64())
	}
	return id
}

// OfBatch is the context of the execution of several requests that has the number n, which
// was drawn by chance: who knows the number knows the span. It is a trace of its own.
func OfBatch(n uint64) (c Context) {
	// Another multiplier for each part, lest they be alike (from Knuth's MMIX
	// generator, and the golden ratio's of Fibonacci hashing); all are odd, so that only 0 makes 0.
	put(c.Trace[:8], n*6364136223846793005)
	put(c.Trace[8:], n)
	put(c.Span[:], n*0x9e3779b97f4a7c15)
	c.Flags = Random
	return c
}

// AppendBatch appends what the execution with the number n is called: a worker is told it
// as x-request-id, and logs have it.
func AppendBatch(dst []byte, n uint64) []byte {
	var b [8]byte
	put(b[:], n)
	return AppendHex(append(dst, "batch-"...), b[:])
}

func put(dst []byte, v uint64) {
	for i := range dst {
		dst[i] = byte(v >> (56 - 8*i))
	}
}
