package sim

import (
	"fmt"
	"time"

	"motley/internal/dispatch"
	"motley/internal/gpu/device"
	"motley/internal/gpu/health"
	"motley/internal/mono"
	"motley/internal/pool"
	"motley/internal/triage"
)

// Watch has the workers' health judged as the live loop does: by what their
// batches take and by their telemetry, in simulated time.
type Watch struct {
	Health health.Config
	Every  time.Duration // between two judgements; 0 = 100 ms
	// Read is what the worker's telemetry says at an instant; false: nothing. It is
	// asked before every judgement. nil: there is no telemetry.
	Read func(w pool.WorkerID, at mono.Time) (device.Sample, bool)
	// Devices are what the workers run on of which telemetry is to come.
	Devices map[pool.WorkerID]device.Device
	// Told is given every change that is judged, with the judgement. nil: nobody.
	Told func(at mono.Time, c triage.Change, j health.Judgement)
}

// watcher is a Watch in a run.
type watcher struct {
	Watch
	ward    *triage.Ward
	changes []triage.Change
}

func newWatcher(w Watch, cfg *dispatch.Config) *watcher {
	if w.Every <= 0 {
		w.Every = 100 * time.Millisecond
	}
	types := make([]string, len(cfg.Workers))
	for i := range types {
		types[i] = cfg.Types[cfg.Workers[i].Type].Name
	}
	o := &watcher{Watch: w, ward: triage.New(w.Health, types)}
	for i := range cfg.Workers {
		if d, ok := w.Devices[pool.WorkerID(i)]; ok {
			o.ward.Expect(0, pool.WorkerID(i))
			o.ward.Describe(pool.WorkerID(i), d)
		}
	}
	return o
}

// look judges, and tells the core of what changed.
func (d *driver) look(at mono.Time) {
	o := d.watch
	if o.Read != nil {
		for i := range d.cfg.Core.Workers {
			if s, ok := o.Read(pool.WorkerID(i), at); ok {
				o.ward.Sample(at, pool.WorkerID(i), s)
			}
		}
	}
	o.changes = o.ward.Judge(at, o.changes[:0])
	for _, c := range o.changes {
		if o.Told != nil {
			o.Told(at, c, o.ward.Report(at, c.Worker).Judgement)
		}
		if c.Told {
			d.step(dispatch.Event{At: at, Kind: dispatch.WorkerHealth, Worker: c.Worker, Health: c.Health})
		}
	}
	d.push(event{at: at.Add(o.Every), kind: dispatch.Tick})
}

// SlowWorker makes one worker take factor times as long for executions that start
// from one instant up to another.
func SlowWorker(id pool.WorkerID, from, to mono.Time, factor float64) Disturbance {
	return func(next Serve, s Setting) (Serve, error) {
		if id < 0 || int(id) >= len(s.Workers) || !(factor > 0 && factor <= 1e6) { // the negation catches NaN
			return nil, fmt.Errorf("cannot slow down worker %d of %d: factor %v: must be positive, at most 1e6", id, len(s.Workers), factor)
		}
		return stretch(next, func(e Execution) float64 {
			if e.Worker == id && e.At >= from && e.At < to {
				return factor
			}
			return 1
		}), nil
	}
}
