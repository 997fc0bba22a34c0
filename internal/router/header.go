package router

import (
	"bytes"
	"math/rand/v2"

	"github.com/valyala/fasthttp"

	"motley/internal/http1"
)

const (
	headerLength      = "Inference-Header-Content-Length"
	headerRequestID   = "X-Request-Id"
	headerTraceparent = "Traceparent"
	headerTracestate  = "Tracestate"
	headerBatch       = "X-Motley-Batch"
	headerParts       = "X-Motley-Parts"
	headerExit        = "X-Motley-Exit"
	headerRetryAfter  = "Retry-After"
	headerRetryMs     = "Retry-After-Ms"
	headerShouldRetry = "X-Should-Retry"
	headerTiming      = "Server-Timing"
)

// maxRequestID is the most bytes of a client's x-request-id that is taken.
const maxRequestID = 128

// headers are the request headers that the front end reads, found in one pass.
// The slices point into the request; nil is an absent header.
type headers struct {
	length          []byte // Inference-Header-Content-Length
	lengthConflict  bool   // it came twice with different values
	contentEncoding []byte
	encodings       int // Content-Encoding headers
	acceptEncoding  []byte
	requestID       []byte
	traceparent     []byte
	traceparents    int    // Traceparent headers
	tracestate      []byte // those of several headers, with commas between them
	deadlines       [len(deadlineHeaders)][]byte
	authorization   []byte
	apiKey          []byte // x-api-key
	tenant          []byte // of Access.TenantHeader
}

// read fills h from the request. Of a header that comes twice the first counts.
func (h *headers) read(from *fasthttp.RequestHeader) {
	*h = headers{}
	for k, v := range from.All() {
		switch string(k) {
		case headerLength:
			if h.length != nil && !bytes.Equal(h.length, v) {
				h.lengthConflict = true
			}
			first(&h.length, v)
		case "Content-Encoding":
			h.encodings++
			first(&h.contentEncoding, v)
		case "Accept-Encoding":
			first(&h.acceptEncoding, v)
		case headerRequestID:
			first(&h.requestID, v)
		case headerTraceparent:
			h.traceparents++
			first(&h.traceparent, v)
		case headerTracestate:
			joined(&h.tracestate, v)
		case "Grpc-Timeout":
			first(&h.deadlines[0], v)
		case "X-Envoy-Expected-Rq-Timeout-Ms":
			first(&h.deadlines[1], v)
		case "X-Envoy-Upstream-Rq-Timeout-Ms":
			first(&h.deadlines[2], v)
		case "X-Request-Timeout-Seconds":
			first(&h.deadlines[3], v)
		case "X-Request-Timeout-Ms":
			first(&h.deadlines[4], v)
		case "X-Stainless-Timeout":
			first(&h.deadlines[5], v)
		case "X-Llm-D-Slo-Ttft-Ms":
			first(&h.deadlines[6], v)
		case "Authorization":
			first(&h.authorization, v)
		case "X-Api-Key":
			first(&h.apiKey, v)
		}
	}
}

// take fills h from a head that was read in place, but for what concerns a body's
// encoding: a request with one is not read so.
func (h *headers) take(from []http1.Field) {
	*h = headers{}
	for i := range from {
		f := &from[i]
		// By length first: few headers need a closer look.
		switch len(f.Name) {
		case 9:
			h.named(f, "x-api-key", &h.apiKey)
		case 10:
			if f.Is("tracestate") {
				joined(&h.tracestate, f.Value)
			}
		case 13:
			h.named(f, "authorization", &h.authorization)
		case 11:
			if f.Is("traceparent") {
				h.traceparents++
				first(&h.traceparent, f.Value)
			}
		case 12:
			h.named(f, "x-request-id", &h.requestID)
			h.named(f, "grpc-timeout", &h.deadlines[0])
		case 15:
			h.named(f, "accept-encoding", &h.acceptEncoding)
		case 19:
			h.named(f, "x-stainless-timeout", &h.deadlines[5])
			h.named(f, "x-llm-d-slo-ttft-ms", &h.deadlines[6])
		case 20:
			h.named(f, "x-request-timeout-ms", &h.deadlines[4])
		case 25:
			h.named(f, "x-request-timeout-seconds", &h.deadlines[3])
		case 31:
			if f.Is("inference-header-content-length") && h.length != nil && !bytes.Equal(h.length, f.Value) {
				h.lengthConflict = true
			}
			h.named(f, "inference-header-content-length", &h.length)
		case 30:
			h.named(f, "x-envoy-expected-rq-timeout-ms", &h.deadlines[1])
			h.named(f, "x-envoy-upstream-rq-timeout-ms", &h.deadlines[2])
		}
	}
}

func (h *headers) named(f *http1.Field, name string, dst *[]byte) {
	if f.Is(name) {
		first(dst, f.Value)
	}
}

// first sets dst to v, unless it is set; an empty header is present.
func first(dst *[]byte, v []byte) {
	if *dst != nil {
		return
	}
	if v == nil {
		v = []byte{}
	}
	*dst = v
}

// joined adds v to the values of a header that may come in pieces (RFC 9110, §5.3).
func joined(dst *[]byte, v []byte) {
	if *dst == nil {
		first(dst, v)
		return
	}
	whole := append(make([]byte, 0, len(*dst)+1+len(v)), *dst...) // what was read must not be written to
	*dst = append(append(whole, ','), v...)
}

// appendRequestID appends the client's id, if it is one that may stand in a
// header and a log line, and otherwise a new one of 32 hexadecimal digits.
func appendRequestID(dst, given []byte) []byte {
	if validRequestID(given) {
		return append(dst, given...)
	}
	const hex = "0123456789abcdef"
	for range 2 {
		for r, i := rand.Uint64(), 0; i < 16; i++ {
			dst = append(dst, hex[r&15])
			r >>= 4
		}
	}
	return dst
}

// validRequestID reports whether id has 1 to maxRequestID characters, all of
// them visible ones of ASCII.
func validRequestID(id []byte) bool {
	if len(id) == 0 || len(id) > maxRequestID {
		return false
	}
	for _, c := range id {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}
