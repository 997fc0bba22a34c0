package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"motley/internal/workload"
)

// Plan is what `router plan` plans for, beside the models, the instance types
// and their profiles.
type Plan struct {
	Budget        float64  `yaml:"budget"`          // USD per hour; 0 = none
	Rate          float64  `yaml:"rate"`            // requests/s over all models; 0 = what the budget buys
	OnDemandShare float64  `yaml:"on_demand_share"` // least part on demand, by on-demand prices
	Arrivals      string   `yaml:"arrivals"`        // see workload.ParseArrivals
	Demand        []Demand `yaml:"demand"`          // models that are not named: share 1, DefaultSizes
	Learned       string   `yaml:"learned"`         // saved profiles; go before Profiles; absolute after Load
	Candidates    int      `yaml:"candidates"`      // mixes that are simulated
	Requests      int      `yaml:"requests"`        // per simulation
	Seeds         int      `yaml:"seeds"`           // simulations together, for the finalists
}

// Demand is what is asked of one model.
type Demand struct {
	Model string  `yaml:"model"`
	Share float64 `yaml:"share"` // of all requests, in any unit
	Sizes string  `yaml:"sizes"` // see workload.ParseSizes
}

// DefaultSizes is the size law of a model whose sizes nobody told: one item.
const DefaultSizes = "fixed:1"

func (p *Plan) setDefaults() {
	p.Arrivals, p.Candidates, p.Requests, p.Seeds = "exponential", 20, 3000, 2
}

func (d *Demand) setDefaults() { d.Share = 1 }

// DemandOf is what is asked of the model; the zero Sizes stand for DefaultSizes.
func (c *Config) DemandOf(model string) Demand {
	for _, d := range c.Plan.Demand {
		if d.Model == model {
			return d
		}
	}
	return Demand{Model: model, Share: 1}
}

// Sizes is the size law of the demand. Files are taken from the
// configuration's directory.
func (c *Config) Sizes(d Demand) (*workload.Sizes, error) {
	spec := d.Sizes
	if spec == "" {
		spec = DefaultSizes
	}
	return workload.ParseSizes(spec, c.open)
}

// Arrivals is the law of arrivals to plan for.
func (c *Config) Arrivals() (*workload.Arrivals, error) {
	return workload.ParseArrivals(c.Plan.Arrivals, c.open)
}

// errUnread stands for files that Parse and Validate do not look at.
var errUnread = errors.New("not looked at")

func (c *Config) open(name string) (io.ReadCloser, error) {
	if c.source.dir == "" {
		return nil, errUnread
	}
	return os.Open(c.source.from(name))
}

// from makes a path of the file independent of where it is used.
func (s *source) from(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(s.dir, path)
}

func (c *Config) checkPlan(f *faults) {
	p := &c.Plan
	between(f, "plan.budget", p.Budget, 0, 1e9, "USD per hour")
	between(f, "plan.rate", p.Rate, 0, 1e9, "requests per second")
	between(f, "plan.on_demand_share", p.OnDemandShare, 0, 1, "")
	within(f, "plan.candidates", p.Candidates, 1, 10_000)
	within(f, "plan.requests", p.Requests, 100, 10_000_000)
	within(f, "plan.seeds", p.Seeds, 1, 1000)
	if _, err := c.Arrivals(); err != nil && !errors.Is(err, errUnread) {
		f.add("plan.arrivals", p.Arrivals, "%s", cause(err))
	}
	var models []string
	for _, m := range c.Models {
		models = append(models, m.Name)
	}
	for i, d := range p.Demand {
		at := fmt.Sprintf("plan.demand[%d]", i)
		if !slices.Contains(models, d.Model) {
			f.add(at+".model", d.Model, "must be one of models%s", nearest(d.Model, models))
		} else if c.cascaded(d.Model) {
			f.add(at+".model", d.Model, "is a cascade: plan for its stages")
		} else if slices.ContainsFunc(p.Demand[:i], func(e Demand) bool { return e.Model == d.Model }) {
			f.add(at+".model", d.Model, "given twice")
		}
		if !(d.Share > 0 && d.Share <= 1e9) {
			f.add(at+".share", d.Share, "must be over 0, at most 1,000,000,000")
		}
		if _, err := c.Sizes(d); err != nil && !errors.Is(err, errUnread) {
			f.add(at+".sizes", d.Sizes, "%s", cause(err))
		}
	}
}

// cause is an error in a law without the law, which the violation has as its
// value.
func cause(err error) string {
	if u := errors.Unwrap(err); u != nil {
		return u.Error()
	}
	return err.Error()
}

// between is within for numbers with a fraction.
func between(f *faults, field string, value, low, high float64, unit string) {
	if value >= low && value <= high {
		return
	}
	if unit != "" {
		unit = " " + unit
	}
	f.add(field, value, "must be from %v to %.0f%s", low, high, unit)
}

// checkOffer checks what is said of an instance type for planning.
func (t *InstanceType) checkOffer(f *faults, at string) {
	within(f, at+".limit", t.Limit, 0, 1_000_000)
	most := 1_000_000
	if t.Limit > 0 {
		most = t.Limit
	}
	if t.Min < 0 || t.Min > most {
		f.add(at+".min", t.Min, "must be from 0 to %d (limit)", most)
	}
	between(f, at+".spot_usd_per_hour", t.SpotUSDPerHour, 0, 1e6, "(0: none are to be had)")
	between(f, at+".interruptions_per_hour", t.InterruptionsPerHour, 0, 1e6, "")
	duration(f, at+".recovery", t.Recovery, 0)
}

// defaultRecovery is how long it takes until a new spot instance serves.
const defaultRecovery = 5 * time.Minute

func (t *InstanceType) setDefaults() { t.Recovery = defaultRecovery }
