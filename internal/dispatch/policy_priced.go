package dispatch

import (
	"cmp"
	"motley/internal/mono"
	"slices"
)

// PricedOptions switches ingredients of the priced policy off, one by one, to
// see what each adds. The zero value is the whole policy.
type PricedOptions struct {
	LST int
	NoMerge  bool // one request is one batch
	NoPrices bool // every type's time is worth the same per item of a full batch's rate
	NoShed   bool // nobody is turned away to make room for others
	NoDefer  bool // a free worker starts at once what is planned for it
	NoPack   bool // a batch is not filled up by exchanges
}

// NewPriced returns the priced policy in its initial state.
func NewPriced(o PricedOptions) Policy { return &priced{o: o} }

// priced plans the waiting requests over all workers, busy ones too: earliest
// deadline first, each goes where it costs the fleet least, which is the price
// of the worker's time (the dual of the fluid program, see prices) times what
// the request adds to the plan, waiting included. Joining a planned batch adds
// little where a call has a large fixed cost. What cannot be placed in time
// makes the dearest request of all lose its place: of the few that may miss
// their target those should that cost most. Only what is planned for free
// workers starts; the rest is planned anew at the next event.
type priced struct {
	o      PricedOptions
	prices prices
	plan   plan
	order  []uint32
	out    []uint32
}

func (*priced) Name() string { return "priced" }

func (*priced) Traits() Traits { return Traits{Plans: true, Waits: true, Risk: 5} }

func (p *priced) Dispatch(t *Turn) {
	p.prices.refresh(t.c, !p.o.NoMerge)
	p.plan.o, p.plan.y = &p.o, p.prices.y
	if p.plan.begin(t) == 0 {
		return
	}
	p.order = t.oldest(p.order[:0], Window)
	p.out = p.out[:0]
	if p.o.LST == 1 {
		p.sortLST(t)
	}
	for !p.fill(t) {
		p.plan.begin(t)
	}
	if p.o.LST >= 2 && len(p.out) > 0 {
		was := append([]uint32(nil), p.out...)
		p.out = p.out[:0]
		p.sortLST(t)
		p.plan.begin(t)
		for !p.fill(t) {
			p.plan.begin(t)
		}
		if len(p.out) >= len(was) {
			p.order = t.oldest(p.order[:0], Window)
			p.out = append(p.out[:0], was...)
			p.plan.begin(t)
			for !p.fill(t) {
				p.plan.begin(t)
			}
		}
	}
	for _, slot := range p.out {
		t.reject(slot)
	}
	p.start(t)
}

func (p *priced) sortLST(t *Turn) {
	key := func(s uint32) int64 {
		r := &t.c.requests[s]
		m := &t.c.models[r.model]
		best := mono.Time(-1)
		for i := range m.groups {
			g := &m.groups[i]
			if r.size > g.maxItems {
				continue
			}
			best = max(best, r.deadline-mono.Time(g.profile.Mean(r.size)))
		}
		return int64(best)
	}
	slices.SortStableFunc(p.order, func(a, b uint32) int { return cmp.Compare(key(a), key(b)) })
}

// fill plans every waiting request that is not out. When one finds no place in
// time it puts the dearest so far out, and reports false.
func (p *priced) fill(t *Turn) bool {
	dearest, most := uint32(0), 0.0
	for _, slot := range p.order {
		if p.isOut(slot) {
			continue
		}
		r := &t.c.requests[slot]
		if v := p.value(t, r); v > most {
			dearest, most = slot, v
		}
		if p.plan.add(slot) {
			continue
		}
		if p.o.NoShed {
			continue
		}
		p.out = append(p.out, dearest)
		if dearest != slot {
			return false
		}
		most = 0
		for _, s := range p.plan.placed {
			if v := p.value(t, &t.c.requests[s]); v > most {
				dearest, most = s, v
			}
		}
	}
	return true
}

func (p *priced) isOut(slot uint32) bool {
	for _, s := range p.out {
		if s == slot {
			return true
		}
	}
	return false
}

// value is what serving the request costs the fleet where it is cheapest; of a
// lower priority it counts more.
func (p *priced) value(t *Turn, r *request) float64 {
	m := &t.c.models[r.model]
	least := 0.0
	for i := range m.groups {
		g := &m.groups[i]
		if g.up == 0 || r.size > g.maxItems {
			continue
		}
		if v := p.prices.y[g.typ] * float64(g.profile.Mean(r.size)); least == 0 || v < least {
			least = v
		}
	}
	return least + 1e15*float64(r.entry.priority)
}

// start starts what is planned for free lanes.
func (p *priced) start(t *Turn) {
	p.plan.survey()
	for i := range p.plan.lanes {
		l := &p.plan.lanes[i]
		if !l.free || l.first < 0 {
			continue
		}
		d := &p.plan.drafts[l.first]
		if p.deferred(t, l, d) {
			continue
		}
		p.plan.pack(l.first)
		t.start(l.worker, d.members)
		d.members = d.members[:0]
	}
}

// deferIdle is how many other workers may stand idle while a batch waits for
// more members: with more, capacity is not what is short.
const deferIdle = 1

// deferred reports whether the batch had better wait for one more request, and
// sees to being asked again when it is too late for that (Symphony's window,
// kairos.md §5). Waiting costs the worker the time until the next arrival and
// saves the fleet the fixed cost of an execution.
func (p *priced) deferred(t *Turn, l *lane, d *draft) bool {
	m := &t.c.models[d.model]
	if p.o.NoDefer || p.o.NoMerge || t.c.requests[d.lead].key == 0 || d.due == mono.Never || m.demand.gap > float64(d.group.profile.Mean(1)) {
		return false
	}
	more := d.items + int(m.demand.size)
	latest := d.due.Add(-d.group.profile.Bound(more, m.q))
	if more > d.most || latest <= t.c.now || p.plan.deep || p.plan.idle > deferIdle {
		return false
	}
	t.c.wake = min(t.c.wake, latest)
	return true
}
