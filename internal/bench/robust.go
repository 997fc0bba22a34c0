package bench

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"

	"motley/internal/planner"
)

// Robust is the command `bench suite robust`: what is left of Motley's
// advantage when things go otherwise than planned.
//
// Each disturbance is laid upon two mixes, Motley's and KAIROS's, and upon
// every policy alike: the same requests, the same machines, the same part of
// the run. The measure is always the allowable throughput, the highest mean
// rate at which 99 % of all requests of the disturbed run are within QoS, so
// that a policy can neither gain by being tried at a rate that suits it nor by
// sacrificing more than the rest. The advantage over a policy is the ratio of
// the two, and what is kept of it the ratio of that to the undisturbed one.
// Both are given on the same mix and, as the advantage is meant where systems
// are compared, between Motley's mix and that of the two which suits the other
// policy best undisturbed.
type Robust struct{ Suite }

// Endured is one policy under one disturbance on one mix.
type Endured struct {
	Disturbance string `json:"disturbance"`
	On          string `json:"on"` // whose mix: motley's, kairos's, or one of the space
	Record
	// Advantage is what Motley's policy carries there over what this one does;
	// null where this one carries nothing, or no throughput was searched for.
	Advantage *float64 `json:"advantage"`
	// Kept is the advantage over the undisturbed one.
	Kept *float64 `json:"kept"`
	// AdvantageOwn and KeptOwn are the same where each has its own mix: given on
	// Motley's.
	AdvantageOwn *float64 `json:"advantage_own"`
	KeptOwn      *float64 `json:"kept_own"`
	// Behind is, where shares within QoS are compared at one rate, by how much
	// Motley's is lower than this one's, in points; negative where it is higher.
	Behind *float64 `json:"behind_points"`
}

// robustSeeds is how many of the seeds are run: there is a lot to run.
const robustSeeds = 2

// keep is the least part of its advantage that Motley's policy must keep.
const keep = 0.95

// rivals are the policies that are disturbed, ours first.
func rivals() []Variant {
	return []Variant{
		motley(false), mustVariant("kairos", "kairos", true, true),
		mustVariant("clockwork", "clockwork", false, false), mustVariant("least-load", "least-load", false, false),
	}
}

// Run carries the command out.
func (c *Robust) Run(out Output) error {
	troubles, err := c.troubles()
	if err != nil {
		return err
	}
	arenas, data, err := c.arenas(laws[0])
	if err != nil {
		return err
	}
	mixes, err := mixesOf(arenas, out.Progress)
	if err != nil {
		return err
	}
	policies := rivals()
	each := len(policies)
	places := len(arenas) * len(ablationMixes)
	rows := make([]Endured, places*len(troubles)*each)
	// A job is a policy on a mix through all disturbances: the undisturbed rate
	// is where the others' searches begin.
	err = parallel(places*each, func(i int) error {
		place, k := i/each, i%each
		a, on := arenas[place/len(ablationMixes)], place%len(ablationMixes)
		if own := mixes[place/len(ablationMixes)]; on > 0 && sameMix(own[on].counts, own[0].counts) {
			return nil // as before
		}
		near := 0.0
		for j, t := range troubles {
			r, err := a.endured(mixes[place/len(ablationMixes)][on].counts, policies[k], t, near)
			if err != nil {
				return fmt.Errorf("%s of %s: %w", policies[k].Name, a.title(), err)
			}
			near = max(near, r.RateQPS)
			r.On = ablationMixes[on]
			rows[(place*len(troubles)+j)*each+k] = r
		}
		out.Progress.Say("%s: %s on %s's mix done (%d of %d)", a.title(), policies[k].Name, ablationMixes[on], i+1, places*each)
		return nil
	})
	if err != nil {
		return err
	}
	for i := range rows {
		if group := len(troubles) * each; rows[i].Policy == "" {
			rows[i] = rows[i-group]
			rows[i].On = ablationMixes[1]
		}
	}
	advantages(rows, len(troubles), each)
	ownAdvantages(rows, len(troubles), each)
	rates, err := c.compareRates(arenas, mixes, out.Progress)
	if err != nil {
		return err
	}
	if out.JSON {
		return writeJSON(out.Stdout, append(rows, rates...))
	}
	if err := c.preface(out.Stdout, data, "Allowable throughput under disturbances, requests/s, of the policies on the same mixes"); err != nil {
		return err
	}
	if c.Dir == "" {
		fmt.Fprintln(out.Stdout, "NOT RUN, for want of -data: measured speeds of machines, bursts of minute counts.")
	}
	if err := printRobust(out.Stdout, arenas[0], rows, each); err != nil {
		return err
	}
	return printBehind(out.Stdout, rates)
}

func (a *arena) endured(counts []int, v Variant, t trouble, near float64) (Endured, error) {
	set := a.measure.with(a.measure.Requests, a.measure.Seeds[:min(robustSeeds, len(a.measure.Seeds))])
	s, err := set.under(t, counts)
	if err != nil {
		return Endured{}, err
	}
	allowed, err := s.allowable(counts, v, near)
	r := Endured{Disturbance: t.name, Record: s.record(counts, v, allowed.At, allowed.Rate)}
	if err == nil {
		r.Bounds, err = a.boundsOf(counts)
	}
	return r, err
}

// advantages compares the rows of each mix and disturbance, each of them, of
// which the first is ours; the first disturbance of a mix is none.
func advantages(rows []Endured, troubles, each int) {
	for i := range rows {
		r := &rows[i]
		if r.RateQPS == 0 {
			continue
		}
		advantage := planner.Round(rows[i-i%each].RateQPS/r.RateQPS, 4)
		r.Advantage = &advantage
		if calm := rows[i-i%(troubles*each)+i%each].Advantage; calm != nil && *calm > 0 {
			kept := planner.Round(advantage / *calm, 4)
			r.Kept = &kept
		}
	}
}

// ownAdvantages compares ours on Motley's mix with each other policy on the mix
// on which it carries more undisturbed.
func ownAdvantages(rows []Endured, troubles, each int) {
	place := troubles * each
	for from := 0; from < len(rows); from += place * len(ablationMixes) {
		for k := range each {
			best := from
			if k > 0 && rows[from+place+k].RateQPS > rows[from+k].RateQPS {
				best += place
			}
			for j := range troubles {
				own, other, r := &rows[from+j*each], &rows[best+j*each+k], &rows[from+j*each+k]
				if other.RateQPS == 0 {
					continue
				}
				advantage := planner.Round(own.RateQPS/other.RateQPS, 4)
				r.AdvantageOwn = &advantage
				if calm := rows[from+k].AdvantageOwn; calm != nil && *calm > 0 {
					kept := planner.Round(advantage / *calm, 4)
					r.KeptOwn = &kept
				}
			}
		}
	}
}

func printRobust(w io.Writer, a *arena, rows []Endured, each int) error {
	err := printAdvantages(w, a, rows, each, "On the same mix", func(r *Endured) (advantage, kept *float64) { return r.Advantage, r.Kept })
	if err != nil {
		return err
	}
	var own []Endured
	for _, r := range rows {
		if r.On == ours {
			own = append(own, r)
		}
	}
	return printAdvantages(w, a, own, each, "Motley's policy on its own mix, the others' on that of the two which suits them best undisturbed (rates: on Motley's)",
		func(r *Endured) (advantage, kept *float64) { return r.AdvantageOwn, r.KeptOwn })
}

func printAdvantages(w io.Writer, a *arena, rows []Endured, each int, title string, of func(*Endured) (advantage, kept *float64)) error {
	fmt.Fprintf(w, "\n%s\n", title)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "model\tmix of\tmix\tdisturbance\t")
	for _, r := range rows[:each] {
		fmt.Fprintf(t, "%s\t", r.Policy)
	}
	for _, r := range rows[1:each] {
		fmt.Fprintf(t, "÷ %s (kept)\t", r.Policy)
	}
	fmt.Fprintln(t)
	worst, least := make([]*Endured, each), make([]float64, each)
	for i := 0; i < len(rows); i += each {
		group := rows[i : i+each]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t", group[0].Model, group[0].On, a.space.short(group[0].Mix), group[0].Disturbance)
		for _, r := range group {
			fmt.Fprintf(t, "%.5g\t", r.RateQPS)
		}
		for k := 1; k < each; k++ {
			advantage, kept := of(&group[k])
			fmt.Fprintf(t, "%s (%s)\t", ratio(advantage), ratio(kept))
			if kept != nil && (worst[k] == nil || *kept < least[k]) {
				worst[k], least[k] = &group[k], *kept
			}
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for k, r := range worst {
		if r == nil {
			continue
		}
		verdict := "holds"
		if least[k] < keep {
			verdict = "does NOT hold"
		}
		fmt.Fprintf(w, "over %s the least that is kept is %.3f of the advantage (%s, %s's mix, %s): at least %g %s\n",
			r.Policy, least[k], r.Model, r.On, r.Disturbance, keep, verdict)
	}
	return nil
}

func ratio(v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%.3f", *v)
}

// The rates at which Motley's policy is compared with least-load, relative to
// what it carries on the mix, and how many further mixes of the space there are.
var comparedRates = []float64{0.3, 0.6, 0.8, 0.9, 1, 1.1, 1.3, 1.6}

const furtherMixes = 4

// compareRates compares shares within QoS at rates far below and above what
// the mixes carry. Rows come in pairs: ours, then least-load's.
func (c *Robust) compareRates(arenas []*arena, mixes [][]entry, progress *Progress) ([]Endured, error) {
	policies := rivals()
	pair := []Variant{policies[0], policies[len(policies)-1]}
	per := len(ablationMixes) + 1 + furtherMixes
	groups := make([][]Endured, len(arenas)*per)
	err := parallel(len(groups), func(i int) error {
		a := arenas[i/per]
		counts, on := a.compared(mixes[i/per], i%per)
		s := a.measure.with(a.measure.Requests, a.measure.Seeds[:1])
		near, err := s.allowable(counts, pair[0], 0)
		if err != nil {
			return err
		}
		base := near.Rate
		if base == 0 {
			base = a.bounds[a.byBatch[0]].Batching / 10 // whatever: nothing holds there
		}
		for _, share := range comparedRates {
			var rows [2]Endured
			for k, v := range pair {
				m, err := s.measured(counts, v, base*share)
				if err != nil {
					return err
				}
				rows[k] = Endured{Disturbance: calm, On: on, Record: m}
				if rows[k].Bounds, err = a.boundsOf(counts); err != nil {
					return err
				}
			}
			behind := planner.Round(100*(rows[1].QoSOK-rows[0].QoSOK), 4)
			rows[1].Behind = &behind
			groups[i] = append(groups[i], rows[0], rows[1])
		}
		progress.Say("%s: compared with least-load on %s", a.title(), mixText(s.Types, counts))
		return nil
	})
	var rows []Endured
	for _, g := range groups {
		rows = append(rows, g...)
	}
	return rows, err
}

// compared is the i-th mix that policies are compared on, and whose it is.
func (a *arena) compared(chosen []entry, i int) ([]int, string) {
	if i < len(chosen) {
		return chosen[i].counts, ablationMixes[i]
	}
	if i == len(chosen) {
		return a.space.homogeneous(0), homogeneous
	}
	k := i - len(chosen) - 1
	return a.mixes[(2*k+1)*len(a.mixes)/(2*furtherMixes)], "the space"
}

func printBehind(w io.Writer, rows []Endured) error {
	worst, count := -math.MaxFloat64, 0
	at := 0
	for i, r := range rows {
		if r.Behind == nil {
			continue
		}
		count++
		if *r.Behind > worst {
			worst, at = *r.Behind, i
		}
	}
	if count == 0 {
		return nil
	}
	ll, own := &rows[at], &rows[at-1]
	_, err := fmt.Fprintf(w, "beside least-load, at %d combinations of model, mix and rate: the worst is %s on %s at %.5g/s, %.2f %% within QoS, least-load %.2f %% (%+.2f points)\n",
		count, own.Model, own.Mix, own.RateQPS, 100*own.QoSOK, 100*ll.QoSOK, -worst)
	return err
}
