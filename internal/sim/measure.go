package sim

import (
	"fmt"
	"math"
	"slices"
	"time"

	"motley/internal/dispatch"
	"motley/internal/mono"
	"motley/internal/pool"
	"motley/internal/workload"
)

// Unanswered is the latency of a request that got no answer, where latencies
// of all requests are ordered.
const Unanswered = time.Duration(math.MaxInt64)

// Measurement is what one run, or several together, came to. A request that
// was rejected, given up, or answered after its QoS is missed. Warm-up requests
// count in Result only.
type Measurement struct {
	Rate     float64 // asked for, in requests/s
	Requests int     // counted: those that ended
	Within   int     // answered inside their QoS
	Late     int     // answered after it
	Rejected int     // never run
	GivenUp  int     // run, but out of attempts or time
	Models   []ModelShare
	// Percentiles of the time from arrival to answer: of those that were
	// answered (0: none was), and of all, where no answer is Unanswered. Of
	// several runs together they are the largest of any run.
	P50, P99       time.Duration
	P50All, P99All time.Duration
	Goodput        float64 // requests within QoS per second of the run
	Busy           float64 // share of the workers' time
	USDPerHour     float64 // of the pool
	Aborted        bool    // it was hopeless and ended early
	Result         Result  // the totals
}

// ModelShare is one model's part of a Measurement.
type ModelShare struct{ Requests, Within int }

// Share is the share of requests within QoS; 1 if there were none.
func (m ModelShare) Share() float64 { return share(m.Within, m.Requests) }

// Share is the share of requests within QoS; 1 if there were none.
func (m Measurement) Share() float64 { return share(m.Within, m.Requests) }

func share(within, of int) float64 {
	if of == 0 {
		return 1
	}
	return float64(within) / float64(of)
}

// abortAfter is how many counted requests a run has before it can be found
// hopeless.
const abortAfter = 2000

// Measure runs the experiment once at a mean rate in requests/s (0: the
// arrivals' own, see workload.Arrivals), to the end.
func (r *Runner) Measure(rate float64, seed uint64) (Measurement, error) {
	return r.measure(rate, seed, nil)
}

// MeasureAll runs it with every seed and adds up.
func (r *Runner) MeasureAll(rate float64) (Measurement, error) {
	var all Measurement
	for i, seed := range r.x.Seeds {
		m, err := r.measure(rate, seed, nil)
		if err != nil {
			return Measurement{}, err
		}
		all.merge(m, i)
	}
	return all, nil
}

// merge adds a run to those before it, of which there are i.
func (m *Measurement) merge(n Measurement, i int) {
	if i == 0 {
		*m = n
		return
	}
	k := float64(i)
	m.Goodput = (m.Goodput*k + n.Goodput) / (k + 1)
	m.Busy = (m.Busy*k + n.Busy) / (k + 1)
	m.Requests, m.Within, m.Late = m.Requests+n.Requests, m.Within+n.Within, m.Late+n.Late
	m.Rejected, m.GivenUp = m.Rejected+n.Rejected, m.GivenUp+n.GivenUp
	for j := range m.Models {
		m.Models[j].Requests += n.Models[j].Requests
		m.Models[j].Within += n.Models[j].Within
	}
	m.P50, m.P99 = max(m.P50, n.P50), max(m.P99, n.P99)
	m.P50All, m.P99All = max(m.P50All, n.P50All), max(m.P99All, n.P99All)
	m.Aborted = m.Aborted || n.Aborted
	a, b := &m.Result, &n.Result
	a.Arrived, a.Answered, a.Rejected = a.Arrived+b.Arrived, a.Answered+b.Answered, a.Rejected+b.Rejected
	a.Failed, a.Cancelled = a.Failed+b.Failed, a.Cancelled+b.Cancelled
	a.Retried, a.Late = a.Retried+b.Retried, a.Late+b.Late
	a.Batches, a.Items, a.Busy = a.Batches+b.Batches, a.Items+b.Items, a.Busy+b.Busy
	a.Ended = max(a.Ended, b.Ended)
}

// measure is Measure, ended early when hopeless says so of what there is.
func (r *Runner) measure(rate float64, seed uint64, hopeless func(*Measurement) bool) (Measurement, error) {
	if err := r.draw(rate, seed); err != nil {
		return Measurement{}, err
	}
	cfg, err := r.config(seed)
	if err != nil {
		return Measurement{}, fmt.Errorf("cannot run experiment: %w", err)
	}
	m := Measurement{Rate: rate, USDPerHour: r.cost, Models: make([]ModelShare, len(r.x.Models))}
	r.tooks = r.tooks[:0]
	cfg.Done = func(e Ended) {
		if e.Arrival < r.x.Warmup {
			return
		}
		model := r.arrivals[e.Arrival].Model
		m.Requests++
		m.Models[model].Requests++
		switch {
		case e.Kind == dispatch.Reject:
			m.Rejected++
		case e.Kind == dispatch.GiveUp:
			m.GivenUp++
		case e.Took > r.x.Models[model].Model.QoS:
			m.Late++
			r.tooks = append(r.tooks, e.Took)
		default:
			m.Within++
			m.Models[model].Within++
			r.tooks = append(r.tooks, e.Took)
		}
	}
	if hopeless != nil {
		cfg.Stop = func() bool {
			m.Aborted = m.Aborted || hopeless(&m)
			return m.Aborted
		}
	}
	if m.Result, err = r.driver.run(cfg, r.arrivals); err != nil {
		return Measurement{}, fmt.Errorf("cannot run experiment: %w", err)
	}
	r.summarise(&m)
	return m, nil
}

func (r *Runner) summarise(m *Measurement) {
	slices.Sort(r.tooks)
	at := func(q float64, of int) time.Duration { // of the sorted, the smallest that a share q does not exceed
		i := max(int(math.Ceil(q*float64(of)))-1, 0)
		switch {
		case i < len(r.tooks):
			return r.tooks[i]
		case of == 0:
			return 0
		}
		return Unanswered
	}
	m.P50, m.P99 = at(0.5, len(r.tooks)), at(0.99, len(r.tooks))
	m.P50All, m.P99All = at(0.5, m.Requests), at(0.99, m.Requests)
	var from mono.Time
	if r.x.Warmup > 0 {
		from = r.arrivals[r.x.Warmup-1].At
	}
	if span := m.Result.Ended.Sub(from).Seconds(); span > 0 {
		m.Goodput = float64(m.Within) / span
	}
	if slots := m.Result.Ended.Sub(0).Seconds() * float64(len(r.workers)*r.x.Concurrency); slots > 0 {
		m.Busy = m.Result.Busy.Seconds() / slots
	}
}

// draw fills in the arrivals of a run. Instants, sizes and models have streams
// of their own, so that a seed stands for the same requests at every rate.
func (r *Runner) draw(rate float64, seed uint64) error {
	source, err := r.x.Arrivals.Start(rate, workload.Stream(seed, "arrivals"))
	if err != nil {
		return err
	}
	if rate == 0 {
		rate = r.x.Arrivals.Rate()
	}
	r.span = time.Duration(min(float64(r.x.Requests)/rate*1e9, 1e17))
	sizes, models := workload.Stream(seed, "sizes"), workload.Stream(seed, "models")
	r.arrivals = r.arrivals[:0]
	for range r.x.Requests {
		a := Arrival{At: source.Next()}
		if a.At == mono.Never {
			return fmt.Errorf("cannot run experiment: at %v requests/s it outlasts the clock", rate)
		}
		if len(r.shares) > 1 {
			for u := models.Float64(); r.shares[a.Model] <= u; {
				a.Model++
			}
		}
		d := &r.x.Models[a.Model]
		a.Size = d.Sizes.Draw(sizes)
		if !d.Alone {
			a.MergeKey = 1 + uint64(a.Model)
		}
		r.arrivals = append(r.arrivals, a)
	}
	return nil
}

// config is one run's, with a policy and profiles of its own.
func (r *Runner) config(seed uint64) (Config, error) {
	x := &r.x
	core := dispatch.Config{
		Types: x.Types, Workers: r.workers, Policy: x.Policy(seed), Hang: x.Hang,
		Profiles: make([][]*pool.Profile, len(x.Models)),
	}
	for m := range x.Models {
		core.Models = append(core.Models, x.Models[m].Model)
		for t := range x.Types {
			var points []pool.Point
			if m < len(x.Points) && t < len(x.Points[m]) {
				points = x.Points[m][t]
			}
			p, err := pool.NewProfile(points)
			if err != nil {
				return Config{}, err
			}
			core.Profiles[m] = append(core.Profiles[m], p)
		}
	}
	cfg := Config{Core: core, Watch: x.Watch, Serve: FromTruth(x.Truth, r.workers, workload.Stream(seed, "service"))}
	for i, d := range x.Disturb {
		next, err := d(cfg.Serve, Setting{
			Types: x.Types, Workers: r.workers, Rng: workload.Stream(seed, fmt.Sprintf("disturbance %d", i)), Span: r.span,
		})
		if err != nil {
			return Config{}, err
		}
		cfg.Serve = next
	}
	cfg.Serve = r.exiting(cfg.Serve, seed)
	list := x.Outages
	if x.OutagesOver != nil {
		list = append(list[:len(list):len(list)], x.OutagesOver(r.span)...)
	}
	if len(list) > 0 {
		var err error
		if cfg.Changes, err = Changes(list, len(r.workers)); err != nil {
			return Config{}, err
		}
		cfg.Serve = outages(cfg.Serve, list)
	}
	return cfg, nil
}
