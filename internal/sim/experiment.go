package sim

import (
	"fmt"
	"time"

	"motley/internal/dispatch"
	"motley/internal/pool"
	"motley/internal/workload"
)

// Demand is one model of an experiment and what is asked of it.
type Demand struct {
	// Model's QoS is the deadline, and its Quantile the share of requests that
	// must be within it for a rate to be allowable (zeros: the defaults of
	// package dispatch, 1 s and 0.99).
	Model dispatch.Model
	Share float64         // weight among the models' requests; 0 = 1
	Sizes *workload.Sizes // required
	Alone bool            // its requests are never merged with others
	Exits *Exits          // nil: it has none
}

// Experiment is a pool, what is asked of it, and the policy that is to cope.
type Experiment struct {
	Models []Demand
	Types  []pool.InstanceType
	Counts []int // the mix: workers by type; workers are numbered type by type
	// Truth[model][type]; nil where the type does not serve the model.
	Truth [][]*Truth
	// Points[model][type] are what the policy's profiles start from; nil (at
	// any depth) = they start unknown. Truth.Points gives those of a good
	// profiler. Every run gets profiles of its own.
	Points [][][]pool.Point
	// MaxBatch[model][type] is the most items that a worker takes at once; 0 or
	// missing = the largest batch that Truth was measured at.
	MaxBatch    [][]int
	Concurrency int // batches per worker at once; 0 = 1
	// Policy makes a policy in its initial state. Required.
	Policy func(seed uint64) dispatch.Policy
	// Hang: see dispatch.Config.
	Hang time.Duration

	Arrivals *workload.Arrivals // required
	Requests int                // per run, at least 1
	Warmup   int                // of these, the first so many are served but not counted
	Seeds    []uint64           // of MeasureAll and Allowable, at least one

	Disturb []Disturbance // the first is next to the truth
	Outages []Outage
	// OutagesOver are further outages, of a run whose requests take span to
	// come in the mean: so that they hit the same part of it at every rate.
	// nil = none.
	OutagesOver func(span time.Duration) []Outage

	// Watch has the workers' health judged. nil: nobody does.
	Watch *Watch

	// Hopeless is the share of the requests ended so far which, once missed,
	// ends a run early (after 2,000). 0 = 0.05; negative = never. It is not
	// used when the rate or the pool changes in time, nor by Measure.
	Hopeless float64
}

// Runner carries out experiments one after the other, on buffers that it
// keeps. It is not safe for concurrent use.
type Runner struct {
	x        Experiment
	workers  []pool.Worker
	cost     float64
	shares   []float64 // of the models, cumulative to 1
	steady   bool
	driver   driver
	arrivals []Arrival
	span     time.Duration // see Setting
	tooks    []time.Duration
}

// NewRunner checks the experiment.
func NewRunner(x Experiment) (*Runner, error) {
	r := &Runner{x: x}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("cannot set up experiment: %w", err)
	}
	if x.Concurrency == 0 {
		r.x.Concurrency = 1
	}
	if x.Hopeless == 0 {
		r.x.Hopeless = 0.05
	}
	r.x.Models = append([]Demand(nil), x.Models...)
	total := 0.0
	for i := range r.x.Models {
		d := &r.x.Models[i]
		if d.Model.QoS == 0 {
			d.Model.QoS = time.Second
		}
		if d.Model.Quantile == 0 {
			d.Model.Quantile = 0.99
		}
		if d.Share == 0 {
			d.Share = 1
		}
		total += d.Share
	}
	sum := 0.0
	for i := range r.x.Models {
		sum += r.x.Models[i].Share / total
		r.shares = append(r.shares, sum)
	}
	r.shares[len(r.shares)-1] = 1
	changes := false
	for i := range r.x.Models {
		e := r.x.Models[i].Exits
		changes = changes || e != nil && len(e.Leave) > 1
	}
	r.buildWorkers()
	r.steady = x.Arrivals.Stationary() && len(x.Outages) == 0 && !changes && x.OutagesOver == nil && len(x.Disturb) == 0
	return r, nil
}

func (r *Runner) buildWorkers() {
	for t, n := range r.x.Counts {
		r.cost += float64(n) * r.x.Types[t].USDPerHour
		for i := range n {
			w := pool.Worker{
				Name: fmt.Sprintf("%s-%d", r.x.Types[t].Name, i), Type: pool.TypeID(t),
				Concurrency: r.x.Concurrency, State: pool.Up,
			}
			for m := range r.x.Models {
				if r.x.Truth[m][t] == nil {
					continue
				}
				limit := r.x.Truth[m][t].Largest()
				if m < len(r.x.MaxBatch) && t < len(r.x.MaxBatch[m]) && r.x.MaxBatch[m][t] > 0 {
					limit = r.x.MaxBatch[m][t]
				}
				w.Serves = append(w.Serves, pool.Serve{Model: pool.ModelID(m), MaxBatch: limit})
			}
			r.workers = append(r.workers, w)
		}
	}
}

func (r *Runner) check() error {
	x := &r.x
	switch {
	case len(x.Models) == 0:
		return fmt.Errorf("no models")
	case len(x.Counts) != len(x.Types):
		return fmt.Errorf("counts: %d for %d instance types", len(x.Counts), len(x.Types))
	case len(x.Truth) != len(x.Models):
		return fmt.Errorf("truth: %d rows for %d models", len(x.Truth), len(x.Models))
	case x.Policy == nil:
		return fmt.Errorf("no policy")
	case x.Arrivals == nil:
		return fmt.Errorf("no arrivals")
	case x.Requests < 1:
		return fmt.Errorf("requests: %d: must be at least 1", x.Requests)
	case x.Warmup < 0 || x.Warmup >= x.Requests:
		return fmt.Errorf("warmup: %d of %d requests", x.Warmup, x.Requests)
	case x.Concurrency < 0:
		return fmt.Errorf("concurrency: %d is negative", x.Concurrency)
	case len(x.Seeds) == 0:
		return fmt.Errorf("no seeds")
	}
	for t, n := range x.Counts {
		if n < 0 {
			return fmt.Errorf("counts: %d of %s", n, x.Types[t].Name)
		}
	}
	for m := range x.Models {
		d := &x.Models[m]
		switch {
		case d.Sizes == nil:
			return fmt.Errorf("model %s: no sizes", d.Model.Name)
		case !(d.Share >= 0):
			return fmt.Errorf("model %s: share %v", d.Model.Name, d.Share)
		case d.Exits != nil && d.Exits.check() != nil:
			return fmt.Errorf("model %s: %w", d.Model.Name, d.Exits.check())
		case len(x.Truth[m]) != len(x.Types):
			return fmt.Errorf("model %s: truth of %d instance types, there are %d", d.Model.Name, len(x.Truth[m]), len(x.Types))
		}
		if m >= len(x.Points) {
			continue
		}
		for t, points := range x.Points[m] {
			if _, err := pool.NewProfile(points); err != nil {
				return fmt.Errorf("points of model %s on type %d: %w", d.Model.Name, t, err)
			}
		}
	}
	_, err := Changes(x.Outages, r.total())
	return err
}

func (r *Runner) total() int {
	n := 0
	for _, c := range r.x.Counts {
		n += c
	}
	return n
}
