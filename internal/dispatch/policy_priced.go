package dispatch

import (
	"math"
	"slices"

	"motley/internal/mono"
)

// PricedOptions switch ingredients of the priced policy off, one by one, to
// see what each adds. The zero value is the policy as it is meant.
type PricedOptions struct {
	NoMerge    bool // one request is one batch
	NoSplit    bool // the rows of a request run together
	NoPrices   bool // a type's time is worth what it does in full batches, whatever is asked for
	NoShed     bool // what cannot be placed waits for its last moment; nobody has to make room for others
	NoPack     bool // a batch that starts is not filled up
	NoHeadroom bool // batches are planned up to the last moment, however small they get
	// Defer lets a batch wait for more members while that is safe. It is off: see
	// docs/results.md.
	Defer bool
}

// NewPriced returns the priced policy in its initial state.
func NewPriced(o PricedOptions) Policy { return &priced{o: o} }

// priced plans the waiting requests over all workers, busy ones too: earliest
// deadline first, each goes where it costs the fleet least, which is the price
// of the worker's time (the dual of the fluid program, see prices) times what
// the request adds to the plan, waiting included. Joining a planned batch adds
// little where a call has a large fixed cost. What fits nowhere whole is cut
// into parts. What cannot be placed in time makes the dearest request of all
// lose its place: of the few that may miss their target those should that cost
// most. Only what is planned for free workers starts; the rest is planned anew
// at the next event.
type priced struct {
	o      PricedOptions
	prices prices
	plan   plan
	order  []uint32
	out    []uint32 // to be turned away
	held   []uint32 // that find no place now
	rounds int      // plans made in this step
	lanes  []int32  // on which something starts
	picks  []uint32
	latest []entry
	rests  []rest
}

// rest says where the rows went that a record was cut off.
type rest struct{ of, slot uint32 }

// evictions is how many requests may make room in one step. What is still in
// the way then has its turn at the next.
const evictions = 16

// ahead is how many requests are planned beyond those that workers are free
// for, at first; twice as many each time as long as that fills batches that are
// about to start, up to mostPlanned. They bound the time of a step.
const (
	ahead       = 32
	mostPlanned = 1024
)

// make plans the first n waiting requests.
func (p *priced) make(t *Turn, n int) {
	p.order = t.oldest(p.order[:0], n)
	if p.alone(t) {
		p.byLatestStart(t)
	}
	p.out, p.held, p.rounds = p.out[:0], p.held[:0], 0
	items := 0
	for _, slot := range p.order {
		items += t.c.requests[slot].size
	}
	for again := true; again; p.rounds++ {
		p.plan.begin(t, items)
		again = p.fill(t)
	}
}

func (*priced) Name() string { return "priced" }

func (p *priced) Traits() Traits { return Traits{Plans: true, Waits: true, Splits: !p.o.NoSplit} }

func (p *priced) Dispatch(t *Turn) {
	if t.c.free == 0 {
		return
	}
	p.prices.refresh(t.c, &p.o)
	p.plan.o, p.plan.y = &p.o, p.prices.y
	p.dropEarly(t)
	started := 0
	for n := ahead + t.c.free; ; n *= 2 {
		p.make(t, n)
		items, hungry := p.plan.starting()
		idle := p.plan.idle()
		if !(hungry || idle) || items == started && !idle || len(p.order) < n || n >= mostPlanned {
			break
		}
		started = items
	}
	for _, slot := range p.out {
		if r := &t.c.requests[slot]; r.state == queued {
			t.c.models[r.model].demand.noteShed()
			t.reject(slot)
		}
	}
	p.start(t)
}

// fill plans every waiting record that is neither out nor held. Where one finds
// no place in time, the dearest in its way is out; it reports whether the plan
// has to be made again without it. After so many times the record itself is held.
func (p *priced) fill(t *Turn) (again bool) {
	for _, slot := range p.order {
		if slices.Contains(p.out, slot) || slices.Contains(p.held, slot) || p.plan.add(slot) {
			continue
		}
		if p.o.NoShed || p.rounds >= evictions {
			p.held = append(p.held, slot)
			if p.plan.spoilt {
				return true
			}
			continue
		}
		out := p.dearest(t, slot)
		p.out = append(p.out, out)
		for s := t.c.requests[out].next; s != out; s = t.c.requests[s].next {
			p.out = append(p.out, s) // the parts of a request end together
		}
		if out != slot || t.c.requests[out].next != out || p.plan.spoilt {
			return true
		}
	}
	return false
}

// dearest is the dearest record of those with a place in the plan and the one in
// the slot, which has none. Models that share no worker with its own are not
// in its way.
func (p *priced) dearest(t *Turn, slot uint32) uint32 {
	m := &t.c.models[t.c.requests[slot].model]
	out, most := none, 0.0
	for _, s := range p.plan.placed {
		if v := p.value(t, s); v > most && m.meets[t.c.requests[s].model] {
			out, most = s, v
		}
	}
	if out == none || p.value(t, slot) > most {
		return slot
	}
	return out
}

// value is what serving the request costs the fleet where it is cheapest; of a
// lower priority it counts more. It is 0 for what has begun already, in part.
func (p *priced) value(t *Turn, slot uint32) float64 {
	r := &t.c.requests[slot]
	if r.next != slot {
		return 0
	}
	if r.worthAt != p.prices.next {
		m := &t.c.models[r.model]
		r.worth, r.worthAt = p.plan.lone(m, r), p.prices.next
		if r.worth == 0 {
			r.worth = p.plan.pieces(m, r)
		}
	}
	return r.worth + lowPriority*float64(r.entry.priority) + overShare*t.c.tenants.claim(int(r.tenant))
}

// lowPriority is a level of priority in the unit of costs: more than any.
const lowPriority = 1e18

// start starts what is planned for free lanes, in their order.
func (p *priced) start(t *Turn) {
	p.rests, p.lanes = p.rests[:0], p.lanes[:0]
	for i := range p.plan.drafts {
		if p.plan.starts(int32(i)) {
			p.lanes = append(p.lanes, p.plan.drafts[i].lane)
		}
	}
	slices.Sort(p.lanes)
	for _, i := range p.lanes {
		l := &p.plan.lanes[i]
		if p.o.Defer && p.deferred(t, l) {
			continue
		}
		p.plan.pack(l.first)
		p.picks = p.picks[:0]
		for _, m := range p.plan.drafts[l.first].members {
			p.picks = append(p.picks, p.take(t, m))
		}
		t.start(l.worker, p.picks)
	}
}

// take cuts the member off what is left of its record and returns its slot.
func (p *priced) take(t *Turn, m member) uint32 {
	slot := m.slot
	for _, r := range p.rests {
		if r.of == slot {
			slot = r.slot
		}
	}
	if m.rows < t.c.requests[slot].size {
		t.c.cut(slot, m.rows)
		p.rests = append(p.rests, rest{slot, t.c.requests[slot].next})
	}
	return slot
}

// deferred reports whether the batch had better wait for one more request, and
// sees to being asked again when it is too late for that (Symphony's window:
// from then on one request more would no longer be answered in time). With
// other workers idle, or work in line, there is nothing to gain.
func (p *priced) deferred(t *Turn, l *lane) bool {
	d := &p.plan.drafts[l.first]
	m := &t.c.models[d.model]
	if p.o.NoMerge || t.c.requests[d.lead].key == 0 || d.due == mono.Never || l.depth > 1 ||
		m.demand.gap == 0 || m.demand.gap > float64(d.group.profile.Mean(1)) {
		return false
	}
	for i := range p.plan.lanes {
		if o := &p.plan.lanes[i]; o.free && o.first < 0 {
			return false
		}
	}
	more := d.items + int(m.demand.size)
	latest := d.due.Add(-d.group.profile.Bound(more, m.judged))
	if more > d.most || latest <= t.c.now {
		return false
	}
	t.c.wake = min(t.c.wake, latest)
	return true
}

// alone reports whether no two of the waiting records can share a batch.
func (p *priced) alone(t *Turn) bool {
	for _, slot := range p.order {
		if r := &t.c.requests[slot]; !p.o.NoMerge && r.key != 0 && !r.alone() {
			return false
		}
	}
	return true
}

// byLatestStart puts the records in the order in which they have to start on
// the worker that is quickest for them. Where nothing is merged that is better
// than by deadline, since a large request cannot wait as long; in batches all
// members wait for each other.
func (p *priced) byLatestStart(t *Turn) {
	p.latest = p.latest[:0]
	for _, slot := range p.order {
		r := &t.c.requests[slot]
		m := &t.c.models[r.model]
		latest := mono.Time(math.MinInt64)
		for i := range m.groups {
			if g := &m.groups[i]; g.up > 0 && r.size <= g.maxItems {
				latest = max(latest, r.deadline-mono.Time(g.profile.Mean(r.size)))
			}
		}
		p.latest = append(p.latest, entry{due: latest, seq: r.entry.seq, priority: r.entry.priority, slot: slot})
	}
	slices.SortFunc(p.latest, entry.compare)
	for i, e := range p.latest {
		p.order[i] = e.slot
	}
}
