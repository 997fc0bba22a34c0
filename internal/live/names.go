package live

import (
	"math/rand/v2"

	"motley/internal/tracecontext"
)

// names is what a worker is told an execution is called.
type names struct {
	number uint64 // of a batch of several requests, by chance; 0: of one
	id     []byte
	links  []tracecontext.Context // of members that are recorded
}

// identify names the execution. That of a single request, or of some of its rows, is
// called as the request is. Several have a name of their own together, and where
// traces are recorded a place of their own, from which one finds theirs.
func (ex *execution) identify() {
	n := &ex.names
	n.number, n.links = 0, n.links[:0]
	if len(ex.calls) < 2 {
		return
	}
	for n.number == 0 {
		n.number = rand.Uint64()
	}
	n.id = tracecontext.AppendBatch(n.id[:0], n.number)
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
