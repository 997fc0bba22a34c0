package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"motley/internal/load"
)

// report writes the outcome, and is an error when the target was not up to
// it: nothing was answered, or something was answered wrongly.
func (r *loadRun) report() error {
	cells := r.merged()
	if r.Search {
		cells = r.cells // rounds find different rates
	}
	if r.out.JSON {
		var rows []load.Summary
		for _, c := range cells {
			rows = append(rows, r.summary(c))
		}
		if r.Rounds > 1 && !r.Search {
			for _, c := range r.cells {
				rows = append(rows, r.summary(c))
			}
		}
		if err := writeJSON(r.out.Stdout, rows); err != nil {
			return err
		}
	} else if err := r.print(r.out.Stdout, cells); err != nil {
		return err
	}
	answered, wrong := 0, 0
	for _, c := range cells {
		if c.model >= 0 {
			answered += c.tally.By[load.OK]
			wrong += c.tally.By[load.Wrong] + c.tally.By[load.Garbled]
		}
	}
	switch {
	case answered == 0:
		return fmt.Errorf("nothing was answered as it was asked for")
	case wrong > 0:
		return fmt.Errorf("%d answers were wrong", wrong)
	}
	return nil
}

func (r *loadRun) summary(c *loadCell) load.Summary {
	s := c.tally.Summary()
	s.Target, s.Model, s.Round, s.RateQPS = r.plan.Targets[c.target].URL, strings.Join(r.Models, ","), c.round, c.rate
	if c.model >= 0 {
		s.Model = r.Models[c.model]
	}
	if c.allowable > 0 {
		s.AllowableQPS = &c.allowable
	}
	return s
}

// print writes the tables for people.
func (r *loadRun) print(w io.Writer, cells []*loadCell) error {
	amount := fmt.Sprint(r.Duration)
	if r.Requests > 0 {
		amount = fmt.Sprintf("%d requests", r.Requests)
	}
	fmt.Fprintf(w, "open loop: arrivals %s, sizes %s, %s after %v of warm-up, %d rounds, timeout %v, %d connections, %d threads, seed %d\n",
		r.Arrivals, r.sizesText(), amount, r.Warmup, r.Rounds, r.Timeout, r.Connections, r.Threads, r.Seed)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "target\tmodel\trate/s\toffered\tachieved\t")
	if r.QoS > 0 {
		fmt.Fprint(t, "good\tin QoS\t")
	}
	fmt.Fprintln(t, "mean ms\tp50\tp90\tp95\tp99\tp99.9\tp99.99\tmax\t")
	for _, c := range cells {
		s := r.summary(c)
		fmt.Fprintf(t, "%s\t%s\t%.5g\t%.5g\t%.5g\t", s.Target, s.Model, s.RateQPS, s.OfferedQPS, s.AchievedQPS)
		if r.QoS > 0 {
			fmt.Fprintf(t, "%s\t%s\t", number(s.GoodputQPS, 1, 5), share(s.QoSOK))
		}
		for _, v := range []*float64{s.MeanMS, s.P50MS, s.P90MS, s.P95MS, s.P99MS, s.P999MS, s.P9999MS, s.MaxMS} {
			fmt.Fprintf(t, "%s\t", number(v, 1, 4))
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "target\tmodel\trate/s\tscheduled\tsent\tok\tfailed\trows/s\town p50 µs\tp99\tmax\twaited\tp99 ms\taccuracy\t")
	for _, c := range cells {
		s := r.summary(c)
		fmt.Fprintf(t, "%s\t%s\t%.5g\t%d\t%d\t%d\t%d\t%.5g\t%s\t%s\t%s\t%d\t%s\t%s\t\n", s.Target, s.Model, s.RateQPS,
			s.Scheduled, s.Sent, s.OK, s.Scheduled-s.OK, s.RowsPerS,
			number(s.OwnP50MS, 1000, 3), number(s.OwnP99MS, 1000, 3), number(s.OwnMaxMS, 1000, 4), s.Waited, number(s.WaitP99, 1, 4), share(s.Accuracy))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, c := range cells {
		s := r.summary(c)
		where := fmt.Sprintf("%s, %s, %.5g/s", s.Target, s.Model, s.RateQPS)
		if s.AllowableQPS != nil {
			fmt.Fprintf(w, "%s, %s: allowable throughput %.5g/s: %g %% within %v\n", s.Target, s.Model, *s.AllowableQPS, r.Percentile, r.QoS)
		} else if r.Search {
			fmt.Fprintf(w, "%s, %s: no rate was within %v for %g %%\n", s.Target, s.Model, r.QoS, r.Percentile)
		}
		if text := countsText(s.Errors); text != "" {
			fmt.Fprintf(w, "%s: failed by %s\n", where, text)
		}
		if text := countsText(s.Statuses); text != "" {
			fmt.Fprintf(w, "%s: statuses %s\n", where, text)
		}
		if text := countsText(s.Exits); text != "" {
			fmt.Fprintf(w, "%s: answers by exit %s\n", where, text)
		}
	}
	return r.ratios(w)
}

func (r *loadRun) sizesText() string {
	if len(r.Bodies) > 0 {
		return "of the files"
	}
	return r.plan.Sizes.String()
}

func number(v *float64, scale float64, digits int) string {
	if v == nil {
		return "–"
	}
	return fmt.Sprintf("%.*g", digits, *v*scale)
}

func share(v *float64) string {
	if v == nil {
		return "–"
	}
	return fmt.Sprintf("%.2f %%", 100**v)
}

// countsText is "busy 3, reset 1", without what did not occur.
func countsText(counts map[string]int) string {
	var keys []string
	for k, n := range counts {
		if n > 0 {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for i, k := range keys {
		keys[i] = fmt.Sprintf("%s %d", k, counts[k])
	}
	return strings.Join(keys, ", ")
}
