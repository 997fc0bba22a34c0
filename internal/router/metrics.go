package router

import (
	"fmt"
	"math"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"motley/internal/live"
	"motley/internal/pool"
)

// WorkerLabels name a worker in the metrics.
type WorkerLabels struct {
	Name         string
	InstanceType string
}

// MetricsConfig says what is measured. Label values come from here and from
// nowhere else, so that clients cannot make series.
type MetricsConfig struct {
	Registerer prometheus.Registerer // required
	Models     []string              // by pool.ModelID
	Workers    []WorkerLabels        // by pool.WorkerID
	Tenants    []string              // by index; nil: requests are not counted by tenant
	Version    string                // of this build; default "dev"
	Runtime    bool                  // also register the collectors of the Go runtime and the process
}

// unknownModel labels requests for models that are not configured.
const unknownModel = "_unknown"

// Metrics counts what passes the front end and what the loop reports. It is
// the loop's live.Observer. All methods may be called from several goroutines.
type Metrics struct {
	table    atomic.Pointer[metricsTable]
	changing sync.Mutex // one writer of table at a time
	unknown  modelMetrics
	state    *stateCollector
	clients  *clientCollector
	exits    *exitCollector
	vectors  vectors

	accessMetrics
	malformed prometheus.Counter
	step      prometheus.Observer
}

var _ live.Observer = (*Metrics)(nil)

// statuses are those that the front end answers with itself; the series of
// others are resolved when they occur.
var statuses = [...]int{
	http.StatusOK, http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed,
	http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusTooManyRequests,
	http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
}

// modelMetrics are the resolved series of one model.
type modelMetrics struct {
	name     string
	vec      *prometheus.CounterVec
	requests [len(statuses)]prometheus.Counter
	rejected []prometheus.Counter // by live.Reason
	duration prometheus.Observer
	queue    prometheus.Observer
	early    prometheus.Observer // answered by a ramp
	full     prometheus.Observer // by the full model, of a model that has ramps
	retries  prometheus.Counter
	stats    modelTally
	dropped  atomic.Bool // the model is not offered any more: there are no series of it
}

// typeMetrics are the resolved series of one model on one instance type.
type typeMetrics struct {
	batch, service, profileError prometheus.Observer
}

// latencyBuckets run from 0.5 ms to 60 s, in seconds.
var latencyBuckets = []float64{
	.0005, .001, .002, .003, .005, .0075, .01, .015, .02, .03, .05, .075, .1, .15, .2, .3, .5, .75, 1, 2, 5, 10, 30, 60,
}

// NewMetrics registers the metrics.
func NewMetrics(cfg MetricsConfig) (*Metrics, error) {
	r := &registrar{to: cfg.Registerer}
	var v vectors
	v.requests = r.counter("motley_requests_total", "Inference requests answered, by model and HTTP status.", "model", "code")
	v.duration = r.histogram("motley_request_duration_seconds",
		"Time from a request's head to its answer, of inference requests answered with 200.", latencyBuckets, "model")
	v.queue = r.histogram("motley_queue_duration_seconds",
		"Time from a request's arrival to the start of the execution that answered it.", latencyBuckets, "model")
	v.exit = r.histogram("motley_exit_request_duration_seconds",
		"Time from a request's head to its answer, by whether a ramp (early) or the full model (full) gave it; models with ramps in use.",
		latencyBuckets, "model", "answer")
	v.rejected = r.counter("motley_rejected_total", "Inference requests without a worker's answer, by reason.", "model", "reason")
	v.retries = r.counter("motley_retries_total", "Requests sent to another worker after a failed execution.", "model")
	v.batch = r.histogram("motley_batch_size_items", "Items per execution.",
		prometheus.ExponentialBuckets(1, 2, 12), "model", "instance_type")
	v.service = r.histogram("motley_service_time_seconds", "Time of an execution, of those that did not fail.",
		latencyBuckets, "model", "instance_type")
	v.profileError = r.histogram("motley_profile_error_ratio",
		"Distance of the predicted from the measured time of an execution, as a share of the measured.",
		[]float64{.01, .02, .05, .1, .15, .2, .3, .5, 1, 2, 5}, "model", "instance_type")
	step := r.histogram("motley_step_seconds",
		fmt.Sprintf("Time that the dispatcher takes to decide on one event (arrival, end of an execution, timer), of one event in %d.", live.StepsPerReport),
		prometheus.ExponentialBuckets(1e-6, 2, 18))
	malformed := r.counter("motley_malformed_requests_total", "Requests refused because they were not well-formed HTTP.")

	m := &Metrics{vectors: v, state: &stateCollector{}, clients: &clientCollector{}, exits: &exitCollector{}}
	m.accessMetrics = newAccessMetrics(r, cfg.Tenants)
	m.malformed, m.step = malformed.WithLabelValues(), step.WithLabelValues()
	v.resolve(&m.unknown, unknownModel)
	m.table.Store(&metricsTable{})
	for i, w := range cfg.Workers {
		m.SetWorker(pool.WorkerID(i), w)
	}
	for i, name := range cfg.Models {
		m.setModel(pool.ModelID(i), name)
	}

	version := cfg.Version
	if version == "" {
		version = "dev"
	}
	r.add(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "motley_build_info",
		Help:        "1, labelled with the build.",
		ConstLabels: prometheus.Labels{"version": version, "go_version": runtime.Version()},
	}, func() float64 { return 1 }))
	r.add(m.state)
	r.add(m.clients)
	r.add(m.exits)
	if cfg.Runtime {
		r.add(collectors.NewGoCollector())
		r.add(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	}
	if r.err != nil {
		return nil, fmt.Errorf("cannot register metrics: %w", r.err)
	}
	return m, nil
}

// registrar registers vectors and keeps the first error.
type registrar struct {
	to  prometheus.Registerer
	err error
}

func (r *registrar) add(c prometheus.Collector) {
	if err := r.to.Register(c); err != nil && r.err == nil {
		r.err = err
	}
}

func (r *registrar) counter(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	r.add(v)
	return v
}

func (r *registrar) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	r.add(v)
	return v
}

// Worker is what a worker is called; of an id that is none, nothing.
func (m *Metrics) Worker(id pool.WorkerID) (l WorkerLabels) {
	if t := m.table.Load(); id >= 0 && int(id) < len(t.workers) {
		l = WorkerLabels{Name: t.names[id], InstanceType: t.types[t.workers[id]]}
	}
	return l
}

// Model is what a model is called; of an id that is none, "_unknown".
func (m *Metrics) Model(id pool.ModelID) string { return m.model(id).name }

// model returns the series of id, those of unknown models where id is not one.
func (m *Metrics) model(id pool.ModelID) *modelMetrics {
	models := m.table.Load().models
	if id < 0 || int(id) >= len(models) {
		return &m.unknown
	}
	return models[id]
}

// answered counts one answer.
func (mm *modelMetrics) answered(status int) {
	for i, code := range statuses {
		if code == status {
			mm.requests[i].Inc()
			return
		}
	}
	if !mm.dropped.Load() {
		mm.vec.WithLabelValues(mm.name, strconv.Itoa(status)).Inc()
	}
}

// BatchDone implements live.Observer.
func (m *Metrics) BatchDone(b live.BatchReport) {
	all := m.table.Load()
	if int(b.Worker) >= len(all.workers) || b.Worker < 0 || int(b.Model) >= len(all.models) || b.Model < 0 {
		return
	}
	mm := all.models[b.Model]
	t := &all.byType[b.Model][all.workers[b.Worker]]
	t.batch.Observe(float64(b.Items))
	if b.Err != nil {
		return
	}
	t.service.Observe(b.Ran.Seconds())
	if b.Predicted > 0 && b.Ran > 0 {
		t.profileError.Observe(math.Abs(float64(b.Ran-b.Predicted)) / float64(b.Ran))
	}
	mm.stats.batch(b.Items, b.Ran)
}

// Retried implements live.Observer.
func (m *Metrics) Retried(model pool.ModelID) {
	if mm := m.model(model); mm.retries != nil {
		mm.retries.Inc()
	}
}

// Stepped implements live.Observer.
func (m *Metrics) Stepped(took time.Duration) { m.step.Observe(took.Seconds()) }

// succeeded records the times of one request answered with 200.
func (mm *modelMetrics) succeeded(r *live.Request, took time.Duration, at time.Time) {
	mm.duration.Observe(took.Seconds())
	mm.queue.Observe(r.Queued.Seconds())
	mm.stats.success(r, took, at)
}

// exited records by which exit one request answered with 200 left.
func (mm *modelMetrics) exited(early bool, took time.Duration) {
	if early {
		mm.early.Observe(took.Seconds())
	} else {
		mm.full.Observe(took.Seconds())
	}
}
