package live

import (
	"time"

	"motley/internal/pool"
)

// Snapshot returns the present state. It allocates; call it for people.
func (l *Loop) Snapshot() Snapshot {
	cfg := &l.cfg.Core
	s := Snapshot{Policy: cfg.Policy.Name()}
	l.mu.Lock()
	defer l.mu.Unlock()
	core := l.mu.core
	for i := range cfg.Models {
		m := core.Model(pool.ModelID(i))
		s.Models = append(s.Models, ModelState{
			Name: cfg.Models[i].Name, Queued: m.Queued, QueuedItems: m.QueuedItems, InFlight: m.InFlight,
		})
		for t := range cfg.Types {
			p := core.Profile(pool.ModelID(i), pool.TypeID(t))
			if p == nil {
				continue
			}
			s.Profiles = append(s.Profiles, profileState(cfg.Models[i].Name, cfg.Types[t].Name, p))
		}
	}
	for i := range cfg.Workers {
		w := core.Worker(pool.WorkerID(i))
		s.Workers = append(s.Workers, WorkerState{
			Name: cfg.Workers[i].Name, Type: cfg.Types[cfg.Workers[i].Type].Name, Backend: l.cfg.Backends[i].Describe(),
			State: w.State.String(), Breaker: w.Breaker.String(), Batches: w.Batches, Items: w.Items,
			BusyMS: ms(w.Left), Finished: w.Finished, Failures: w.Failures,
		})
	}
	return s
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
