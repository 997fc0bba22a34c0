package dispatch

import (
	"fmt"

	"motley/internal/pool"
)

// start charges worker w with the waiting requests in slots and tells the
// driver to run them.
func (c *Core) start(w pool.WorkerID, slots []uint32) {
	mod := &c.models[c.requests[slots[0]].model]
	for _, s := range slots {
		c.dequeue(s)
		c.gets(mod, &c.requests[s])
	}
	bslot := c.run(w, mod, slots)
	for _, s := range slots {
		r := &c.requests[s]
		r.state = flying
		r.batch = bslot
	}
	mod.flying += len(slots)
}

// run begins an execution of what the slots hold and returns its slot.
func (c *Core) run(w pool.WorkerID, mod *model, slots []uint32) uint32 {
	wk := &c.workers[w]
	bslot := c.newBatch()
	b := &c.batches[bslot]
	b.worker, b.model, b.started, b.items = w, mod.id, c.now, 0
	b.members = append(b.members[:0], slots...)
	b.requests, b.rows = b.requests[:0], b.rows[:0]
	parts := false
	b.wanted = len(slots)
	for _, s := range slots {
		r := &c.requests[s]
		b.items += r.size
		b.requests = append(b.requests, r.id)
		b.rows = append(b.rows, Rows{r.from, r.size})
		parts = parts || r.next != s
	}
	g := mod.groupOf(wk)
	g.flying++
	g.tried = c.now
	g.batch += (float64(b.items) - g.batch) / batchSpan
	p := g.profile
	took := p.Mean(b.items)
	b.ends = c.now.Add(took + wk.rests(took))
	bound := p.Bound(b.items, mod.judged)
	b.hangs = c.now.Add(bound + c.cfg.Hang)
	c.timers.set(min(b.hangs, c.lateAt(bound, p)), batchTimer, bslot)
	wk.running = append(wk.running, bslot)
	wk.Breaker.Sent(c.now)
	c.refresh(w)
	a := Action{Kind: Start, Batch: b.id, Worker: w, Model: mod.id, Requests: b.requests}
	if parts {
		a.Rows = b.rows
	}
	c.emit(a)
	return bslot
}

func (c *Core) newBatch() uint32 {
	if n := len(c.freed); n > 0 {
		s := c.freed[n-1]
		c.freed = c.freed[:n-1]
		b := &c.batches[s]
		b.live, b.given, b.left, b.copied, b.copy, b.won = true, false, false, false, false, false
		b.id += 1 << 32
		return s
	}
	s := uint32(len(c.batches))
	c.batches = append(c.batches, batch{id: BatchID(s), live: true, timer: -1})
	return s
}

// runs returns an execution that has not ended.
func (c *Core) runs(id BatchID) *batch {
	slot := uint32(id)
	if int(slot) >= len(c.batches) || c.batches[slot].id != id || !c.batches[slot].live {
		panic(fmt.Sprintf("BUG: batch %d ends, or is left, but does not run", id))
	}
	return &c.batches[slot]
}

// end takes an execution off its worker and returns it. Its slot may be used
// again from the next start on, so callers finish with it first.
func (c *Core) end(id BatchID) *batch {
	slot, b := uint32(id), c.runs(id)
	b.live = false
	if b.timer >= 0 {
		c.timers.removeAt(b.timer)
	}
	w := &c.workers[b.worker]
	c.models[b.model].groupOf(w).flying--
	w.vital.ended, w.vital.took = c.now, c.now.Sub(b.started)
	if w.paced {
		w.rested = c.now.Add(w.rests(w.vital.took))
	}
	for i, s := range w.running {
		if s == slot {
			w.running = append(w.running[:i], w.running[i+1:]...)
			break
		}
	}
	c.freed = append(c.freed, slot)
	return b
}

func (c *Core) finish(id BatchID, stages []Stage) {
	b := c.end(id)
	w := &c.workers[b.worker]
	w.vital.finished++
	c.success(b.worker)
	c.learn(b, w, stages)
	c.judge(&c.models[b.model])
	for _, s := range b.members {
		if s != gone {
			c.answered(b, s)
		}
	}
	c.refresh(b.worker)
	c.vacate(b.worker)
}

// answered notes that a member of the execution has its answer: with it its
// request ends, unless other parts of that are to come.
func (c *Core) answered(b *batch, slot uint32) {
	r := &c.requests[slot]
	other := c.overtakes(b, slot)
	r.state = done
	c.models[b.model].flying--
	if c.complete(slot) {
		c.counts.Answered++
		if c.now > r.deadline {
			c.counts.Late++
		}
		c.emit(Action{Kind: Answer, Request: r.id, Model: b.model, Batch: b.id, Worker: b.worker})
		c.forget(slot, false)
	}
	if other != none {
		c.overtaken(other)
	}
}

// exit lets a member go that has its answer before the execution ends, which
// takes the worker as long as without. A member that is gone already is no
// error: the two cross on the way.
func (c *Core) exit(id BatchID, member int) {
	b := c.runs(id)
	if member < 0 || member >= len(b.members) {
		panic(fmt.Sprintf("BUG: member %d of batch %d, which has %d, leaves", member, id, len(b.members)))
	}
	s := b.members[member]
	if s == gone {
		return
	}
	b.members[member] = gone
	b.wanted--
	b.left = true
	c.answered(b, s)
}

// abandon asks the driver to stop an execution that is no use any more. The
// worker stays charged until the driver reports the end.
func (c *Core) abandon(b *batch) {
	b.given = true
	c.emit(Action{Kind: CancelBatch, Batch: b.id, Worker: b.worker, Model: b.model})
}
