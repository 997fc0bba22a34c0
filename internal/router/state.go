package router

import (
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"motley/internal/live"
)

// stateCollector reads the loop's gauges when it is scraped.
type stateCollector struct {
	snapshot atomic.Pointer[func() live.Snapshot] // nil until a server is made
}

var (
	workerUp = prometheus.NewDesc("motley_worker_up",
		"1 while the worker is up and its breaker lets work through.", []string{"worker", "instance_type"}, nil)
	workerInFlight = prometheus.NewDesc("motley_worker_in_flight_batches",
		"Executions that the worker runs now.", []string{"worker", "instance_type"}, nil)
	workerBatches = prometheus.NewDesc("motley_worker_batches_total",
		"Executions that ended, by outcome.", []string{"worker", "instance_type", "outcome"}, nil)
	workerEjections = prometheus.NewDesc("motley_ejections_total",
		"Times that the worker's breaker has opened, by failures in a row or by their rate.", []string{"worker", "instance_type"}, nil)
	hedges = prometheus.NewDesc("motley_hedges_total",
		"Executions that were started because another was late, by whether they had the first answer (won) or not, or not yet (lost).",
		[]string{"model", "result"}, nil)
	queueRequests = prometheus.NewDesc("motley_queue_requests",
		"Requests that wait for a worker.", []string{"model"}, nil)
	inFlightRequests = prometheus.NewDesc("motley_in_flight_requests",
		"Requests that a worker runs now.", []string{"model"}, nil)
	profileSamples = prometheus.NewDesc("motley_profile_samples_total",
		"Executions that the profile has learned from, of earlier runs too.", []string{"model", "instance_type"}, nil)
	profileDrifts = prometheus.NewDesc("motley_profile_drifts_total",
		"Times that executions began to lie off the profile; replaced: so far that what it knew was dropped.",
		[]string{"model", "instance_type", "outcome"}, nil)
	profileMean = prometheus.NewDesc("motley_profile_mean_seconds",
		"Mean time that the profile expects of a batch of so many items.", []string{"model", "instance_type", "items"}, nil)
)

// Describe implements prometheus.Collector.
func (c *stateCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		workerUp, workerInFlight, workerBatches, queueRequests, inFlightRequests,
		profileSamples, profileDrifts, profileMean, workerEjections, hedges,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *stateCollector) Collect(ch chan<- prometheus.Metric) {
	snapshot := c.snapshot.Load()
	if snapshot == nil {
		return
	}
	s := (*snapshot)()
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) { send(d, prometheus.GaugeValue, v, labels...) }
	counter := func(d *prometheus.Desc, v float64, labels ...string) { send(d, prometheus.CounterValue, v, labels...) }
	for _, w := range standing(s.Workers, func(w *live.WorkerState) (string, string, bool) { return w.Name, w.State, w.Leaving }) {
		up := 0.0
		if w.State == "up" && w.Breaker != "open" {
			up = 1
		}
		gauge(workerUp, up, w.Name, w.Type)
		gauge(workerInFlight, float64(w.Batches), w.Name, w.Type)
		counter(workerBatches, float64(w.Finished), w.Name, w.Type, "success")
		counter(workerBatches, float64(w.Failures), w.Name, w.Type, "failure")
		counter(workerEjections, float64(w.Ejections), w.Name, w.Type)
	}
	for _, m := range s.Models {
		gauge(queueRequests, float64(m.Queued), m.Name)
		gauge(inFlightRequests, float64(m.InFlight), m.Name)
		counter(hedges, float64(m.HedgesWon), m.Name, "won")
		counter(hedges, float64(m.Hedges-m.HedgesWon), m.Name, "lost")
	}
	for _, p := range s.Profiles {
		counter(profileSamples, float64(p.Samples), p.Model, p.Type)
		counter(profileDrifts, float64(p.Drifts), p.Model, p.Type, "fading")
		counter(profileDrifts, float64(p.Replacements), p.Model, p.Type, "replaced")
		for _, mean := range p.Means {
			gauge(profileMean, mean.MS/1000, p.Model, p.Type, strconv.Itoa(mean.Items))
		}
	}
}

// standing leaves one worker of each name: where one takes over from another of its name,
// the one that works. of returns name, state and whether it leaves.
func standing[W any](all []W, of func(*W) (name, state string, leaving bool)) []W {
	rank := func(w *W) (r int) {
		_, state, leaving := of(w)
		if state == "up" {
			r += 2
		}
		if !leaving {
			r++
		}
		return r
	}
	at := make(map[string]int, len(all))
	var one []W
	for i := range all {
		w := &all[i]
		name, _, _ := of(w)
		if j, ok := at[name]; !ok {
			at[name] = len(one)
			one = append(one, *w)
		} else if rank(w) >= rank(&one[j]) {
			one[j] = *w
		}
	}
	return one
}
