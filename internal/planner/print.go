package planner

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Print writes the plan for people: the best mixes as a table, then what each
// type of the best is for and what to add next. p is the problem that was
// solved.
func (plan *Plan) Print(w io.Writer, p *Problem) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "place\tmix\tUSD/h\tgoodput/s\t\testimate/s\tUB\tLP\tLP-shed\tbatching\t")
	row := func(place string, c *Candidate) {
		how := "estimated"
		if c.Verified {
			how = "measured"
		}
		b := &c.Bounds
		fmt.Fprintf(t, "%s\t%s\t%.4g\t%.5g\t%s\t%.5g\t%s\t%s\t%s\t%s\t\n", place, MixText(p, c.Mix), c.USDPerHour, c.Goodput, how, c.Estimate,
			orNone(b.Kairos), orNone(b.LP), orNone(b.Shed), orNone(b.Batching))
	}
	row("1", &plan.Best)
	for i := range plan.Others {
		row(fmt.Sprint(i+2), &plan.Others[i])
	}
	if p.Current != nil {
		row(fmt.Sprintf("now: %d", plan.Rank), &plan.Current)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	kind := "of those within reach by the estimate"
	if plan.Exhaustive {
		kind = "all that matter"
	}
	fmt.Fprintf(w, "%d mixes ranked (%s), %d measured; fractions of instances would reach an estimate of %.5g/s\n", plan.Examined, kind, plan.Measured, plan.Relaxed)
	if p.Rate > 0 {
		fmt.Fprintf(w, "headroom over %.5g/s: %.1f %%\n", p.Rate, 100*plan.Headroom)
	}
	for i := range plan.Uses {
		if err := plan.Uses[i].print(w, p); err != nil {
			return err
		}
	}
	if n := &plan.Next; n.Type >= 0 {
		kind := ""
		if n.Spot {
			kind = ", spot"
		}
		fmt.Fprintf(w, "to add next: %s%s, %.4g USD/h for %.4g/s more\n", p.Types[n.Type].Name, kind, n.USDPerHour, n.Adds)
	}
	_, err := fmt.Fprintf(w, "a further USD/h buys about %.4g/s\n", plan.PerUSD)
	return err
}

func (u *Use) print(w io.Writer, p *Problem) error {
	var spans []string
	for _, s := range u.Models {
		of := ""
		if len(p.Models) > 1 {
			of = " of " + p.Models[s.Model].Name
		}
		spans = append(spans, fmt.Sprintf("%d to %d items%s (%.1f %% of the requests, in batches of about %d)", s.From, s.To, of, 100*s.Share, s.Batch))
	}
	if spans == nil {
		spans = []string{"nothing"}
	}
	_, err := fmt.Fprintf(w, "%s × %.4g serves %s; %.1f %% of the requests, %.1f %% of the work, %.0f %% busy; another one adds %.4g/s (%.4g/s per USD/h)\n",
		p.Types[u.Type].Name, u.Instances, strings.Join(spans, ", "), 100*u.Requests, 100*u.Work, 100*u.Utilisation, u.Value, u.PerUSD)
	return err
}

func orNone(rate float64) string {
	if rate == 0 {
		return "-"
	}
	return fmt.Sprintf("%.5g", rate)
}

// MixText writes a mix as TYPE=COUNT,…, spot instances as TYPE:spot=COUNT,
// without those of which there are none.
func MixText(p *Problem, mix []Count) string {
	var parts []string
	for j, c := range mix {
		if c.OnDemand > 0 {
			parts = append(parts, fmt.Sprintf("%s=%d", p.Types[j].Name, c.OnDemand))
		}
		if c.Spot > 0 {
			parts = append(parts, fmt.Sprintf("%s:spot=%d", p.Types[j].Name, c.Spot))
		}
	}
	return strings.Join(parts, ",")
}
