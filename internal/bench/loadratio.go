package bench

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"motley/internal/load"
)

// ratios writes how the targets stand to the first one: the median over the
// rounds of the ratio within a round, and its range.
func (r *loadRun) ratios(w io.Writer) error {
	if len(r.plan.Targets) < 2 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	if r.Search {
		fmt.Fprintf(t, "\n÷ %s\tmodel\tallowable\t\n", r.plan.Targets[0].URL)
	} else {
		fmt.Fprintf(t, "\n÷ %s\tmodel\trate/s\tachieved\tgood\tp50\tp99\t\n", r.plan.Targets[0].URL)
	}
	measures := []func(*load.Summary) *float64{
		func(s *load.Summary) *float64 { return &s.AchievedQPS }, func(s *load.Summary) *float64 { return s.GoodputQPS },
		func(s *load.Summary) *float64 { return s.P50MS }, func(s *load.Summary) *float64 { return s.P99MS },
	}
	if r.Search {
		measures = []func(*load.Summary) *float64{func(s *load.Summary) *float64 { return s.AllowableQPS }}
	}
	for _, c := range r.cells {
		if c.target == 0 || c.round != 1 || r.Search && c.model > 0 {
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t", r.plan.Targets[c.target].URL, r.summary(c).Model)
		if !r.Search {
			fmt.Fprintf(t, "%.5g\t", c.rate)
		}
		for _, m := range measures {
			fmt.Fprintf(t, "%s\t", spread(r.paired(c, m)))
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

// paired is by round what the cell's target measured over what the first one
// did, at the same rate (in a search: at each one's own).
func (r *loadRun) paired(like *loadCell, measure func(*load.Summary) *float64) (ratios []float64) {
	for _, c := range r.cells {
		if c.target != like.target || c.model != like.model || c.rate != like.rate && !r.Search {
			continue
		}
		for _, b := range r.cells {
			if b.target != 0 || b.model != like.model || b.round != c.round || b.rate != c.rate && !r.Search {
				continue
			}
			sc, sb := r.summary(c), r.summary(b)
			if x, y := measure(&sc), measure(&sb); x != nil && y != nil && *y > 0 {
				ratios = append(ratios, *x / *y)
			}
		}
	}
	slices.Sort(ratios)
	return ratios
}

// spread is the median of sorted ratios and their range.
func spread(ratios []float64) string {
	switch n := len(ratios); n {
	case 0:
		return "–"
	case 1:
		return fmt.Sprintf("%.3f", ratios[0])
	default:
		return fmt.Sprintf("%.3f (%.3f…%.3f)", (ratios[(n-1)/2]+ratios[n/2])/2, ratios[0], ratios[n-1])
	}
}
