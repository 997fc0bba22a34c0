package dispatch

import (
	"math"

	"motley/internal/pool"
)

// add places a record where it costs the fleet least, in parts if nowhere
// else, and reports whether it could be placed in time.
func (p *plan) add(slot uint32) bool {
	c := p.t.c
	r := &c.requests[slot]
	m := &c.models[r.model]
	avoid := p.t.avoided(m, r)
	best, cost, join := int32(-1), math.Inf(1), false
	for i := range m.groups {
		g := &m.groups[i]
		if r.size > g.maxItems || g.up == 0 {
			continue
		}
		y := p.y[g.class]
		if d, at := p.joinable(m, g, r, avoid, cost/y); d >= 0 {
			best, cost, join = d, y*at, true
		}
		if l, at := p.startable(m, g, r, avoid, cost/y); l >= 0 {
			best, cost, join = l, y*at, false
		}
	}
	switch {
	case best < 0:
		if l := p.deepest(m, r, r.size, avoid); l >= 0 { // in time whole, beyond the plan
			p.lanes[l].beyond += p.adds(m, r, l, r.size)
			return true
		}
		if c.splittable(m, r) && (!m.demand.overload() || r.next != slot) && p.split(m, slot, avoid) {
			return true
		}
		if p.spoilt {
			return false
		}
		if p.later(m, r, r.size, avoid) {
			return true
		}
		if m.crowded {
			return false
		}
		if best = p.even(m, r, avoid); best < 0 {
			return false
		}
		p.open(best, m, slot, r.size)
	case join:
		p.join(best, slot, r.size)
	default:
		p.open(best, m, slot, r.size)
	}
	return true
}

// candidates calls try with the drafts of the group that rows of the record
// may still join, the earliest planned first, until it has been content with
// planOpen of them. Those that no more may join are forgotten.
func (p *plan) candidates(m *model, g *group, slot uint32, avoid pool.WorkerID, try func(i int32, d *draft) bool) {
	r := &p.t.c.requests[slot]
	if p.o.NoMerge || r.key == 0 || r.alone() {
		return
	}
	f := &p.fleets[g.class]
	kept, tried := 0, 0
	for k, i := range f.open {
		d := &p.drafts[i]
		l := &p.lanes[d.lane]
		if l.last != i || d.items >= d.most || len(d.members) >= d.crowd {
			continue
		}
		f.open[kept] = i
		kept++
		if d.model != m.id || l.worker == avoid || !mergeable(&p.t.c.requests[d.lead], r) || !try(i, d) {
			continue
		}
		if tried++; tried == planOpen {
			kept += copy(f.open[kept:], f.open[k+1:])
			break
		}
	}
	f.open = f.open[:kept]
}

// joinable returns the draft of the group to which the record adds the least
// time, waiting included, and that time in ns; −1 if it fits in none for less
// than under.
func (p *plan) joinable(m *model, g *group, r *request, avoid pool.WorkerID, under float64) (best int32, cost float64) {
	best, cost = -1, under
	p.candidates(m, g, r.entry.slot, avoid, func(i int32, d *draft) bool {
		n := d.items + r.size
		if n > d.most {
			return false
		}
		wait := float64(d.start - p.t.c.now)
		if wait >= cost {
			return true
		}
		at := wait + float64(d.start.Add(g.profile.Mean(n))-d.end)
		if at < cost && (!g.profile.Settled() || d.start.Add(g.profile.Bound(p.atLeast(g, i, n), m.judged)) <= min(d.due, r.deadline)) {
			best, cost = i, at
		}
		return true
	})
	return best, cost
}

// startable returns the lane of the group that could start the record first,
// and how long from now it would end, in ns; −1 if none does in time and for
// less than under.
func (p *plan) startable(m *model, g *group, r *request, avoid pool.WorkerID, under float64) (best int32, cost float64) {
	best = p.earliest(m, g, r.size, avoid)
	if best < 0 {
		return -1, 0
	}
	l := &p.lanes[best]
	if float64(l.end-p.t.c.now) >= under {
		return -1, 0
	}
	cost = float64(l.end.Add(g.profile.Mean(r.size)) - p.t.c.now)
	if cost >= under {
		return -1, 0
	}
	n := r.size
	if !(l.free && l.first < 0) || m.crowded {
		n = max(n, min(g.enough, g.maxItems))
	}
	if g.profile.Settled() && l.end.Add(g.profile.Bound(n, m.judged)) > r.deadline &&
		!(l.free && l.first < 0 && p.t.c.trialDue(g) && p.t.c.lockedOut(m, r)) {
		return -1, 0
	}
	return best, cost
}

// earliest is the lane of the group that another batch of so many items may be
// planned on first; −1 if there is none.
func (p *plan) earliest(m *model, g *group, items int, avoid pool.WorkerID) int32 {
	best := int32(-1)
	for k, i := range p.fleets[g.class].heap {
		l := &p.lanes[i]
		if l.depth >= planDepth || l.worker == avoid || p.t.c.workers[l.worker].limit(m.id) < items {
			continue
		}
		if k == 0 {
			return i
		}
		if best < 0 || p.before(i, best) {
			best = i
		}
	}
	return best
}

// atLeast is the batch to reckon with where a draft has n items: one that is
// worth while, unless it starts on a worker that is free. Otherwise a backlog
// would eat up the time that full batches need, and with it the capacity that
// could work it off.
func (p *plan) atLeast(g *group, draft int32, n int) int {
	if p.starts(draft) && !p.t.c.models[p.drafts[draft].model].crowded {
		return n
	}
	return max(n, min(g.enough, p.drafts[draft].most))
}

// even is the lane on which the record has at least an even chance to be in
// time, all by itself, where none is safe: better than none.
func (p *plan) even(m *model, r *request, avoid pool.WorkerID) (best int32) {
	best = -1
	end := r.deadline
	for i := range m.groups {
		g := &m.groups[i]
		if g.up == 0 || r.size > g.maxItems {
			continue
		}
		if l := p.earliest(m, g, r.size, avoid); l >= 0 {
			if at := p.lanes[l].end.Add(g.profile.Mean(r.size)); at <= end {
				best, end = l, at
			}
		}
	}
	return best
}
