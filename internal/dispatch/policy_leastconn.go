package dispatch

import (
	"math/rand/v2"

	"motley/internal/pool"
)

// leastConn is how proxies share requests out. Each request is given, as it
// comes, to the worker that has the fewest for its weight, waiting and running,
// and stays in that worker's queue, whoever else is free. A free worker takes
// the first of its queue and, as a server with dynamic batching does, as many
// behind it as one execution takes. Deadlines are not looked at.
//
// It is nginx's least_conn: of several with equally few, turns go by weight,
// smoothly. With lots it is HAProxy's random(2): the better of two workers that
// are drawn by weight, which may be the same one twice.
type leastConn struct {
	weight int        // of each worker of the fastest types; 0 = 1, as all others have
	lots   *rand.Rand // nil: all workers are looked at

	assigned []assignment // by request slot
	workers  []share      // as of this call, but for turn
	slots    []uint32
	least    []pool.WorkerID // with equally few
	picks    []uint32
}

// share is a worker's part in leastConn.
type share struct {
	held, weight int
	turn         int // what it is ahead of its turns, in weights; kept between calls
	queue        []uint32
}

func newLots(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x72616e64)) }

func newLeastConn(weight int, lots *rand.Rand) *leastConn {
	return &leastConn{weight: weight, lots: lots}
}

func (p *leastConn) Name() string {
	if p.lots != nil {
		return "random-two"
	}
	return "least-conn"
}

func (*leastConn) Traits() Traits { return Traits{Order: ByArrival, Late: true, Waits: true} }

func (p *leastConn) Dispatch(t *Turn) {
	for len(p.workers) < len(t.c.workers) {
		p.workers = append(p.workers, share{})
	}
	for i := range p.workers {
		w := &p.workers[i]
		w.held, w.queue = 0, w.queue[:0]
		for _, slot := range t.c.workers[i].running {
			w.held += t.c.batches[slot].wanted
		}
	}
	p.slots = t.oldest(p.slots[:0], t.c.waiting)
	for _, slot := range p.slots {
		for int(slot) >= len(p.assigned) {
			p.assigned = append(p.assigned, assignment{worker: -1})
		}
		r, a := &t.c.requests[slot], &p.assigned[slot]
		if a.id != r.id || a.worker >= 0 && !p.takes(t, r, a.worker) {
			*a = assignment{r.id, -1}
		}
		if a.worker >= 0 {
			p.workers[a.worker].held++
		}
	}
	for _, slot := range p.slots {
		a := &p.assigned[slot]
		if a.worker < 0 {
			if a.worker = p.choose(t, &t.c.requests[slot]); a.worker < 0 {
				continue
			}
			p.workers[a.worker].held++
		}
		w := &p.workers[a.worker]
		w.queue = append(w.queue, slot)
	}
	for i := range p.workers {
		id := pool.WorkerID(i)
		for q := p.workers[i].queue; len(q) > 0 && t.c.workers[i].free; {
			q = p.start(t, id, q)
		}
	}
}

// takes reports whether the worker would do for the request.
func (p *leastConn) takes(t *Turn, r *request, id pool.WorkerID) bool {
	w := &t.c.workers[id]
	return w.Allows(t.c.now) && w.limit(r.model) >= r.size && t.avoided(&t.c.models[r.model], r) != id
}

// choose is the worker that the request is given to; −1 if none takes it.
func (p *leastConn) choose(t *Turn, r *request) pool.WorkerID {
	p.weigh(&t.c.models[r.model])
	p.least = p.least[:0]
	total := 0
	for i := range p.workers {
		id, w := pool.WorkerID(i), &p.workers[i]
		if w.weight == 0 || !p.takes(t, r, id) {
			continue
		}
		total += w.weight
		if p.lots == nil && len(p.least) > 0 {
			switch best := &p.workers[p.least[0]]; {
			case w.held*best.weight > best.held*w.weight:
				continue
			case w.held*best.weight < best.held*w.weight:
				p.least = p.least[:0]
			}
		}
		p.least = append(p.least, id)
	}
	switch {
	case len(p.least) == 0:
		return -1
	case p.lots == nil:
		return p.inTurn()
	}
	first, second := p.draw(total), p.draw(total)
	if a, b := &p.workers[first], &p.workers[second]; a.held*b.weight < b.held*a.weight {
		return first
	}
	return second
}

// weigh sets the workers' weights for the model; 0 = does not serve it.
func (p *leastConn) weigh(m *model) {
	for i := range p.workers {
		p.workers[i].weight = 0
	}
	if len(m.groups) == 0 {
		return
	}
	fastest := m.groups[0].profile.Mean(m.MaxBatch)
	for i := range m.groups {
		fastest = min(fastest, m.groups[i].profile.Mean(m.MaxBatch))
	}
	for i := range m.groups {
		g := &m.groups[i]
		weight := 1
		if g.profile.Mean(m.MaxBatch) == fastest {
			weight = max(1, p.weight)
		}
		for _, id := range g.workers {
			p.workers[id].weight = weight
		}
	}
}

// inTurn is the one of the least whose turn it is.
func (p *leastConn) inTurn() pool.WorkerID {
	total, best := 0, p.least[0]
	for _, id := range p.least {
		w := &p.workers[id]
		total += w.weight
		if w.turn += w.weight; w.turn > p.workers[best].turn {
			best = id
		}
	}
	p.workers[best].turn -= total
	return best
}

// draw is one of the least, by lot; total is the sum of their weights.
func (p *leastConn) draw(total int) pool.WorkerID {
	n := p.lots.IntN(total)
	for _, id := range p.least {
		if n -= p.workers[id].weight; n < 0 {
			return id
		}
	}
	panic("BUG: the weights do not add up")
}

// start runs the first of a worker's queue, and what can be merged with it; the
// rest is returned.
func (p *leastConn) start(t *Turn, id pool.WorkerID, queue []uint32) (rest []uint32) {
	lead := &t.c.requests[queue[0]]
	most, crowd := min(t.c.models[lead.model].MaxBatch, t.c.workers[id].limit(lead.model)), t.c.crowd(id, lead)
	p.picks = append(p.picks[:0], queue[0])
	rest = queue[:0]
	items, full := lead.size, false
	for _, slot := range queue[1:] {
		r := &t.c.requests[slot]
		full = full || mergeable(lead, r) && (items+r.size > most || len(p.picks) >= crowd)
		if full || !mergeable(lead, r) {
			rest = append(rest, slot)
			continue
		}
		items += r.size
		p.picks = append(p.picks, slot)
	}
	t.start(id, p.picks)
	return rest
}
