package bench

import (
	"fmt"
	"text/tabwriter"

	"motley/internal/planner"
)

// Exhaustive is the command `bench suite planner`: the mix that Motley's
// planner picks beside all that there are, each of them simulated.
type Exhaustive struct{ Suite }

// Picked is a row of it, of one model.
type Picked struct {
	Record     // of the mix that the planner picked
	Mixes  int `json:"mixes"` // simulated
	// BestMix is the one that carries most, BestQPS what, and OfBest what the
	// pick carries of that.
	BestMix string  `json:"best_mix"`
	BestQPS float64 `json:"best_qps"`
	OfBest  float64 `json:"of_best"`
}

// pickShare is how much of the best mix's the pick must carry at least.
const pickShare = 0.99

// Run carries the command out. All mixes, those without the fastest type too,
// are raced on the seeds that are measured on; the planner picked on others.
func (c *Exhaustive) Run(out Output) error {
	arenas, data, err := c.arenas(laws[0])
	if err != nil {
		return err
	}
	rows := make([]Picked, len(arenas))
	err = parallel(len(arenas), func(i int) (err error) {
		rows[i], err = arenas[i].picked()
		out.Progress.Say("%s: the pick carries %.4f of the best", arenas[i].title(), rows[i].OfBest)
		return err
	})
	if err != nil {
		return err
	}
	if out.JSON {
		err = writeJSON(out.Stdout, rows)
	} else if err = c.preface(out.Stdout, data, "The planner's pick beside every mix that can be afforded, those without the fastest type too, requests/s"); err == nil {
		t := tabwriter.NewWriter(out.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(t, "\nmodel\tpick\trate/s\tof\tbest\trate/s\tpick ÷ best\t")
		for _, r := range rows {
			fmt.Fprintf(t, "%s\t%s\t%.5g\t%d\t%s\t%.5g\t%.4f\t\n", r.Model, r.Mix, r.RateQPS, r.Mixes, r.BestMix, r.BestQPS, r.OfBest)
		}
		err = t.Flush()
	}
	for _, r := range rows {
		if err == nil && r.OfBest < pickShare {
			err = fmt.Errorf("%s: the pick carries %.4f of what the best mix does: %w", r.Model, r.OfBest, ErrOff)
		}
	}
	return err
}

func (a *arena) picked() (Picked, error) {
	e, err := a.planned(false)
	if err != nil {
		return Picked{}, err
	}
	own, err := a.measure.allowable(e.counts, e.v, e.rate)
	if err != nil {
		return Picked{}, err
	}
	r := Picked{Record: a.measure.record(e.counts, e.v, own.At, own.Rate)}
	if r.Bounds, err = a.boundsOf(e.counts); err != nil {
		return r, err
	}
	all := space{types: a.space.types, most: a.space.most, budget: a.space.budget}
	best, bestRate := e.counts, own.Rate
	for _, counts := range all.mixes(false) {
		r.Mixes++
		other := entry{counts: counts, v: e.v}
		s := a.measure
		// One seed tells which cannot be better; noise is well under a tenth.
		if ok, err := s.with(s.Requests, s.Seeds[:1]).carries(other, 0.97*bestRate); err != nil || !ok {
			if err != nil {
				return r, err
			}
			continue
		}
		better, err := s.beats(&other, bestRate)
		if err != nil {
			return r, err
		}
		if better {
			best, bestRate = counts, other.rate
		}
	}
	r.BestMix, r.BestQPS = mixText(a.space.types, best), planner.Round(bestRate, 4)
	if bestRate > 0 {
		r.OfBest = planner.Round(own.Rate/bestRate, 4)
	}
	return r, nil
}

// carries reports whether the entry carries the rate.
func (s *Setup) carries(e entry, rate float64) (bool, error) {
	r, err := s.runner(e.counts, e.v)
	if err != nil || rate == 0 {
		return err == nil, err
	}
	return r.Holds(rate)
}
