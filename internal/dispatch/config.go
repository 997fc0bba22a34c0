package dispatch

import (
	"fmt"
	"time"

	"motley/internal/pool"
)

// Model is what the core knows of one model. Zero fields take the defaults.
type Model struct {
	Name string
	// QoS is the latency target; it is the deadline of a request that names
	// none. Default 1 s.
	QoS time.Duration
	// Quantile is the share of requests that must be inside QoS, and the
	// quantile of the latency estimate that feasibility is judged by, as long as
	// it can be kept. In (0.5, 1); default 0.99.
	Quantile float64
	// MaxBatch is the most items that requests are merged up to; 1 = never
	// merge. A single larger request still runs, alone. Default 64.
	MaxBatch int
	// NoSplit: the rows of a request never run apart. It is meant for models
	// whose rows depend on each other; these should not be merged either.
	NoSplit bool
	// MaxQueue is the most requests that wait; default 10,000.
	MaxQueue int
	// MaxAttempts is the most executions one request takes part in; default 3.
	MaxAttempts int
}

// Config is everything a Core starts from.
type Config struct {
	Models  []Model
	Types   []pool.InstanceType
	Workers []pool.Worker
	// Profiles[model][type] estimates latencies. Missing ones start unknown:
	// an unknown latency is taken as 0, so that the worker is tried. The core
	// teaches them with every finished batch.
	Profiles [][]*pool.Profile
	Policy   Policy
	// Tenants are the weights of those who share the pool, each over 0, by the number
	// that requests name; the first is that of requests which name none. Empty: one.
	Tenants []float64
	// Hang is how long past its predicted end an execution may run before it
	// is given up and its members are tried elsewhere; default 30 s.
	Hang time.Duration
	// Failures bounds retries.
	Failures Failures
}

func (m *Model) setDefaults() {
	if m.QoS == 0 {
		m.QoS = time.Second
	}
	if m.Quantile == 0 {
		m.Quantile = 0.99
	}
	if m.MaxBatch == 0 {
		m.MaxBatch = 64
	}
	if m.MaxQueue == 0 {
		m.MaxQueue = 10_000
	}
	if m.MaxAttempts == 0 {
		m.MaxAttempts = 3
	}
}

func (c *Config) check() error {
	if c.Policy == nil {
		return fmt.Errorf("no policy given")
	}
	for i, m := range c.Models {
		if m.QoS < 0 || m.MaxBatch < 0 || m.MaxQueue < 0 || m.MaxAttempts < 0 {
			return fmt.Errorf("model %d (%s): negative bound", i, m.Name)
		}
		if m.Quantile != 0 && !(m.Quantile > 0.5 && m.Quantile < 1) {
			return fmt.Errorf("model %d (%s): quantile %v is not between 0.5 and 1", i, m.Name, m.Quantile)
		}
	}
	for i, w := range c.Tenants {
		if !(w > 0) || w > 1e9 {
			return fmt.Errorf("tenant %d: weight %v is not over 0, and at most 1e9", i, w)
		}
	}
	for i := range c.Workers {
		w := &c.Workers[i]
		if int(w.Type) < 0 || int(w.Type) >= len(c.Types) {
			return fmt.Errorf("worker %d (%s): no instance type %d", i, w.Name, w.Type)
		}
		if w.Concurrency < 1 {
			return fmt.Errorf("worker %d (%s): concurrency %d is under 1", i, w.Name, w.Concurrency)
		}
		for _, s := range w.Serves {
			if int(s.Model) < 0 || int(s.Model) >= len(c.Models) {
				return fmt.Errorf("worker %d (%s): no model %d", i, w.Name, s.Model)
			}
		}
	}
	return nil
}
