package live

import (
	"math/rand/v2"
	"strconv"

	"motley/internal/tracecontext"
)

// names is what a worker is told an execution is called.
type names struct {
	number uint64 // of a batch of several requests, by chance; 0: of one
	id     []byte
	links  []tracecontext.Context // of members that are recorded
}

// name names the execution. That of a single request, or of some of its rows, is
// called as the request is. Several have a name of their own together, and where
// traces are recorded a place of their own, from which one finds theirs.
func (ex *execution) name() {
	n := &ex.names
	n.number, n.links = 0, n.links[:0]
	if len(ex.calls) < 2 {
		return
	}
	for n.number == 0 {
		n.number = rand.Uint64()
	}
	n.id = AppendMerged(n.id[:0], n.number)
	lead := &ex.calls[0]
	var place tracecontext.Context
	if ex.loop.cfg.Traced {
		place = tracecontext.OfBatch(n.number)
		for i := range ex.calls {
			if t := &ex.calls[i].Trace; t.Sampled() {
				n.links = append(n.links, tracecontext.Context{Trace: t.Trace, Span: t.Span, Flags: t.Flags})
				place.Flags |= tracecontext.Sampled
			}
		}
	}
	lead.ID, lead.Trace = n.id, place
}

// AppendMerged appends what the batch with the number n is called: a worker is
// told it as x-request-id, and logs have it.
func AppendMerged(dst []byte, n uint64) []byte {
	dst = append(dst, "batch-"...)
	const digits = 16
	var hex [digits]byte
	text := strconv.AppendUint(hex[:0], n, digits)
	for range digits - len(text) {
		dst = append(dst, '0')
	}
	return append(dst, text...)
}
