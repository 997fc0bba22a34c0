package bench

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
	"time"

	"motley/internal/dispatch"
	"motley/internal/pool"
	"motley/internal/workload"
)

// Inputs are what experiments and plans start from, as command lines say it.
type Inputs struct {
	Profiles, Samples string  // files; both empty = the embedded profile table
	Dilate            float64 // all latencies, and QoS, times this
	Prices            string  // file; empty = DefaultPrices
	Model             string
	QoS               time.Duration // 0 = KAIROS's, for its models
	Percentile        float64       // of the requests that must be within QoS
	Arrivals, Sizes   string        // see workload.ParseArrivals and ParseSizes
	Requests, Seeds   int
	MaxBatch          int // items that requests are merged up to; 0 = the largest batch that was measured
}

// Sim is one command `bench sim`.
type Sim struct {
	Inputs
	Mix     string
	Policy  string // a name of package dispatch, or "all"
	Alone   bool   // never merge
	Late    bool   // never drop
	Rate    float64
	Search  bool
	Disturb Disturb
}

// setup reads the inputs for the types of that name.
func (in *Inputs) setup(types []string) (*Setup, error) {
	data, err := LoadData(in.Profiles, in.Samples)
	if err != nil {
		return nil, err
	}
	if err := data.dilate(in.Dilate); err != nil {
		return nil, err
	}
	prices, source, err := pricesOf(in.Prices)
	if err != nil {
		return nil, err
	}
	if types == nil {
		if types, err = data.pricedTypes(in.Model, prices); err != nil {
			return nil, err
		}
	}
	priced, err := priced(prices, source, types)
	if err != nil {
		return nil, err
	}
	return in.build(data, priced)
}

func (in *Inputs) build(data *Data, types []pool.InstanceType) (*Setup, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	arrivals, err := workload.ParseArrivals(in.Arrivals, openFile)
	if err != nil {
		return nil, asUsage(in.Arrivals, err)
	}
	sizes, err := workload.ParseSizes(in.Sizes, openFile)
	if err != nil {
		return nil, asUsage(in.Sizes, err)
	}
	s, err := NewSetup(data, Setup{
		Model: dispatch.Model{Name: in.Model, QoS: in.QoS, Quantile: in.Percentile / 100, MaxBatch: in.MaxBatch},
		Types: types, Arrivals: arrivals, Sizes: sizes, Requests: in.Requests, Seeds: seedsFrom(1, in.Seeds),
	})
	if err != nil {
		return nil, err
	}
	if s.Model.QoS == 0 {
		if s.Model.QoS, err = defaultQoS(in.Model); err != nil {
			return nil, err
		}
	}
	s.Model.QoS = dilated(s.Model.QoS, in.Dilate)
	return s, nil
}

// asUsage makes an error in a spec one of the command line, unless it is in a
// file that the spec names.
func asUsage(spec string, err error) error {
	if strings.Contains(spec, ":") {
		if kind, _, _ := strings.Cut(spec, ":"); kind == "trace" || kind == "counts" || kind == "file" || kind == "histogram" {
			return err
		}
	}
	return &usageError{err.Error()}
}

func (in *Inputs) check() error {
	switch {
	case in.Model == "":
		return usagef("-model: none is given")
	case in.QoS < 0:
		return usagef("-qos: %v: must be positive", in.QoS)
	case !(in.Percentile > 50 && in.Percentile < 100):
		return usagef("-percentile: %v: must be over 50 and under 100", in.Percentile)
	case in.MaxBatch < 0:
		return usagef("-max-batch: %d: must not be negative", in.MaxBatch)
	}
	if err := checkRange("-requests", float64(in.Requests), 1, 1e8); err != nil {
		return err
	}
	return checkRange("-seeds", float64(in.Seeds), 1, 1000)
}

// Run carries the command out.
func (c *Sim) Run(out Output) error {
	mix, err := ParseMix(c.Mix)
	if err != nil {
		return usagef("-mix: %v", err)
	}
	if c.Search && c.Rate != 0 {
		return usagef("-search, -rate: give one of them")
	}
	if !c.Search && c.Rate == 0 {
		return usagef("-rate: give one, in requests per second, or -search for the allowable throughput")
	}
	if c.Rate != 0 {
		if err := checkRange("-rate", c.Rate, 1e-6, 1e9); err != nil {
			return err
		}
	}
	var variants []Variant
	for _, p := range allPolicies(c.Policy) {
		v, err := NewVariant(p, c.Alone, c.Late)
		if err != nil {
			return err
		}
		variants = append(variants, v)
	}
	s, err := c.setup(mix.Types)
	if err != nil {
		return err
	}
	if err := c.Disturb.apply(s, mix.Counts); err != nil {
		return err
	}
	if err := s.takes(mix.Counts); err != nil {
		return err
	}
	bounds, err := s.bounds(mix.Counts)
	if err != nil {
		return err
	}
	out.Progress.Say("running %d policies", len(variants))
	records := make([]Record, len(variants))
	err = parallel(len(variants), func(i int) error {
		r, err := s.measured(mix.Counts, variants[i], c.Rate)
		r.Bounds = bounds
		records[i] = r
		out.Progress.Say("%s done", variants[i].Name)
		return err
	})
	if err != nil {
		return err
	}
	if out.JSON {
		return writeJSON(out.Stdout, records)
	}
	return s.print(out.Stdout, mix.Counts, records)
}

// measured runs all seeds at the rate, or at the allowable throughput for 0.
func (s *Setup) measured(counts []int, v Variant, rate float64) (Record, error) {
	r, err := s.runner(counts, v)
	if err != nil {
		return Record{}, err
	}
	if rate > 0 {
		m, err := r.MeasureAll(rate)
		return s.record(counts, v, m, math.NaN()), err
	}
	a, err := r.Allowable(0)
	return s.record(counts, v, a.At, a.Rate), err
}

// print writes the records of one set-up as a table for people.
func (s *Setup) print(w io.Writer, counts []int, records []Record) error {
	if _, err := fmt.Fprintf(w, "%s on %s at %.4g USD/h, %v for %g %% of the requests; arrivals %s, sizes %s, %d requests × %d seeds\n",
		s.Model.Name, mixText(s.Types, counts), cost(s.Types, counts), s.Model.QoS, 100*s.Model.Quantile,
		s.Arrivals, s.Sizes, s.Requests, len(s.Seeds)); err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "policy\trate/s\twithin QoS\tp50 ms\tp99 ms\tgoodput/s\tbusy\tlate\trejected\tgiven up\t")
	for _, r := range records {
		fmt.Fprintf(t, "%s\t%.5g\t%.2f %%\t%.4g\t%.4g\t%.5g\t%.0f %%\t%d\t%d\t%d\t\n",
			r.Policy, r.RateQPS, 100*r.QoSOK, r.P50MS, r.P99MS, r.GoodputQPS, 100*r.Busy, r.Late, r.Rejected, r.GivenUp)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	b := records[0].Bounds
	if b == nil {
		_, err := fmt.Fprintf(w, "bounds: none, since no worker answers %d items within QoS\n", s.Sizes.Largest())
		return err
	}
	_, err := fmt.Fprintf(w, "bounds, requests/s: one by one %.5g (KAIROS's estimate %.5g), %.3g %% of them shed %.5g; batched %.5g\n",
		b.LP, b.Kairos, 100*(1-s.Model.Quantile), b.Shed, b.Batching)
	return err
}
