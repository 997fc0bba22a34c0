package planner

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// shownMixes is how many mixes are printed, the current one not counted.
const shownMixes = 10

// Print writes the plan for people: the best mixes as a table, then what each
// type of the best is for, what to add next and how the current mix compares.
// p is the problem that was solved. What the planner was not told, as the law
// of the arrivals, is for the caller to write before.
func (plan *Plan) Print(w io.Writer, p *Problem) error {
	var b bytes.Buffer // writing to it never fails
	plan.table(&b, p)
	b.WriteByte('\n')
	if p.Rate > 0 {
		fmt.Fprintf(&b, "The best carries %s more than is asked for.\n", percent(plan.Headroom))
	}
	// Shadow prices are of the estimate: scaled by what the mix reaches of its.
	reached := plan.Best.Goodput / plan.Best.Estimate
	for i := range plan.Uses {
		fmt.Fprintln(&b, plan.Uses[i].text(p, reached))
	}
	if n := &plan.Next; n.Type >= 0 {
		fmt.Fprintf(&b, "Add next: one %s (%.4g USD/h), for about %.4g requests/s more.\n",
			offerText(&p.Types[n.Type], n.Spot), n.USDPerHour, n.Adds*reached)
	} else {
		fmt.Fprintln(&b, "Add next: nothing, all types are at their limits.")
	}
	fmt.Fprintf(&b, "A further USD per hour would buy about %.4g requests/s.\n", plan.PerUSD*reached)
	if p.Current != nil {
		fmt.Fprintln(&b, plan.currentText())
	}
	fmt.Fprintln(&b, plan.effort(p))
	_, err := w.Write(b.Bytes())
	return err
}

// table lists the best mixes and the current one.
func (plan *Plan) table(w io.Writer, p *Problem) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "place\tmix\tUSD/h\trequests/s\tas\testimate\tbound: one by one\twith misses\tKAIROS UB\tbatching\tmerged")
	row := func(place string, c *Candidate) {
		as := "estimated"
		if c.Verified {
			as = "measured"
		}
		b := &c.Bounds
		fmt.Fprintf(t, "%s\t%s\t%.4g\t%.5g\t%s\t%.5g\t%s\t%s\t%s\t%s\t%s\n", place, MixText(p.Types, c.Mix), c.USDPerHour, c.Goodput, as, c.Estimate,
			orNone(b.LP), orNone(b.Shed), orNone(b.Kairos), orNone(b.Batching), orNone(b.Merged))
	}
	row("1", &plan.Best)
	for i := range plan.Others[:min(len(plan.Others), shownMixes-1)] {
		row(fmt.Sprint(i+2), &plan.Others[i])
	}
	if p.Current != nil {
		row("now", &plan.Current)
	}
	t.Flush()
}

// text says what the type is for.
func (u *Use) text(p *Problem, reached float64) string {
	var parts []string
	for i := range u.Models {
		parts = append(parts, u.Models[i].text(p))
	}
	serves := "serve nothing"
	if len(parts) > 0 {
		serves = "serve " + strings.Join(parts, " and ")
	}
	return fmt.Sprintf("%.4g × %s %s, busy %s of the time. One more would add %.4g requests/s, %.4g per USD.",
		u.Instances, p.Types[u.Type].Name, serves, percent(u.Utilisation), u.Value*reached, u.PerUSD*reached)
}

func (s *Span) text(p *Problem) string {
	sizes := items(s.From)
	if s.From != s.To {
		sizes = fmt.Sprintf("%d to %s", s.From, items(s.To))
	}
	how := []string{sizes}
	switch {
	case s.InParts == 0:
	case s.InParts <= s.From:
		how = append(how, "in parts")
	default:
		how = append(how, fmt.Sprintf("from %d on in parts", s.InParts))
	}
	if s.Batch > 1 {
		how = append(how, fmt.Sprintf("in batches of up to %d", s.Batch))
	} else {
		how = append(how, "one by one")
	}
	return fmt.Sprintf("%s of %s (%s)", percent(s.Share), p.Models[s.Model].Name, strings.Join(how, ", "))
}

func (plan *Plan) currentText() string {
	c := &plan.Current
	if c.Goodput == 0 {
		return fmt.Sprintf("The current pool costs %.4g USD/h and cannot keep the QoS at any rate.", c.USDPerHour)
	}
	return fmt.Sprintf("The current pool costs %.4g USD/h and carries %.5g requests/s: place %d of %d. The best carries %.3g times as many requests per USD.",
		c.USDPerHour, c.Goodput, plan.Rank, plan.Examined, plan.Best.Goodput/plan.Best.USDPerHour/(c.Goodput/c.USDPerHour))
}

// effort says how many mixes were looked at, and which.
func (plan *Plan) effort(p *Problem) string {
	all := "those around the optimum in fractions"
	switch {
	case plan.Exhaustive && p.Rate > 0:
		all = "among them all that cost little more and that nothing can be taken from"
	case plan.Exhaustive:
		all = "all that nothing can be added to"
		if p.Current != nil {
			all += ", and the current one"
		}
	}
	measured := "measured none"
	if plan.Measured > 0 {
		measured = fmt.Sprintf("measured %d, which reached %s of their estimates", plan.Measured, percent(plan.Reached))
	}
	return fmt.Sprintf("Ranked %d mixes (%s) and %s. Counts in fractions would reach %.5g requests/s by estimate.",
		plan.Examined, all, measured, plan.Relaxed)
}

func orNone(rate float64) string {
	if rate == 0 {
		return "-"
	}
	return fmt.Sprintf("%.5g", rate)
}

func items(n int) string {
	if n == 1 {
		return "1 item"
	}
	return fmt.Sprintf("%d items", n)
}

func percent(share float64) string { return fmt.Sprintf("%.3g %%", 100*share) }

// MixText writes a mix as TYPE=COUNT,…, spot instances as TYPE:spot=COUNT,
// without those of which there are none. Counts are indexed like types.
func MixText(types []Type, mix []Count) string {
	var parts []string
	for j, c := range mix {
		if c.OnDemand > 0 {
			parts = append(parts, fmt.Sprintf("%s=%d", offerText(&types[j], false), c.OnDemand))
		}
		if c.Spot > 0 {
			parts = append(parts, fmt.Sprintf("%s=%d", offerText(&types[j], true), c.Spot))
		}
	}
	return strings.Join(parts, ",")
}

func offerText(t *Type, spot bool) string {
	if spot {
		return t.Name + ":spot"
	}
	return t.Name
}
