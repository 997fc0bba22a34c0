package dispatch

import (
	"motley/internal/mono"
	"motley/internal/pool"
)

// plan says which waiting requests each worker is to run next, and with which
// others. It is made anew whenever something may start, out of the present
// estimates; only what it puts on free workers is acted upon.
type plan struct {
	t      *Turn
	o      *PricedOptions
	y      []float64 // price by instance type
	lanes  []lane
	types  []fleet // by instance type
	drafts []draft
	placed []uint32 // requests that have a draft, in the order of placing
	where  []place  // by request slot
	idle   int      // lanes that are free and stay so
	deep   bool     // a second batch waits for some lane
}

// lane is one slot of one worker.
type lane struct {
	worker pool.WorkerID
	typ    pool.TypeID
	free   bool      // now
	end    mono.Time // when what it runs and what is planned for it is done
	first  int32     // planned batch, −1 for none
	last   int32
	heap   int32 // its place in the fleet's heap
	depth  int32
}

// fleet is the lanes of one instance type.
type fleet struct {
	heap []int32 // lanes, the earliest end first
	open []int32 // drafts that requests may still join, the earliest start first
}

// draft is a planned batch.
type draft struct {
	lane       int32
	next       int32 // in the lane, −1 for none
	model      pool.ModelID
	group      *group
	lead       uint32 // its first member
	most       int    // items it may have
	items      int
	start, end mono.Time
	due        mono.Time // the earliest deadline of its members
	members    []uint32
}

type place struct {
	id    RequestID
	draft int32
}

const (
	// planDepth is how many batches one lane is planned ahead.
	planDepth = 3
	// planOpen is how many drafts of a type a request is tried with.
	planOpen = 8
)

// begin empties the plan and takes in the workers. It reports how many lanes
// are free.
func (p *plan) begin(t *Turn) (free int) {
	p.t = t
	p.lanes, p.drafts, p.placed = p.lanes[:0], p.drafts[:0], p.placed[:0]
	for len(p.types) < len(t.c.cfg.Types) {
		p.types = append(p.types, fleet{})
	}
	for i := range p.types {
		p.types[i].heap, p.types[i].open = p.types[i].heap[:0], p.types[i].open[:0]
	}
	for i := range t.c.workers {
		w := &t.c.workers[i]
		if !w.Allows(t.c.now) {
			continue
		}
		for k := range w.Concurrency {
			l := lane{worker: pool.WorkerID(i), typ: w.Type, first: -1, last: -1, end: t.c.now}
			if k < len(w.running) {
				l.end = t.c.expected(&t.c.batches[w.running[k]])
			} else {
				l.free = true
				free++
			}
			p.lanes = append(p.lanes, l)
			p.push(int32(len(p.lanes) - 1))
		}
	}
	return free
}

// expected is when a running batch is expected to end: one that is over its
// estimate is taken to need a tenth of it more.
func (c *Core) expected(b *batch) mono.Time {
	if b.ends > c.now {
		return b.ends
	}
	return c.now.Add(b.ends.Sub(b.started)/10 + 1)
}

// add places a request where it costs the fleet least, and reports whether it
// could be placed in time.
func (p *plan) add(slot uint32) bool {
	c := p.t.c
	r := &c.requests[slot]
	m := &c.models[r.model]
	avoid := p.t.avoided(m, r)
	best, cost, join := int32(-1), 0.0, false
	for i := range m.groups {
		g := &m.groups[i]
		if r.size > g.maxItems || g.up == 0 {
			continue
		}
		y := p.y[g.typ]
		if d, at := p.joinable(m, g, r, avoid); d >= 0 && (best < 0 || y*at < cost) {
			best, cost, join = d, y*at, true
		}
		if l, at := p.startable(m, g, r, avoid); l >= 0 && (best < 0 || y*at < cost) {
			best, cost, join = l, y*at, false
		}
	}
	if best < 0 {
		return false
	}
	if join {
		p.join(best, slot)
	} else {
		p.open(best, m, slot)
	}
	return true
}

// joinable returns the draft of the group which the request adds the least
// time to, waiting included, and that time in ns; −1 if it fits in none.
func (p *plan) joinable(m *model, g *group, r *request, avoid pool.WorkerID) (best int32, cost float64) {
	best = -1
	if p.o.NoMerge || r.key == 0 || r.alone {
		return
	}
	tried := 0
	for _, i := range p.types[g.typ].open {
		d := &p.drafts[i]
		if d.model != m.id || d.items+r.size > d.most || tried == planOpen {
			continue
		}
		l := &p.lanes[d.lane]
		if l.last != i || l.worker == avoid || !mergeable(&p.t.c.requests[d.lead], r) {
			continue
		}
		tried++
		n := d.items + r.size
		if g.profile.Settled() && d.start.Add(g.profile.Bound(n, m.q)) > min(d.due, r.deadline) {
			continue
		}
		at := float64(g.profile.Mean(n)-g.profile.Mean(d.items)) + float64(d.start-p.t.c.now)
		if best < 0 || at < cost {
			best, cost = i, at
		}
	}
	return best, cost
}

// startable returns the lane of the group that could start the request first,
// and how long from now it would end, in ns; −1 if none does in time.
func (p *plan) startable(m *model, g *group, r *request, avoid pool.WorkerID) (best int32, cost float64) {
	f := &p.types[g.typ]
	if len(f.heap) == 0 {
		return -1, 0
	}
	best = f.heap[0]
	if !p.opens(best, m, r, avoid) {
		best = -1
		for _, i := range f.heap {
			if p.opens(i, m, r, avoid) && (best < 0 || p.lanes[i].end < p.lanes[best].end) {
				best = i
			}
		}
		if best < 0 {
			return -1, 0
		}
	}
	l := &p.lanes[best]
	if g.profile.Settled() && l.end.Add(g.profile.Bound(r.size, m.q)) > r.deadline &&
		!(l.free && l.first < 0 && p.t.c.trialDue(g) && p.t.c.lockedOut(m, r)) {
		return -1, 0
	}
	return best, float64(l.end.Add(g.profile.Mean(r.size)) - p.t.c.now)
}

// opens reports whether another batch that begins with the request may be
// planned on the lane.
func (p *plan) opens(i int32, m *model, r *request, avoid pool.WorkerID) bool {
	l := &p.lanes[i]
	return l.depth < planDepth && l.worker != avoid && p.t.c.workers[l.worker].limit(m.id) >= r.size
}

// open plans a new batch at the end of a lane.
func (p *plan) open(at int32, m *model, slot uint32) {
	l := &p.lanes[at]
	r := &p.t.c.requests[slot]
	i := int32(len(p.drafts))
	if int(i) < cap(p.drafts) {
		p.drafts = p.drafts[:i+1]
	} else {
		p.drafts = append(p.drafts, draft{})
	}
	d := &p.drafts[i]
	g := m.group(l.typ)
	*d = draft{
		lane: at, next: -1, model: m.id, group: g, lead: slot, items: r.size, start: l.end,
		due: r.deadline, members: append(d.members[:0], slot),
		most: max(r.size, min(m.MaxBatch, p.t.c.workers[l.worker].limit(m.id))),
	}
	d.end = d.start.Add(g.profile.Mean(r.size))
	if l.last >= 0 {
		p.drafts[l.last].next = i
	} else {
		l.first = i
	}
	l.last = i
	l.depth++
	l.end = d.end
	p.down(l.typ, l.heap)
	p.types[l.typ].open = append(p.types[l.typ].open, i)
	p.note(slot, i)
}

// join adds a request to a planned batch, the last of its lane.
func (p *plan) join(i int32, slot uint32) {
	d := &p.drafts[i]
	r := &p.t.c.requests[slot]
	d.items += r.size
	d.due = min(d.due, r.deadline)
	d.members = append(d.members, slot)
	d.end = d.start.Add(d.group.profile.Mean(d.items))
	l := &p.lanes[d.lane]
	l.end = d.end
	p.down(l.typ, l.heap)
	p.note(slot, i)
}

func (p *plan) note(slot uint32, draft int32) {
	for int(slot) >= len(p.where) {
		p.where = append(p.where, place{})
	}
	p.where[slot] = place{p.t.c.requests[slot].id, draft}
	p.placed = append(p.placed, slot)
}

// survey notes what the plan leaves idle and whether it backs up.
func (p *plan) survey() {
	p.idle, p.deep = 0, false
	for i := range p.lanes {
		l := &p.lanes[i]
		if l.free && l.first < 0 {
			p.idle++
		}
		p.deep = p.deep || l.depth > 1
	}
}

// push and down keep a fleet's lanes in a heap by their end, then by number.
func (p *plan) push(i int32) {
	f := &p.types[p.lanes[i].typ]
	f.heap = append(f.heap, i)
	k := int32(len(f.heap) - 1)
	for k > 0 && p.before(i, f.heap[(k-1)/2]) {
		f.heap[k] = f.heap[(k-1)/2]
		p.lanes[f.heap[k]].heap = k
		k = (k - 1) / 2
	}
	f.heap[k] = i
	p.lanes[i].heap = k
}

func (p *plan) down(typ pool.TypeID, k int32) {
	f := &p.types[typ]
	i, n := f.heap[k], int32(len(f.heap))
	for {
		s := 2*k + 1
		if s >= n {
			break
		}
		if s+1 < n && p.before(f.heap[s+1], f.heap[s]) {
			s++
		}
		if !p.before(f.heap[s], i) {
			break
		}
		f.heap[k] = f.heap[s]
		p.lanes[f.heap[k]].heap = k
		k = s
	}
	f.heap[k] = i
	p.lanes[i].heap = k
}

func (p *plan) before(a, b int32) bool {
	if p.lanes[a].end != p.lanes[b].end {
		return p.lanes[a].end < p.lanes[b].end
	}
	return a < b
}
