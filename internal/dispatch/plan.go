package dispatch

import (
	"time"

	"motley/internal/mono"
	"motley/internal/pool"
)

// plan says which waiting requests each worker is to run next, and with which
// others. It is made anew whenever something may start, out of the present
// estimates; only what it puts on free workers is acted upon.
type plan struct {
	t      *Turn
	o      *PricedOptions
	y      []float64 // price by class
	lanes  []lane
	fleets []fleet // by class
	drafts []draft
	placed []uint32        // records that have a place, in the order of placing
	deep   []int32         // lanes that are planned as far ahead as plans go
	shut   []pool.WorkerID // up, but kept out by their breakers
	spoilt bool            // some rows of a record have a place and others could not get one
}

// lane is one slot of one worker.
type lane struct {
	worker pool.WorkerID
	class  int32
	free   bool      // now
	end    mono.Time // when what it runs and what is planned for it is done
	first  int32     // planned batch, −1 for none
	last   int32
	heap   int32         // its place in the fleet's heap
	depth  int32         // planned batches
	beyond time.Duration // what it has to do after them
}

// fleet is the lanes of one class of workers.
type fleet struct {
	heap []int32 // lanes, the earliest end first
	open []int32 // drafts that may take more, the earliest planned first
}

// draft is a planned batch.
type draft struct {
	lane       int32
	model      pool.ModelID
	group      *group
	lead       uint32 // its first member
	most       int    // items it may have
	crowd      int    // members it may have
	items      int
	start, end mono.Time
	due        mono.Time // the earliest deadline of its members
	members    []member
}

// member is a waiting record, or the first so many rows of what is left of it.
type member struct {
	slot uint32
	rows int
}

const (
	// planDepth is how many batches one lane is planned ahead.
	planDepth = 3
	// planOpen is how many drafts of a type a request is tried with.
	planOpen = 8
)

// begin empties the plan and takes in the workers. want is how many items it is
// for: where a worker has more free slots than that, its busy ones and the rest of the
// free ones cannot matter, but for one that is left idle.
func (p *plan) begin(t *Turn, want int) {
	p.t, p.spoilt = t, false
	p.lanes, p.drafts, p.placed = p.lanes[:0], p.drafts[:0], p.placed[:0]
	p.deep, p.shut = p.deep[:0], p.shut[:0]
	for len(p.fleets) < len(t.c.classes) {
		p.fleets = append(p.fleets, fleet{})
	}
	for i := range p.fleets {
		p.fleets[i].heap, p.fleets[i].open = p.fleets[i].heap[:0], p.fleets[i].open[:0]
	}
	for i := range t.c.workers {
		w := &t.c.workers[i]
		if !w.Allows(t.c.now) {
			if w.up {
				p.shut = append(p.shut, pool.WorkerID(i))
			}
			continue
		}
		lanes := w.Concurrency
		if w.Breaker.State(t.c.now) == pool.BreakerHalfOpen {
			lanes = min(lanes, len(w.running)+1) // one batch is to try it
		}
		from := 0
		if free := lanes - len(w.running); free > want && w.rested <= t.c.now {
			from, lanes = len(w.running), len(w.running)+want+1
		}
		for k := from; k < lanes; k++ {
			end, free := t.c.now, true
			switch {
			case k < len(w.running):
				end, free = t.c.expected(&t.c.batches[w.running[k]]), false
			case w.rested > t.c.now:
				end, free = w.rested, false
			}
			p.lane(pool.WorkerID(i), w.class, end, free)
		}
	}
}

// lane takes in one more lane. Lanes come by number, and most of a calm pool's
// are free, so that hardly any has to move up in the heap.
func (p *plan) lane(id pool.WorkerID, class int32, end mono.Time, free bool) {
	i := int32(len(p.lanes))
	if int(i) == cap(p.lanes) {
		p.lanes = append(p.lanes, lane{})
	}
	p.lanes = p.lanes[:i+1]
	f := &p.fleets[class]
	k := int32(len(f.heap))
	f.heap = append(f.heap, i)
	for k > 0 {
		above := (k - 1) / 2
		o := &p.lanes[f.heap[above]]
		if o.end <= end {
			break
		}
		f.heap[k], o.heap = f.heap[above], k
		k = above
	}
	f.heap[k] = i
	l := &p.lanes[i] // in place: a pool has thousands
	l.worker, l.class, l.free, l.end, l.first, l.last, l.heap, l.depth, l.beyond = id, class, free, end, -1, -1, k, 0, 0
}

// expected is when a running batch is expected to end: one that is over its
// estimate is taken to need a tenth of it more.
func (c *Core) expected(b *batch) mono.Time {
	if b.ends > c.now {
		return b.ends
	}
	return c.now.Add(b.ends.Sub(b.started)/10 + 1)
}

// open plans a new batch at the end of a lane, with so many rows of a record.
func (p *plan) open(at int32, m *model, slot uint32, rows int) {
	l := &p.lanes[at]
	i := int32(len(p.drafts))
	if int(i) < cap(p.drafts) {
		p.drafts = p.drafts[:i+1]
	} else {
		p.drafts = append(p.drafts, draft{})
	}
	d := &p.drafts[i]
	*d = draft{
		lane: at, model: m.id, group: m.group(l.class), lead: slot, start: l.end, due: mono.Never, members: d.members[:0],
		most:  max(rows, min(m.MaxBatch, p.t.c.workers[l.worker].limit(m.id))),
		crowd: p.t.c.crowd(l.worker, &p.t.c.requests[slot]),
	}
	if l.last < 0 {
		l.first = i
	}
	l.last = i
	if l.depth++; l.depth == planDepth {
		p.deep = append(p.deep, at)
	}
	p.fleets[l.class].open = append(p.fleets[l.class].open, i)
	p.join(i, slot, rows)
}

// join adds rows of a record to a planned batch, the last of its lane.
func (p *plan) join(i int32, slot uint32, rows int) {
	d := &p.drafts[i]
	d.items += rows
	d.due = min(d.due, p.t.c.requests[slot].deadline)
	d.members = append(d.members, member{slot, rows})
	d.end = d.start.Add(max(1, d.group.profile.Mean(d.items))) // 1: one of which nothing is known is busy, too
	l := &p.lanes[d.lane]
	l.end = d.end
	p.down(l.class, l.heap)
	p.placed = append(p.placed, slot)
}

// starts reports whether the draft is to start now: it is the first of a lane
// that is free.
func (p *plan) starts(i int32) bool {
	l := &p.lanes[p.drafts[i].lane]
	return l.free && l.first == i
}

// starting returns how many items are to start now, and whether any batch of
// them has room for another request.
func (p *plan) starting() (items int, hungry bool) {
	for i := range p.drafts {
		if !p.starts(int32(i)) {
			continue
		}
		d := &p.drafts[i]
		m := &p.t.c.models[d.model]
		items += d.items
		if !hungry && !p.o.NoMerge && p.t.c.requests[d.lead].key != 0 && len(d.members) < d.crowd {
			more := d.items + max(1, int(m.demand.size))
			hungry = more <= d.most && room(m, d.group, d.start, d.due, more) == more
		}
	}
	return items, hungry
}

// idle reports whether a worker stays free beside a crowd, of which none that was planned
// leaves it the time for a batch that is worth while: who came later may.
func (p *plan) idle() bool {
	for i := range p.lanes {
		l := &p.lanes[i]
		if !l.free || l.first >= 0 {
			continue
		}
		for _, s := range p.t.c.workers[l.worker].Serves {
			if p.t.c.models[s.Model].crowded && s.MaxBatch > 0 {
				return true
			}
		}
	}
	return false
}

// holds reports whether the draft has rows of the record.
func (d *draft) holds(slot uint32) bool {
	for _, m := range d.members {
		if m.slot == slot {
			return true
		}
	}
	return false
}

// down keeps a fleet's lanes in a heap by their end, then by number: the one in
// place k may have to go down.
func (p *plan) down(class, k int32) {
	f := &p.fleets[class]
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
