package dispatch

import (
	"fmt"

	"motley/internal/pool"
)

// check panics where the state breaks one of the invariants of
// docs/invariants.md. It is compiled in with the tag `invariants` and under
// the race detector.
func (c *Core) check() {
	if next := c.NextDeadline(); next <= c.now {
		bug(2, "at %v the next deadline is %v", c.now, next)
	}
	waiting, running, live := 0, 0, uint64(0)
	for _, s := range c.byID {
		if s != none {
			live++
			c.checkParts(s)
		}
	}
	for i := range c.requests {
		r := &c.requests[i]
		switch r.state {
		case queued:
			waiting++
			if r.timer < 0 {
				bug(3, "request %d waits without a timer", r.id)
			}
		case flying:
			running++
			if b := &c.batches[r.batch]; !b.live || b.given {
				bug(3, "request %d flies in a batch that does not", r.id)
			}
			if r.copy == none {
				break
			}
			if b := &c.batches[r.copy]; !b.live || b.given || r.copy == r.batch {
				bug(3, "request %d flies as a copy that does not", r.id)
			}
		}
	}
	c.checkCounts(waiting, running, live)
	for i := range c.workers {
		c.checkWorker(pool.WorkerID(i))
	}
	for i := range c.models {
		c.checkQueue(&c.models[i])
		c.checkService(&c.models[i])
	}
}

// checkService holds that nobody is kept from work that no other one does.
func (c *Core) checkService(m *model) {
	able, works := pool.WorkerID(-1), false
	for i := range c.workers {
		if w := &c.workers[i]; w.State == pool.Up && w.limit(m.id) > 0 && !w.Breaker.Tripped() {
			able, works = pool.WorkerID(i), works || w.up
		}
	}
	if able >= 0 && !works {
		bug(17, "model %s is not served, though worker %d could", m.Name, able)
	}
}

func (c *Core) checkCounts(waiting, flying int, live uint64) {
	n := c.counts
	if n.Arrived != n.Answered+n.Rejected+n.Failed+n.Cancelled+live {
		bug(1, "%+v with %d live", n, live)
	}
	if waiting != c.waiting {
		bug(1, "%d wait, %d are counted", waiting, c.waiting)
	}
	sum := 0
	for i := range c.models {
		sum += c.models[i].flying
	}
	if sum != flying {
		bug(1, "%d fly, %d are counted", flying, sum)
	}
}

// checkParts holds that the parts of a request are its rows, each once.
func (c *Core) checkParts(slot uint32) {
	rows, end, open := 0, 0, false
	id := c.requests[slot].id
	for s := slot; ; {
		r := &c.requests[s]
		if r.state == absent || r.id != id {
			bug(3, "request %d has a part that is not its own", id)
		}
		rows += r.size
		end = max(end, r.from+r.size)
		open = open || r.state != done
		if s = r.next; s == slot {
			break
		}
	}
	if rows != end || !open {
		bug(3, "request %d has %d rows in parts that end at %d, any open: %v", id, rows, end, open)
	}
}

func (c *Core) checkWorker(id pool.WorkerID) {
	w := &c.workers[id]
	if len(w.running) > w.Concurrency {
		bug(4, "worker %d runs %d batches of %d", id, len(w.running), w.Concurrency)
	}
	if free := c.idle(w); free != w.free {
		bug(4, "worker %d is free: %v, noted: %v", id, free, w.free)
	}
	for _, s := range w.running {
		b := &c.batches[s]
		if !b.live || b.worker != id {
			bug(4, "worker %d runs a batch that is not its own", id)
		}
		wanted := 0
		for _, m := range b.members {
			if m != gone {
				wanted++
				r := &c.requests[m]
				if r.state != flying || r.batch != s && r.copy != s {
					bug(3, "request %d is a member of batch %d and does not know", r.id, b.id)
				}
				if b.started == c.now && r.deadline < c.now && !c.traits.Late {
					bug(9, "request %d was started after its deadline", r.id)
				}
			}
		}
		if wanted == 0 && !b.given && !b.left {
			bug(3, "batch %d runs on for nobody", b.id)
		}
		if wanted != b.wanted {
			bug(3, "batch %d is wanted by %d, noted: %d", b.id, wanted, b.wanted)
		}
	}
}

func (c *Core) checkQueue(m *model) {
	items := 0
	for i := range m.queue.len() {
		e := m.queue.at(i)
		items += c.requests[e.slot].size
		if i > 0 && !m.queue.at(i-1).before(e) {
			bug(5, "queue of %s is out of order at %d", m.Name, i)
		}
	}
	if items != m.queue.items {
		bug(1, "queue of %s holds %d items, noted: %d", m.Name, items, m.queue.items)
	}
	for i := range m.groups {
		g := &m.groups[i]
		free := 0
		for _, id := range g.workers {
			if w := &c.workers[id]; !w.present || w.class != g.class || !w.lists(m.id) {
				bug(4, "model %s counts worker %d, which is not one of the group's", m.Name, id)
			}
			if c.workers[id].free && c.workers[id].limit(m.id) > 0 {
				free++
			}
		}
		if free != g.free {
			bug(4, "model %s has %d free workers of type %d, noted: %d", m.Name, free, g.typ, g.free)
		}
	}
	c.checkIdle(m)
}

// checkIdle holds the promise that no free worker that could answer in time
// stands beside the first waiting request.
func (c *Core) checkIdle(m *model) {
	if m.queue.len() == 0 || c.traits.Waits {
		return
	}
	r := &c.requests[m.queue.at(0).slot]
	if c.turn.avoided(m, r) >= 0 {
		return
	}
	for i := range m.groups {
		g := &m.groups[i]
		if g.free == 0 || !c.turn.fits(m, g, r.size, r.deadline) {
			continue
		}
		for _, id := range g.workers {
			if c.workers[id].free && c.workers[id].limit(m.id) >= r.size {
				bug(5, "request %d waits beside free worker %d", r.id, id)
			}
		}
	}
}

func bug(invariant int, format string, args ...any) {
	panic(fmt.Sprintf("BUG: invariant %d: %s", invariant, fmt.Sprintf(format, args...)))
}
