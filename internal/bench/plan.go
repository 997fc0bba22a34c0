package bench

import (
	"fmt"
	"slices"

	"motley/internal/planner"
)

// Plan is the command `bench plan`.
type Plan struct {
	Inputs
	Policy     string
	Alone      bool    // never merge
	Budget     float64 // USD/h; 0 = none
	Rate       float64 // requests/s that the mix must carry; 0 = as much as the budget buys
	Limits     string  // TYPE=N,…: the most of a type; empty = as many as the budget buys
	Candidates int     // mixes that are simulated; 0 = the planner's default
}

// PlanRecord is a mix as `bench plan -json` prints it, best first.
type PlanRecord struct {
	Model      string  `json:"model"`
	Policy     string  `json:"policy"`
	Arrivals   string  `json:"arrivals"`
	QoSMS      float64 `json:"qos_ms"`
	Percentile float64 `json:"percentile"`
	planner.Record
}

// Run carries the command out.
func (c *Plan) Run(out Output) error {
	if c.Budget == 0 && c.Rate == 0 {
		return usagef("-budget, -rate: both are 0: give USD/h to spend, or requests/s to carry")
	}
	for _, f := range []struct {
		flag string
		v    float64
	}{{"-budget", c.Budget}, {"-rate", c.Rate}} {
		if f.v != 0 {
			if err := checkRange(f.flag, f.v, 1e-6, 1e9); err != nil {
				return err
			}
		}
	}
	if err := checkRange("-candidates", float64(c.Candidates), 0, 1000); err != nil {
		return err
	}
	v, err := NewVariant(c.Policy, c.Alone, false)
	if err != nil {
		return err
	}
	limits, err := parseLimits(c.Limits)
	if err != nil {
		return err
	}
	s, err := c.allowed(limits)
	if err != nil {
		return err
	}
	p, err := c.problem(s, v, limits)
	if err != nil {
		return err
	}
	measure := p.Verify
	p.Verify = func(trials []planner.Trial) ([]float64, error) {
		out.Progress.Say("simulating %d mixes", len(trials))
		return measure(trials)
	}
	plan, err := planner.Solve(p)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Model, err)
	}
	if out.JSON {
		return writeJSON(out.Stdout, planRecords(s, v, p, &plan))
	}
	if _, err := fmt.Fprintf(out.Stdout, "%s, %v for %g %% of the requests; arrivals %s, sizes %s; measured by simulation under %s, with %d requests × %d seeds at most\n\n",
		s.Model.Name, s.Model.QoS, 100*s.Model.Quantile, s.Arrivals, s.Sizes, v.Name, s.Requests, len(s.Seeds)); err != nil {
		return err
	}
	return plan.Print(out.Stdout, p)
}

// problem is what the planner is asked.
func (c *Plan) problem(s *Setup, v Variant, limits Mix) (*planner.Problem, error) {
	s.Seeds = seedsFrom(chooseFrom, len(s.Seeds)) // others than `bench sim` measures by
	all := make([]int, len(s.Types))
	for i := range all {
		all[i] = 1
	}
	if err := s.takes(all); err != nil {
		return nil, err
	}
	p, err := s.problem()
	if err != nil {
		return nil, err
	}
	if v.Alone {
		p.Models[0].MaxBatch = 1
	}
	p.Models[0].Split = !v.Alone && v.New(0).Traits().Splits
	p.Budget, p.Rate, p.Candidates, p.Finals, p.Verify = c.Budget, c.Rate, c.Candidates, finals, s.verify(v)
	for i := range p.Types {
		if k := slices.Index(limits.Types, p.Types[i].Name); k >= 0 {
			p.Types[i].Limit = limits.Counts[k]
		}
	}
	return p, nil
}

// allowed sets up the types that the limits allow any of.
func (c *Plan) allowed(limits Mix) (*Setup, error) {
	s, err := c.setup(nil)
	if err != nil {
		return nil, err
	}
	for _, name := range limits.Types {
		if err := s.hasType(name); err != nil {
			return nil, usagef("-limit: %q: there is no such instance type; there are %s", name, typeNames(s.Types))
		}
	}
	var keep []string
	for _, t := range s.Types {
		if k := slices.Index(limits.Types, t.Name); k < 0 || limits.Counts[k] > 0 {
			keep = append(keep, t.Name)
		}
	}
	if len(keep) == len(s.Types) {
		return s, nil
	}
	return c.setup(keep)
}

func parseLimits(text string) (Mix, error) {
	if text == "" {
		return Mix{}, nil
	}
	limits, err := ParseMix(text)
	if err != nil {
		return Mix{}, usagef("-limit: %v", err)
	}
	return limits, nil
}

func planRecords(s *Setup, v Variant, p *planner.Problem, plan *planner.Plan) []PlanRecord {
	var records []PlanRecord
	for _, r := range plan.Records(p) {
		records = append(records, PlanRecord{
			Model: s.Model.Name, Policy: v.Name, Arrivals: s.Arrivals.String(),
			QoSMS: planner.Milliseconds(s.Model.QoS), Percentile: planner.Round(100*s.Model.Quantile, 6), Record: r,
		})
	}
	return records
}
