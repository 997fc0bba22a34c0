package dispatch

import "motley/internal/mono"

// timerKind says whose timer it is.
type timerKind uint8

const (
	requestTimer timerKind = iota // the latest start of a waiting request has come
	batchTimer                    // an execution has run too long
	breakerTimer                  // a worker's breaker lets a trial through
)

type timer struct {
	at   mono.Time
	seq  uint64 // equal instants fire in the order in which they were set
	kind timerKind
	slot uint32
}

func (t timer) before(u timer) bool {
	if t.at != u.at {
		return t.at < u.at
	}
	return t.seq < u.seq
}

// timers is a binary heap that knows where each timer stands, so that one can
// be taken out early. where is called with the new place of every timer that
// moves, and −1 for one that leaves.
type timers struct {
	heap  []timer
	seq   uint64
	where func(t timer, i int32)
}

func (h *timers) next() mono.Time {
	if len(h.heap) == 0 {
		return mono.Never
	}
	return h.heap[0].at
}

// set adds a timer; the caller has none standing for the same kind and slot.
func (h *timers) set(at mono.Time, kind timerKind, slot uint32) {
	h.seq++
	h.heap = append(h.heap, timer{at: at, seq: h.seq, kind: kind, slot: slot})
	h.up(len(h.heap) - 1)
}

func (h *timers) removeAt(i int32) {
	n := len(h.heap) - 1
	h.where(h.heap[i], -1)
	last := h.heap[n]
	h.heap = h.heap[:n]
	if int(i) == n {
		return
	}
	h.heap[i] = last
	if i > 0 && last.before(h.heap[(i-1)/2]) {
		h.up(int(i))
	} else {
		h.down(int(i))
	}
}

func (h *timers) up(i int) {
	t := h.heap[i]
	for i > 0 {
		p := (i - 1) / 2
		if !t.before(h.heap[p]) {
			break
		}
		h.heap[i] = h.heap[p]
		h.where(h.heap[i], int32(i))
		i = p
	}
	h.heap[i] = t
	h.where(t, int32(i))
}

func (h *timers) down(i int) {
	t, n := h.heap[i], len(h.heap)
	for {
		c := 2*i + 1
		if c >= n {
			break
		}
		if c+1 < n && h.heap[c+1].before(h.heap[c]) {
			c++
		}
		if !h.heap[c].before(t) {
			break
		}
		h.heap[i] = h.heap[c]
		h.where(h.heap[i], int32(i))
		i = c
	}
	h.heap[i] = t
	h.where(t, int32(i))
}
