package router

import (
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"motley/internal/live"
	"motley/internal/pool"
)

// metricsTable holds the resolved series of the models and workers there are. It does
// not change: who changes something publishes another one.
type metricsTable struct {
	models  []*modelMetrics // by pool.ModelID
	workers []int           // by pool.WorkerID: its instance type, an index into types
	names   []string        // by pool.WorkerID
	types   []string
	byType  [][]typeMetrics // by model and type
}

// vectors are what the series of models are resolved from.
type vectors struct {
	requests, rejected, retries                         *prometheus.CounterVec
	duration, queue, exit, batch, service, profileError *prometheus.HistogramVec
}

// resolve fills in the series that every model has, unknown ones too.
func (v *vectors) resolve(mm *modelMetrics, name string) {
	mm.name, mm.vec = name, v.requests
	for i, code := range statuses {
		mm.requests[i] = v.requests.WithLabelValues(name, strconv.Itoa(code))
	}
}

// model makes the series of one model.
func (v *vectors) model(name string) *modelMetrics {
	mm := &modelMetrics{rejected: make([]prometheus.Counter, len(live.Reasons())+1)}
	v.resolve(mm, name)
	mm.duration, mm.queue = v.duration.WithLabelValues(name), v.queue.WithLabelValues(name)
	mm.early, mm.full = v.exit.WithLabelValues(name, "early"), v.exit.WithLabelValues(name, "full")
	mm.retries = v.retries.WithLabelValues(name)
	for _, reason := range live.Reasons() {
		mm.rejected[reason] = v.rejected.WithLabelValues(name, reason.String())
	}
	return mm
}

func (v *vectors) ofType(model, instanceType string) typeMetrics {
	return typeMetrics{
		batch:        v.batch.WithLabelValues(model, instanceType),
		service:      v.service.WithLabelValues(model, instanceType),
		profileError: v.profileError.WithLabelValues(model, instanceType),
	}
}

// forget deletes the series of a model.
func (v *vectors) forget(name string) {
	of := prometheus.Labels{"model": name}
	for _, c := range []*prometheus.CounterVec{v.requests, v.rejected, v.retries} {
		c.DeletePartialMatch(of)
	}
	for _, h := range []*prometheus.HistogramVec{v.duration, v.queue, v.exit, v.batch, v.service, v.profileError} {
		h.DeletePartialMatch(of)
	}
}

// SetWorker says who a worker is. It is called before the worker gets work.
func (m *Metrics) SetWorker(id pool.WorkerID, labels WorkerLabels) {
	m.change(func(t *metricsTable) {
		typ := slices.Index(t.types, labels.InstanceType)
		if typ < 0 {
			typ = len(t.types)
			t.types = append(t.types, labels.InstanceType)
			for i, mm := range t.models {
				t.byType[i] = append(slices.Clone(t.byType[i]), m.vectors.ofType(mm.name, labels.InstanceType))
				if mm.dropped.Load() {
					m.vectors.forget(mm.name)
				}
			}
		}
		for int(id) >= len(t.workers) {
			t.workers, t.names = append(t.workers, 0), append(t.names, "")
		}
		t.workers[id], t.names[id] = typ, labels.Name
	})
}

// setModel makes the series of a model anew, and returns them.
func (m *Metrics) setModel(id pool.ModelID, name string) *modelMetrics {
	mm := m.vectors.model(name)
	var row []typeMetrics
	m.change(func(t *metricsTable) {
		for _, typ := range t.types {
			row = append(row, m.vectors.ofType(name, typ))
		}
		for int(id) >= len(t.models) {
			t.models, t.byType = append(t.models, &m.unknown), append(t.byType, make([]typeMetrics, len(t.types)))
		}
		t.models[id], t.byType[id] = mm, row
	})
	return mm
}

// change publishes another table.
func (m *Metrics) change(edit func(t *metricsTable)) {
	m.changing.Lock()
	defer m.changing.Unlock()
	old := m.table.Load()
	t := &metricsTable{
		models: slices.Clone(old.models), workers: slices.Clone(old.workers), names: slices.Clone(old.names), types: slices.Clone(old.types), byType: slices.Clone(old.byType),
	}
	edit(t)
	m.table.Store(t)
}
