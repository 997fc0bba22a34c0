package dispatch

import (
	"time"

	"motley/internal/mono"
	"motley/internal/pool"
)

// admit says why a request that arrives now must be turned away, or 0. The
// point is to say no at once, before it has cost anything, instead of at its
// deadline.
func (c *Core) admit(m *model, r *request) Reason {
	if m.up == 0 && m.coming == 0 {
		return NoWorker
	}
	if m.up > 0 && c.tooMuch(m, r) {
		return Share
	}
	if m.queue.len() >= m.MaxQueue && !c.makeRoom(m, r) {
		return QueueFull
	}
	if m.up == 0 {
		return 0
	}
	if r.size > m.largest() && !c.splittable(m, r) {
		if m.coming > 0 {
			return 0
		}
		return TooLarge
	}
	if c.hopeless(m, r) {
		m.demand.noteShed()
		return Deadline
	}
	if c.traits.Late || c.traits.Plans || r.deadline == mono.Never {
		return 0
	}
	for c.predictFinish(m, r) > r.deadline {
		if !c.makeRoom(m, r) {
			if c.trial(m, r) {
				break
			}
			return Deadline
		}
	}
	return 0
}

const (
	// trialEvery is how long a worker must have stood idle before a request that it
	// is believed to be too slow for is sent to it all the same; of n alike one
	// takes its turn n times as often, since what it shows holds for all.
	trialEvery = mono.Time(time.Second)
	// trialShare is one over the share of the workers of a type that may run when
	// another one is tried.
	trialShare = 8
)

// lockedOut reports whether every up worker is believed to be too slow for the
// model's own QoS target, so that, were the belief acted on, nothing would
// ever run that could correct it. Requests that ask for less time than the
// target are no reason for a trial.
func (c *Core) lockedOut(m *model, r *request) bool {
	return r.deadline-r.arrived >= mono.Time(m.QoS) && c.Idle(m.id, c.leastRows(m, r)) > m.QoS
}

// trialDue reports whether a free worker of the group may be tried against
// belief.
func (c *Core) trialDue(g *group) bool {
	return g.free > 0 && g.flying <= g.up/trialShare && c.now-g.tried >= trialEvery/mono.Time(g.up)
}

// trial reports whether the request is to be admitted as one.
func (c *Core) trial(m *model, r *request) bool {
	if m.queue.len() > 0 || !c.lockedOut(m, r) {
		return false
	}
	for i := range m.groups {
		if g := &m.groups[i]; r.size <= g.maxItems && c.trialDue(g) {
			return true
		}
	}
	return false
}

func (m *model) largest() int {
	n := 0
	for i := range m.groups {
		if m.groups[i].up > 0 {
			n = max(n, m.groups[i].maxItems)
		}
	}
	return n
}

// predictFinish estimates when a request that arrives now will be answered.
//
// With nothing waiting ahead of it, it is the earliest end over the workers.
// Otherwise the work ahead is taken as a fluid that the up workers drain
// together, each from when it is free and at its rate for the batches that
// such a backlog makes: the drain time T solves
//
//	Σ_j max(0, T − free_j) / cost_j = items ahead,
//
// whose left side is convex and piecewise linear in T, so that Newton's method
// from the earliest free instant ends after a few rounds. The request itself
// then runs in a batch of that size.
func (c *Core) predictFinish(m *model, r *request) mono.Time {
	ahead := c.itemsAhead(m, r)
	workers := 0
	for i := range m.groups {
		workers += m.groups[i].up
	}
	together := min(int(ahead)/max(workers, 1)+r.size, max(m.MaxBatch, r.size))
	best := mono.Never
	var rate, filled float64 // Σ 1/cost_j and Σ free_j/cost_j over the workers that T has passed
	drained := c.now
	if ahead > 0 {
		drained = c.drained(m, ahead, together, &rate, &filled)
	}
	for i := range m.groups {
		g := &m.groups[i]
		if g.up == 0 || g.maxItems < r.size {
			continue
		}
		if !g.profile.Settled() {
			return c.now
		}
		need := g.profile.Bound(min(together, g.maxItems), m.judged)
		for _, id := range g.workers {
			w := &c.workers[id]
			if !w.Allows(c.now) || w.limit(r.model) < r.size {
				continue
			}
			from := max(drained, c.now.Add(c.left(w)))
			if ahead > 0 {
				from = max(c.now, drained)
			}
			best = min(best, from.Add(need))
		}
	}
	if best == mono.Never {
		return c.now // every breaker is open: wait and see
	}
	return best
}

// drained solves for the instant at which the workers have taken in the items
// ahead.
func (c *Core) drained(m *model, ahead float64, together int, rate, filled *float64) mono.Time {
	t := float64(1 << 62)
	for i := range m.groups {
		g := &m.groups[i]
		if g.up > 0 && !g.profile.Settled() {
			return c.now // too little is known: do not turn away on a guess
		}
		for _, id := range g.workers {
			if w := &c.workers[id]; w.Allows(c.now) && !w.paced && w.limit(m.id) > 0 {
				t = min(t, float64(c.left(w)))
			}
		}
	}
	if t == 1<<62 {
		return c.now
	}
	for range 32 {
		*rate, *filled = 0, 0
		for i := range m.groups {
			g := &m.groups[i]
			n := min(together, g.maxItems)
			if g.up == 0 || n == 0 {
				continue
			}
			cost := float64(g.profile.Mean(n)) / float64(n)
			for _, id := range g.workers {
				w := &c.workers[id]
				if !w.Allows(c.now) || w.limit(m.id) == 0 {
					continue
				}
				if free := float64(c.left(w)); free <= t {
					slots := w.slots()
					*rate += slots / cost
					*filled += slots * free / cost
				}
			}
		}
		next := (ahead + *filled) / *rate
		if next <= t+1 {
			break
		}
		t = next
	}
	return c.now.Add(time.Duration(t))
}

// itemsAhead estimates how many items of the request's own model must start
// before it. Other models' backlogs on the same workers are converted into
// items of this one by their cost.
func (c *Core) itemsAhead(m *model, r *request) float64 {
	if c.waiting == 0 {
		return 0
	}
	own := 0.0
	if n := m.queue.len(); n > 0 {
		own = float64(m.queue.items) * float64(m.queue.place(r.entry)) / float64(n)
	}
	if len(c.models) == 1 {
		return own
	}
	mine := m.itemCost()
	if mine == 0 {
		return own
	}
	for i := range c.models {
		o := &c.models[i]
		if o == m || o.queue.len() == 0 {
			continue
		}
		own += float64(o.queue.items) * o.itemCost() / mine * m.shared(o)
	}
	return own
}

// itemCost is the cost of one item in a full batch, averaged over the up
// workers, in ns.
func (m *model) itemCost() float64 {
	sum, n := 0.0, 0
	for i := range m.groups {
		g := &m.groups[i]
		if k := min(m.MaxBatch, g.maxItems); k > 0 && g.up > 0 {
			sum += float64(g.up) * float64(g.profile.Mean(k)) / float64(k)
			n += g.up
		}
	}
	if n == 0 {
		return 0
	}
	return sum / float64(n)
}

// shared is the share of o's workers that serve m as well, by class.
func (m *model) shared(o *model) float64 {
	both, all := 0, 0
	for i := range o.groups {
		all += o.groups[i].up
		for j := range m.groups {
			if m.groups[j].class == o.groups[i].class {
				both += min(m.groups[j].up, o.groups[i].up)
			}
		}
	}
	if all == 0 {
		return 0
	}
	return float64(both) / float64(all)
}

// Drain estimates how long the model's queue takes to empty, if all that waits
// is served.
func (c *Core) Drain(m pool.ModelID) time.Duration {
	mod := &c.models[m]
	var rate, filled float64
	n := min(mod.MaxBatch, max(mod.queue.items, 1))
	return c.drained(mod, float64(max(mod.queue.items, 1)), n, &rate, &filled).Sub(c.now)
}

// ComeBack estimates when a request that is sent again finds room, which is what
// Retry-After tells a client: when the queue has emptied, and no later than when the
// time of what waits last is up.
func (c *Core) ComeBack(m pool.ModelID) time.Duration {
	d := c.Drain(m)
	q := &c.models[m].queue
	if n := q.len(); n > 0 && !c.traits.Late {
		d = min(d, max(q.at(n-1).due.Sub(c.now), time.Millisecond))
	}
	return d
}

// Idle is the latency that the fastest up worker would keep to, at the model's
// quantile, for a request of so many items with nothing in its way. For more
// items than any of them takes it is about how long all together need for them,
// where rows may run apart, and 0 otherwise.
func (c *Core) Idle(m pool.ModelID, items int) time.Duration {
	mod := &c.models[m]
	var least time.Duration
	var rate float64 // items per ns of all
	for i := range mod.groups {
		g := &mod.groups[i]
		if g.up == 0 {
			continue
		}
		n := min(mod.MaxBatch, g.maxItems)
		rate += float64(g.up*n) / max(1, float64(g.profile.Mean(n)))
		if items > g.maxItems {
			continue
		}
		if d := g.profile.Bound(items, mod.judged); least == 0 || d < least {
			least = d
		}
	}
	if rate > 0 && items > mod.largest() && c.Splits(m) {
		return time.Duration(float64(items) / rate)
	}
	return least
}
