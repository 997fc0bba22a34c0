package bench

import (
	"math"
	"slices"
	"strings"
	"time"

	"motley/internal/dispatch"
	"motley/internal/pool"
	"motley/internal/sim"
	"motley/internal/workload"
)

// Setup is an experiment but for the mix and the policy.
type Setup struct {
	Model    dispatch.Model // Name, QoS and Quantile; MaxBatch 0 = the largest batch that was measured
	Types    []pool.InstanceType
	Truth    []*sim.Truth // by type
	Arrivals *workload.Arrivals
	Sizes    *workload.Sizes
	Requests int
	Seeds    []uint64
	Disturb  []sim.Disturbance
	Outages  []sim.Outage
	// OutagesOver: see sim.Experiment.
	OutagesOver func(span time.Duration) []sim.Outage

	points   [][]pool.Point // by type: what profiles start from
	maxBatch []int          // by type: see sim.Experiment; nil = what was measured
}

// NewSetup measures the model on the types by the data.
func NewSetup(d *Data, s Setup) (*Setup, error) {
	for _, t := range s.Types {
		truth, err := d.Truth(s.Model.Name, t.Name)
		if err != nil {
			return nil, err
		}
		s.Truth = append(s.Truth, truth)
		s.points = append(s.points, truth.Points())
	}
	if s.Model.MaxBatch == 0 {
		for _, t := range s.Truth {
			s.Model.MaxBatch = max(s.Model.MaxBatch, t.Largest())
		}
	}
	s.Model.MaxQueue = math.MaxInt32 // a bound would turn away what no baseline does
	return &s, nil
}

// experiment is the set-up with a mix and a policy.
func (s *Setup) experiment(counts []int, v Variant) sim.Experiment {
	return sim.Experiment{
		Models: []sim.Demand{{Model: s.Model, Sizes: s.Sizes, Alone: v.Alone}},
		Types:  s.Types, Counts: counts,
		Truth: [][]*sim.Truth{s.Truth}, Points: [][][]pool.Point{s.points},
		MaxBatch: [][]int{s.maxBatch}, Policy: v.New, Hang: time.Hour,
		Arrivals: s.Arrivals, Requests: s.Requests, Seeds: s.Seeds,
		Disturb: s.Disturb, Outages: s.Outages, OutagesOver: s.OutagesOver,
	}
}

// runner is an experiment that can run.
func (s *Setup) runner(counts []int, v Variant) (*sim.Runner, error) {
	if err := s.takes(counts); err != nil {
		return nil, err
	}
	return sim.NewRunner(s.experiment(counts, v))
}

// takes reports whether some worker of the mix takes the largest size.
func (s *Setup) takes(counts []int) error {
	most, largest := 0, s.Sizes.Largest()
	for i, t := range s.Truth {
		if counts[i] > 0 {
			most = max(most, t.Largest())
		}
	}
	if largest > most {
		return usagef("-sizes %s: sizes up to %d items, but no worker of the mix %s takes more than %d at once: add max=%d",
			s.Sizes, largest, mixText(s.Types, counts), most, most)
	}
	return nil
}

// allowable finds the allowable throughput and what it looks like there.
func (s *Setup) allowable(counts []int, v Variant, start float64) (sim.Allowed, error) {
	r, err := s.runner(counts, v)
	if err != nil {
		return sim.Allowed{}, err
	}
	return r.Allowable(start)
}

func typeNames(types []pool.InstanceType) string {
	var names []string
	for _, t := range types {
		names = append(names, t.Name)
	}
	return strings.Join(names, ", ")
}

// with is a copy with other requests and seeds.
func (s *Setup) with(requests int, seeds []uint64) *Setup {
	c := *s
	c.Requests, c.Seeds = requests, seeds
	return &c
}

// seedsFrom are n seeds from first on.
func seedsFrom(first uint64, n int) []uint64 {
	seeds := make([]uint64, n)
	for i := range seeds {
		seeds[i] = first + uint64(i)
	}
	return seeds
}

// kairosQoS are the targets of KAIROS's models (see docs/results.md for where
// each comes from).
var kairosQoS = []struct {
	model string
	qos   time.Duration
}{
	{"ncf", 5 * time.Millisecond}, {"rm2", 350 * time.Millisecond}, {"wnd", 25 * time.Millisecond},
	{"mtwnd", 25 * time.Millisecond}, {"dien", 35 * time.Millisecond},
}

func defaultQoS(model string) (time.Duration, error) {
	for _, k := range kairosQoS {
		if k.model == model {
			return k.qos, nil
		}
	}
	return 0, usagef("-qos: none is known for model %s: give one", model)
}

// checkRange is an error for a flag out of its range; NaN is out of any.
func checkRange(flag string, v, low, high float64) error {
	if !(v >= low && v <= high) {
		return usagef("%s: %v: must be from %v to %v", flag, v, low, high)
	}
	return nil
}

// DefaultPolicy is the policy of a router whose configuration names none.
func DefaultPolicy() string { return dispatch.Policies()[0] }

func allPolicies(text string) []string {
	if text == "all" {
		return slices.Clone(dispatch.Policies())
	}
	return []string{text}
}
