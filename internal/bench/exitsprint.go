package bench

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"motley/internal/earlyexit/baseline"
)

// preface says what is replayed.
func (t *trial) preface(w io.Writer) {
	s := t.stream
	fmt.Fprintf(w, "%s: %d rows, %d ramps after %s of a run, which add %s of one each; target %g %%\n", s.Name, len(s.Rows), s.Ramps,
		percents(s.Depth), percents(s.RampCost), 100*t.config.Target)
	if t.given != 0 {
		fmt.Fprintf(w, "they are %s of the file's\n", setText(t.given))
	} else {
		fmt.Fprintf(w, "ramps within %g %% of a run, by each controller's choice; evenly spaced it is %s\n", 100*t.config.Budget,
			setText(baseline.Evenly(&t.config.Cost, t.config.Budget)))
	}
	if t.calibration == nil {
		fmt.Fprintf(w, "for want of -calibration, static is tuned on the first %g %% of the stream and the others begin with nothing\n", 100*firstShare)
	}
}

func percents(shares []float64) string {
	texts := make([]string, 0, len(shares))
	for i, v := range shares {
		if i == len(shares)-1 && len(texts) == 1 && shares[0] == v {
			break // all are the same
		}
		if i == 0 || shares[i-1] != v {
			texts = append(texts, fmt.Sprintf("%.3g", 100*v))
		}
	}
	return strings.Join(texts, ", ") + " %"
}

// printExited prints a table of all, then the segments.
func printExited(w io.Writer, all []Exited) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\nin %%:\tcontroller\tmode\tbatch\tagreement\tfrom\tto\tworst %d\tbelow\tmean saved\tmedian\tp95\tcompute\taudits\tof exits\toverhead p95\tworst\trecover\t\n", all[0].Window)
	for _, e := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t%.2f\t%.2f\t%d\t\n", e.Change, e.Controller, e.Mode, e.Batch,
			100*e.Agreement, 100*e.Low95, 100*e.High95, 100*e.WorstWindow, 100*e.WindowsBelow, 100*e.SavedMean, 100*e.SavedMedian, 100*e.SavedP95,
			100*e.ComputeSaved, 100*e.AuditShare, 100*e.AuditOfExits, 100*e.P95Overhead, 100*e.WorstOverhead, e.Recover)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "\nagreement, mean saved in %, rows to recover:\tcontroller\tmode\tbatch\t")
	for _, g := range all[0].Segments {
		fmt.Fprintf(t, "%s (%d)\t", g.Segment, g.Rows)
	}
	fmt.Fprintln(t)
	for _, e := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t", e.Change, e.Controller, e.Mode, e.Batch)
		for _, g := range e.Segments {
			fmt.Fprintf(t, "%.2f, %.1f, %d\t", 100*g.Agreement, 100*g.SavedMean, g.Recover)
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}
