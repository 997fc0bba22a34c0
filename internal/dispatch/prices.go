package dispatch

import (
	"math"
	"slices"
	"time"

	"motley/internal/fluid"
	"motley/internal/pool"
)

// prices are what a nanosecond of a worker of each instance type is worth to
// the fleet: the duals of the fluid program (package fluid) over the running
// histogram of sizes.
type prices struct {
	solver  fluid.Solver
	problem fluid.Problem
	hint    []float64
	y       []float64 // by instance type; the dearest type has 1
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
	// pricesLeast keeps a type that the program has too much of from being
	// taken for free: of what it would be worth by its speed alone.
	pricesLeast = 0.3
	// pricesNone is how small a price is none, relative to the largest.
	pricesNone = 1e-9
)

// refresh computes the prices again if it is time.
func (p *prices) refresh(c *Core, o *PricedOptions) {
	if p.epoch == c.epoch && c.counts.Arrived < p.next {
		return
	}
	p.epoch = c.epoch
	p.next = c.counts.Arrived + min(max(c.counts.Arrived, pricesFirst), pricesEvery)
	types := len(c.cfg.Types)
	p.problem.Capacity = p.problem.Capacity[:0]
	for range types {
		p.problem.Capacity = append(p.problem.Capacity, 0)
	}
	for i := range c.workers {
		if w := &c.workers[i]; w.State == pool.Up { // breakers open and close too often for prices
			p.problem.Capacity[w.Type] += float64(w.Concurrency)
		}
	}
	p.problem.Share, p.problem.Cost = p.problem.Share[:0], p.problem.Cost[:0]
	for i := range c.models {
		m := &c.models[i]
		m.supposeSlowest()
		for j := range m.groups {
			m.groups[j].enough = 0
			if !o.NoHeadroom && !o.NoMerge {
				m.groups[j].enough = m.groups[j].worthwhile(m)
			}
		}
		for b := range m.demand.bins {
			if bin := &m.demand.bins[b]; bin.requests > 0 && m.demand.gap > 0 {
				p.class(m, bin.mean(), bin.requests/m.demand.gap, !o.NoMerge, c.Splits(m.id))
			}
		}
	}
	p.solve(types, o.NoPrices)
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

// share is how long the execution of a full batch may take.
func (m *model) share() time.Duration { return time.Duration(pricesShare * float64(m.QoS)) }

// class adds the requests of one size, in parts where no type serves them whole,
// unless none does in parts either.
func (p *prices) class(m *model, n int, share float64, merging, splits bool) {
	if !p.row(m, n, merging, false) && !(splits && p.row(m, n, merging, true)) {
		return
	}
	p.problem.Share = append(p.problem.Share, share)
}

// row adds what requests of n items cost on each type, or reports that none
// serves them.
func (p *prices) row(m *model, n int, merging, apart bool) (served bool) {
	from := len(p.problem.Cost)
	for t := range p.problem.Capacity {
		cost := math.Inf(1)
		if j := m.byType[t]; j >= 0 && p.problem.Capacity[t] > 0 {
			cost = m.groups[j].cost(m, n, merging, apart)
		}
		served = served || cost < math.Inf(1)
		p.problem.Cost = append(p.problem.Cost, cost)
	}
	if !served {
		p.problem.Cost = p.problem.Cost[:from]
	}
	return served
}

// cost is the time, in ns, that a request of n items takes from a worker of
// the group: its share of a full batch where requests are merged, full batches
// where its rows run apart. +Inf where it would miss the QoS target.
func (g *group) cost(m *model, n int, merging, apart bool) float64 {
	most := min(m.MaxBatch, g.maxItems)
	if apart {
		if most < 1 || g.profile.Settled() && g.profile.Bound(1, m.Quantile) > m.QoS {
			return math.Inf(1)
		}
		full := sizeWithin(g, most, m.share())
		return max(1, float64(n)/float64(full)*float64(g.profile.Mean(full)))
	}
	if n > g.maxItems || g.profile.Settled() && g.profile.Bound(n, m.Quantile) > m.QoS {
		return math.Inf(1)
	}
	lone := max(1, float64(g.profile.Mean(n)))
	if !merging || most <= n {
		return lone
	}
	full := sizeWithin(g, most, m.share())
	return min(lone, max(1, float64(n)/float64(full)*float64(g.profile.Mean(full))))
}

func (p *prices) solve(types int, bySpeed bool) {
	if cap(p.y) < types {
		p.y = make([]float64, types)
	}
	p.y = p.y[:types]
	if len(p.problem.Share) == 0 {
		p.even()
		return
	}
	if bySpeed {
		p.speed(types)
	} else if !p.duals(types) {
		p.even()
		return
	}
	dearest := slices.Max(p.y)
	for t := range p.y {
		if dearest > 0 {
			p.y[t] /= dearest
		} else {
			p.y[t] = 1
		}
	}
}

// duals takes the prices of the fluid program, or reports that it has none. A
// type that the program has too much of has none there; it gets a share of what
// those that have one are paid for its work.
func (p *prices) duals(types int) bool {
	p.problem.Hint = p.hint
	s, err := p.solver.Solve(&p.problem)
	if err != nil {
		return false
	}
	p.hint = append(p.hint[:0], s.Price...)
	least := pricesNone * slices.Max(s.Price)
	for t := range p.y {
		p.y[t] = s.Price[t]
		switch {
		case p.problem.Capacity[t] == 0:
			p.y[t] = 0
		case p.y[t] <= least:
			p.y[t] = pricesLeast * p.elsewhere(s.Price, t, least)
		}
	}
	return true
}

// elsewhere is what types with prices over least are paid for the work of type
// t, where that is least; a price like theirs where none of them does any of it.
func (p *prices) elsewhere(price []float64, t int, least float64) float64 {
	types := len(price)
	worth := slices.Max(price)
	for i := range p.problem.Share {
		row := p.problem.Cost[i*types : (i+1)*types]
		for j, c := range row {
			if price[j] > least && row[t] < math.Inf(1) {
				worth = min(worth, price[j]*c/row[t])
			}
		}
	}
	return worth
}

// speed prices a type by how fast it is on all that is asked for, relative to
// the fastest.
func (p *prices) speed(types int) {
	for t := range p.y {
		took, fastest := 0.0, 0.0
		for i, share := range p.problem.Share {
			row := p.problem.Cost[i*types : (i+1)*types]
			if row[t] < math.Inf(1) {
				took += share * row[t]
				fastest += share * slices.Min(row)
			}
		}
		p.y[t] = 0
		if took > 0 {
			p.y[t] = fastest / took
		}
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
