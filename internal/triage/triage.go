// Package triage stands between what is known of workers (package health) and
// what decides (package dispatch): it collects samples and batches, and tells the
// core of a worker's health when that has changed enough to matter. It is pure,
// so that the simulator and the live loop use the same.
package triage

import (
	"math"
	"time"

	"motley/internal/dispatch"
	"motley/internal/gpu/device"
	"motley/internal/gpu/health"
	"motley/internal/mono"
	"motley/internal/pool"
)

// Ward is all workers of a pool. It is not safe for concurrent use.
type Ward struct {
	fleet    *health.Fleet
	patients []patient
}

// patient is one worker.
type patient struct {
	worker  *health.Worker // nil: there is none, or none any more
	told    dispatch.Health
	judged  health.Judgement
	at      mono.Time // of the judgement
	news    bool      // something came in since
	device  device.Device
	sample  device.Sample
	sampled mono.Time // when the sample was made
	heard   bool
	batches int
	off     float64 // mean of |took / estimate − 1|, over about offSpan batches
}

const (
	// step is the step of slowdowns, as a logarithm, and apart how far one must be
	// from what was told to be told anew: 10 %, which is about as well as the median of
	// the last batches is known.
	step, apart = 0.05, 0.1
	// wideStep and rampStep are the steps of uncertainty and of a slow start.
	wideStep, rampStep = 0.25, 0.1
	// again is after how long a worker of whom nothing came in is judged anew:
	// telemetry grows stale, and a slow start goes on.
	again   = time.Second
	offSpan = 64
)

// New returns the ward of workers whose instance types have those names.
func New(cfg health.Config, types []string) *Ward {
	w := &Ward{fleet: health.NewFleet(cfg)}
	for i, t := range types {
		w.Join(pool.WorkerID(i), t)
	}
	return w
}

// Join takes in a worker of an instance type, of which nothing is known yet.
func (w *Ward) Join(id pool.WorkerID, typ string) {
	for int(id) >= len(w.patients) {
		w.patients = append(w.patients, patient{})
	}
	w.Leave(id)
	w.patients[id] = patient{worker: w.fleet.Add(typ), told: dispatch.Healthy, judged: health.Judgement{Slowdown: 1, Uncertainty: 1, Ramp: 1}, news: true}
}

// Leave forgets a worker. What comes of it later is passed over.
func (w *Ward) Leave(id pool.WorkerID) {
	if w.knows(id) {
		w.fleet.Remove(w.patients[id].worker)
		w.patients[id] = patient{}
	}
}

func (w *Ward) knows(id pool.WorkerID) bool {
	return int(id) < len(w.patients) && w.patients[id].worker != nil
}

// Describe tells what a worker runs on.
func (w *Ward) Describe(id pool.WorkerID, d device.Device) {
	p := &w.patients[id]
	p.device, p.news = d, true
	p.worker.Describe(d)
}

// Sample takes a sample of what a worker runs on, handed over at now.
func (w *Ward) Sample(now mono.Time, id pool.WorkerID, s device.Sample) {
	p := &w.patients[id]
	p.worker.Sample(now, s)
	p.sample, p.sampled, p.heard, p.news = s, now.Add(-s.Age), true, true
}

// Expect tells that telemetry of a worker is to come, from now on: that none does
// counts as much as that it stops.
func (w *Ward) Expect(now mono.Time, id pool.WorkerID) { w.patients[id].worker.Expect(now) }

// Batch notes that a batch took what it took, where the type's profile expected
// another time, the worker's slowdown left out.
func (w *Ward) Batch(id pool.WorkerID, took, expected time.Duration) {
	if took <= 0 || expected <= 0 || !w.knows(id) {
		return
	}
	p := &w.patients[id]
	p.worker.Batch(took, expected)
	p.batches++
	off := math.Abs(float64(took)/(float64(expected)*p.told.Slowdown) - 1)
	p.off += (off - p.off) / float64(min(p.batches, offSpan))
	p.news = true
}

// Restarted tells that a worker's server came back, or that somebody vouches for
// the worker.
func (w *Ward) Restarted(id pool.WorkerID) {
	w.patients[id].worker.Restarted()
	w.patients[id].news = true
}

// Change is a worker of which the judgement has changed.
type Change struct {
	Worker pool.WorkerID
	Health dispatch.Health // for the core, where Told
	Told   bool            // Health is another than before
	// What was judged before.
	Was       health.State
	WasStale  bool
	WasAction health.Action
}

// Judge judges the workers of whom there is news, and appends what changed to
// dst, in the order of the workers.
func (w *Ward) Judge(now mono.Time, dst []Change) []Change {
	for i := range w.patients {
		p := &w.patients[i]
		if p.worker == nil || !p.news && now.Sub(p.at) < again {
			continue
		}
		was := p.judged
		p.judged, p.at, p.news = p.worker.Judge(now), now, false
		h := p.health()
		told := h != p.told
		p.told = h
		if told || was.State != p.judged.State || was.Stale != p.judged.Stale || was.Action != p.judged.Action {
			dst = append(dst, Change{Worker: pool.WorkerID(i), Health: h, Told: told, Was: was.State, WasStale: was.Stale, WasAction: was.Action})
		}
	}
	return dst
}

// health is what the core is told: in steps, so that it is not told of trifles
// and workers that are alike count as alike.
func (p *patient) health() dispatch.Health {
	j := &p.judged
	h := dispatch.Healthy
	h.Takes = j.Takes()
	if h.Takes {
		h.Ramp = max(rampStep, math.Floor(j.Ramp/rampStep+1e-9)*rampStep)
	}
	h.Uncertainty = 1 + math.Round((j.Uncertainty-1)/wideStep)*wideStep
	switch off := math.Log(j.Slowdown); {
	case j.Slowdown == 1:
	case math.Abs(off-math.Log(p.told.Slowdown)) < apart:
		h.Slowdown = p.told.Slowdown
	default:
		h.Slowdown = math.Exp(math.Round(off/step) * step)
	}
	return h
}

// Report is what is known of one worker.
type Report struct {
	health.Judgement
	Told         dispatch.Health // what the core goes by
	Device       device.Device   // its ID is empty where none is known
	Sample       device.Sample   // the last one
	Age          time.Duration   // of the sample, by now; negative where there is none
	Batches      int             // that were compared with the profile
	ProfileError float64         // mean relative error of the estimate, over about 64 batches
}

// Report says what is known of a worker at now, as judged last.
func (w *Ward) Report(now mono.Time, id pool.WorkerID) Report {
	p := &w.patients[id]
	r := Report{Judgement: p.judged, Told: p.told, Device: p.device, Sample: p.sample, Age: -1, Batches: p.batches, ProfileError: p.off}
	if p.heard {
		r.Age = now.Sub(p.sampled)
	}
	return r
}
