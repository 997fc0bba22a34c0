package bench

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"
	"time"

	"motley/internal/planner"
	"motley/internal/pool"
	"motley/internal/sim"
	"motley/internal/workload"
)

// Gap is the command `bench suite gap`: where what is missing to the batching
// bound goes, on the mix that Motley's planner picks.
//
// There are two views. The account is exact: it adds up, from every execution
// of the runs at the allowable throughput, the capacity that stood idle and
// that went into batches which cost more per item than the best, in points of
// the bound. The oracle runs change one thing each, which takes one reason for
// loss away, and find the allowable throughput anew; what they gain does not
// add up, since the reasons act together.
type Gap struct{ Suite }

// Loss is a row of it, of one model.
type Loss struct {
	// Oracle is what was changed; empty = nothing.
	Oracle string `json:"oracle"`
	Record
	// OfBound is the allowable throughput over the mix's batching bound, and
	// Gained how many points of the bound the oracle adds to it, 0…1.
	OfBound float64 `json:"of_bound"`
	Gained  float64 `json:"gained"`
	// HighestBatching is the highest batching bound of any mix of the space.
	HighestBatching float64  `json:"highest_batching_qps"`
	Account         *Account `json:"account"` // null for oracle runs
}

// Account says where the capacity of a mix went, each as a share of its
// batching bound: OfBound = 1 − Idle − SmallBatches − Draws + Shed.
type Account struct {
	Idle         float64   `json:"idle"`
	IdleByType   []float64 `json:"idle_by_type"`  // of each type's own capacity
	SmallBatches float64   `json:"small_batches"` // batches that cost more per item, in the mean, than the best within QoS
	// Draws is how much longer executions took than the mean of their size.
	Draws float64 `json:"draws"`
	// Shed is what was offered but not executed, of items: the share that may
	// miss its QoS takes no capacity.
	Shed float64 `json:"shed"`
}

// oracle is one change of the experiment.
type oracle struct {
	name string
	// put changes the set-up, which is the caller's own copy, and the mix, and
	// returns by how much the rate of the same work is higher.
	put func(s *Setup, counts []int) (per float64, err error)
}

// The oracle runs.
const (
	smallItems = 50 // the size of the small requests
	pools      = 4  // by how much the large pool is larger
)

var oracles = []oracle{
	{"times known exactly", func(s *Setup, _ []int) (float64, error) { return 1, s.known() }},
	{"even gaps", func(s *Setup, _ []int) (float64, error) { return 1, s.even() }},
	{fmt.Sprintf("requests of %d items", smallItems), func(s *Setup, _ []int) (float64, error) { return s.small() }},
	{"twice the QoS, same batches", func(s *Setup, _ []int) (float64, error) { return 1, s.patient() }},
	{fmt.Sprintf("pool × %d", pools), func(_ *Setup, counts []int) (float64, error) {
		for t := range counts {
			counts[t] *= pools
		}
		return pools, nil
	}},
	{"known, even, patient, small", func(s *Setup, _ []int) (float64, error) {
		if err := s.patient(); err != nil {
			return 0, err
		}
		if err := s.known(); err != nil {
			return 0, err
		}
		if err := s.even(); err != nil {
			return 0, err
		}
		return s.small()
	}},
}

// known makes every execution take the mean of its size, as the profile says.
func (s *Setup) known() error {
	truth, points := make([]*sim.Truth, len(s.Types)), make([][]pool.Point, len(s.Types))
	for t, typ := range s.Types {
		var rows []pool.Row
		for _, p := range s.points[t] {
			rows = append(rows, pool.Row{Model: s.Model.Name, InstanceType: typ.Name, Point: pool.Point{Batch: p.Batch, Mean: p.Mean, P99: p.Mean}})
		}
		var err error
		if truth[t], err = sim.TruthFromRows(rows, s.Model.Name, typ.Name); err != nil {
			return err
		}
		points[t] = truth[t].Points()
	}
	s.Truth, s.points = truth, points
	return nil
}

func (s *Setup) even() (err error) {
	s.Arrivals, err = workload.ParseArrivals("constant", nil)
	return err
}

// small cuts the same work into many small requests of one size.
func (s *Setup) small() (per float64, err error) {
	per = s.Sizes.Histogram().Mean() / smallItems
	s.Sizes, err = workload.ParseSizes(fmt.Sprintf("fixed:%d", smallItems), nil)
	s.Requests, s.Seeds = int(float64(s.Requests)*per), s.Seeds[:1]
	return per, err
}

// patient doubles the QoS target, and keeps batches as large as they may be
// without that: so that the bound stays.
func (s *Setup) patient() error {
	s.maxBatch = make([]int, len(s.Types))
	for t, truth := range s.Truth {
		for _, p := range truth.Points() {
			if p.Mean <= s.Model.QoS {
				s.maxBatch[t] = max(s.maxBatch[t], p.Batch)
			}
		}
	}
	s.Model.QoS *= 2
	return nil
}

// Run carries the command out.
func (c *Gap) Run(out Output) error {
	arenas, data, err := c.arenas(laws[0])
	if err != nil {
		return err
	}
	mixes, err := mixesOf(arenas, out.Progress)
	if err != nil {
		return err
	}
	each := len(oracles) + 1
	rows := make([]Loss, len(arenas)*each)
	err = parallel(len(rows), func(i int) error {
		a, e, k := arenas[i/each], mixes[i/each][0], i%each
		var err error
		if k == 0 {
			rows[i], err = a.account(e)
		} else {
			rows[i], err = a.foresee(e, oracles[k-1])
		}
		rows[i].HighestBatching = a.highest()
		out.Progress.Say("%s: %d of %d runs done", a.title(), i+1, len(rows))
		return err
	})
	if err != nil {
		return err
	}
	for i := range rows {
		rows[i].Gained = planner.Round(rows[i].OfBound-rows[i-i%each].OfBound, 4)
	}
	if out.JSON {
		return writeJSON(out.Stdout, rows)
	}
	if err := c.preface(out.Stdout, data, "Where what is missing to the batching bound goes, in % of the bound of Motley's mix"); err != nil {
		return err
	}
	return printGap(out.Stdout, arenas[0], rows)
}

// foresee measures under an oracle.
func (a *arena) foresee(e entry, o oracle) (Loss, error) {
	s, counts := *a.measure, append([]int(nil), e.counts...)
	per, err := o.put(&s, counts)
	if err != nil {
		return Loss{}, fmt.Errorf("%s: %w", o.name, err)
	}
	allowed, err := s.allowable(counts, e.v, e.rate*per)
	if err != nil {
		return Loss{}, err
	}
	bound, err := a.boundsOf(e.counts)
	if err != nil {
		return Loss{}, err
	}
	l := Loss{Oracle: o.name, Record: s.record(counts, e.v, allowed.At, allowed.Rate)}
	l.Bounds = bound
	l.OfBound = planner.Round(allowed.Rate/per/bound.Batching, 4)
	return l, nil
}

// account measures and adds up.
func (a *arena) account(e entry) (Loss, error) {
	s := *a.measure
	allowed, err := s.allowable(e.counts, e.v, e.rate)
	if err != nil || allowed.Rate == 0 {
		return Loss{}, err
	}
	l := Loss{Record: s.record(e.counts, e.v, allowed.At, allowed.Rate)}
	if l.Bounds, err = a.boundsOf(e.counts); err != nil {
		return Loss{}, err
	}
	l.OfBound = planner.Round(allowed.Rate/l.Bounds.Batching, 4)
	b := newBooks(&s)
	s.Disturb = append(s.Disturb[:len(s.Disturb):len(s.Disturb)], b.keep)
	r, err := s.runner(e.counts, e.v)
	if err != nil {
		return Loss{}, err
	}
	ended := time.Duration(0)
	for _, seed := range s.Seeds {
		m, err := r.Measure(allowed.Rate, seed)
		if err != nil {
			return Loss{}, err
		}
		ended += m.Result.Ended.Sub(0)
	}
	account := b.close(e.counts, ended.Seconds(), allowed.Rate*s.Sizes.Histogram().Mean())
	l.Account = &account
	return l, nil
}

// books add up what executions cost.
type books struct {
	s           *Setup
	unit        []float64 // by type: s per item in the best batch within QoS; +Inf = none
	busy, spent []float64 // by type: s, as it was and by the means
	items       []float64
}

func newBooks(s *Setup) *books {
	n := len(s.Types)
	b := &books{s: s, unit: make([]float64, n), busy: make([]float64, n), spent: make([]float64, n), items: make([]float64, n)}
	for t, truth := range s.Truth {
		b.unit[t] = math.Inf(1)
		for _, p := range truth.Points() {
			if p.Mean <= s.Model.QoS {
				b.unit[t] = min(b.unit[t], p.Mean.Seconds()/float64(p.Batch))
			}
		}
	}
	return b
}

// keep is a disturbance that disturbs nothing.
func (b *books) keep(next sim.Serve, set sim.Setting) (sim.Serve, error) {
	return func(e sim.Execution) sim.Outcome {
		o := next(e)
		t := set.Workers[e.Worker].Type
		b.busy[t] += o.Took.Seconds()
		b.spent[t] += b.s.Truth[t].Mean(e.Items).Seconds()
		b.items[t] += float64(e.Items)
		return o
	}, nil
}

// close is the account of runs that took so many seconds together, at a rate
// of so many items per second.
func (b *books) close(counts []int, seconds, offered float64) Account {
	total, items := 0.0, 0.0
	for t, n := range counts {
		total += float64(n) * seconds / b.unit[t]
		items += b.items[t]
	}
	a := Account{IdleByType: make([]float64, len(counts))}
	for t, n := range counts {
		if n == 0 {
			continue
		}
		idle := float64(n)*seconds - b.busy[t]
		a.IdleByType[t] = planner.Round(idle/(float64(n)*seconds), 4)
		a.Idle += idle / b.unit[t] / total
		a.SmallBatches += (b.spent[t]/b.unit[t] - b.items[t]) / total
		a.Draws += (b.busy[t] - b.spent[t]) / b.unit[t] / total
	}
	a.Shed = (offered*seconds - items) / total
	a.Idle, a.SmallBatches, a.Draws, a.Shed = planner.Round(a.Idle, 4), planner.Round(a.SmallBatches, 4), planner.Round(a.Draws, 4), planner.Round(a.Shed, 4)
	return a
}

func printGap(w io.Writer, a *arena, rows []Loss) error {
	each := len(oracles) + 1
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\nmodel\tmix\trate/s\tbound\treached\thighest bound\treached\tidle\tsmall batches\tdraws\tshed\t")
	pct := func(v float64) string { return fmt.Sprintf("%.1f", 100*v) }
	for i := 0; i < len(rows); i += each {
		r := &rows[i]
		if r.Account == nil {
			continue
		}
		c := r.Account
		fmt.Fprintf(t, "%s\t%s\t%.5g\t%.5g\t%s\t%.5g\t%s\t-%s\t-%s\t%s\t+%s\t\n", r.Model, a.space.short(r.Mix), r.RateQPS, r.Bounds.Batching, pct(r.OfBound),
			r.HighestBatching, pct(r.RateQPS/r.HighestBatching), pct(c.Idle), pct(c.SmallBatches), pct(-c.Draws), pct(c.Shed))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nOracle runs: % of the bound that would be reached (points gained)")
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "model\tas it is\t")
	for _, o := range oracles {
		fmt.Fprintf(t, "%s\t", o.name)
	}
	fmt.Fprintln(t)
	for i := 0; i < len(rows); i += each {
		fmt.Fprintf(t, "%s\t%s\t", rows[i].Model, pct(rows[i].OfBound))
		for _, r := range rows[i+1 : i+each] {
			fmt.Fprintf(t, "%s (%+.1f)\t", pct(r.OfBound), 100*r.Gained)
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}
