package profiler

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Print writes what was measured for people.
func Print(w io.Writer, results []Result) error {
	var b strings.Builder // writing to it never fails
	for i := range results {
		if i > 0 {
			b.WriteByte('\n')
		}
		results[i].print(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Result) print(b *strings.Builder) {
	t := &r.Target
	if r.Origin != Measured {
		fmt.Fprintf(b, "%s on %s: %s, not measured: %s\n", t.Model, t.Type, r.Origin, r.Source)
	} else {
		fmt.Fprintf(b, "%s on %s: measured on %s (%s)\n", t.Model, t.Type, t.Worker, t.Backend.Describe())
		fmt.Fprintf(b, "  %d runs in %s (%d of them to warm up, %d failed besides), busy %.0f %% of the time\n",
			r.Runs, r.Took.Round(time.Millisecond), r.Warm, r.Failed, 100*r.busyShare())
	}
	if len(r.Sizes) > 0 {
		r.table(b)
	}
	if r.Refused != "" {
		fmt.Fprintf(b, "  largest batch that worked: %d; %s\n", r.Largest, r.Refused)
	} else if r.Largest > 0 {
		fmt.Fprintf(b, "  largest batch that worked: %d\n", r.Largest)
	}
	if r.Ended != "" {
		fmt.Fprintf(b, "  ended: %s\n", r.Ended)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(b, "  note: %s\n", n)
	}
}

func (r *Result) table(b *strings.Builder) {
	tab := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tab, "batch\tmean ms\t95 %\tp99 ms\titems/s\truns\toutliers\tlaw\t")
	largest := false
	for _, s := range r.Sizes {
		p99 := Figure(s.P99)
		switch {
		case s.P99 == 0:
			p99 = "?"
		case r.Origin == Measured && s.Count+s.Dropped < 100:
			p99, largest = p99+"*", true
		}
		fmt.Fprintf(tab, "%d\t%s\t%s\t%s\t%.4g\t%d\t%d\t%+.1f %%\t\n", s.Batch, Figure(s.Mean), plusMinus(s), p99, s.Rate(), s.Count, s.Dropped,
			100*(r.Law.At(s.Batch)/float64(s.Mean)-1))
	}
	_ = tab.Flush() // to a strings.Builder
	if largest {
		fmt.Fprintln(b, "  * the largest: fewer than 100 runs")
	}
	fmt.Fprintf(b, "  law: %s ms + %s ms per item; worst residual %.1f %%, at %d\n", Figure(r.Law.Fixed), Figure(r.Law.PerItem), 100*r.Law.Worst, r.Law.WorstAt)
	if len(r.HeldOut) == 0 && len(r.Sizes) > 2 {
		return // nothing is known of how sure the means are
	}
	if len(r.HeldOut) == 0 {
		fmt.Fprintln(b, "  held out: nothing, for there are fewer than three sizes")
		return
	}
	held, worst := 0, r.HeldOut[0]
	for _, c := range r.HeldOut {
		if c.Holds() {
			held++
		}
		if abs(c.Error()) > abs(worst.Error()) {
			worst = c
		}
	}
	fmt.Fprintf(b, "  held out: %d of %d sizes confirm the law of the others; worst at %d: %s ms predicted, %s ms measured, off by %+.1f ± %.1f %%\n",
		held, len(r.HeldOut), worst.Batch, Figure(worst.Predicted), Figure(worst.Measured), 100*worst.Error(), 100*worst.Half())
	if !r.affine() {
		fmt.Fprintln(b, "  the affine law does not hold: trust the sizes that were measured, not what lies far from them")
	}
}

func plusMinus(s Size) string {
	if s.unknown() {
		return "?"
	}
	return fmt.Sprintf("± %.1f %%", 100*s.Relative())
}

// Figure is a latency in ms, with four digits.
func Figure(d time.Duration) string { return fmt.Sprintf("%.4g", float64(d)/1e6) }

func abs(x float64) float64 { return max(x, -x) }
