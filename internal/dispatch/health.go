package dispatch

import (
	"fmt"
	"time"

	"motley/internal/mono"
	"motley/internal/pool"
)

// Health is how far a worker can be relied on, as its driver judges.
type Health struct {
	// Slowdown is what every estimate of its type is multiplied by, and
	// Uncertainty what the distance from the mean to the bound is; both at least 1.
	Slowdown, Uncertainty float64
	// Ramp is the share of its time that it works, 0 < Ramp ≤ 1, while it comes
	// back: after a batch that took t it rests t/Ramp − t.
	Ramp float64
	// Takes is that it gets new work. One that does not ends what it runs; what it
	// has not answered by the time that was to be expected is tried elsewhere.
	Takes bool
}

// Healthy is what a worker is until somebody says otherwise.
var Healthy = Health{Slowdown: 1, Uncertainty: 1, Ramp: 1, Takes: true}

// String prints it as transcripts do.
func (h Health) String() string {
	if !h.Takes {
		return "out"
	}
	return fmt.Sprintf("slowdown=%.3g uncertainty=%.3g ramp=%.2g", h.Slowdown, h.Uncertainty, h.Ramp)
}

// mostSlowdown keeps estimates within what can be reckoned with.
const mostSlowdown = 1000

// held keeps what the driver says within bounds; the comparisons catch NaN.
func (h Health) held() Health {
	bound := func(x *float64, least, most float64) {
		if !(*x >= least) {
			*x = least
		}
		*x = min(*x, most)
	}
	bound(&h.Slowdown, 1, mostSlowdown)
	bound(&h.Uncertainty, 1, mostSlowdown)
	bound(&h.Ramp, 1.0/mostSlowdown, 1)
	return h
}

// vital is what is known of a worker's health, and what it has done, kept apart
// from what every step reads.
type vital struct {
	health   Health
	ended    mono.Time // the last batch that it ran
	took     time.Duration
	finished uint64 // executions
	failures uint64
	leaving  bool      // it is to go
	opened   mono.Time // when its breaker did, last

	outcomes  pool.Outcomes // of the latest executions; see eject.go
	ejected   uint8         // how often it was by its rate, since it did well last
	ejections uint64        // how often its breaker has opened
	slow      uint8         // steps left until it has all of its time
}

// class is workers of one instance type that count as equally slow and
// uncertain. The first ones, one for each type, are those that are neither.
type class struct {
	typ        pool.TypeID
	slow, wide float64
	workers    int
}

// setHealth notes how far a worker can be relied on.
func (c *Core) setHealth(id pool.WorkerID, h Health) {
	w := &c.workers[id]
	if h = h.held(); h == w.vital.health || !w.present || w.removed {
		return
	}
	was := w.vital.health
	w.vital.health = h
	if h.Slowdown == was.Slowdown && h.Uncertainty == was.Uncertainty {
		c.resettle()
	} else {
		for _, s := range w.running {
			b := &c.batches[s]
			b.ends = b.started.Add(time.Duration(float64(b.ends-b.started) * h.Slowdown / was.Slowdown))
		}
		c.regroup()
	}
	if was.Takes && w.out {
		c.hurry(w)
	}
}

// resettle derives what follows from the workers' states and healths together:
// who is out and who holds back, what is free, and every group's numbers.
//
// Neither may cost a model its service. Workers that come back work at once where
// no other is up that does, and those that are to take no work get some where
// all are. One whose breaker is open does no work.
func (c *Core) resettle() {
	for i := range c.workers {
		w := &c.workers[i]
		h := &w.vital.health
		w.out, w.paced, w.rested = !h.Takes || w.vital.leaving, h.Takes && w.vital.ramp() != 1, 0
	}
	for i := range c.models {
		c.keep(pool.ModelID(i), func(w *worker) bool { return !w.out && !w.paced && !w.Breaker.Tripped() }, func(w *worker) { w.paced = false })
		c.keep(pool.ModelID(i), func(w *worker) bool { return !w.out && !w.Breaker.Tripped() }, func(w *worker) { w.out = false })
	}
	for i := range c.workers {
		if w := &c.workers[i]; w.paced {
			w.rested = w.vital.ended.Add(w.rests(w.vital.took))
		}
		c.refresh(pool.WorkerID(i))
	}
	c.recount()
}

// keep has every worker that is up and serves the model needed, if none of
// them is well.
func (c *Core) keep(m pool.ModelID, well func(*worker) bool, needed func(*worker)) {
	for i := range c.workers {
		if w := &c.workers[i]; w.State == pool.Up && w.limit(m) > 0 && well(w) {
			return
		}
	}
	for i := range c.workers {
		if w := &c.workers[i]; w.State == pool.Up && w.limit(m) > 0 {
			needed(w)
		}
	}
}

// ill reports whether any worker's health is anything but good.
func (c *Core) ill() bool {
	for i := range c.workers {
		if v := c.workers[i].vital; v.leaving || !v.health.Takes || v.ramp() != 1 {
			return true
		}
	}
	return false
}

// hurry gives what a worker runs that is not to be trusted any more the time
// that was to be expected, without the patience of other times.
func (c *Core) hurry(w *worker) {
	for _, slot := range w.running {
		b := &c.batches[slot]
		if b.given || b.timer < 0 {
			continue
		}
		m := &c.models[b.model]
		c.timers.removeAt(b.timer)
		b.hangs = max(c.now, b.started.Add(m.groupOf(w).profile.Bound(b.items, m.Quantile)))
		c.timers.set(b.hangs, batchTimer, slot)
	}
}

// Allows reports whether the worker may be given new work at now, as far as its
// state, its health and its breaker go.
func (w *worker) Allows(now mono.Time) bool { return w.up && w.Breaker.Allow(now) }

// rests is how long a worker that comes back holds still after a batch that took
// so long.
func (w *worker) rests(took time.Duration) time.Duration {
	if !w.paced {
		return 0
	}
	d := time.Duration(float64(took)/w.vital.ramp()) - took
	if w.vital.slow > 0 && w.vital.health.Ramp == 1 {
		d = min(d, slowRest)
	}
	return d
}

// slots is how many batches the worker runs at once, in the mean.
func (w *worker) slots() float64 {
	n := float64(w.Concurrency)
	if w.paced {
		n *= w.vital.ramp()
	}
	return n
}

// Expected says which worker runs a batch and how long it should take by its
// type's profile, were the worker as the others, as its rows ran; 0 where nothing
// is known. It is asked before the batch ends.
func (c *Core) Expected(id BatchID, stages []Stage) (pool.WorkerID, time.Duration) {
	b := c.runs(id)
	m := &c.models[b.model]
	return b.worker, m.groups[m.byClass[c.workers[b.worker].Type]].profile.Expected(b.items, stages)
}

// learn teaches the type's profile what a batch took. Of a worker that is slower
// than its type by a factor that is but an estimate itself it learns only where it
// knows too little otherwise.
func (c *Core) learn(b *batch, w *worker, stages []Stage) {
	m := &c.models[b.model]
	g := &m.groups[m.byClass[w.Type]]
	g.most = max(g.most, b.items)
	p := g.profile
	took := c.now.Sub(b.started)
	switch slow := w.vital.health.Slowdown; {
	case slow == 1:
		p.ObserveStages(b.items, took, stages, &m.mix)
	case !p.Settled():
		p.ObserveStages(b.items, time.Duration(float64(took)/slow), stages, &m.mix)
	default:
		p.NoteStages(b.items, stages, &m.mix)
	}
	for _, p := range m.profiles {
		p.Remix()
	}
	m.follow()
}

// follow brings the profiles of derated workers up to date.
func (m *model) follow() {
	for i := len(m.profiles); i < len(m.groups); i++ {
		m.groups[i].profile.Follow()
	}
}
