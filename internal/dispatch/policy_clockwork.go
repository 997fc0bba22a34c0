package dispatch

import (
	"motley/internal/mono"
	"motley/internal/pool"
)

// clockwork is the scheduling of Clockwork (Gujarati et al., OSDI 2020): every
// worker has a queue of its own; a request joins the one where it is predicted
// to finish first, merged with the last ones there where all deadlines allow,
// and is turned away when even that is too late. It stays there, until its turn
// has come and proves too late: then it is asked again who finishes it first. A
// free worker runs the first of its queue with as many behind it as keep all
// deadlines.
type clockwork struct {
	assigned []assignment // by request slot
	ready    []mono.Time  // by worker: when what it has been given is done
	tails    []tail       // by worker: the last batch that it is predicted to run
	queues   [][]uint32   // by worker, in the order in which they are to run
	slots    []uint32
	refused  []uint32
	gathered []uint32
}

// assignment binds a request to a worker. The id tells a later user of the
// same slot from it.
type assignment struct {
	id     RequestID
	worker pool.WorkerID
}

// tail is the last batch that a worker's queue is predicted to make.
type tail struct {
	lead  uint32
	items int // 0: there is none
	start mono.Time
	due   mono.Time // the earliest deadline in it
}

func (*clockwork) Name() string { return "clockwork" }

func (*clockwork) Traits() Traits { return Traits{Order: ByArrival, Plans: true, Waits: true} }

func (p *clockwork) Dispatch(t *Turn) {
	p.ready, p.tails, p.queues = p.ready[:0], p.tails[:0], p.queues[:0]
	for i := range t.c.workers {
		w := &t.c.workers[i]
		p.ready = append(p.ready, max(t.c.now, t.c.endsAt(w)))
		p.tails = append(p.tails, tail{})
		if i < cap(p.queues) {
			p.queues = p.queues[:i+1]
			p.queues[i] = p.queues[i][:0]
		} else {
			p.queues = append(p.queues, nil)
		}
	}
	p.refused = p.refused[:0]
	p.slots = t.oldest(p.slots[:0], t.c.waiting)
	for _, slot := range p.slots {
		p.assign(t, slot)
	}
	for _, slot := range p.refused {
		t.reject(slot)
	}
	for i := range p.queues {
		if len(p.queues[i]) > 0 && t.c.workers[i].free {
			t.start(pool.WorkerID(i), p.gather(t, pool.WorkerID(i)))
		}
	}
}

// assign puts the request into the queue that it has, or gives it one.
func (p *clockwork) assign(t *Turn, slot uint32) {
	r := &t.c.requests[slot]
	for int(slot) >= len(p.assigned) {
		p.assigned = append(p.assigned, assignment{worker: -1})
	}
	a := &p.assigned[slot]
	if a.id != r.id || a.worker < 0 || !p.stays(t, r, a.worker) {
		id, late := p.soonest(t, r)
		*a = assignment{r.id, id}
		if late {
			p.refused = append(p.refused, slot)
		}
	}
	if a.worker < 0 {
		return
	}
	p.extend(t, r, a.worker)
	p.queues[a.worker] = append(p.queues[a.worker], slot)
}

// extend predicts when the worker is done with the request behind all that it
// has been given.
func (p *clockwork) extend(t *Turn, r *request, id pool.WorkerID) {
	m := &t.c.models[r.model]
	g := m.groupOf(&t.c.workers[id])
	l := &p.tails[id]
	if p.joins(t, m, g, r, id) {
		l.items, l.due = l.items+r.size, min(l.due, r.deadline)
	} else {
		*l = tail{lead: r.entry.slot, items: r.size, start: p.ready[id], due: r.deadline}
	}
	p.ready[id] = l.start.Add(g.profile.Mean(l.items))
}

// joins reports whether the request would be merged with the last batch of the
// worker's queue.
func (p *clockwork) joins(t *Turn, m *model, g *group, r *request, id pool.WorkerID) bool {
	l := &p.tails[id]
	n := l.items + r.size
	return l.items > 0 && mergeable(&t.c.requests[l.lead], r) && n <= min(m.MaxBatch, t.c.workers[id].limit(m.id)) &&
		l.start.Add(g.profile.Bound(n, m.judged)) <= min(l.due, r.deadline)
}

// stays reports whether the request is still in good hands with the worker.
func (p *clockwork) stays(t *Turn, r *request, id pool.WorkerID) bool {
	w := &t.c.workers[id]
	m := &t.c.models[r.model]
	if !w.Allows(t.c.now) || w.limit(r.model) < r.size || t.avoided(m, r) == id {
		return false
	}
	if len(p.queues[id]) > 0 || !w.free {
		return true // its turn has not come
	}
	g := m.groupOf(w)
	return !g.profile.Settled() || t.fits(m, g, r.size, r.deadline)
}

// soonest is the worker on which the request is predicted to end first, of those
// that end it in time. Without one it is −1; late is false where that is only
// because nobody is there to be asked at present.
func (p *clockwork) soonest(t *Turn, r *request) (best pool.WorkerID, late bool) {
	m := &t.c.models[r.model]
	avoid := t.avoided(m, r)
	end := mono.Never
	best = -1
	for i := range m.groups {
		g := &m.groups[i]
		need := g.profile.Mean(r.size)
		bound := g.profile.Bound(r.size, m.judged)
		for _, id := range g.workers {
			w := &t.c.workers[id]
			if !w.Allows(t.c.now) || w.limit(r.model) < r.size || id == avoid {
				continue
			}
			at := p.ready[id].Add(need)
			if p.joins(t, m, g, r, id) {
				at = p.tails[id].start.Add(g.profile.Mean(p.tails[id].items + r.size))
			} else if p.ready[id].Add(bound) > r.deadline && g.profile.Settled() {
				late = true
				continue
			}
			if at < end {
				best, end = id, at
			}
		}
	}
	return best, late && best < 0
}

// gather is the first batch of the worker's queue.
func (p *clockwork) gather(t *Turn, id pool.WorkerID) []uint32 {
	q := p.queues[id]
	lead := &t.c.requests[q[0]]
	m := &t.c.models[lead.model]
	g := m.groupOf(&t.c.workers[id])
	p.gathered = append(p.gathered[:0], q[0])
	items, due := lead.size, lead.deadline
	most, crowd := min(m.MaxBatch, t.c.workers[id].limit(m.id)), t.c.crowd(id, lead)
	for _, slot := range q[1:] {
		r := &t.c.requests[slot]
		if !mergeable(lead, r) || items+r.size > most || len(p.gathered) >= crowd {
			continue
		}
		if d := min(due, r.deadline); t.fits(m, g, items+r.size, d) {
			items += r.size
			due = d
			p.gathered = append(p.gathered, slot)
		}
	}
	return p.gathered
}
