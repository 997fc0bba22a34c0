package dispatch

import (
	"time"

	"motley/internal/pool"
)

// ModelReport is how one model stands.
type ModelReport struct {
	Queued, QueuedItems, InFlight int // requests, items, requests
	Up, Starting                  int // workers that serve it
	Free                          int // workers that would start a batch of it now
	Hedging                       Hedging
}

// Model reports how a model stands.
func (c *Core) Model(m pool.ModelID) ModelReport {
	mod := &c.models[m]
	r := ModelReport{
		Queued: mod.queue.len(), QueuedItems: mod.queue.items, InFlight: mod.flying,
		Up: mod.up, Starting: mod.coming, Hedging: mod.hedging,
	}
	for i := range mod.groups {
		r.Free += mod.groups[i].free
	}
	return r
}

// WorkerReport is how one worker stands.
type WorkerReport struct {
	State              pool.State
	Breaker            pool.BreakerState
	Batches, Items     int           // in flight
	Left               time.Duration // predicted until it has a slot free
	Finished, Failures uint64        // executions
	Ejections          uint64        // times that its breaker has opened
}

// Worker reports how a worker stands.
func (c *Core) Worker(id pool.WorkerID) WorkerReport {
	w := &c.workers[id]
	r := WorkerReport{
		State: w.State, Breaker: w.Breaker.State(c.now), Batches: len(w.running),
		Left: c.left(w), Finished: w.vital.finished, Failures: w.vital.failures, Ejections: w.vital.ejections,
	}
	for _, s := range w.running {
		r.Items += c.batches[s].items
	}
	return r
}

// Profile is the profile that the core learns for a model on an instance type;
// nil where no worker of the type serves it.
func (c *Core) Profile(m pool.ModelID, t pool.TypeID) *pool.Profile {
	for i := range c.models[m].groups {
		if c.models[m].groups[i].typ == t {
			return c.models[m].groups[i].profile
		}
	}
	return nil
}

// Predicted is how long a running batch is expected to take in all; 0 when
// nothing is known.
func (c *Core) Predicted(id BatchID) time.Duration {
	b := &c.batches[uint32(id)]
	return c.models[b.model].groupOf(&c.workers[b.worker]).profile.Mean(b.items)
}

// ModelConfig is the model's configuration with the defaults filled in.
func (c *Core) ModelConfig(m pool.ModelID) Model { return c.models[m].Model }

// Limit is the most items of the model that the worker takes at once; 0 where
// it does not serve it.
func (c *Core) Limit(w pool.WorkerID, m pool.ModelID) int { return c.workers[w].limit(m) }
