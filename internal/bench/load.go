package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"motley/internal/load"
	"motley/internal/workload"
)

// Load is one command `bench load`.
type Load struct {
	URLs, Models []string
	Rate         string // QPS or FROM..TO; of a search, where it begins
	Steps        int    // of a ramp
	Search       bool
	QoS          time.Duration
	Percentile   float64 // of the requests that must be within QoS
	Rounds       int     // targets take turns in each

	Arrivals, Sizes  string // see workload.ParseArrivals and ParseSizes
	Duration, Warmup time.Duration
	Requests         int
	Timeout          time.Duration
	Connections      int
	Threads          int
	Seed             uint64

	Data, Split string // a data set's folder
	Bodies      []string
	Binary      bool
	Params      []string // KEY=VALUE
	Headers     []string
	Unchecked   bool
	Raw         string // the file of raw results
}

// Run carries the command out, until the context ends.
func (c *Load) Run(ctx context.Context, out Output) error {
	rates, err := c.check()
	if err != nil {
		return err
	}
	p, err := c.plan(ctx)
	if err != nil {
		return err
	}
	r := &loadRun{Load: c, plan: p, out: out}
	if c.Raw != "" {
		f, err := os.Create(c.Raw)
		if err != nil {
			return err // it names the file
		}
		defer f.Close()
		if r.stream, err = load.NewStream(f); err != nil {
			return err
		}
	}
	if c.Search {
		err = r.search(ctx, rates[0])
	} else {
		err = r.measure(ctx, rates)
	}
	if r.stream != nil {
		if cerr := r.stream.Close(); err == nil {
			err = cerr
		}
	}
	if err != nil {
		return err
	}
	return r.report()
}

// check looks at what the flags say by themselves, and returns the rates.
func (c *Load) check() ([]float64, error) {
	switch {
	case len(c.URLs) == 0:
		return nil, usagef("-url: none is given")
	case len(c.Models) == 0:
		return nil, usagef("-model: none is given")
	case len(c.Models) > 256:
		return nil, usagef("-model: at most 256 are taken")
	case c.Search && c.QoS == 0:
		return nil, usagef("-qos: -search needs one")
	case c.QoS < 0:
		return nil, usagef("-qos: %v: must be positive", c.QoS)
	case c.Data != "" && len(c.Bodies) > 0:
		return nil, usagef("-data, -body: give one of them")
	case len(c.Bodies) > 0 && (c.Binary || len(c.Params) > 0):
		return nil, usagef("-body: files are sent as they are; -binary and -param have no effect on them")
	case c.Warmup < 0:
		return nil, usagef("-warmup: %v: must not be negative", c.Warmup)
	case c.Requests == 0 && c.Duration <= 0:
		return nil, usagef("-duration: %v: must be positive", c.Duration)
	case c.Timeout <= 0 || c.Timeout > time.Hour:
		return nil, usagef("-timeout: %v: must be positive, at most 1h", c.Timeout)
	case !(c.Percentile > 50 && c.Percentile < 100):
		return nil, usagef("-percentile: %v: must be over 50 and under 100", c.Percentile)
	}
	for _, r := range []struct {
		flag           string
		v, least, most int
	}{
		{"-requests", c.Requests, 0, 1e9}, {"-steps", c.Steps, 2, 1000}, {"-rounds", c.Rounds, 1, 1000},
		{"-threads", c.Threads, 1, 64}, {"-connections", c.Connections, c.Threads, 100_000},
	} {
		if err := checkRange(r.flag, float64(r.v), float64(r.least), float64(r.most)); err != nil {
			return nil, err
		}
	}
	rates, err := c.rates()
	if err == nil && c.Search && len(rates) > 1 {
		err = usagef("-search, -rate: a search begins at one rate")
	}
	return rates, err
}

// rates reads -rate. 0 stands for the rate of a trace.
func (c *Load) rates() ([]float64, error) {
	if c.Rate == "" {
		return []float64{0}, nil
	}
	first, last, ramp := strings.Cut(c.Rate, "..")
	bad := usagef("-rate: %q: want requests per second from 0.001 to 1e7, or FROM..TO", c.Rate)
	from, err := strconv.ParseFloat(first, 64)
	if err != nil || !(from >= 1e-3 && from <= 1e7) {
		return nil, bad
	}
	if !ramp {
		return []float64{from}, nil
	}
	to, err := strconv.ParseFloat(last, 64)
	if err != nil || !(to >= 1e-3 && to <= 1e7) {
		return nil, bad
	}
	rates := make([]float64, c.Steps)
	for i := range rates {
		rates[i] = from + (to-from)*float64(i)/float64(c.Steps-1)
	}
	return rates, nil
}

// plan makes the plan but for its phases.
func (c *Load) plan(ctx context.Context) (*load.Plan, error) {
	p := &load.Plan{
		Seed: c.Seed, Warmup: c.Warmup, Duration: c.Duration, Requests: c.Requests, Timeout: c.Timeout,
		Connections: c.Connections, Threads: c.Threads, Unchecked: c.Unchecked,
	}
	var err error
	if p.Arrivals, err = workload.ParseArrivals(c.Arrivals, openFile); err != nil {
		return nil, asUsage(c.Arrivals, err)
	}
	if p.Sizes, err = workload.ParseSizes(c.Sizes, openFile); err != nil {
		return nil, asUsage(c.Sizes, err)
	}
	if !c.Search && c.Rate == "" && p.Arrivals.Rate() == 0 {
		return nil, usagef("-rate: give one, in requests per second, or -search for the allowable throughput")
	}
	for _, text := range c.Headers {
		h, err := load.ParseHeader(text)
		if err != nil {
			return nil, usagef("-header: %v", err)
		}
		p.Headers = append(p.Headers, h)
	}
	for _, text := range c.URLs {
		t, err := load.ParseTarget(text)
		if err != nil {
			return nil, usagef("-url: %v", err)
		}
		p.Targets = append(p.Targets, t)
	}
	for _, model := range c.Models {
		b, err := c.bodies(ctx, p, model)
		if err != nil {
			return nil, fmt.Errorf("cannot make requests to model %s: %w", model, err)
		}
		p.Models = append(p.Models, b)
	}
	return p, nil
}

// bodies makes the requests to a model.
func (c *Load) bodies(ctx context.Context, p *load.Plan, model string) (*load.Bodies, error) {
	if len(c.Bodies) > 0 {
		contents := make([][]byte, len(c.Bodies))
		for i, name := range c.Bodies {
			var err error
			if contents[i], err = os.ReadFile(name); err != nil {
				return nil, err // it names the file
			}
		}
		return load.FromFiles(model, c.Bodies, contents)
	}
	opt := load.Options{Binary: c.Binary, Params: map[string]json.RawMessage{}}
	for _, text := range c.Params {
		key, value, ok := strings.Cut(text, "=")
		if !ok || key == "" {
			return nil, usagef("-param: %q: want KEY=VALUE", text)
		}
		if !json.Valid([]byte(value)) {
			quoted, _ := json.Marshal(value) // a string always has a form
			value = string(quoted)
		}
		opt.Params[key] = json.RawMessage(value)
	}
	meta, err := p.Targets[0].Metadata(ctx, model)
	if err != nil {
		return nil, err
	}
	if c.Data != "" {
		d, err := load.ReadDataSet(c.Data, c.Split)
		if err != nil {
			return nil, err
		}
		return load.FromDataSet(d, meta, model, opt)
	}
	return load.Random(meta, model, p.Sizes.Largest(), workload.Stream(c.Seed, "bodies"), opt)
}

// loadRun is a run under way.
type loadRun struct {
	*Load
	plan   *load.Plan
	out    Output
	stream *load.Stream
	cells  []*loadCell
}

// loadCell is what is reported on one line.
type loadCell struct {
	target, model, round int // model −1: all; round 0: all
	rate                 float64
	allowable            float64 // 0: was not searched for
	tally                *load.Tally
}

// measure runs every rate at every target, in turns.
func (r *loadRun) measure(ctx context.Context, rates []float64) error {
	for round := range r.Rounds {
		for _, rate := range rates {
			for target := range r.plan.Targets {
				if rate == 0 {
					rate = r.plan.Arrivals.Rate()
				}
				if _, err := r.phase(ctx, load.Phase{Target: target, Rate: rate, Round: round}, nil); err != nil {
					return err
				}
				if ctx.Err() != nil {
					return nil // what there is is reported
				}
			}
		}
	}
	return nil
}

// phase runs one phase and keeps its tallies. enough, where it is not nil, ends
// it early.
func (r *loadRun) phase(ctx context.Context, ph load.Phase, enough func(*load.Tally) bool) (*load.Tally, error) {
	p := r.plan
	p.Phases = append(p.Phases, ph)
	index := len(p.Phases) - 1
	if index > math.MaxUint16 {
		return nil, fmt.Errorf("cannot run more than %d phases", math.MaxUint16)
	}
	all := p.NewTally(r.QoS)
	tallies := make([]*load.Tally, len(p.Models))
	for i := range tallies {
		tallies[i] = all
		if len(tallies) > 1 {
			tallies[i] = p.NewTally(r.QoS)
		}
	}
	if r.stream != nil {
		if err := r.stream.Phase(p, ph, r.QoS); err != nil {
			return nil, err
		}
	}
	var werr error
	started, said := time.Now(), time.Now()
	enoughSeen := false
	err := p.Run(ctx, index, func(records []load.Record) bool {
		for i := range records {
			tallies[records[i].Model].Add(&records[i])
			if len(tallies) > 1 {
				all.Add(&records[i])
			}
		}
		if r.stream != nil {
			if werr = r.stream.Add(records); werr != nil {
				return false
			}
		}
		if time.Since(said) >= time.Second {
			said = time.Now()
			r.out.Progress.Say("%s, %.5g/s, %v: %s", p.Targets[ph.Target].URL, ph.Rate, said.Sub(started).Round(time.Second), all.Brief())
		}
		enoughSeen = enough != nil && enough(all)
		return !enoughSeen
	})
	if err == nil {
		err = werr
	}
	cut := enoughSeen || ctx.Err() != nil
	if err == nil && r.stream != nil && !cut {
		err = r.stream.End()
	}
	if err != nil {
		return nil, err
	}
	if cut {
		all.Cut()
		for _, t := range tallies {
			t.Cut()
		}
	}
	for i, t := range tallies {
		r.keep(loadCell{target: ph.Target, model: i, round: ph.Round + 1, rate: ph.Rate, tally: t})
	}
	if len(tallies) > 1 {
		r.keep(loadCell{target: ph.Target, model: -1, round: ph.Round + 1, rate: ph.Rate, tally: all})
	}
	return all, nil
}

func (r *loadRun) keep(c loadCell) { r.cells = append(r.cells, &c) }

// merged is the cells of all rounds together, in order of rate, target and
// model.
func (r *loadRun) merged() []*loadCell {
	var all []*loadCell
	for _, c := range r.cells {
		i := slices.IndexFunc(all, func(m *loadCell) bool { return m.target == c.target && m.model == c.model && m.rate == c.rate })
		if i < 0 {
			m := &loadCell{target: c.target, model: c.model, rate: c.rate, allowable: c.allowable, tally: r.plan.NewTally(r.QoS)}
			all = append(all, m)
			i = len(all) - 1
		}
		all[i].tally.Merge(c.tally)
	}
	slices.SortStableFunc(all, func(a, b *loadCell) int {
		if a.rate < b.rate {
			return -1
		} else if a.rate > b.rate {
			return 1
		}
		return 0
	})
	return all
}
