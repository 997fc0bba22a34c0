package router

import (
	"github.com/prometheus/client_golang/prometheus"

	"motley/internal/live"
)

// poolState is /debug/pool.
type poolState struct {
	Judged  bool                `json:"judged"` // whether workers' health is looked at
	Workers []live.WorkerHealth `json:"workers"`
}

// debugPool is how far each worker can be relied on, and why.
func (s *Server) debugPool() any {
	state := poolState{Workers: []live.WorkerHealth{}}
	if s.cfg.Health != nil {
		if all := s.cfg.Health(); all != nil {
			state.Judged, state.Workers = true, all
		}
	}
	return state
}

// healthCollector makes metrics of workers' health when it is scraped.
type healthCollector struct{ health func() []live.WorkerHealth }

// NewHealthCollector returns a collector of motley_worker_health… of what health
// returns.
func NewHealthCollector(health func() []live.WorkerHealth) prometheus.Collector {
	return healthCollector{health}
}

var (
	workerHealth = prometheus.NewDesc("motley_worker_health",
		"1 for the state that the worker's health is judged to be in, 0 for the others.", []string{"worker", "instance_type", "state"}, nil)
	workerTakes = prometheus.NewDesc("motley_worker_takes_work",
		"1 while the worker's health lets it have new work.", []string{"worker", "instance_type"}, nil)
	workerSlowdown = prometheus.NewDesc("motley_worker_slowdown_ratio",
		"What the worker's batches take over what its type's profile expects, as judged.", []string{"worker", "instance_type"}, nil)
	workerUncertainty = prometheus.NewDesc("motley_worker_uncertainty_ratio",
		"How much wider than its type's the spread of the worker's estimates is taken to be.", []string{"worker", "instance_type"}, nil)
	workerRamp = prometheus.NewDesc("motley_worker_ramp_ratio",
		"Share of its time that the worker works while it comes back; 0 while it is out.", []string{"worker", "instance_type"}, nil)
	workerError = prometheus.NewDesc("motley_worker_profile_error_ratio",
		"Mean relative error of the worker's estimates, over about 64 batches.", []string{"worker", "instance_type"}, nil)
	workerStale = prometheus.NewDesc("motley_worker_telemetry_stale",
		"1 while nothing is heard of the worker's hardware, of those that have telemetry.", []string{"worker", "instance_type"}, nil)
	workerDevice = prometheus.NewDesc("motley_worker_device_info",
		"The device that the worker runs on.", []string{"worker", "device"}, nil)
)

// healthStates are those of package health, as labels.
var healthStates = [...]string{"ok", "derated", "suspect", "unhealthy", "gone"}

// Describe implements prometheus.Collector.
func (healthCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		workerHealth, workerTakes, workerSlowdown, workerUncertainty, workerRamp, workerError, workerStale, workerDevice,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c healthCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		if m, err := prometheus.NewConstMetric(d, prometheus.GaugeValue, v, labels...); err == nil {
			ch <- m
		}
	}
	flag := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	for _, w := range standing(c.health(), func(w *live.WorkerHealth) (string, string, bool) { return w.Name, w.State, w.Leaving }) {
		for _, state := range healthStates {
			gauge(workerHealth, flag(w.Health == state), w.Name, w.Type, state)
		}
		gauge(workerTakes, flag(w.Takes), w.Name, w.Type)
		gauge(workerSlowdown, w.Slowdown, w.Name, w.Type)
		gauge(workerUncertainty, w.Uncertainty, w.Name, w.Type)
		gauge(workerRamp, w.Ramp, w.Name, w.Type)
		gauge(workerError, w.ProfileError, w.Name, w.Type)
		if w.Telemetry != "" {
			gauge(workerStale, flag(w.Stale), w.Name, w.Type)
		}
		if w.Device != nil {
			gauge(workerDevice, 1, w.Name, w.Device.ID)
		}
	}
}
