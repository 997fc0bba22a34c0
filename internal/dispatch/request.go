package dispatch

import (
	"fmt"

	"motley/internal/mono"
)

// arrive admits a request or turns it away.
func (c *Core) arrive(ev Event) {
	if int(ev.Model) < 0 || int(ev.Model) >= len(c.models) || ev.Size < 1 {
		panic(fmt.Sprintf("BUG: bad arrival: %v", ev))
	}
	c.counts.Arrived++
	m := &c.models[ev.Model]
	index := ev.Request.Index()
	for int(index) >= len(c.byID) {
		c.byID = append(c.byID, none)
	}
	if c.byID[index] != none {
		panic(fmt.Sprintf("BUG: request %d arrives twice", ev.Request))
	}
	slot := c.newRecord()
	r := &c.requests[slot]
	if ev.Priority == 0 {
		ev.Priority = DefaultPriority
	}
	c.seq++
	due := ev.Deadline
	if c.traits.Order == ByArrival {
		due = c.now
	}
	if c.tenants.short(ev.Tenant) { // who has less than its share goes first
		due -= mono.Time(m.QoS)
	}
	*r = request{
		id: ev.Request, next: slot, model: ev.Model, size: ev.Size, arrived: c.now, deadline: ev.Deadline,
		key: ev.MergeKey, whole: ev.Whole, tenant: int32(ev.Tenant), failedOn: -1, copy: none, timer: -1,
		entry: entry{due: due, seq: c.seq, priority: int32(ev.Priority), slot: slot},
	}
	m.demand.add(c.now, ev.Size)
	m.noteBusy()
	c.asks(m, r)
	if m.demand.seen%judgeEvery == 0 && m.judged == m.Quantile { // the usual size may have changed
		c.judge(m)
	}
	if reason := c.admit(m, r); reason != 0 {
		c.spare = append(c.spare, slot)
		c.counts.Rejected++
		c.emit(Action{Kind: Reject, Request: ev.Request, Model: ev.Model, Reason: reason})
		return
	}
	c.byID[index] = slot
	c.enqueue(slot)
}

func (c *Core) enqueue(slot uint32) {
	r := &c.requests[slot]
	c.wait(slot, c.callAt(&c.models[r.model], r))
}

// wait puts a record into its queue, to be looked at again at the given instant.
func (c *Core) wait(slot uint32, callAt mono.Time) {
	r := &c.requests[slot]
	r.state = queued
	c.models[r.model].queue.insert(r.entry, r.size)
	c.waiting++
	c.timers.set(callAt, requestTimer, slot)
}

// callAt is when a waiting request is looked at again: when its latest start
// is over; under a policy that serves late requests too when its deadline is,
// and then every QoS target again, lest it wait for workers that never come.
func (c *Core) callAt(m *model, r *request) mono.Time {
	if !c.traits.Late {
		return c.latestStart(m, r).Add(1)
	}
	if r.deadline < c.now {
		return c.now.Add(m.QoS)
	}
	return r.deadline.Add(1)
}

// dequeue takes a waiting request out of its queue; its state is the caller's
// to set.
func (c *Core) dequeue(slot uint32) {
	r := &c.requests[slot]
	c.models[r.model].queue.remove(r.entry, r.size)
	c.waiting--
	if r.timer >= 0 {
		c.timers.removeAt(r.timer)
	}
}

// lastCall comes when the latest instant at which a waiting request could
// still have started is over: it is turned away, unless the estimates have
// become better since.
func (c *Core) lastCall(slot uint32) {
	r := &c.requests[slot]
	m := &c.models[r.model]
	if c.traits.Late && r.size <= m.largest() || c.latestStart(m, r) >= c.now {
		c.timers.set(c.callAt(m, r), requestTimer, slot)
		return
	}
	c.dequeue(slot)
	reason := Deadline
	switch {
	case m.up == 0:
		reason = NoWorker
	case c.traits.Late:
		reason = TooLarge
	}
	if reason == Deadline {
		m.demand.noteShed()
	}
	c.drop(slot, reason)
}

// dropLarge turns away what waits and has become too large for every worker.
func (c *Core) dropLarge(m *model) {
	if m.up == 0 || m.coming > 0 {
		return
	}
	largest := m.largest()
	for i := m.queue.len() - 1; i >= 0; i-- {
		i = min(i, m.queue.len()-1) // other parts of what is dropped are gone too
		if i < 0 {
			return
		}
		slot := m.queue.at(i).slot
		if r := &c.requests[slot]; r.size > largest && !c.splittable(m, r) {
			c.dequeue(slot)
			c.drop(slot, TooLarge)
		}
	}
}

// drop ends the request of a part that has no place any more: it stands in no
// queue and no execution.
func (c *Core) drop(slot uint32, reason Reason) {
	r := &c.requests[slot]
	a := Action{Kind: Reject, Request: r.id, Model: r.model, Reason: reason}
	if c.forget(slot, false) {
		a.Kind = GiveUp
		c.counts.Failed++
	} else {
		c.counts.Rejected++
	}
	c.emit(a)
}

// cancel forgets a request whose client is gone. One that has ended already is
// no error: the two cross on the way.
func (c *Core) cancel(id RequestID) {
	slot := c.slotOf(id)
	if slot == none {
		return
	}
	c.counts.Cancelled++
	c.forget(slot, true)
}

// latestStart is the last instant at which some up worker that is idle then
// would still make the request's deadline.
func (c *Core) latestStart(m *model, r *request) mono.Time {
	if r.deadline == mono.Never || c.traits.Late && r.size <= m.largest() {
		return mono.Never
	}
	if c.lockedOut(m, r) {
		return r.deadline
	}
	latest := mono.Time(-1)
	rows := c.leastRows(m, r)
	for i := range m.groups {
		g := &m.groups[i]
		if g.up == 0 || rows > g.maxItems {
			continue
		}
		if !g.profile.Settled() {
			return r.deadline
		}
		if at := r.deadline - mono.Time(g.profile.Bound(rows, m.judged)); at > latest {
			latest = at
		}
	}
	if latest < 0 && (m.up == 0 || m.coming > 0 && rows > m.largest()) {
		return r.deadline // a worker may come up yet
	}
	return latest
}
