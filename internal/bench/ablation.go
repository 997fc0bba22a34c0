package bench

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"motley/internal/dispatch"
)

// ingredients are what the priced policy is made of, and how each is switched
// off.
var ingredients = []struct {
	name string
	off  dispatch.PricedOptions
}{
	{"merging", dispatch.PricedOptions{NoMerge: true}},
	{"prices", dispatch.PricedOptions{NoPrices: true}},
	{"shedding", dispatch.PricedOptions{NoShed: true}},
	{"deferral", dispatch.PricedOptions{NoDefer: true}},
	{"packing", dispatch.PricedOptions{NoPack: true}},
}

// whole is the policy with nothing switched off, as tables call it.
const whole = "all"

// Ablation is the command `bench suite ablation`: what each ingredient of
// Motley's policy adds.
type Ablation struct{ Suite }

// Ablated is a row of it.
type Ablated struct {
	// Without is the ingredient that was switched off; empty = none.
	Without string `json:"without"`
	// On says whose mix it is: motley's or kairos's.
	On string `json:"on"`
	Record
	// Lost is the part of the allowable throughput that the ingredient adds,
	// 0…1; negative where it does harm.
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
		out.Progress.Say("%s: without %s on %s's mix done (%d of %d)", a.title(), rows[i].Without, rows[i].On, i+1, len(rows))
		return err
	})
	if err != nil {
		return err
	}
	for i := range rows {
		if full := rows[i-i%each].RateQPS; full > 0 {
			rows[i].Lost = round(1-rows[i].RateQPS/full, 4)
		}
	}
	if out.JSON {
		return writeJSON(out.Stdout, rows)
	}
	if err := c.preface(out.Stdout, data, "Allowable throughput of Motley's policy, requests/s, whole and without one ingredient each (what is lost by that)"); err != nil {
		return err
	}
	return printAblation(out.Stdout, arenas, rows)
}

// ablated measures the policy without an ingredient, −1 = whole.
func (a *arena) ablated(on entry, without int) (Ablated, error) {
	row, v := Ablated{}, Variant{Name: "priced"}
	off := dispatch.PricedOptions{}
	if without >= 0 {
		row.Without, off = ingredients[without].name, ingredients[without].off
		v.Name += ", no " + row.Without
	}
	v.New = func(uint64) dispatch.Policy { return dispatch.NewPriced(off) }
	allowed, err := a.measure.allowable(on.counts, v, on.rate)
	row.Record = a.measure.record(on.counts, v, allowed.At, allowed.Rate)
	row.Bounds = a.boundsOf(on.counts)
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
		heads = append(heads, "no "+k.name)
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
