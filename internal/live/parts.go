package live

import (
	"cmp"
	"errors"
	"net/http"
	"slices"

	"motley/internal/backend"
	"motley/internal/mono"
	"motley/internal/oip"
)

// part is the answer to some rows of a request.
type part struct {
	from, count int
	started     mono.Time
	response    oip.Message
	err         error
	exit        int
	confidence  float32
}

// partial reports whether only some rows of member i run in the execution.
func (ex *execution) partial(i int) bool {
	return len(ex.rows) > 0 && ex.rows[i].Count < ex.members[i].req.Size
}

// slice makes requests of the rows that run here of members that were cut.
func (ex *execution) slice() error {
	if len(ex.rows) == 0 {
		return nil
	}
	for len(ex.slices) < len(ex.calls) {
		ex.slices = append(ex.slices, oip.Request{})
	}
	for i, t := range ex.members {
		if !ex.partial(i) {
			continue
		}
		if err := oip.Slice(&ex.slices[i], t.req.Call.Request, ex.rows[i].From, ex.rows[i].Count); err != nil {
			return &backend.Error{Class: backend.Client, Status: http.StatusInternalServerError, Message: err.Error(), Cause: err}
		}
		ex.calls[i].Request = &ex.slices[i]
	}
	return nil
}

// keep takes the answer of member i, some of the ticket's rows, out of the
// execution. It reports false where another execution of them was first. The loop's
// lock is held.
func (t *ticket) keep(ex *execution, i int) bool {
	for k := range t.parts {
		if t.parts[k].from == ex.rows[i].From {
			return false
		}
	}
	c := &ex.calls[i]
	t.parts = append(t.parts, part{
		from: ex.rows[i].From, count: ex.rows[i].Count, started: ex.started, response: c.Response, err: c.Err,
		exit: c.Exit, confidence: c.Confidence,
	})
	c.Response = oip.Message{}
	return true
}

// join makes the request's answer of those of its parts. Nobody else looks at
// the ticket any more.
func (t *ticket) join() {
	slices.SortFunc(t.parts, func(a, b part) int { return cmp.Compare(a.from, b.from) })
	first := mono.Never
	t.req.Exit, t.req.Confidence = t.parts[0].exit, t.parts[0].confidence
	responses := make([]oip.Response, len(t.parts))
	ptrs := make([]*oip.Response, len(t.parts))
	sizes := make([]int, len(t.parts))
	for i := range t.parts {
		p := &t.parts[i]
		first = min(first, p.started)
		t.req.Exit, t.req.Confidence = latest(t.req.Exit, p.exit), min(t.req.Confidence, p.confidence)
		err := p.err
		if err == nil {
			err = responses[i].Parse(p.response.Body, p.response.HeadLength, nil)
		}
		if t.err == nil {
			t.err = err
		}
		ptrs[i], sizes[i] = &responses[i], p.count
	}
	t.req.Queued = first.Sub(t.arrived)
	if t.err == nil {
		t.err = oip.Join(&t.req.Call.Response, ptrs, t.req.Call.Request, sizes)
	}
	var e *oip.Error
	if errors.As(t.err, &e) && e.Status == http.StatusBadGateway {
		t.err = &backend.Error{Class: backend.Protocol, Status: e.Status, Message: e.Message, Cause: e}
	}
}

// latest is the later of two exits; −1, the end of a worker without ramps, is
// after any.
func latest(a, b int) int {
	if a < 0 || b < 0 {
		return -1
	}
	return max(a, b)
}
