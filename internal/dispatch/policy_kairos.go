package dispatch

import (
	"math"
	"slices"

	"motley/internal/match"
	"motley/internal/mono"
	"motley/internal/pool"
)

// kairos is the query distribution of KAIROS (Li et al., HPDC 2023), as its
// artefact does it: a matching of the oldest requests, two per worker, with all
// workers, busy ones too, at the least Σ C_j·L_ij. L_ij is the time that
// worker j is still busy plus the mean latency of request i there; C_j, the
// heterogeneity coefficient, turns a type's time into the first type's by the
// latency of the largest batch. A pair that leaves less than 2 % of the QoS
// target costs 5 targets, one that misses it 10; an expired request costs plain
// time again. What is matched with a busy worker waits. Nothing is merged,
// nothing dropped.
//
// It departs from the artefact in three things: latencies are not rounded to
// milliseconds; the penalties, there 500 and 1000 ms, follow the target; and
// where there are priorities, which it does not know, each is matched on its
// own with the workers that the higher ones have left.
type kairos struct {
	solver  match.Solver
	cost    []float64
	window  []uint32
	workers []pool.WorkerID // that no higher priority is matched with
	picks   [1]uint32
}

// The penalties of a late pair, in QoS targets, and the safety margin, of one.
const (
	kairosMiss   = 10
	kairosNear   = 5
	kairosMargin = 0.02
)

func (*kairos) Name() string { return "kairos" }

func (*kairos) Traits() Traits { return Traits{Order: ByArrival, Late: true, Waits: true} }

func (k *kairos) Dispatch(t *Turn) {
	for k.round(t) {
	}
}

// round matches every waiting request of the window once and starts what is
// matched with free workers. It reports whether another round could start more.
func (k *kairos) round(t *Turn) bool {
	k.workers = k.workers[:0]
	free := false
	for i := range t.c.workers {
		w := &t.c.workers[i]
		if w.Allows(t.c.now) {
			k.workers = append(k.workers, pool.WorkerID(i))
			free = free || w.free
		}
	}
	if !free {
		return false
	}
	k.window = t.oldest(k.window[:0], 2*len(k.workers))
	started := false
	for from := 0; from < len(k.window) && len(k.workers) > 0; {
		to := from + 1
		for to < len(k.window) && k.priority(t, to) == k.priority(t, from) {
			to++
		}
		if k.level(t, k.window[from:to]) {
			started = true
		}
		from = to
	}
	return started
}

func (k *kairos) priority(t *Turn, i int) int32 {
	return t.c.requests[k.window[i]].entry.priority
}

// level matches requests of one priority, starts those that are matched with
// free workers, and takes every worker that is matched off the list.
func (k *kairos) level(t *Turn, slots []uint32) (started bool) {
	k.cost = k.cost[:0]
	for _, slot := range slots {
		r := &t.c.requests[slot]
		avoid := t.avoided(&t.c.models[r.model], r)
		for _, id := range k.workers {
			c := math.Inf(1)
			if id != avoid {
				c = k.pair(t, r, id)
			}
			k.cost = append(k.cost, c)
		}
	}
	for i, j := range k.solver.Solve(k.cost, len(slots), len(k.workers)) {
		if j < 0 {
			continue
		}
		id := k.workers[j]
		k.workers[j] = -1
		if t.c.workers[id].free {
			k.picks[0] = slots[i]
			t.start(id, k.picks[:])
			started = true
		}
	}
	k.workers = slices.DeleteFunc(k.workers, func(id pool.WorkerID) bool { return id < 0 })
	return started
}

// pair is the cost of request r on worker id, in ns of the first type; +Inf
// where it does not run at all.
func (k *kairos) pair(t *Turn, r *request, id pool.WorkerID) float64 {
	w := &t.c.workers[id]
	m := &t.c.models[r.model]
	if w.limit(r.model) < r.size {
		return math.Inf(1)
	}
	g := m.groupOf(w)
	left := max(0, t.c.endsAt(w).Sub(t.c.now))
	latency := float64(left + g.profile.Mean(r.size))
	qos := float64(m.QoS)
	if slack := float64(r.deadline - t.c.now); slack > 0 && r.deadline != mono.Never {
		switch rest := slack - latency; {
		case rest < 0:
			return kairosMiss * qos
		case rest < kairosMargin*qos:
			return kairosNear * qos
		}
	}
	return coefficient(m, g) * latency
}

// coefficient is C_j, rounded to two digits as the artefact does; the base is
// the type of the first worker.
func coefficient(m *model, g *group) float64 {
	base := &m.groups[m.first]
	own := float64(g.profile.Mean(m.MaxBatch))
	if own == 0 {
		return 1
	}
	return math.Round(100*float64(base.profile.Mean(m.MaxBatch))/own) / 100
}
