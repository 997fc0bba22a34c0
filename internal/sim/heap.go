package sim

import (
	"motley/internal/dispatch"
	"motley/internal/mono"
)

// event is what will happen: the end of an execution, an early answer of one, a
// change of a worker, or (a Tick) a judgement of all workers.
// (time, kind, sequence) is its order.
type event struct {
	at    mono.Time
	seq   uint64
	batch dispatch.BatchID // of a Finish, Fail or Exit; for others the index in Config.Changes
	kind  dispatch.EventKind
	fault dispatch.Fault

	member int32 // of an Exit
}

func (e *event) before(f *event) bool {
	if e.at != f.at {
		return e.at < f.at
	}
	if e.kind != f.kind {
		return e.kind < f.kind
	}
	return e.seq < f.seq
}

// events is a binary heap, written out because container/heap boxes every
// entry.
type events []event

func (h *events) push(e event) {
	*h = append(*h, e)
	h.up(len(*h) - 1)
}

func (h *events) pop() event {
	old := *h
	first, n := old[0], len(old)-1
	old[0] = old[n]
	*h = old[:n]
	if n > 1 {
		h.down(0)
	}
	return first
}

func (h *events) up(i int) {
	s := *h
	e := s[i]
	for i > 0 {
		p := (i - 1) / 2
		if !e.before(&s[p]) {
			break
		}
		s[i] = s[p]
		i = p
	}
	s[i] = e
}

func (h *events) down(i int) {
	s := *h
	e := s[i]
	for {
		c := 2*i + 1
		if c >= len(s) {
			break
		}
		if c+1 < len(s) && s[c+1].before(&s[c]) {
			c++
		}
		if !s[c].before(&e) {
			break
		}
		s[i] = s[c]
		i = c
	}
	s[i] = e
}
