package dispatch

import "motley/internal/pool"

// A request whose rows run apart is several records, one for each part: each
// waits, runs and is tried again on its own. They end together: with the
// answer of the last, or with the first that cannot be answered.

// none marks a place where no record stands.
const none = ^uint32(0)

// Rows says which rows of a request a batch runs.
type Rows struct{ From, Count int }

// newRecord returns the slot of a record that nobody uses.
func (c *Core) newRecord() uint32 {
	if n := len(c.spare); n > 0 {
		s := c.spare[n-1]
		c.spare = c.spare[:n-1]
		return s
	}
	c.requests = append(c.requests, request{timer: -1})
	return uint32(len(c.requests) - 1)
}

// slotOf is the slot of some part of a live request, or none.
func (c *Core) slotOf(id RequestID) uint32 {
	i := id.Index()
	if int(i) >= len(c.byID) {
		return none
	}
	s := c.byID[i]
	if s != none && c.requests[s].id != id {
		return none
	}
	return s
}

// Splits reports whether requests of the model may be cut into parts, as far as
// policy and configuration go.
func (c *Core) Splits(m pool.ModelID) bool {
	mod := &c.models[m]
	return c.traits.Splits && !mod.NoSplit && mod.MaxBatch > 1
}

// splittable reports whether rows of the request may run apart from the
// others.
func (c *Core) splittable(m *model, r *request) bool {
	return c.Splits(m.id) && r.key != 0 && !r.whole && !r.alone() && r.size > 1
}

// leastRows is the size of the smallest part that the request could be cut
// into, if all workers ran one at once: what decides whether it can still be
// answered in time. No part is larger than what some worker takes.
func (c *Core) leastRows(m *model, r *request) int {
	if !c.splittable(m, r) {
		return r.size
	}
	rows := r.size
	if m.up > 1 {
		rows = (rows + m.up - 1) / m.up
	}
	if most := m.largest(); most > 0 {
		rows = min(rows, most)
	}
	return rows
}

// cut leaves the first n rows with the waiting record in the slot and makes
// another of the rest, which waits right behind it. 0 < n < its size.
func (c *Core) cut(slot uint32, n int) {
	s := c.newRecord()
	r, rest := &c.requests[slot], &c.requests[s]
	c.seq++
	*rest = *r
	rest.from += n
	rest.size -= n
	rest.timer = -1
	rest.entry.seq, rest.entry.slot = c.seq, s
	r.next = s
	c.models[r.model].queue.items -= rest.size
	r.size = n
	// Not before the whole had its last call: estimates may have become worse in
	// this very step, and the present plan is made with them.
	c.wait(s, max(c.callAt(&c.models[r.model], rest), c.timers.heap[r.timer].at))
}

// forget takes every part of a request out of queues and executions and lets
// their slots go. It reports whether any of them has run, or runs. The record
// in the slot must stand in neither, unless all is true.
func (c *Core) forget(slot uint32, all bool) (ran bool) {
	c.byID[c.requests[slot].id.Index()] = none
	for s := slot; ; {
		r := &c.requests[s]
		ran = ran || r.attempts > 0 || r.state == done
		if s != slot || all {
			switch r.state {
			case queued:
				c.dequeue(s)
			case flying:
				ran = true
				c.leave(s)
			}
		}
		r.state = absent
		c.spare = append(c.spare, s)
		if s = r.next; s == slot {
			return ran
		}
	}
}

// leave takes a record out of the execution that it is a member of. One that
// nobody waits for any more is abandoned, unless a member left it early: what it
// comes to is how that answer is audited.
func (c *Core) leave(slot uint32) {
	r := &c.requests[slot]
	c.models[r.model].flying--
	c.abandonUnwanted(c.quit(slot, r.batch))
	if r.copy != none {
		c.abandonUnwanted(c.quit(slot, r.copy))
		r.copy = none
	}
}

// quit takes a record off an execution's members.
func (c *Core) quit(slot, bslot uint32) *batch {
	b := &c.batches[bslot]
	for i, s := range b.members {
		if s == slot {
			b.members[i] = gone
			b.wanted--
		}
	}
	return b
}

// abandonUnwanted ends an execution that nobody waits for any more.
func (c *Core) abandonUnwanted(b *batch) {
	if b.wanted == 0 && b.live && !b.given && !b.left {
		c.abandon(b)
	}
}

// complete reports whether every part of the request has its rows' answer.
func (c *Core) complete(slot uint32) bool {
	for s := slot; ; {
		r := &c.requests[s]
		if r.state != done {
			return false
		}
		if s = r.next; s == slot {
			return true
		}
	}
}
