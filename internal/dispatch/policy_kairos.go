package dispatch

import (
	"math"

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
// It departs from the artefact in two things: latencies are not rounded to
// milliseconds, and the penalties, there 500 and 1000 ms, follow the target.
type kairos struct {
	solver  match.Solver
	cost    []float64
	window  []uint32
	workers []pool.WorkerID
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

// round matches once and starts what is matched with free workers. It reports
// whether another round could start more.
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
	if len(k.window) == 0 {
		return false
	}
	k.cost = k.cost[:0]
	for _, slot := range k.window {
		r := &t.c.requests[slot]
		for _, id := range k.workers {
			k.cost = append(k.cost, k.pair(t, r, id))
		}
	}
	started := false
	for i, j := range k.solver.Solve(k.cost, len(k.window), len(k.workers)) {
		if j < 0 || !t.c.workers[k.workers[j]].free {
			continue
		}
		k.picks[0] = k.window[i]
		t.start(k.workers[j], k.picks[:])
		started = true
	}
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
	g := m.group(w.Type)
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
	base := &m.groups[0]
	for i := range m.groups {
		if m.groups[i].workers[0] < base.workers[0] {
			base = &m.groups[i]
		}
	}
	own := float64(g.profile.Mean(m.MaxBatch))
	if own == 0 {
		return 1
	}
	return math.Round(100*float64(base.profile.Mean(m.MaxBatch))/own) / 100
}
