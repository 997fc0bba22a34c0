package dispatch

import (
	"time"

	"motley/internal/mono"
	"motley/internal/pool"
)

// later reports whether so many rows of a record that finds no place in the
// plan will be in time beyond it: on lanes that are planned as far ahead as
// plans go, or on workers that their breakers keep out for now. Such a record
// need neither make room nor be turned away before its turn has come. What is
// promised so to one is no more there for the next.
func (p *plan) later(m *model, r *request, rows int, avoid pool.WorkerID) bool {
	if m.up == 0 || m.coming > 0 && rows > m.largest() && !p.t.c.splittable(m, r) {
		return true // a worker may come up yet
	}
	if l := p.deepest(m, r, rows, avoid); l >= 0 {
		p.lanes[l].beyond += p.adds(m, r, l, rows)
		return true
	}
	if p.t.c.splittable(m, r) && p.laterInParts(m, r, rows, avoid) {
		return true
	}
	for _, id := range p.shut {
		w := &p.t.c.workers[id]
		from := p.t.c.now.Add(p.t.c.left(w)) // the end of its trial
		if at := w.Breaker.NextChange(p.t.c.now); at != mono.Never {
			from = max(from, at)
		}
		if w.limit(m.id) >= rows && room(m, m.groupOf(w), from, r.deadline, rows) >= rows {
			return true
		}
	}
	return false
}

// deepest is the lane beyond whose plan the rows could start first, together and
// in time; −1 if there is none.
func (p *plan) deepest(m *model, r *request, rows int, avoid pool.WorkerID) (best int32) {
	best = -1
	first := mono.Never
	for _, i := range p.deep {
		l := &p.lanes[i]
		from := l.end.Add(l.beyond)
		if l.worker == avoid || from >= first || p.t.c.workers[l.worker].limit(m.id) < rows {
			continue
		}
		if room(m, m.group(l.class), from, r.deadline, rows) >= rows {
			best, first = i, from
		}
	}
	return best
}

// adds is the time that the rows take from a lane beyond its plan: their share
// of a full batch where they can be merged.
func (p *plan) adds(m *model, r *request, l int32, rows int) time.Duration {
	g := m.group(p.lanes[l].class)
	most := min(m.MaxBatch, p.t.c.workers[p.lanes[l].worker].limit(m.id))
	if p.o.NoMerge || r.key == 0 || r.alone() || rows >= most {
		return g.profile.Mean(rows)
	}
	return time.Duration(float64(g.profile.Mean(most)) * float64(rows) / float64(most))
}

// laterInParts reports whether the rows could all run in time beyond the plan,
// in parts as large as workers take.
func (p *plan) laterInParts(m *model, r *request, rows int, avoid pool.WorkerID) bool {
	for _, i := range p.deep {
		l := &p.lanes[i]
		most := min(m.MaxBatch, p.t.c.workers[l.worker].limit(m.id))
		from := l.end.Add(l.beyond)
		if most == 0 || l.worker == avoid || from >= r.deadline {
			continue
		}
		g := m.group(l.class)
		if !g.profile.Settled() || r.deadline == mono.Never {
			return true
		}
		whole := max(1, g.profile.Bound(most, m.judged))
		window := r.deadline.Sub(from)
		n := min(rows, int(window/whole))*most + g.profile.Within(window%whole, most, m.judged)
		n = min(n, rows)
		l.beyond += time.Duration(float64(whole) * float64(n) / float64(most))
		if rows -= n; rows == 0 {
			return true
		}
	}
	return false
}
