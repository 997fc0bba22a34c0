package app

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"motley/internal/planner"
)

// shownMixes is how many mixes the report lists.
const shownMixes = 10

// printer writes lines and keeps the first error.
type printer struct {
	w   io.Writer
	err error
}

func (o *printer) line(format string, args ...any) {
	if o.err == nil {
		_, o.err = fmt.Fprintf(o.w, format+"\n", args...)
	}
}

// report writes the plan for people.
func (s *study) report(w io.Writer, p *planner.Problem, plan *planner.Plan) error {
	o := &printer{w: w}
	o.line("%s", s.question(p))
	for i, m := range s.models {
		o.line("  %s: %s of the requests, %v for %g %% of them, sizes %s", m.Name, percent(s.shareOf(i)), m.QoS, rounded(100*m.Quantile, 6), s.demand[i].Sizes)
	}
	if len(s.assumed) > 0 {
		o.line("  The sizes of %s were not told: one item per request is assumed. Set plan.demand[].sizes.", strings.Join(s.assumed, ", "))
	}
	o.line("  arrivals %s, policy %s, simulated with %d requests (the best with %d × %d)",
		s.arrivals, s.cfg.Policy, s.cfg.Plan.Requests, s.cfg.Plan.Seeds, s.cfg.Plan.Requests)
	o.line("")
	s.table(o, plan)
	o.line("")
	if p.Rate > 0 {
		o.line("The best carries %s more than is asked for.", percent(plan.Headroom))
	}
	// Shadow prices are of the estimate: scaled by what the mix reaches of its.
	reached := plan.Best.Goodput / plan.Best.Estimate
	for _, u := range plan.Uses {
		o.line("%s", s.useText(&u, reached))
	}
	if n := plan.Next; n.Type >= 0 {
		o.line("Add next: one %s (%.4g USD/h), for about %.4g requests/s more.", s.offerText(n), n.USDPerHour, n.Adds*reached)
	} else {
		o.line("Add next: nothing, all types are at their limits.")
	}
	o.line("A further USD per hour would buy about %.4g requests/s.", plan.PerUSD*reached)
	s.currentText(o, plan)
	all := "those around the optimum in fractions"
	if plan.Exhaustive && p.Rate == 0 {
		all = "all that nothing can be added to, and the current one"
	} else if plan.Exhaustive {
		all = "among them all that cost little more and that nothing can be taken from"
	}
	o.line("Ranked %d mixes (%s) and simulated %d, which reached %s of their estimates. Counts in fractions would reach %.4g by estimate.",
		plan.Examined, all, plan.Measured, percent(plan.Reached), plan.Relaxed)
	return o.err
}

func (s *study) question(p *planner.Problem) string {
	what := "The most requests"
	if p.Rate > 0 {
		what = fmt.Sprintf("The cheapest mix for %.5g requests/s", p.Rate)
	}
	if p.Budget > 0 {
		what += fmt.Sprintf(" within %.4g USD/h", p.Budget)
	}
	if p.OnDemandShare > 0 {
		what += fmt.Sprintf(", %s of it on demand", percent(p.OnDemandShare))
	}
	return what
}

// table lists the best mixes and the current pool.
func (s *study) table(o *printer, plan *planner.Plan) {
	t := tabwriter.NewWriter(o.w, 0, 0, 2, ' ', 0)
	row := func(rank, format string, c *planner.Candidate) {
		fmt.Fprintf(t, "%s\t%s\t%.4g\t%.5g\t%.5g\t%.5g\t%.5g\t%.5g\n",
			rank, format, c.USDPerHour, c.Goodput, c.Estimate, c.Bounds.LP, c.Bounds.Shed, c.Bounds.Merged)
	}
	fmt.Fprintln(t, "place\tmix\tUSD/h\trequests/s\testimate\tbound: one by one\twith misses\tmerged")
	row("1", s.mixText(plan.Best.Mix), &plan.Best)
	for i := range plan.Others[:min(len(plan.Others), shownMixes-1)] {
		row(fmt.Sprint(i+2), s.mixText(plan.Others[i].Mix), &plan.Others[i])
	}
	row("now", s.mixText(plan.Current.Mix), &plan.Current)
	o.err = errors.Join(o.err, t.Flush())
}

func (s *study) useText(u *planner.Use, reached float64) string {
	var parts []string
	for _, m := range u.Models {
		part := fmt.Sprintf("%s of %s", percent(m.Share), s.models[m.Model].Name)
		if m.From == m.To {
			part += fmt.Sprintf(" (%s", items(m.From))
		} else {
			part += fmt.Sprintf(" (%d to %s", m.From, items(m.To))
		}
		if m.Batch > 1 {
			part += fmt.Sprintf(", in batches of up to %d)", m.Batch)
		} else {
			part += ", one by one)"
		}
		parts = append(parts, part)
	}
	serves := "serve nothing"
	if len(parts) > 0 {
		serves = "serve " + strings.Join(parts, " and ")
	}
	return fmt.Sprintf("%.4g × %s %s, busy %s of the time. One more would add %.4g requests/s, %.4g per USD.",
		u.Instances, s.types[u.Type].Name, serves, percent(u.Utilisation), u.Value*reached, u.PerUSD*reached)
}

func (s *study) offerText(n planner.Step) string {
	if n.Spot {
		return "spot " + s.types[n.Type].Name
	}
	return s.types[n.Type].Name
}

func (s *study) currentText(o *printer, plan *planner.Plan) {
	c := &plan.Current
	if c.Goodput == 0 {
		o.line("The current pool costs %.4g USD/h and cannot keep the QoS at any rate.", c.USDPerHour)
		return
	}
	o.line("The current pool costs %.4g USD/h and carries %.5g requests/s: place %d of %d. The best carries %.3g times as many requests per USD.",
		c.USDPerHour, c.Goodput, plan.Rank, plan.Examined, plan.Best.Goodput/plan.Best.USDPerHour/(c.Goodput/c.USDPerHour))
}

func (s *study) shareOf(model int) float64 {
	total := 0.0
	for _, m := range s.models {
		total += m.Share
	}
	return s.models[model].Share / total
}

func items(n int) string {
	if n == 1 {
		return "1 item"
	}
	return fmt.Sprintf("%d items", n)
}

func percent(share float64) string { return fmt.Sprintf("%.3g %%", 100*share) }
