package dispatch

import (
	"sort"
	"time"

	"motley/internal/mono"
	"motley/internal/pool"
)

// Turn is what a policy sees and can do while it is called. It is valid only
// during the call.
type Turn struct {
	c       *Core
	picks   []uint32
	cursors []int // by model, in rounds
}

// Window is how many waiting requests of a model a policy looks at for one
// that a free worker can take, and how many it looks at to fill a batch. It
// bounds the time of a step.
const Window = 128

// Now is the present instant.
func (t *Turn) Now() mono.Time { return t.c.now }

// Models is how many models there are.
func (t *Turn) Models() int { return len(t.c.models) }

// Waiting is how many requests of the model wait.
func (t *Turn) Waiting(m pool.ModelID) int { return t.c.models[m].queue.len() }

// Free is how many workers would take a batch of the model now.
func (t *Turn) Free(m pool.ModelID) int {
	n := 0
	for i := range t.c.models[m].groups {
		n += t.c.models[m].groups[i].free
	}
	return n
}

// request is the i-th waiting request of the model.
func (t *Turn) request(m pool.ModelID, i int) *request {
	return &t.c.requests[t.c.models[m].queue.at(i).slot]
}

// rounds offers the waiting requests of all models to try, in the order of
// their queues (priority, due, arrival) taken together, so that models which
// share workers get them in turn. try starts the i-th waiting request of the
// model, perhaps with others behind it, or reports that it cannot now.
func (t *Turn) rounds(try func(m pool.ModelID, i int) bool) {
	t.cursors = t.cursors[:0]
	for range t.c.models {
		t.cursors = append(t.cursors, 0)
	}
	for {
		var first entry
		best := pool.ModelID(-1)
		for m := range pool.ModelID(len(t.c.models)) {
			i := t.cursors[m]
			if i >= min(t.Waiting(m), Window) || t.Free(m) == 0 {
				continue
			}
			if e := t.c.models[m].queue.at(i); best < 0 || e.before(first) {
				first, best = e, m
			}
		}
		if best < 0 {
			return
		}
		if !try(best, t.cursors[best]) {
			t.cursors[best]++
		}
	}
}

// oldest appends to dst the first n waiting requests over all models, in the
// order of their queues taken together.
func (t *Turn) oldest(dst []uint32, n int) []uint32 {
	t.cursors = t.cursors[:0]
	for range t.c.models {
		t.cursors = append(t.cursors, 0)
	}
	for ; n > 0; n-- {
		var first entry
		best := -1
		for m := range t.c.models {
			if q := &t.c.models[m].queue; t.cursors[m] < q.len() {
				if e := q.at(t.cursors[m]); best < 0 || e.before(first) {
					first, best = e, m
				}
			}
		}
		if best < 0 {
			return dst
		}
		t.cursors[best]++
		dst = append(dst, first.slot)
	}
	return dst
}

// share is how many of the waiting requests from the i-th on one batch may
// take, so that every free worker gets some.
func (t *Turn) share(m pool.ModelID, i int) int {
	free := t.Free(m)
	return (t.Waiting(m) - i + free - 1) / free
}

// fits reports whether a free worker of the group would answer n items before
// the deadline.
func (t *Turn) fits(m *model, g *group, n int, deadline mono.Time) bool {
	return n <= g.maxItems && t.c.now.Add(g.profile.Bound(n, m.judged)) <= deadline
}

// takes reports whether a free worker of the group is to be tried for the
// request: it would make the deadline, or too little is known of it to say
// no, or a trial is due.
func (t *Turn) takes(m *model, g *group, r *request) bool {
	if g.free == 0 || r.size > g.maxItems {
		return false
	}
	if t.c.traits.Late {
		return true
	}
	if t.c.now > r.deadline {
		return false
	}
	return !g.profile.Settled() || t.fits(m, g, r.size, r.deadline) || t.c.trialDue(g) && t.c.lockedOut(m, r)
}

// pick returns a free worker of the group that takes n items of the model and
// is not avoid, or −1: of those with the fewest batches running the one whose
// turn it is.
func (t *Turn) pick(m pool.ModelID, g *group, n int, avoid pool.WorkerID) pool.WorkerID {
	best, least, at := pool.WorkerID(-1), int(^uint(0)>>1), 0
	for i := range g.workers {
		k := g.cursor + i
		if k >= len(g.workers) {
			k -= len(g.workers)
		}
		id := g.workers[k]
		w := &t.c.workers[id]
		if !w.free || id == avoid || len(w.running) >= least || w.limit(m) < n {
			continue
		}
		best, least, at = id, len(w.running), k
		if least == 0 {
			break
		}
	}
	if best >= 0 {
		g.cursor = at + 1
		if g.cursor == len(g.workers) {
			g.cursor = 0
		}
	}
	return best
}

// avoided is the worker on which the request failed last, where another one
// is expected to answer it in time, and −1 otherwise.
func (t *Turn) avoided(m *model, r *request) pool.WorkerID {
	if r.failedOn < 0 || m.up < 2 {
		return -1
	}
	for i := range m.groups {
		g := &m.groups[i]
		need := g.profile.Bound(r.size, m.judged)
		for _, id := range g.workers {
			w := &t.c.workers[id]
			if id != r.failedOn && w.Allows(t.c.now) && w.limit(m.id) >= r.size &&
				t.c.now.Add(t.c.left(w)).Add(need) <= r.deadline {
				return r.failedOn
			}
		}
	}
	return -1
}

// gather returns the i-th waiting request of the model and those behind it
// that can share its batch on worker w: equal merge keys, all deadlines held
// by the latency of the whole batch, at most limit requests. The slice is
// valid until the next call.
func (t *Turn) gather(m pool.ModelID, g *group, w pool.WorkerID, i, limit int) []uint32 {
	mod := &t.c.models[m]
	lead := t.request(m, i)
	t.picks = append(t.picks[:0], lead.entry.slot)
	if limit = min(limit, t.c.crowd(w, lead)); lead.key == 0 || limit < 2 {
		return t.picks
	}
	items, deadline := lead.size, lead.deadline
	most := min(mod.MaxBatch, t.c.workers[w].limit(m))
	end := min(mod.queue.len(), i+1+Window)
	for j := i + 1; j < end && items < most && len(t.picks) < limit; j++ {
		r := t.request(m, j)
		if r.key != lead.key || r.crowd != lead.crowd || items+r.size > most || t.avoided(mod, r) == w {
			continue
		}
		due := min(deadline, r.deadline)
		if !t.fits(mod, g, items+r.size, due) {
			if due == deadline && r.size == 1 {
				break // nothing smaller can follow
			}
			continue
		}
		items += r.size
		deadline = due
		t.picks = append(t.picks, r.entry.slot)
	}
	return t.picks
}

// mergeable reports whether r may join the batch of lead.
func mergeable(lead, r *request) bool {
	return lead.model == r.model && lead.key != 0 && lead.key == r.key && lead.crowd == r.crowd && lead.crowd != 1
}

// reject turns a waiting request away: no worker can answer it in time.
func (t *Turn) reject(slot uint32) {
	t.c.dequeue(slot)
	t.c.drop(slot, Deadline)
}

// sizeWithin is the largest batch, up to most items, whose mean latency on the
// group is at most limit; at least 1.
func sizeWithin(g *group, most int, limit time.Duration) int {
	return max(1, sort.Search(most, func(n int) bool { return g.profile.Mean(n+1) > limit }))
}

// Start runs the waiting requests in slots together on worker w.
func (t *Turn) start(w pool.WorkerID, slots []uint32) { t.c.start(w, slots) }

// Left estimates how long until worker w has a slot free.
func (t *Turn) Left(w pool.WorkerID) time.Duration { return t.c.left(&t.c.workers[w]) }
