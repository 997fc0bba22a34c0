package dispatch

import (
	"math"
	"time"

	"motley/internal/fluid"
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
	// pricesLeast keeps a type that the program has too much of from being
	// taken for free: of what it would be worth by its speed alone.
	pricesLeast = 0.3
)

// refresh computes the prices again if it is time.
func (p *prices) refresh(c *Core, merging bool) {
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
		if w := &c.workers[i]; w.Allows(c.now) {
			p.problem.Capacity[w.Type] += float64(w.Concurrency)
		}
	}
	p.problem.Share, p.problem.Cost = p.problem.Share[:0], p.problem.Cost[:0]
	for i := range c.models {
		m := &c.models[i]
		m.supposeSlowest()
		for b := range m.demand.bins {
			if bin := &m.demand.bins[b]; bin.requests > 0 && m.demand.gap > 0 {
				p.class(m, bin.mean(), bin.requests/m.demand.gap, merging)
			}
		}
	}
	p.solve(types)
}

// share is how long the execution of a full batch may take.
func (m *model) share() time.Duration { return time.Duration(pricesShare * float64(m.QoS)) }

// class adds the requests of one size, unless no type serves them.
func (p *prices) class(m *model, n int, share float64, merging bool) {
	from := len(p.problem.Cost)
	served := false
	for t := range p.problem.Capacity {
		cost := math.Inf(1)
		if j := m.byType[t]; j >= 0 && p.problem.Capacity[t] > 0 {
			cost = m.groups[j].cost(m, n, merging)
		}
		served = served || cost < math.Inf(1)
		p.problem.Cost = append(p.problem.Cost, cost)
	}
	if !served {
		p.problem.Cost = p.problem.Cost[:from]
		return
	}
	p.problem.Share = append(p.problem.Share, share)
}

// cost is the time, in ns, that a request of n items takes from a worker of
// the group: its share of a full batch where requests are merged. +Inf where
// it would miss the QoS target.
func (g *group) cost(m *model, n int, merging bool) float64 {
	if n > g.maxItems || g.profile.Settled() && g.profile.Bound(n, m.q) > m.QoS {
		return math.Inf(1)
	}
	lone := max(1, float64(g.profile.Mean(n)))
	most := min(m.MaxBatch, g.maxItems)
	if !merging || most <= n {
		return lone
	}
	full := sizeWithin(g, most, m.share())
	return min(lone, max(1, float64(n)/float64(full)*float64(g.profile.Mean(full))))
}

func (p *prices) solve(types int) {
	if cap(p.y) < types {
		p.y = make([]float64, types)
	}
	p.y = p.y[:types]
	p.problem.Hint = p.hint
	if len(p.problem.Share) == 0 {
		p.even()
		return
	}
	s, err := p.solver.Solve(&p.problem)
	if err != nil {
		p.even()
		return
	}
	p.hint = append(p.hint[:0], s.Price...)
	// By its speed alone a type is worth what the types that share its work
	// are paid for it.
	dearest := 0.0
	for t := range p.y {
		p.y[t] = s.Price[t]
		if p.problem.Capacity[t] == 0 {
			p.y[t] = 0
		}
		least := 0.0
		for i := range p.problem.Share {
			if c := p.problem.Cost[i*types+t]; c < math.Inf(1) {
				if w := s.Worth[i] / c; least == 0 || w < least {
					least = w
				}
			}
		}
		p.y[t] = max(p.y[t], pricesLeast*least)
		dearest = max(dearest, p.y[t])
	}
	for t := range p.y {
		if dearest > 0 {
			p.y[t] /= dearest
		} else {
			p.y[t] = 1
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
	var slowest *group
	for i := range m.groups {
		g := &m.groups[i]
		if g.profile.Known() && (slowest == nil || g.profile.Mean(m.MaxBatch) > slowest.profile.Mean(m.MaxBatch)) {
			slowest = g
		}
	}
	if slowest == nil {
		return
	}
	for i := range m.groups {
		m.groups[i].profile.Suppose(slowest.profile)
	}
}
