package live

import (
	"time"

	"motley/internal/pool"
)

// Snapshot returns the present state. It allocates; call it for people.
func (l *Loop) Snapshot() Snapshot {
	s := Snapshot{Policy: l.cfg.Core.Policy.Name()}
	l.mu.Lock()
	defer l.mu.Unlock()
	core, table := l.mu.core, l.table.Load()
	for i, e := range table.models {
		if e.dropped {
			continue
		}
		m := core.Model(pool.ModelID(i))
		s.Models = append(s.Models, ModelState{
			Name: e.Name, Queued: m.Queued, QueuedItems: m.QueuedItems, InFlight: m.InFlight, Hedges: m.Hedging.Copies, HedgesWon: m.Hedging.Won,
		})
		for t := range table.types {
			if p := core.Profile(pool.ModelID(i), pool.TypeID(t)); p != nil {
				s.Profiles = append(s.Profiles, profileState(e.Name, table.types[t].Name, p))
			}
		}
	}
	for _, m := range table.workers {
		if !m.removed {
			s.Workers = append(s.Workers, m.stateLocked())
		}
	}
	return s
}

func (m *Member) stateLocked() WorkerState {
	w := m.loop.mu.core.Worker(m.id)
	return WorkerState{
		Name: m.Worker.Name, Type: m.loop.table.Load().types[m.Worker.Type].Name, Backend: m.Backend.Describe(), Leaving: m.leaving,
		State: w.State.String(), Breaker: w.Breaker.String(), Batches: w.Batches, Items: w.Items,
		BusyMS: ms(w.Left), Finished: w.Finished, Failures: w.Failures, Ejections: w.Ejections,
	}
}

// Report returns the worker's part of a snapshot; false once it is gone.
func (m *Member) Report() (WorkerState, bool) {
	m.loop.mu.Lock()
	defer m.loop.mu.Unlock()
	if m.removed {
		return WorkerState{}, false
	}
	return m.stateLocked(), true
}

// meanSizes are the batch sizes, in items, whose estimates are shown.
var meanSizes = [...]int{1, 8, 64}

func profileState(model, instanceType string, p *pool.Profile) ProfileState {
	fixed, perItem := p.Affine()
	s := ProfileState{
		Model: model, Type: instanceType, Known: p.Known(), Supposed: p.Supposed(), Prior: p.Prior(), Samples: p.Samples(),
		FixedMS: ms(fixed), PerItemMS: ms(perItem), Means: []MeanTime{},
	}
	s.Drifts, s.Replacements = p.Drifts()
	if p.Known() || p.Supposed() {
		for _, n := range meanSizes {
			s.Means = append(s.Means, MeanTime{Items: n, MS: ms(p.Mean(n))})
		}
	}
	return s
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// ModelReady reports whether at least one worker that serves the model is up.
func (l *Loop) ModelReady(m pool.ModelID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.core.Model(m).Up > 0
}

// RetryAfter estimates when the model's queue will have room again.
func (l *Loop) RetryAfter(m pool.ModelID) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.core.ComeBack(m)
}
