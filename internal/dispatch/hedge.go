package dispatch

import (
	"time"

	"motley/internal/mono"
	"motley/internal/pool"
)

// An execution that is late by its own estimate may have met a pause, a hang or a slow
// host. Its members that can still be answered in time by a worker which stands idle run
// there as well, as members of a second execution, a copy. The first answer counts: a
// member that has it leaves the other execution, and one that nobody waits for any more
// is stopped. Copies are bounded by a share of the traffic, and start only where the pool
// has room: nothing waits for the worker, or what does is far from a full batch and goes
// with the next at little more cost. Workers that merge whatever waits hardly ever stand
// idle, however little there is to do.
//
// A member's record is one, in both: batch is the one that it would be retried from, copy
// the other. What ends without an answer leaves the member to the other. No more than two
// run at a time, and an execution is copied once.

// Hedging counts a model's copies.
type Hedging struct {
	Copies uint64 // executions that were started because another was late
	Won    uint64 // of these, those that had the first answer
}

const (
	hedgesEach = 1 // a second that are allowed however little comes
	// hedgeFill is how full batches are in the mean, at most, where copies start although
	// something waits.
	hedgeFill = 0.5
	// leastLate is the time before which nothing is late.
	leastLate = 100 * time.Microsecond
)

// lateAt is when the execution that begins now counts as late, or mono.Never.
func (c *Core) lateAt(bound time.Duration, p *pool.Profile) mono.Time {
	times := c.cfg.Failures.Hedge
	if times == 0 || !p.Settled() {
		return mono.Never
	}
	return c.now.Add(max(time.Duration(times*float64(bound)), leastLate))
}

// late notes an execution that is late, for copyLate to see to.
func (c *Core) late(slot uint32) {
	b := &c.batches[slot]
	c.timers.set(b.hangs, batchTimer, slot)
	if !b.given && !b.copy {
		c.tardy = append(c.tardy, b.id)
	}
}

// copyLate has members of executions that are late run elsewhere, too, where there is room
// now, and forgets those that need that no more.
func (c *Core) copyLate() {
	kept := c.tardy[:0]
	for _, id := range c.tardy {
		slot := uint32(id)
		b := &c.batches[slot]
		if b.id != id || !b.live || b.given || b.wanted == 0 {
			continue
		}
		w, again := c.second(b)
		if w >= 0 {
			c.hedge(slot, w)
		} else if again {
			kept = append(kept, id)
		}
	}
	c.tardy = kept
}

// second is the worker to run the members of a late execution on as well, which are left
// in c.copies; −1 if there is none now. again is that there may be one later.
func (c *Core) second(b *batch) (best pool.WorkerID, again bool) {
	m := &c.models[b.model]
	best = -1
	soonest := time.Duration(1<<63 - 1)
	for i := range m.groups {
		g := &m.groups[i]
		if g.up == 0 || !g.profile.Settled() || g.profile.Mean(b.items) >= soonest || !c.copyable(b, g) {
			continue
		}
		again = true
		if g.free == 0 {
			continue
		}
		for _, id := range g.workers {
			w := &c.workers[id]
			if w.free && id != b.worker && !w.Breaker.Tripped() && w.limit(m.id) >= b.items && c.roomy(w) {
				best, soonest = id, g.profile.Mean(b.items)
				break
			}
		}
	}
	if best < 0 {
		return -1, again
	}
	c.copyable(b, m.groupOf(&c.workers[best]))
	f := &c.cfg.Failures
	m.hedges.look(m, c.now, f.HedgeBudget, hedgesEach, float64(m.MaxBatch))
	if !m.hedges.spend(float64(len(c.copies))) {
		return -1, true
	}
	return best, true
}

// copyable leaves in c.copies the members of the execution that the group would answer
// in time, were it to start now with all of them, and reports whether there is any.
func (c *Core) copyable(b *batch, g *group) bool {
	m := &c.models[b.model]
	ends := c.now.Add(g.profile.Bound(b.items, m.judged))
	c.copies = c.copies[:0]
	for _, s := range b.members {
		if s != gone && c.requests[s].copy == none && (c.traits.Late || ends <= c.requests[s].deadline) {
			c.copies = append(c.copies, s)
		}
	}
	return len(c.copies) > 0
}

// roomy reports whether the worker may run a copy although something waits for it.
func (c *Core) roomy(w *worker) bool {
	for _, s := range w.Serves {
		m := &c.models[s.Model]
		if s.MaxBatch == 0 || m.queue.len() == 0 {
			continue
		}
		full := hedgeFill * float64(min(m.MaxBatch, s.MaxBatch))
		if m.groupOf(w).batch > full || float64(m.queue.items) > full {
			return false
		}
	}
	return true
}

// hedge runs the records in c.copies on the worker as well.
func (c *Core) hedge(slot uint32, w pool.WorkerID) {
	m := &c.models[c.batches[slot].model]
	c.batches[slot].copied = true
	copied := c.run(w, m, c.copies)
	c.batches[copied].copy = true
	for _, s := range c.copies {
		c.requests[s].copy = copied
	}
	m.hedging.Copies++
}

// other is the execution that a member of b is in as well; none if there is none.
func (r *request) other(b *batch) uint32 {
	if r.copy != none && r.batch == uint32(b.id) {
		return r.copy
	}
	if r.copy == uint32(b.id) {
		return r.batch
	}
	return none
}

// overtakes takes a member of b that has its answer out of the other execution that it
// is in, and returns that; none if there is none.
func (c *Core) overtakes(b *batch, slot uint32) uint32 {
	r := &c.requests[slot]
	other := r.other(b)
	if other == none {
		return none
	}
	c.quit(slot, other)
	r.copy = none
	if b.copy && !b.won {
		b.won = true
		c.models[b.model].hedging.Won++
	}
	return other
}

// overtaken ends an execution whose members all had their answers from another, if so. One
// that was late has taken so long at least, which is learned, and its worker has failed to
// answer: three in a row, and it is not asked for a while, as one that hangs must not be. Of
// its rate of failures that is no part; a slow worker is not a bad one.
func (c *Core) overtaken(slot uint32) {
	b := &c.batches[slot]
	if b.wanted > 0 || b.given || b.left {
		return
	}
	if b.copied {
		w := &c.workers[b.worker]
		c.learn(b, w, nil)
		w.vital.failures++
		c.failure(b.worker, false)
	}
	c.abandon(b)
	c.refresh(b.worker)
}

// goesOn reports whether a member of b, which has failed, runs elsewhere as well; from
// now on it runs only there.
func (c *Core) goesOn(b *batch, slot uint32) bool {
	r := &c.requests[slot]
	other := r.other(b)
	if other == none {
		return false
	}
	r.batch, r.copy = other, none
	return true
}

// quitOther takes a record out of the execution in which it still runs.
func (c *Core) quitOther(slot uint32) {
	c.abandonUnwanted(c.quit(slot, c.requests[slot].batch))
}
