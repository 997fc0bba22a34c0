package bench

import (
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

// find is the result of a controller in a mode and, where n > 0, in such batches.
func find(rows []Exited, name, mode string, n int) *Exited {
	i := slices.IndexFunc(rows, func(e Exited) bool {
		return e.Controller == name && e.Mode == mode && e.Change == "" && (n == 0 || e.Batch == n)
	})
	if i < 0 {
		return nil
	}
	return &rows[i]
}

// averaged is the mean of several runs.
type averaged struct {
	Exited
	worst   float64       // agreement of the worst run
	beyond  float64       // disagreements over the bound, of the run that is worst at it
	segment SegmentExited // the worst by its mean agreement
}

// average is the mean of all runs of a controller in a mode, and their number.
func average(rows []Exited, name, mode string) (averaged, int) {
	var runs []*Exited
	for i := range rows {
		if e := &rows[i]; e.Controller == name && e.Mode == mode && e.Change == "" {
			runs = append(runs, e)
		}
	}
	if len(runs) == 0 {
		return averaged{}, 0
	}
	m := averaged{Exited: *runs[0], worst: 1, beyond: math.Inf(-1)}
	mean := func(of func(e *Exited) float64) float64 {
		sum := 0.0
		for _, e := range runs {
			sum += of(e)
		}
		return sum / float64(len(runs))
	}
	m.Agreement = mean(func(e *Exited) float64 { return e.Agreement })
	m.WindowsBelow = mean(func(e *Exited) float64 { return e.WindowsBelow })
	m.SavedMean = mean(func(e *Exited) float64 { return e.SavedMean })
	m.ComputeSaved = mean(func(e *Exited) float64 { return e.ComputeSaved })
	m.AuditShare = mean(func(e *Exited) float64 { return e.AuditShare })
	m.P95Overhead = 0
	for _, e := range runs {
		m.worst = min(m.worst, e.Agreement)
		m.P95Overhead = max(m.P95Overhead, e.P95Overhead)
		if e.Bound != nil {
			m.beyond = max(m.beyond, float64(e.Disagreed)-*e.Bound)
		}
	}
	m.Segments = slices.Clone(m.Segments)
	m.segment.Agreement = math.Inf(1)
	for k := range m.Segments {
		g := &m.Segments[k]
		g.Agreement = mean(func(e *Exited) float64 { return e.Segments[k].Agreement })
		g.Recover = 0
		for _, e := range runs {
			g.Recover = max(g.Recover, e.Segments[k].Recover)
		}
		if g.Agreement < m.segment.Agreement {
			m.segment = *g
		}
	}
	return m, len(runs)
}

// criteria are those of one stream.
func criteria(rows []Exited) []criterion {
	var all []criterion
	for _, mode := range []string{"latency", "compute"} {
		e, n := average(rows, ours, mode)
		if n == 0 {
			continue
		}
		worst := e.worst
		add := func(what string, value, bound float64, most bool) {
			all = append(all, criterion{stream: e.Stream, mode: mode, what: what, value: value, bound: bound, most: most})
		}
		info := func(what string, value, bound float64) {
			all = append(all, criterion{stream: e.Stream, mode: mode, what: what, value: value, bound: bound, info: true})
		}
		add("answers that disagree, less the bound, at most", e.beyond, 0, true)
		if n > 1 {
			info(fmt.Sprintf("agreement, the worst of %d seeds", n), worst, 0.99)
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
		add("agreement in the worst segment ("+e.segment.Segment+")", e.segment.Agreement, 0.988, false)
		add("windows under the target", e.WindowsBelow, 0.10, true)
		add("P95 overhead of ramps", e.P95Overhead, exitBudget, true)
		if h := find(rows, "hindsight", mode, 0); h != nil {
			add("latency saved ÷ hindsight's", e.SavedMean/h.SavedMean, 0.9, false)
		}
		for _, n := range []int{1, 4, 16} {
			a := find(rows, "apparate-code", mode, n)
			switch {
			case a == nil || a.SavedMean <= 0:
			case a.Agreement > e.Agreement+1e-9:
				info(fmt.Sprintf("latency saved ÷ apparate-code's in batches of %d, whose agreement is higher (%.2f %%)", n, 100*a.Agreement), e.SavedMean/a.SavedMean, 1.5)
			case n == 1:
				add("latency saved ÷ apparate-code's", e.SavedMean/a.SavedMean, 1.5, false)
			default:
				info(fmt.Sprintf("latency saved ÷ apparate-code's in batches of %d", n), e.SavedMean/a.SavedMean, 1.5)
			}
		}
		if v := find(rows, "clairvoyant", mode, 0); v != nil {
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

// printSensitivity prints, by change and mode, what each stream then gives.
func printSensitivity(w io.Writer, all []Exited) error {
	var streams []string
	for _, e := range all {
		if !slices.Contains(streams, e.Stream) {
			streams = append(streams, e.Stream)
		}
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\n%s with one parameter changed: agreement (windows below), latency or compute saved, in %%\t", ours)
	for _, s := range streams {
		fmt.Fprintf(t, "%s\t", s)
	}
	fmt.Fprintln(t)
	each := len(all) / len(streams)
	for i := range each {
		change := all[i].Change
		if change == "" {
			change = "nothing changed"
		}
		fmt.Fprintf(t, "%s, %s\t", all[i].Mode, change)
		for k := range streams {
			e := &all[k*each+i]
			saved := e.SavedMean
			if e.Mode == "compute" {
				saved = e.ComputeSaved
			}
			fmt.Fprintf(t, "%.2f (%.1f), %.1f\t", 100*e.Agreement, 100*e.WindowsBelow, 100*saved)
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}
