package bench

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
)

// criterion is something that the router's controller must show on a stream.
type criterion struct {
	stream, mode, what string
	value, bound       float64
	most               bool // the bound is from above
	info               bool // reported, not required
}

func (c *criterion) ok() bool {
	const slack = 1e-9
	if c.most {
		return c.value <= c.bound+slack
	}
	return c.value >= c.bound-slack
}

// averaged is the mean of several runs of a controller with different seeds.
// Recover is the largest of them.
type averaged struct {
	Exited
	runs   int
	worst  float64 // agreement of the worst run
	beyond float64 // disagreements over the bound, of the run that is worst at it
}

// average is the mean of all runs of a controller in a mode, with a change or
// none, in batches of n rows; n = 0: of any.
func average(rows []Exited, name, mode, change string, n int) (m averaged) {
	m.worst, m.beyond = 1, math.Inf(-1)
	var sums []*float64
	for i := range rows {
		e := &rows[i]
		if e.Controller != name || e.Mode != mode || e.Change != change || n > 0 && e.Batch != n {
			continue
		}
		m.worst = min(m.worst, e.Agreement)
		if e.Bound != nil {
			m.beyond = max(m.beyond, float64(e.Disagreed)-*e.Bound)
		}
		m.runs++
		if m.runs == 1 {
			m.Exited = *e
			m.Segments = slices.Clone(e.Segments)
			sums = m.numbers()
			continue
		}
		for k, v := range e.numbers() {
			*sums[k] += *v
		}
		m.Recover = max(m.Recover, e.Recover)
		for k := range m.Segments {
			m.Segments[k].Recover = max(m.Segments[k].Recover, e.Segments[k].Recover)
		}
	}
	for _, v := range sums {
		*v /= float64(m.runs)
	}
	return m
}

// condensed has one row for all seeds.
func condensed(rows []Exited) []Exited {
	var all []Exited
	for i := range rows {
		e := &rows[i]
		if slices.ContainsFunc(all, func(a Exited) bool { return a.Controller == e.Controller && a.Mode == e.Mode && a.Batch == e.Batch }) {
			continue
		}
		m := average(rows, e.Controller, e.Mode, "", e.Batch)
		if m.runs > 1 {
			m.Change = fmt.Sprintf("mean of %d seeds:", m.runs)
		}
		all = append(all, m.Exited)
	}
	return all
}

// criteria are those of one stream.
func criteria(rows []Exited) []criterion {
	var all []criterion
	for _, mode := range []string{"latency", "compute"} {
		e := average(rows, ours, mode, "", 0)
		if e.runs == 0 {
			continue
		}
		add := func(what string, value, bound float64, most bool) {
			all = append(all, criterion{stream: e.Stream, mode: mode, what: what, value: value, bound: bound, most: most})
		}
		info := func(what string, value, bound float64) {
			all = append(all, criterion{stream: e.Stream, mode: mode, what: what, value: value, bound: bound, info: true})
		}
		add("answers that disagree, less the bound, at most", e.beyond, 0, true)
		if e.runs > 1 {
			info(fmt.Sprintf("agreement, the worst of %d seeds", e.runs), e.worst, 0.99)
		}
		if e.Stream == hostileName {
			g := e.Segments[1]
			if mode == "compute" {
				info("agreement", e.Agreement, 0.99)
			} else {
				add("agreement", e.Agreement, 0.99, false)
			}
			info("agreement while all ramps are wrong", g.Agreement, 0.99)
			info("rows of it until a window is within the target", float64(g.Recover), 0)
			continue
		}
		add("agreement", e.Agreement, 0.99, false)
		if mode == "compute" {
			add("windows under the target", e.WindowsBelow, 0.25, true)
			add("compute saved", e.ComputeSaved, 0.35, false)
			add("audits", e.AuditShare, 0.10, true)
			continue
		}
		worst := slices.MinFunc(e.Segments, func(a, b SegmentExited) int { return cmp.Compare(a.Agreement, b.Agreement) })
		add("agreement in the worst segment ("+worst.Segment+")", worst.Agreement, 0.988, false)
		add("windows under the target", e.WindowsBelow, 0.10, true)
		add("P95 overhead of ramps", e.P95Overhead, exitBudget, true)
		if h := average(rows, "hindsight", mode, "", 0); h.runs > 0 {
			add("latency saved ÷ hindsight's", e.SavedMean/h.SavedMean, 0.9, false)
		}
		for _, n := range []int{1, 4, 16} {
			a := average(rows, "apparate-code", mode, "", n)
			switch {
			case a.runs == 0 || a.SavedMean <= 0:
			case a.Agreement > e.Agreement+1e-9:
				info(fmt.Sprintf("latency saved ÷ apparate-code's in batches of %d, whose agreement is higher (%.2f %%)", n, 100*a.Agreement), e.SavedMean/a.SavedMean, 1.5)
			case n == 1:
				add("latency saved ÷ apparate-code's", e.SavedMean/a.SavedMean, 1.5, false)
			default:
				info(fmt.Sprintf("latency saved ÷ apparate-code's in batches of %d", n), e.SavedMean/a.SavedMean, 1.5)
			}
		}
		if v := average(rows, "clairvoyant", mode, "", 0); v.runs > 0 {
			info("latency saved ÷ clairvoyant's", e.SavedMean/v.SavedMean, 0.8)
		}
	}
	return all
}

// printCriteria lists what must be shown and whether it is.
func printCriteria(w io.Writer, all []criterion) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\nstream\tmode\t%s's\tis\tmust be\t\n", ours)
	for i := range all {
		c := &all[i]
		sign, verdict := "≥", "PASS"
		if c.most {
			sign = "≤"
		}
		if !c.ok() {
			verdict = "FAIL"
		}
		must := fmt.Sprintf("%s %.4g", sign, c.bound)
		if c.info {
			verdict, must = "", "reported"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%.4g\t%s\t%s\n", c.stream, c.mode, c.what, c.value, must, verdict)
	}
	return t.Flush()
}

// failed is ErrOff where something required is not shown.
func failed(all []criterion) error {
	n := 0
	for i := range all {
		if !all[i].info && !all[i].ok() {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%d criteria of early exit do not hold: %w", n, ErrOff)
}

// printSensitivity prints, by change and mode, what each stream then gives, the
// mean of all seeds.
func printSensitivity(w io.Writer, all [][]Exited) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\n%s with one parameter changed: agreement (windows below), latency or compute saved, in %%\t", ours)
	for _, rows := range all {
		fmt.Fprintf(t, "%s\t", rows[0].Stream)
	}
	fmt.Fprintln(t)
	var done []string
	for i := range all[0] {
		e := &all[0][i]
		name := e.Mode + ", " + cmp.Or(e.Change, "nothing changed")
		if slices.Contains(done, name) {
			continue
		}
		done = append(done, name)
		fmt.Fprintf(t, "%s\t", name)
		for _, rows := range all {
			m := average(rows, ours, e.Mode, e.Change, 0)
			saved := m.SavedMean
			if e.Mode == "compute" {
				saved = m.ComputeSaved
			}
			fmt.Fprintf(t, "%.2f (%.1f), %.1f\t", 100*m.Agreement, 100*m.WindowsBelow, 100*saved)
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}
