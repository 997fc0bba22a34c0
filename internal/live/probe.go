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
	if info := l.model(m).info.Load(); info != nil {
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
	first := make(chan struct{})
	l.mu.Lock()
	l.mu.watching = true
	table := l.table.Load()
	for _, e := range table.models {
		e.publish(&Info{Metadata: e.Metadata})
	}
	for _, m := range table.workers {
		l.probeLocked(m, first)
	}
	l.mu.Unlock()
	for range table.workers {
		<-first
	}
	l.done.Go(l.clinic.run) // health.go
}

// probeLocked begins to follow a worker; first, unless nil, is told of the end of the
// first round.
func (l *Loop) probeLocked(m *Member, first chan<- struct{}) {
	m.watched = make(chan struct{})
	if m.Every == 0 {
		m.Every = l.cfg.Probe.Interval
	}
	wait := firstWait(m.Every, m.id, len(l.table.Load().workers))
	l.done.Go(func() {
		defer close(m.watched)
		m.watch(first, wait)
	})
}

// watch follows the worker.
func (m *Member) watch(first chan<- struct{}, wait time.Duration) {
	l := m.loop
	failures := l.cfg.Probe.Failures - 1 // at the start one failure is enough
	served := make([]served, len(m.Worker.Serves))
	for i := range served {
		served[i].missed = failures
	}
	up, known := false, false
	round := func() {
		err := m.probe(served)
		switch {
		case m.ctx.Err() != nil: // the loop is closing, or the worker goes: that says nothing of it
		case err == nil:
			if !up {
				l.log.Info("worker is up", "worker", m.Worker.Name)
				l.clinic.restarted(m) // health.go
				m.tell(dispatch.Event{Kind: dispatch.WorkerState, State: pool.Up})
			}
			if !known {
				known = true
				close(m.up)
			}
			up, failures = true, 0
		default:
			failures++
			if failures >= l.cfg.Probe.Failures && (up || failures == l.cfg.Probe.Failures) {
				l.log.Warn("worker is down", "worker", m.Worker.Name, "error", err)
				m.tell(dispatch.Event{Kind: dispatch.WorkerState, State: pool.Down})
				up = false
			}
		}
	}
	round()
	if first != nil {
		first <- struct{}{}
	}
	if m.Every < 0 {
		return
	}
	tick := time.NewTicker(wait)
	defer tick.Stop()
	for set := false; ; set = true {
		select {
		case <-m.ctx.Done():
			return
		case <-tick.C:
			if !set {
				tick.Reset(m.Every)
			}
			round()
		}
	}
}

// firstWait is how long after its first probe one of n workers is probed again: its share
// of an interval, so that the probes of many workers are spread over it evenly and do not
// come in bursts that requests have to wait for.
func firstWait(every time.Duration, w pool.WorkerID, n int) time.Duration {
	after := every * time.Duration(w+1) / time.Duration(n)
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
func (m *Member) probe(all []served) error {
	l := m.loop
	var failed error
	ready := 0
	for i, s := range m.Worker.Serves {
		model := l.model(s.Model)
		ctx, cancel := context.WithTimeout(m.ctx, l.cfg.Probe.Timeout)
		st, err := m.Backend.Probe(ctx, model.Name)
		cancel()
		if m.ctx.Err() != nil {
			return m.ctx.Err()
		}
		l.mu.Lock()
		now := l.mu.core.Limit(m.id, s.Model)
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
			failed = fmt.Errorf("model '%s' is not ready there", model.Name)
		default:
			ready++
			all[i].missed = 0
			_, exits := m.exitsOf(model)
			limit = l.learn(s.Model, st, exits)
			m.open(model, exits, &all[i])
		}
		if limit != now {
			m.tell(dispatch.Event{Kind: dispatch.WorkerLimit, Model: s.Model, Size: limit})
		}
	}
	if ready > 0 || len(m.Worker.Serves) == 0 {
		return nil
	}
	return failed
}

// open makes the model's gate ready for the worker's exits, once they are known.
func (m *Member) open(model *modelEntry, exits *backend.Exits, s *served) {
	g := model.Gate
	if g == nil || exits == nil || g.Fits(exits.Ramps) {
		return
	}
	err := g.Open(gate.Exits{Ramps: exits.Ramps, Classes: exits.Classes, Costs: exits.Costs})
	if err != nil && err.Error() != s.ramps {
		s.ramps = err.Error()
		m.loop.log.Warn("no early exits on this worker", "worker", m.Worker.Name, "model", model.Name, "error", err)
	}
}

// learn takes in what a worker tells of a model and returns the most items
// that it takes at once.
func (l *Loop) learn(m pool.ModelID, st backend.Status, exits *backend.Exits) int {
	l.learning.Lock()
	defer l.learning.Unlock()
	model := l.model(m)
	info := *l.Info(m)
	if st.Metadata != nil {
		info.Metadata = st.Metadata
	}
	info.MaxBatch = max(info.MaxBatch, st.MaxBatch)
	if info.Exits == nil {
		info.Exits = exits
	}
	if model.Batched == nil { // else publish says
		info.Batched = info.MaxBatch > 0 || batchedByShape(info.Metadata)
	}
	l.mu.Lock()
	info.Splits = l.mu.core.Splits(m)
	l.mu.Unlock()
	model.publish(&info)
	switch {
	case st.MaxBatch > 0:
		return st.MaxBatch
	case info.Batched:
		return math.MaxInt32 // the worker names no bound
	}
	return 1
}

// publish replaces what is known of a model, unless nothing changed.
func (e *modelEntry) publish(info *Info) {
	if e.Batched != nil {
		info.Batched = *e.Batched
	}
	if old := e.info.Load(); old == nil || *old != *info {
		e.info.Store(info)
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
