// Package fleet emulates model servers: in one process, a server of the Open
// Inference Protocol for each worker of a fleet, on a port of its own. Each takes
// for a batch as long as a measured instance took, executes one batch at a time
// as that does, lets requests queue, and answers with an echo, zeros or a real
// model's outputs. Faults can be had as well.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"motley/internal/sim"
)

// Worker is one server.
type Worker struct {
	Name, Type string
	Truth      []*sim.Truth // how long executions take, by model
	MaxBatch   []int        // by model: rows of one request, and of one execution
}

// Config says what the fleet is.
type Config struct {
	Models  []Model
	Workers []Worker
	// Listen is the first worker's address; the others take the ports that
	// follow. With a + at the end ports that are taken are passed over.
	Listen      string
	Concurrency int           // executions at once, of each worker; 0: one
	Binary      bool          // whether the binary tensor extension is known
	Batching    bool          // whether servers merge the requests that wait
	Delay       time.Duration // Batching: how long the first may wait for more
	MaxQueue    int           // requests that wait at a worker, more are refused (503); 0: any number
	Seed        uint64        // of the durations and of the faults
	Faults      []Fault
}

// Fleet is running servers.
type Fleet struct {
	agenda  *agenda
	servers []*server
	began   time.Time
	stopped chan struct{} // closed when Shutdown begins
	killed  chan struct{} // closed when it waits no longer
	ended   sync.WaitGroup
	late    histogram
}

// Start begins to serve. The fleet is to be ended by Shutdown.
func Start(cfg Config) (*Fleet, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("cannot start the workers: %w", err)
	}
	listeners, err := listen(cfg.Listen, len(cfg.Workers))
	if err != nil {
		return nil, fmt.Errorf("cannot start the workers: %w", err)
	}
	f := &Fleet{stopped: make(chan struct{}), killed: make(chan struct{}), began: time.Now()}
	if f.agenda, err = newAgenda(); err != nil {
		for _, l := range listeners {
			err = errors.Join(err, l.Close())
		}
		return nil, fmt.Errorf("cannot start the workers: %w", err)
	}
	models := make([]served, len(cfg.Models))
	for i, m := range cfg.Models {
		models[i] = served{Model: m, meta: m.metadata()}
	}
	for i, w := range cfg.Workers {
		f.servers = append(f.servers, newServer(f, &cfg, models, w, uint64(i), listeners[i]))
	}
	for _, s := range f.servers {
		f.ended.Go(s.run)
	}
	return f, nil
}

func (c *Config) check() error {
	if len(c.Models) == 0 || len(c.Workers) == 0 {
		return errors.New("there are no models or no workers")
	}
	if c.Concurrency < 0 || c.Delay < 0 || c.MaxQueue < 0 {
		return errors.New("concurrency, delay and queue must not be negative")
	}
	for i := range c.Models {
		if err := c.Models[i].check(); err != nil {
			return err
		}
		if slices.ContainsFunc(c.Models[:i], func(m Model) bool { return m.Name == c.Models[i].Name }) {
			return fmt.Errorf("model %s is given twice", c.Models[i].Name)
		}
	}
	for _, w := range c.Workers {
		if len(w.Truth) != len(c.Models) || len(w.MaxBatch) != len(c.Models) {
			return fmt.Errorf("worker %s: %d truths and %d largest batches for %d models", w.Name, len(w.Truth), len(w.MaxBatch), len(c.Models))
		}
		if slices.Min(w.MaxBatch) < 1 {
			return fmt.Errorf("worker %s: the largest batch must be at least 1", w.Name)
		}
	}
	for _, f := range c.Faults {
		if !slices.ContainsFunc(c.Workers, f.of) {
			return fmt.Errorf("fault %s of %s: there is no such worker or instance type", f.Kind, f.Worker)
		}
	}
	return nil
}

// of tells whether the fault is that worker's.
func (f Fault) of(w Worker) bool {
	return f.Worker == w.Name || f.Worker == w.Type || f.Worker == "all"
}

// Server is where a worker is.
type Server struct{ Worker, Type, URL string }

// Servers are the workers, in the configuration's order.
func (f *Fleet) Servers() []Server {
	all := make([]Server, len(f.servers))
	for i, s := range f.servers {
		all[i] = Server{Worker: s.name, Type: s.kind, URL: "http://" + s.addr}
	}
	return all
}

// Shutdown stops to accept, and returns when the requests there are have been
// answered or ctx is done; then with an error, and their connections are cut.
// It is to be called once.
func (f *Fleet) Shutdown(ctx context.Context) error {
	close(f.stopped)
	defer context.AfterFunc(ctx, func() { close(f.killed) })()
	errs := make([]error, len(f.servers))
	var wg sync.WaitGroup
	for i, s := range f.servers {
		wg.Go(func() { errs[i] = s.shutdown(ctx) })
	}
	wg.Wait()
	f.ended.Wait()
	return errors.Join(append(errs, f.agenda.close())...)
}
