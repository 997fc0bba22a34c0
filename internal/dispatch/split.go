package dispatch

import (
	"motley/internal/mono"
	"motley/internal/pool"
)

const (
	// partLeast is the least part that rows are cut off for, as a share of the
	// largest batch: smaller ones are not worth another execution's fixed cost.
	partLeast = 1.0 / 16
	// splitOver is how much more than in one piece a request may cost in parts;
	// dearer ones had better make room for others. Where nothing is merged
	// parts fill gaps that nothing else would.
	splitOver      = 1.2
	splitOverAlone = 1.5
)

// least is the least part of the model's requests, in rows.
func (m *model) least() int { return max(1, int(partLeast*float64(m.MaxBatch))) }

// option is rows of a record in a draft, or in a new batch on a lane.
type option struct {
	draft, lane int32 // one of them is −1
	rows        int
	cost        float64 // per row
}

// split plans the rows of a record that fits nowhere whole where they are
// cheapest by the row. It reports whether all got a place, or will; the plan is
// spoilt if only some did.
func (p *plan) split(m *model, slot uint32, avoid pool.WorkerID) bool {
	r := &p.t.c.requests[slot]
	bound := splitOver * p.lone(m, r)
	if p.o.NoMerge {
		bound = splitOverAlone * p.lone(m, r)
	}
	total := 0.0
	for left := r.size; left > 0; {
		best := p.cheapest(m, slot, left, avoid)
		if best.rows == 0 && left < r.size && p.later(m, r, left, avoid) {
			return true
		}
		total += best.cost * float64(best.rows)
		if best.rows == 0 || bound > 0 && total > bound {
			p.spoilt = p.spoilt || left < r.size
			return false
		}
		if best.lane < 0 {
			p.join(best.draft, slot, best.rows)
		} else {
			p.open(best.lane, m, slot, best.rows)
		}
		left -= best.rows
	}
	return true
}

// cheapest is where rows of the record cost least each, up to left of them; it
// has no rows where there is no place.
func (p *plan) cheapest(m *model, slot uint32, left int, avoid pool.WorkerID) (best option) {
	r := &p.t.c.requests[slot]
	least := min(left, m.least())
	take := func(o option, time float64) {
		o.cost = time / float64(o.rows)
		if best.rows == 0 || o.cost < best.cost {
			best = o
		}
	}
	for i := range m.groups {
		g := &m.groups[i]
		if g.up == 0 {
			continue
		}
		y := p.y[g.class]
		p.candidates(m, g, slot, avoid, func(i int32, d *draft) bool {
			if d.holds(slot) {
				return false
			}
			if n := min(left, room(m, g, d.start, min(d.due, r.deadline), d.most)-d.items); n >= least {
				take(option{draft: i, lane: -1, rows: n}, y*float64(g.profile.Mean(d.items+n)-g.profile.Mean(d.items)))
			}
			return true
		})
		if l := p.earliest(m, g, least, avoid); l >= 0 {
			limit := min(m.MaxBatch, p.t.c.workers[p.lanes[l].worker].limit(m.id))
			if n := min(left, room(m, g, p.lanes[l].end, r.deadline, limit)); n >= least {
				take(option{draft: -1, lane: l, rows: n}, y*float64(g.profile.Mean(n)))
			}
		}
	}
	return best
}

// lone is what the record costs in one piece where that is cheapest; 0 where
// no worker takes it.
func (p *plan) lone(m *model, r *request) float64 {
	least := 0.0
	for i := range m.groups {
		g := &m.groups[i]
		if g.up == 0 || r.size > g.maxItems {
			continue
		}
		if v := p.y[g.class] * float64(g.profile.Mean(r.size)); least == 0 || v < least {
			least = v
		}
	}
	return least
}

// pieces is what the record costs in the largest batches there are, where those
// are cheapest.
func (p *plan) pieces(m *model, r *request) float64 {
	least := 0.0
	for i := range m.groups {
		g := &m.groups[i]
		if g.up == 0 {
			continue
		}
		most := min(m.MaxBatch, g.maxItems)
		if v := p.y[g.class] * float64(g.profile.Mean(most)) * float64(r.size) / float64(most); least == 0 || v < least {
			least = v
		}
	}
	return least
}

// room is the largest batch, up to most items, that starts then and ends by
// due.
func room(m *model, g *group, start, due mono.Time, most int) int {
	most = min(most, g.maxItems)
	if !g.profile.Settled() || due == mono.Never {
		return most
	}
	return g.profile.Within(due.Sub(start), most, m.judged)
}
