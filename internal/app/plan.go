package app

import (
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"motley/internal/config"
	"motley/internal/dispatch"
	"motley/internal/planner"
	"motley/internal/pool"
	"motley/internal/sim"
	"motley/internal/workload"
)

// PlanOptions are what a command line says of planning.
type PlanOptions struct {
	Budget float64 // USD/h; 0 = the configuration's
	Rate   float64 // requests/s; 0 = the configuration's
	JSON   bool    // one JSON array and nothing else, in place of a report
}

// Plan computes the best mix of the configuration's instance types for its
// models, as docs/configuration.md says under Planning, and writes it to w with
// the reasons. The same configuration gives the same bytes.
func Plan(cfg *config.Config, opt PlanOptions, w io.Writer) error {
	s, err := newStudy(cfg)
	if err != nil {
		return fmt.Errorf("cannot plan: %w", err)
	}
	p, err := s.problem(opt)
	if err != nil {
		return fmt.Errorf("cannot plan: %w", err)
	}
	plan, err := planner.Solve(p)
	if err != nil {
		return err
	}
	if opt.JSON {
		return s.writeJSON(w, p, &plan)
	}
	return s.report(w, p, &plan)
}

// study is a configuration as planner and simulator want it.
type study struct {
	cfg      *config.Config
	types    []planner.Type
	models   []planner.Model
	demand   []sim.Demand
	splits   bool     // the policy cuts requests into parts
	assumed  []string // models whose sizes nobody told
	priors   []string // model on type, and what is expected where nothing was measured
	arrivals *workload.Arrivals
	// What is known of each model on each type: nil where it does not run.
	profiles [][]*pool.Profile
	points   [][][]pool.Point
	truth    [][]*sim.Truth

	// measured are the simulations by mix, see mixKey; the last of each.
	measured map[string]sim.Allowed
}

func newStudy(cfg *config.Config) (*study, error) {
	s := &study{cfg: cfg, measured: map[string]sim.Allowed{}}
	for i, t := range cfg.InstanceTypes {
		if t.USDPerHour == 0 {
			return nil, fmt.Errorf("instance_types[%d].usd_per_hour: %s has no price", i, t.Name)
		}
		s.types = append(s.types, planner.Type{
			Name: t.Name, USDPerHour: t.USDPerHour, Limit: t.Limit, Min: t.Min,
			SpotUSDPerHour: t.SpotUSDPerHour, Interruptions: t.InterruptionsPerHour, Recovery: t.Recovery,
		})
	}
	policy, err := dispatch.NewPolicy(cfg.Policy, 1)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	s.splits = policy.Traits().Splits
	if s.arrivals, err = cfg.Arrivals(); err != nil {
		return nil, fmt.Errorf("plan.arrivals: %w", err)
	}
	learned, err := loadLearned(cfg.Plan.Learned)
	if err != nil {
		return nil, err
	}
	for i := range cfg.Models {
		if cfg.Models[i].Cascade != nil {
			continue // its stages do the work
		}
		if err := s.addModel(&cfg.Models[i], learned); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func loadLearned(name string) ([]pool.Learned, error) {
	if name == "" {
		return nil, nil
	}
	all, err := readLearned(name)
	if err != nil {
		return nil, fmt.Errorf("plan.learned: %w", err)
	}
	return all, nil
}

func (s *study) addModel(m *config.Model, learned []pool.Learned) error {
	d := s.cfg.DemandOf(m.Name)
	sizes, err := s.cfg.Sizes(d)
	if err != nil {
		return fmt.Errorf("demand of model %s: %w", m.Name, err)
	}
	if d.Sizes == "" {
		s.assumed = append(s.assumed, m.Name)
	}
	var profiles []*pool.Profile
	var points [][]pool.Point
	var truth []*sim.Truth
	most, names := 0, []string(nil)
	for _, t := range s.cfg.InstanceTypes {
		var tr *sim.Truth
		profile, pts, err := s.known(m.Name, t.Name, learned)
		if errors.Is(err, errUnmeasured) {
			profile, pts, err = s.expected(m, t.Name, learned, err)
		}
		if err == nil && len(pts) > 0 {
			tr, err = truthOf(profile, pts, m.Name, t.Name)
		}
		if err != nil {
			return err
		}
		if tr == nil {
			profile = nil
		} else {
			most, names = max(most, tr.Largest()), append(names, t.Name)
		}
		profiles, points, truth = append(profiles, profile), append(points, pts), append(truth, tr)
	}
	merge := m.MaxBatch
	if merge == 0 {
		merge = most
	}
	alone := m.Batched != nil && !*m.Batched
	if alone {
		merge = 1
	}
	split := merge > 1 && (m.Split == nil || *m.Split) && s.splits
	switch {
	case len(names) == 0:
		return fmt.Errorf("no instance type serves model %s", m.Name)
	case sizes.Largest() > most && !split:
		return fmt.Errorf("demand of model %s: sizes %s go up to %d items, but none of %s was measured with more than %d: add max=%d",
			m.Name, sizes, sizes.Largest(), strings.Join(names, ", "), most, most)
	}
	h := sizes.Histogram()
	s.models = append(s.models, planner.Model{
		Name: m.Name, Share: d.Share, Sizes: h.Sizes, P: h.P,
		QoS: m.QoS.Target, Quantile: quantile(m.QoS.Percentile), MaxBatch: merge, Split: split,
	})
	s.demand = append(s.demand, sim.Demand{
		Model: dispatch.Model{
			Name: m.Name, QoS: m.QoS.Target, Quantile: quantile(m.QoS.Percentile),
			MaxBatch: merge, NoSplit: !split, MaxQueue: m.MaxQueue, MaxAttempts: m.MaxAttempts,
		},
		Share: d.Share, Sizes: sizes, Alone: alone,
	})
	s.profiles, s.points, s.truth = append(s.profiles, profiles), append(s.points, points), append(s.truth, truth)
	return nil
}

// known is what there is to know of a model on an instance type; nothing where
// the type's workers leave the model out.
func (s *study) known(model, instanceType string, learned []pool.Learned) (*pool.Profile, []pool.Point, error) {
	for _, l := range learned {
		if l.Model == model && l.InstanceType == instanceType && l.Profile.Known() {
			if points := l.Profile.Points(); len(points) > 0 {
				return l.Profile, points, nil
			}
		}
	}
	source, serves, leftOut := "", false, false
	for i := range s.cfg.Workers {
		w := &s.cfg.Workers[i]
		here := slices.Contains(s.cfg.Serves(w), model)
		if w.Type == instanceType {
			serves, leftOut = serves || here, leftOut || !here
		}
		// The rows of a worker of the type itself go before those of others.
		if here && w.Emulated != nil && (source == "" || w.Type == instanceType) {
			source = w.Emulated.ProfileModel
		}
	}
	if leftOut && !serves {
		return nil, nil, nil
	}
	if source == "" {
		source = model
	}
	points := s.cfg.Points(source, instanceType)
	if len(points) == 0 {
		where := "profiles"
		if s.cfg.Plan.Learned != "" {
			where = "plan.learned and profiles"
		}
		return nil, nil, fmt.Errorf("%s: %w of model %s on instance type %s (looked for the model as %q)", where, errUnmeasured, model, instanceType, source)
	}
	profile, err := pool.NewProfile(points)
	if err != nil {
		return nil, nil, fmt.Errorf("profile of %s on %s: %w", model, instanceType, err)
	}
	return profile, points, nil
}

// truthOf draws from the profile's law at sizes that are about 1 % apart: a
// simulation takes the next larger size that was measured, and of few points
// that would be far off.
func truthOf(profile *pool.Profile, points []pool.Point, model, instanceType string) (*sim.Truth, error) {
	most, spread := 0, false
	for _, pt := range points {
		most, spread = max(most, pt.Batch), spread || pt.P99 > 0
	}
	var rows []pool.Row
	for n := 1; ; n = min(n+1+n/100, most) {
		row := pool.Row{Model: model, InstanceType: instanceType, Point: pool.Point{Batch: n, Mean: max(profile.Mean(n), 1)}}
		if spread {
			row.P99 = profile.Bound(n, 0.99)
		}
		rows = append(rows, row)
		if n == most {
			return sim.TruthFromRows(rows, model, instanceType)
		}
	}
}

// problem is the planner's.
func (s *study) problem(opt PlanOptions) (*planner.Problem, error) {
	c := &s.cfg.Plan
	p := &planner.Problem{
		Types: s.types, Models: s.models, Latency: s.latency(),
		Budget: c.Budget, Rate: c.Rate, OnDemandShare: c.OnDemandShare,
		Current: make([]planner.Count, len(s.types)), Candidates: c.Candidates, Finals: 3, Verify: s.verify,
	}
	if opt.Budget != 0 {
		p.Budget = opt.Budget
	}
	if opt.Rate != 0 {
		p.Rate = opt.Rate
	}
	cost := 0.0
	for _, w := range s.cfg.Expand(cpus()) {
		t, err := idsOf(s.cfg).typ(w.Type)
		if err != nil {
			return nil, err
		}
		p.Current[t].OnDemand++
		cost += s.types[t].USDPerHour
	}
	if p.Budget == 0 && p.Rate == 0 {
		p.Budget = cost
	}
	return p, nil
}

// latency reads the profiles, up to the largest batch that was measured.
func (s *study) latency() planner.Latency {
	var quantiles []float64
	for _, m := range s.models {
		quantiles = append(quantiles, m.Quantile)
	}
	inner := planner.Profiles(s.profiles, quantiles)
	return func(model, typ, items int) (mean, bound time.Duration) {
		if t := s.truth[model][typ]; t == nil || items > t.Largest() {
			return 0, 0
		}
		return inner(model, typ, items)
	}
}

// verify simulates the mixes on all processors. Finals are simulated with
// every seed.
func (s *study) verify(trials []planner.Trial) ([]float64, error) {
	allowed, errs := make([]sim.Allowed, len(trials)), make([]error, len(trials))
	var wg sync.WaitGroup
	free := make(chan struct{}, runtime.GOMAXPROCS(0)) // as many at once
	for i, t := range trials {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			allowed[i], errs[i] = s.simulate(t)
		})
	}
	wg.Wait()
	rates := make([]float64, len(trials))
	for i, t := range trials {
		if errs[i] != nil {
			return nil, fmt.Errorf("cannot plan: cannot simulate %s: %w", planner.MixText(s.types, onDemand(t.Mix)), errs[i])
		}
		rates[i] = allowed[i].Rate
		s.measured[mixKey(t.Mix)] = allowed[i]
	}
	return rates, nil
}

func (s *study) simulate(t planner.Trial) (sim.Allowed, error) {
	seeds := 1
	if t.Final {
		seeds = s.cfg.Plan.Seeds
	}
	x := sim.Experiment{
		Models: s.demand, Counts: t.Mix, Truth: s.truth, Points: s.points,
		Policy: func(seed uint64) dispatch.Policy {
			policy, err := dispatch.NewPolicy(s.cfg.Policy, seed)
			if err != nil {
				panic("BUG: " + err.Error()) // the configuration was checked
			}
			return policy
		},
		Arrivals: s.arrivals, Requests: s.cfg.Plan.Requests,
	}
	for i := range seeds {
		x.Seeds = append(x.Seeds, uint64(i)+1)
	}
	for _, t := range s.cfg.InstanceTypes {
		x.Types = append(x.Types, pool.InstanceType{Name: t.Name, USDPerHour: t.USDPerHour, Accelerator: t.Accelerator})
	}
	r, err := sim.NewRunner(x)
	if err != nil {
		return sim.Allowed{}, err
	}
	if t.Final || t.Near == 0 {
		return r.Allowable(t.Near)
	}
	return s.roughly(r, t.Near)
}

// How closely mixes are told apart before the finals.
const (
	roughStep  = 1.2
	roughError = 1.02
)

// roughly finds the allowable throughput by fewer runs than sim.Allowable
// takes: it is near, and 2 % more or less do not matter yet.
func (s *study) roughly(r *sim.Runner, near float64) (sim.Allowed, error) {
	var best sim.Allowed
	holds := func(rate float64) (bool, error) {
		m, err := r.MeasureAll(rate)
		best.Runs++
		if err != nil {
			return false, err
		}
		for i, model := range s.models {
			if m.Models[i].Share() < model.Quantile {
				return false, nil
			}
		}
		if rate > best.Rate {
			best.Rate, best.At = rate, m
		}
		return true, nil
	}
	low, high := near/roughStep, near*roughStep
	ok, err := holds(near)
	if ok {
		for low = near; ok && err == nil && high < 1e9; high *= roughStep {
			if ok, err = holds(high); ok {
				low = high
			} else {
				break
			}
		}
	} else {
		high = near
		for !ok && err == nil && low > 1e-4*near {
			if ok, err = holds(low); !ok {
				high, low = low, low/roughStep
			}
		}
	}
	for err == nil && best.Rate > 0 && high/low > roughError {
		mid := math.Sqrt(low * high)
		if ok, err = holds(mid); ok {
			low = mid
		} else {
			high = mid
		}
	}
	return best, err
}

// mixKey is the number of instances of each type.
func mixKey(mix []int) string { return fmt.Sprint(mix) }

func keyOf(mix []planner.Count) string {
	all := make([]int, len(mix))
	for i, c := range mix {
		all[i] = c.Total()
	}
	return mixKey(all)
}

func onDemand(mix []int) []planner.Count {
	all := make([]planner.Count, len(mix))
	for i, n := range mix {
		all[i].OnDemand = n
	}
	return all
}
