package dispatch

import (
	"math"
	"slices"
	"time"

	"motley/internal/fluid"
	"motley/internal/pool"
)

// prices are what a nanosecond of a worker of each class is worth to the fleet: the duals of the fluid program (package fluid) over the running
// histogram of sizes.
type prices struct {
	solver  fluid.Solver
	problem fluid.Problem
	hint    []float64
	y       []float64 // by class; the dearest has 1
	fast    []float64 // what they would be by speed alone
	rows    []row
	epoch   uint64
	next    uint64 // arrivals after which they are computed again
}

const (
	pricesFirst = 16 // arrivals to the second computation, then twice as many each time up to
	pricesEvery = 512
	// pricesShare is the share of the QoS target that the execution of a full
	// batch may take; the rest is for waiting.
	pricesShare = 0.9
	// enoughOver is how much more than in the best batch an item may cost in one
	// that is worth while, and enoughShare the share of the QoS target that its
	// execution may take.
	enoughOver  = 1.1
	enoughShare = 0.7
	// pricesLeast is the least price, as a share of that by speed alone.
	pricesLeast = 0.3
)

// refresh computes the prices again if it is time.
func (p *prices) refresh(c *Core, o *PricedOptions) {
	if p.epoch == c.epoch && c.counts.Arrived < p.next {
		return
	}
	p.epoch = c.epoch
	p.next = c.counts.Arrived + min(max(c.counts.Arrived, pricesFirst), pricesEvery)
	types := len(c.classes)
	p.problem.Capacity = p.problem.Capacity[:0]
	for range types {
		p.problem.Capacity = append(p.problem.Capacity, 0)
	}
	for i := range c.workers {
		if w := &c.workers[i]; w.up { // breakers open and close too often for prices
			p.problem.Capacity[w.class] += w.slots()
		}
	}
	p.problem.Share, p.problem.Cost, p.rows = p.problem.Share[:0], p.problem.Cost[:0], p.rows[:0]
	for i := range c.models {
		m := &c.models[i]
		m.supposeSlowest()
		m.follow()
		for j := range m.groups {
			m.groups[j].enough = 0
			if !o.NoHeadroom && !o.NoMerge {
				m.groups[j].enough = m.groups[j].worthwhile(m)
			}
		}
		for b := range m.demand.bins {
			if bin := &m.demand.bins[b]; bin.requests > 0 && m.demand.gap > 0 {
				if p.class(m, bin.mean(), bin.requests/m.demand.gap, !o.NoMerge, c.Splits(m.id)) {
					p.rows = append(p.rows, row{model: m.id, bin: b})
				}
			}
		}
	}
	p.solve(types, o.NoPrices)
	p.cut(c, types)
}

// worthwhile is the least batch in which an item costs hardly more than in the
// best that leaves some time for waiting; sizes are tried in steps of about 5 %.
func (g *group) worthwhile(m *model) int {
	most := min(m.MaxBatch, g.maxItems)
	if most < 2 || !g.profile.Settled() {
		return 1
	}
	most = sizeWithin(g, most, time.Duration(enoughShare*float64(m.QoS)))
	per := func(n int) float64 { return float64(g.profile.Mean(n)) / float64(n) }
	best := per(most)
	for n := 1; n < most; n += 1 + n/20 {
		best = min(best, per(n))
	}
	n := 1
	for n < most && per(n) > enoughOver*best {
		n += 1 + n/20
	}
	return min(n, most)
}

// class adds the requests of one size, unless no type serves them.
func (p *prices) class(m *model, n int, share float64, merging, parts bool) bool {
	from := len(p.problem.Cost)
	served := false
	for t := range p.problem.Capacity {
		cost := math.Inf(1)
		if j := m.byClass[t]; j >= 0 && p.problem.Capacity[t] > 0 {
			cost = m.groups[j].cost(m, n, merging, parts)
		}
		served = served || cost < math.Inf(1)
		p.problem.Cost = append(p.problem.Cost, cost)
	}
	if !served {
		p.problem.Cost = p.problem.Cost[:from]
		return false
	}
	p.problem.Share = append(p.problem.Share, share)
	return true
}

// cost is the time, in ns, that a request of n items takes from a worker of
// the group: its share of a full batch where requests are merged, or run in
// parts because they would miss the QoS target whole. +Inf where neither goes.
func (g *group) cost(m *model, n int, merging, parts bool) float64 {
	whole := n <= g.maxItems && !(g.profile.Settled() && g.profile.Bound(n, m.judged) > m.QoS)
	if !whole && !parts {
		return math.Inf(1)
	}
	lone := max(1, float64(g.profile.Mean(n)))
	most := min(m.MaxBatch, g.maxItems)
	if whole && (!merging || most <= n) {
		return lone
	}
	full := g.profile.Within(time.Duration(pricesShare*float64(m.QoS)), most, m.judged)
	if full == 0 {
		if whole {
			return lone
		}
		return math.Inf(1)
	}
	shared := max(1, float64(n)/float64(full)*float64(g.profile.Mean(full)))
	if !whole {
		return shared
	}
	return min(lone, shared)
}

func (p *prices) solve(types int, bySpeed bool) {
	if cap(p.y) < types {
		p.y, p.fast = make([]float64, types), make([]float64, types)
	}
	p.y, p.fast = p.y[:types], p.fast[:types]
	if len(p.problem.Share) == 0 {
		p.even()
		return
	}
	p.speeds(types)
	if bySpeed || !p.duals() {
		copy(p.y, p.fast)
	}
	for t, y := range p.y {
		if y == 0 { // it serves nothing of what has come so far
			p.y[t] = 1
		}
	}
}

// duals takes the prices of the fluid program, or reports that it has none. A
// type of which the program has more than it needs, worth nothing to it, is
// worth something all the same: demand is not a fluid.
func (p *prices) duals() bool {
	if len(p.hint) != len(p.y) { // there is another class
		p.hint = nil
	}
	p.problem.Hint = p.hint
	s, err := p.solver.Solve(&p.problem)
	if err != nil {
		return false
	}
	p.hint = append(p.hint[:0], s.Price...)
	dearest := slices.Max(s.Price)
	if !(dearest > 0) {
		return false
	}
	for t := range p.y {
		p.y[t] = max(s.Price[t]/dearest, pricesLeast*p.fast[t])
	}
	return true
}

// speeds finds what a type is worth by how fast it is on all that it serves,
// relative to the fastest there; the best type has 1.
func (p *prices) speeds(types int) {
	for t := range p.fast {
		took, fastest := 0.0, 0.0
		for i, share := range p.problem.Share {
			row := p.problem.Cost[i*types : (i+1)*types]
			if row[t] < math.Inf(1) {
				took += share * row[t]
				fastest += share * slices.Min(row)
			}
		}
		p.fast[t] = 0
		if took > 0 {
			p.fast[t] = fastest / took
		}
	}
	best := slices.Max(p.fast)
	for t := range p.fast {
		p.fast[t] /= best
	}
}

// even is for when nothing is known.
func (p *prices) even() {
	for t := range p.y {
		p.y[t] = 1
	}
}

// supposeSlowest lets the slowest known type stand in for those that have yet
// to run their first batch.
func (m *model) supposeSlowest() {
	if slowest := pool.Slowest(m.profiles, m.MaxBatch); slowest != nil {
		for _, p := range m.profiles {
			p.Suppose(slowest)
		}
	}
}
