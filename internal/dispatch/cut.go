package dispatch

import (
	"cmp"
	"math"
	"slices"

	"motley/internal/pool"
)

// row is a size of a model's requests, as a row of the fluid program.
type row struct {
	model pool.ModelID
	bin   int
	cost  float64 // the least that a request of it costs the fleet, in ns of the dearest type
	load  float64 // what all of them cost, as a share of time
}

// cut finds the sizes that the pool can serve of what is asked for at present, the
// cheapest first: each request counts as one, so those that cost most are left
// out. It gives every model the size at which that ends.
func (p *prices) cut(c *Core, types int) {
	capacity := 0.0
	for t, slots := range p.problem.Capacity {
		capacity += slots * p.y[t]
	}
	for i := range p.rows {
		r := &p.rows[i]
		r.cost = math.Inf(1)
		for t, cost := range p.problem.Cost[i*types : (i+1)*types] {
			r.cost = min(r.cost, cost*p.y[t])
		}
		m := &c.models[r.model]
		r.load = r.cost * m.demand.bins[r.bin].requests / m.demand.total() / m.demand.gap
	}
	for i := range c.models {
		c.models[i].cut, c.models[i].rate = demandBins, c.models[i].fullRate(c)
	}
	slices.SortFunc(p.rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(a.cost, b.cost), cmp.Compare(a.model, b.model), cmp.Compare(a.bin, b.bin))
	})
	asked := 0.0
	for _, r := range p.rows {
		if asked += r.load; asked > capacity {
			m := &c.models[r.model]
			m.cut = min(m.cut, r.bin)
		}
	}
}

// guessOver is how many times the largest batch that was seen another one may have, for
// its time to be more than a guess.
const guessOver = 4

// fullRate is how many items per ns the model's workers do in full batches; 0 while that
// would be a guess: of a type of which a few single items have been seen the time of
// full batches is many times what it will turn out to be.
func (m *model) fullRate(c *Core) (rate float64) {
	for i := range m.groups {
		g := &m.groups[i]
		n := min(m.MaxBatch, g.maxItems)
		if g.up > 0 && n > 0 {
			if seen := m.group(int32(g.typ)); !seen.profile.Measured() && (!seen.profile.Settled() || guessOver*seen.most < n) {
				return 0
			}
			rate += float64(g.up*c.workers[g.workers[0]].Concurrency*n) / max(1, float64(g.profile.Mean(n)))
		}
	}
	return rate
}

// cutShare is the share of the QoS target that may pass until what waits has been
// taken in, for a request to be let in that the pool can serve but some of.
const cutShare = 0.25

// patience is how many QoS targets a request has to have left to be let in as long as what
// waits takes but that share of its own time, whatever its size.
const patience = 4

// hopeless reports whether a request that arrives now is one that the pool cannot
// serve in the present overload, since what costs less takes all there is. To say so
// at once spares it the time that it would wait in vain. An overload that begins shows in
// what waits, before the first of that has waited in vain.
func (c *Core) hopeless(m *model, r *request) bool {
	n := m.queue.len()
	if m.cut >= demandBins || m.rate == 0 || n == 0 || m.coming > 0 {
		return false // where nothing waits the overload is over, or just now is
	}
	wait := float64(m.queue.items) / m.rate // ns
	if !m.demand.overload() && wait <= float64(m.QoS) || c.tenants.short(int(r.tenant)) {
		return false
	}
	if m.queue.at(n-1).priority > r.entry.priority {
		return false // less important ones make room
	}
	within, patient := r.deadline.Sub(c.now), false
	if within > patience*m.QoS {
		patient = true // the overload may pass meanwhile
	} else {
		within = m.QoS
	}
	if b := binOf(r.size); b != m.cut && !patient {
		return b > m.cut
	}
	return wait > cutShare*float64(within)
}
