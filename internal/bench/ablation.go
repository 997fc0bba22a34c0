package bench

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"motley/internal/dispatch"
	"motley/internal/planner"
)

// ingredients are what the priced policy is made of, and how each is switched;
// deferral is the one that is off.
var ingredients = []struct {
	name     string
	switched dispatch.PricedOptions
}{
	{"no merging", dispatch.PricedOptions{NoMerge: true}},
	{"no splitting", dispatch.PricedOptions{NoSplit: true}},
	{"no merging or splitting", dispatch.PricedOptions{NoMerge: true, NoSplit: true}},
	{"no prices", dispatch.PricedOptions{NoPrices: true}},
	{"no shedding", dispatch.PricedOptions{NoShed: true}},
	{"no packing", dispatch.PricedOptions{NoPack: true}},
	{"no headroom", dispatch.PricedOptions{NoHeadroom: true}},
	{"with deferral", dispatch.PricedOptions{Defer: true}},
}

// whole is the policy with nothing switched off, as tables call it.
const whole = "all"

// Ablation is the command `bench suite ablation`: what each ingredient of
// Motley's policy adds.
type Ablation struct{ Suite }

// Ablated is a row of it.
type Ablated struct {
	// Change is the ingredient that was switched off, or on; empty = none.
	Change string `json:"change"`
	// On says whose mix it is: motley's or kairos's.
	On string `json:"on"`
	Record
	// Lost is the part of the allowable throughput that the change costs, 0…1;
	// negative where it gains.
	Lost float64 `json:"lost"`
}

// ablationMixes names the mixes that policies are compared on.
var ablationMixes = []string{ours, published}

// Run carries the command out.
func (c *Ablation) Run(out Output) error {
	arenas, data, err := c.arenas(laws[0])
	if err != nil {
		return err
	}
	mixes, err := mixesOf(arenas, out.Progress)
	if err != nil {
		return err
	}
	each := len(ingredients) + 1
	group := each * len(ablationMixes)
	rows := make([]Ablated, len(arenas)*group)
	err = parallel(len(rows), func(i int) (err error) {
		a, on, k := arenas[i/group], i%group/each, i%each
		rows[i], err = a.ablated(mixes[i/group][on], k-1)
		rows[i].On = ablationMixes[on]
		out.Progress.Say("%s: %s on %s's mix done (%d of %d)", a.title(), rows[i].Policy, rows[i].On, i+1, len(rows))
		return err
	})
	if err != nil {
		return err
	}
	for i := range rows {
		if full := rows[i-i%each].RateQPS; full > 0 {
			rows[i].Lost = planner.Round(1-rows[i].RateQPS/full, 4)
		}
	}
	if out.JSON {
		return writeJSON(out.Stdout, rows)
	}
	if err := c.preface(out.Stdout, data, "Allowable throughput of Motley's policy, requests/s, whole and with one ingredient switched each (what that does)"); err != nil {
		return err
	}
	return printAblation(out.Stdout, arenas, rows)
}

// ablated measures the policy with an ingredient switched, −1 = whole.
func (a *arena) ablated(on entry, change int) (Ablated, error) {
	row, v := Ablated{}, Variant{Name: "priced"}
	options := dispatch.PricedOptions{}
	if change >= 0 {
		row.Change, options = ingredients[change].name, ingredients[change].switched
		v.Name += ", " + row.Change
	}
	v.New = func(uint64) dispatch.Policy { return dispatch.NewPriced(options) }
	allowed, err := a.measure.allowable(on.counts, v, on.rate)
	if err != nil {
		return row, err
	}
	row.Record = a.measure.record(on.counts, v, allowed.At, allowed.Rate)
	row.Bounds, err = a.boundsOf(on.counts)
	return row, err
}

// mixesOf lets Motley and KAIROS choose their mixes, for each arena one of
// each, with the rate that the first carries.
func mixesOf(arenas []*arena, progress *Progress) ([][]entry, error) {
	mixes := make([][]entry, len(arenas))
	err := parallel(len(arenas), func(i int) error {
		a := arenas[i]
		motley, err := a.planned(false)
		if err != nil {
			return fmt.Errorf("%s: %w", a.title(), err)
		}
		kairos, err := a.choose.race(a.best(a.byUB, shortlist), mustVariant(published, "kairos", true, true))
		mixes[i] = []entry{motley, kairos}
		progress.Say("%s: mixes chosen", a.title())
		return err
	})
	return mixes, err
}

func printAblation(w io.Writer, arenas []*arena, rows []Ablated) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	heads := []string{"model", "mix of", "mix", whole}
	for _, k := range ingredients {
		heads = append(heads, k.name)
	}
	fmt.Fprintf(t, "\n%s\t\n", strings.Join(heads, "\t"))
	each := len(ingredients) + 1
	for i := 0; i < len(rows); i += each {
		r := &rows[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%.5g\t", r.Model, r.On, arenas[0].space.short(r.Mix), r.RateQPS)
		for _, r := range rows[i+1 : i+each] {
			fmt.Fprintf(t, "%.5g (%s)\t", r.RateQPS, percent(-r.Lost))
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}
