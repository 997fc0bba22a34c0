package live

import (
	"context"
	"fmt"
	"math"
	"time"

	"motley/internal/backend"
	"motley/internal/dispatch"
	"motley/internal/gate"
	"motley/internal/oip"
	"motley/internal/pool"
)

// ProbeConfig says how the loop watches its workers. Zero fields take the
// defaults.
type ProbeConfig struct {
	// Interval is the time between two probes of one worker, of which the first may be
	// shorter; default 1 s; negative: probe once.
	Interval time.Duration
	Timeout  time.Duration // of one probe; default 2 s
	// Failures is how many consecutive failed probes take a worker down, or one
	// model off a worker that answers for others; default 2. At the start one is
	// enough, and so it is where the worker itself says that a model is not
	// ready.
	Failures int
	// Batched[model] says whether the first dimension of its tensors is the
	// batch; nil entries, and a nil slice, leave it to what the workers tell.
	Batched []*bool
	// Metadata[model] is used until, and unless, a worker tells its own.
	Metadata []*oip.ModelMetadata
}

// Info is what is known of a model from its configuration and its workers.
// The value is shared: do not change it.
type Info struct {
	Metadata *oip.ModelMetadata // nil while unknown
	Batched  bool               // requests of it can be merged
	MaxBatch int                // the most items that any worker told it takes; 0 = unbounded or unknown
	Splits   bool               // larger requests are cut into parts
	Exits    *backend.Exits     // the ramps of the first worker that has some; nil while none are known
}

// Info returns what is known of the model.
func (l *Loop) Info(m pool.ModelID) *Info {
	if info := l.infos[m].Load(); info != nil {
		return info
	}
	return &Info{}
}

// Watch probes every worker once, side by side, and from then on in the
// background until Close. It returns when the first round is over: workers
// that are not reachable by then start as down and come up when they answer.
func (l *Loop) Watch() {
	p := &l.cfg.Probe
	if p.Interval == 0 {
		p.Interval = time.Second
	}
	if p.Timeout == 0 {
		p.Timeout = 2 * time.Second
	}
	if p.Failures == 0 {
		p.Failures = 2
	}
	for m := range l.infos {
		info := &Info{}
		if m < len(p.Metadata) {
			info.Metadata = p.Metadata[m]
		}
		l.publish(pool.ModelID(m), info)
	}
	first := make(chan struct{})
	n := len(l.cfg.Backends)
	for w := range pool.WorkerID(n) {
		l.done.Go(func() { l.watch(w, first) })
	}
	for range n {
		<-first
	}
	l.done.Go(l.clinic.run) // health.go
}

// watch follows one worker.
func (l *Loop) watch(w pool.WorkerID, first chan<- struct{}) {
	failures := l.cfg.Probe.Failures - 1 // at the start one failure is enough
	served := make([]served, len(l.cfg.Core.Workers[w].Serves))
	for i := range served {
		served[i].missed = failures
	}
	up := false
	round := func() {
		err := l.probe(w, served)
		switch {
		case l.ctx.Err() != nil: // the loop is closing: that says nothing of the worker
		case err == nil:
			if !up {
				l.log.Info("worker is up", "worker", l.cfg.Core.Workers[w].Name)
				l.clinic.restarted(w) // health.go
				l.SetState(w, pool.Up)
			}
			up, failures = true, 0
		default:
			failures++
			if failures >= l.cfg.Probe.Failures && (up || failures == l.cfg.Probe.Failures) {
				l.log.Warn("worker is down", "worker", l.cfg.Core.Workers[w].Name, "error", err)
				l.SetState(w, pool.Down)
				up = false
			}
		}
	}
	round()
	first <- struct{}{}
	if l.cfg.Probe.Interval < 0 {
		return
	}
	tick := time.NewTicker(l.firstWait(w))
	defer tick.Stop()
	for set := false; ; set = true {
		select {
		case <-l.ctx.Done():
			return
		case <-tick.C:
			if !set {
				tick.Reset(l.cfg.Probe.Interval)
			}
			round()
		}
	}
}

// firstWait is how long after its first probe the worker is probed again: its share of
// an interval, so that the probes of many workers are spread over it evenly and do not
// come in bursts that requests have to wait for.
func (l *Loop) firstWait(w pool.WorkerID) time.Duration {
	after := l.cfg.Probe.Interval * time.Duration(w+1) / time.Duration(len(l.cfg.Backends))
	if after > together {
		after -= after % together
	}
	return max(1, after)
}

// served is what a worker's prober remembers of one of its models.
type served struct {
	missed int    // consecutive probes that failed
	ramps  string // what was last said against the use of its ramps
}

// probe asks a worker for each of its models. The round has failed when no
// model is ready. A single one that is not gets no work there.
func (l *Loop) probe(w pool.WorkerID, all []served) error {
	var failed error
	ready := 0
	for i, s := range l.cfg.Core.Workers[w].Serves {
		ctx, cancel := context.WithTimeout(l.ctx, l.cfg.Probe.Timeout)
		st, err := l.cfg.Backends[w].Probe(ctx, l.cfg.Core.Models[s.Model].Name)
		cancel()
		if l.ctx.Err() != nil {
			return l.ctx.Err()
		}
		l.mu.Lock()
		now := l.mu.core.Limit(w, s.Model)
		l.mu.Unlock()
		limit := 0
		switch {
		case err != nil:
			failed = err
			if all[i].missed++; all[i].missed < l.cfg.Probe.Failures {
				limit = now
			}
		case !st.Ready:
			all[i].missed = l.cfg.Probe.Failures
			failed = fmt.Errorf("model '%s' is not ready there", l.cfg.Core.Models[s.Model].Name)
		default:
			ready++
			all[i].missed = 0
			_, exits := l.exitsOf(w, s.Model)
			limit = l.learn(s.Model, st, exits)
			l.open(w, s.Model, exits, &all[i])
		}
		if limit != now {
			l.inject(dispatch.Event{Kind: dispatch.WorkerLimit, Worker: w, Model: s.Model, Size: limit})
		}
	}
	if ready > 0 || len(l.cfg.Core.Workers[w].Serves) == 0 {
		return nil
	}
	return failed
}

// open makes the model's gate ready for the worker's exits, once they are known.
func (l *Loop) open(w pool.WorkerID, m pool.ModelID, exits *backend.Exits, s *served) {
	g := l.gate(m)
	if g == nil || exits == nil || g.Fits(exits.Ramps) {
		return
	}
	err := g.Open(gate.Exits{Ramps: exits.Ramps, Classes: exits.Classes, Costs: exits.Costs})
	if err != nil && err.Error() != s.ramps {
		s.ramps = err.Error()
		l.log.Warn("no early exits on this worker", "worker", l.cfg.Core.Workers[w].Name, "model", l.cfg.Core.Models[m].Name, "error", err)
	}
}

// learn takes in what a worker tells of a model and returns the most items
// that it takes at once.
func (l *Loop) learn(m pool.ModelID, st backend.Status, exits *backend.Exits) int {
	l.learning.Lock()
	defer l.learning.Unlock()
	info := *l.Info(m)
	if st.Metadata != nil {
		info.Metadata = st.Metadata
	}
	info.MaxBatch = max(info.MaxBatch, st.MaxBatch)
	if info.Exits == nil {
		info.Exits = exits
	}
	if p := l.cfg.Probe; int(m) < len(p.Batched) && p.Batched[m] != nil {
		info.Batched = *p.Batched[m]
	} else {
		info.Batched = info.MaxBatch > 0 || batchedByShape(info.Metadata)
	}
	info.Splits = l.mu.core.Splits(m) // it never changes, hence no lock
	l.publish(m, &info)
	switch {
	case st.MaxBatch > 0:
		return st.MaxBatch
	case info.Batched:
		return math.MaxInt32 // the worker names no bound
	}
	return 1
}

// publish replaces what is known of a model, unless nothing changed.
func (l *Loop) publish(m pool.ModelID, info *Info) {
	if p := l.cfg.Probe; int(m) < len(p.Batched) && p.Batched[m] != nil {
		info.Batched = *p.Batched[m]
	}
	if old := l.infos[m].Load(); old == nil || *old != *info {
		l.infos[m].Store(info)
	}
}

// batchedByShape guesses whether a model takes batches where its server does
// not tell: when the first dimension of every input and output is variable. A
// model that lists none of its tensors is taken not to.
func batchedByShape(meta *oip.ModelMetadata) bool {
	if meta == nil || len(meta.Inputs) == 0 || len(meta.Outputs) == 0 {
		return false
	}
	for _, side := range [][]oip.TensorMetadata{meta.Inputs, meta.Outputs} {
		for _, t := range side {
			if len(t.Shape) == 0 || t.Shape[0] != -1 {
				return false
			}
		}
	}
	return true
}

// together is the grid on which probes begin: of a thousand workers ten at a time, since to
// wake up costs more than a probe.
const together = 10 * time.Millisecond
