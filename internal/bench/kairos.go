package bench

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"motley/internal/planner"
)

// Kairos is the command `bench suite kairos`.
type Kairos struct {
	Suite
	Plot string // an SVG or PNG file to draw; empty = none
}

// Standing is a row of the suite: a contender with the mix that suits it best.
type Standing struct {
	Contender string `json:"contender"`
	Record
	// OverKairos is the allowable throughput over that of KAIROS.
	OverKairos float64 `json:"over_kairos"`
	// HighestBatching is the highest batching bound of any mix of the space, in
	// requests/s, and OfHighest the allowable throughput over it.
	HighestBatching float64 `json:"highest_batching_qps"`
	OfHighest       float64 `json:"of_highest_batching"`
	// Reference is an earlier figure to compare AllowableQPS with (see
	// docs/results.md), and Deviation how far that is off, relative to it.
	Reference *float64 `json:"reference_qps"`
	Deviation *float64 `json:"deviation"`
}

// laws are the two arrival laws of the suite: a Poisson process, and what
// KAIROS's own programs draw.
var laws = []string{"exponential", "poisson-ms"}

// Run carries the command out.
func (c *Kairos) Run(out Output) error {
	if c.Plot != "" {
		if err := checkPlot(c.Plot); err != nil {
			return err
		}
	}
	arenas, data, err := c.arenas(laws...)
	if err != nil {
		return err
	}
	rows, err := standings(arenas, out.Progress)
	if err != nil {
		return err
	}
	if c.Plot != "" {
		if err := plotStandings(c.Plot, rows, len(rows)/len(arenas)); err != nil {
			return fmt.Errorf("cannot plot: %w", err)
		}
	}
	if out.JSON {
		return writeJSON(out.Stdout, rows)
	}
	return c.print(out.Stdout, data, arenas, rows)
}

// standings are the rows of all arenas.
func standings(arenas []*arena, progress *Progress) ([]Standing, error) {
	field := contenders()
	rows := make([]Standing, len(arenas)*len(field))
	err := parallel(len(rows), func(i int) error {
		a, k := arenas[i/len(field)], field[i%len(field)]
		r, err := a.stand(k)
		if err != nil {
			return fmt.Errorf("%s of %s: %w", k.name, a.title(), err)
		}
		rows[i] = r
		progress.Say("%s: %s carries %.5g/s (%d of %d)", a.title(), k.name, r.RateQPS, i+1, len(rows))
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range arenas {
		compare(rows[i*len(field) : (i+1)*len(field)])
	}
	return rows, nil
}

func (c *Kairos) print(w io.Writer, data *Data, arenas []*arena, rows []Standing) error {
	if err := c.preface(w, data, "Allowable throughput, requests/s, of the best mix of each contender"); err != nil {
		return err
	}
	each := len(rows) / len(arenas)
	for i, a := range arenas {
		if err := a.print(w, rows[i*each:(i+1)*each]); err != nil {
			return err
		}
	}
	return printRatios(w, rows)
}

// preface says what a suite ran on.
func (s *Suite) preface(w io.Writer, data *Data, what string) error {
	k := s.scale()
	_, err := fmt.Fprintf(w, "%s.\nLatencies: %s. Mixes up to %v USD/h of g4dn.xlarge, c5n.2xlarge, r5n.large, t3.xlarge. 99 %% within QoS, %d requests × %d seeds;\nchosen by %d requests × %d other seeds.\n",
		what, data.Source, kairosBudget, k.requests, k.seeds, k.chooseRequests, k.chooseSeeds)
	return err
}

// stand lets a contender choose and measures what it chose.
func (a *arena) stand(k contender) (Standing, error) {
	entries, err := k.pick(a)
	if err != nil {
		return Standing{}, err
	}
	row := Standing{Contender: k.name}
	for i, e := range entries {
		allowed, err := a.measure.allowable(e.counts, e.v, e.rate)
		if err != nil {
			return Standing{}, err
		}
		if i > 0 && allowed.Rate <= row.RateQPS {
			continue
		}
		row.Record = a.measure.record(e.counts, e.v, allowed.At, allowed.Rate)
		if row.Bounds, err = a.boundsOf(e.counts); err != nil {
			return Standing{}, err
		}
	}
	row.HighestBatching = a.highest()
	row.OfHighest = planner.Round(row.RateQPS/row.HighestBatching, 4)
	if ref := referenceOf(k.name, row.Arrivals, row.Model); ref > 0 {
		off := planner.Round(row.RateQPS/ref-1, 4)
		row.Reference, row.Deviation = &ref, &off
	}
	return row, nil
}

// boundsOf are the bounds of a mix, of the space or not.
func (a *arena) boundsOf(counts []int) (*planner.Bounds, error) {
	for i := range a.mixes {
		if sameMix(a.mixes[i], counts) {
			return &a.bounds[i], nil
		}
	}
	return a.measure.bounds(counts)
}

// compare fills in the ratios to KAIROS of one arena's rows.
func compare(rows []Standing) {
	for _, r := range rows {
		if r.Contender != published || r.RateQPS == 0 {
			continue
		}
		for i := range rows {
			rows[i].OverKairos = planner.Round(rows[i].RateQPS/r.RateQPS, 4)
		}
	}
}

func (a *arena) print(w io.Writer, rows []Standing) error {
	s := a.measure
	fmt.Fprintf(w, "\n%s, %v, arrivals %s; highest batching bound %.5g\n", s.Model.Name, s.Model.QoS, s.Arrivals, a.highest())
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "contender\tmix\tUSD/h\trate/s\t÷ kairos\t÷ highest\treference\tdeviation\tp99 ms\tUB\tLP\tLP-shed\tbatching\t")
	for _, r := range rows {
		ref, off := "-", "-"
		if r.Reference != nil {
			ref, off = fmt.Sprintf("%.5g", *r.Reference), percent(*r.Deviation)
		}
		bounds := "-\t-\t-\t-"
		if b := r.Bounds; b != nil {
			bounds = fmt.Sprintf("%.5g\t%.5g\t%.5g\t%.5g", b.Kairos, b.LP, b.Shed, b.Batching)
		}
		fmt.Fprintf(t, "%s\t%s\t%.3f\t%.5g\t%.3f\t%.3f\t%s\t%s\t%.4g\t%s\t\n", r.Contender, a.space.short(r.Mix), r.CostUSDH,
			r.RateQPS, r.OverKairos, r.OfHighest, ref, off, r.P99MS, bounds)
	}
	return t.Flush()
}

func percent(share float64) string {
	if math.Abs(share) < 5e-4 {
		share = 0
	}
	return fmt.Sprintf("%+.1f %%", 100*share)
}

// printRatios sums up what the suite is for.
func printRatios(w io.Writer, rows []Standing) error {
	fmt.Fprintln(w, "\nIn short")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "model\tarrivals\tmotley ÷ kairos\tno merging ÷ kairos\tmotley ÷ highest batching bound\t")
	var alone float64
	for _, r := range rows {
		switch r.Contender {
		case unmerged:
			alone = r.OverKairos
		case ours:
			fmt.Fprintf(t, "%s\t%s\t%.3f\t%.3f\t%.3f\t\n", r.Model, r.Arrivals, r.OverKairos, alone, r.OfHighest)
		}
	}
	return t.Flush()
}

// short writes the counts of a mix of the space as "(4,0,2,0)".
func (s *space) short(mix string) string {
	m, err := ParseMix(mix)
	if err != nil {
		return mix
	}
	counts := make([]string, len(s.types))
	for i, t := range s.types {
		counts[i] = "0"
		if k := slices.Index(m.Types, t.Name); k >= 0 {
			counts[i] = strconv.Itoa(m.Counts[k])
		}
	}
	return "(" + strings.Join(counts, ",") + ")"
}
