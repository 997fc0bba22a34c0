package app

import (
	"fmt"
	"io"
	"strings"

	"motley/internal/planner"
)

// report writes for people what was planned for, and the plan.
func (s *study) report(w io.Writer, p *planner.Problem, plan *planner.Plan) error {
	var b strings.Builder // writing to it never fails
	fmt.Fprintln(&b, question(p))
	for i, m := range s.models {
		fmt.Fprintf(&b, "  %s: %.3g %% of the requests, %v for %g %% of them, sizes %s\n",
			m.Name, 100*s.shareOf(i), m.QoS, planner.Round(100*m.Quantile, 6), s.demand[i].Sizes)
	}
	if len(s.assumed) > 0 {
		fmt.Fprintf(&b, "  The sizes of %s were not told: one item per request is assumed. Set plan.demand[].sizes.\n", strings.Join(s.assumed, ", "))
	}
	for _, p := range s.priors {
		fmt.Fprintf(&b, "  A prior, never measured: %s. Measure it by router profile before you believe the plan.\n", p)
	}
	fmt.Fprintf(&b, "  arrivals %s, policy %s, measured by simulation with %d requests (the best with %d × %d)\n\n",
		s.arrivals, s.cfg.Policy, s.cfg.Plan.Requests, s.cfg.Plan.Seeds, s.cfg.Plan.Requests)
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}
	return plan.Print(w, p)
}

func question(p *planner.Problem) string {
	what := "The most requests"
	if p.Rate > 0 {
		what = fmt.Sprintf("The cheapest mix for %.5g requests/s", p.Rate)
	}
	if p.Budget > 0 {
		what += fmt.Sprintf(" within %.4g USD/h", p.Budget)
	}
	if p.OnDemandShare > 0 {
		what += fmt.Sprintf(", %.3g %% of it on demand", 100*p.OnDemandShare)
	}
	return what
}

// shareOf is the model's part of all requests.
func (s *study) shareOf(model int) float64 {
	total := 0.0
	for _, m := range s.models {
		total += m.Share
	}
	return s.models[model].Share / total
}
