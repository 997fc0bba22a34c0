package dispatch

import (
	"time"

	"motley/internal/mono"
	"motley/internal/pool"
)

// refresh brings what is derived from a worker's state up to date: whether it
// would take a batch now, and when its breaker changes by itself.
func (c *Core) refresh(id pool.WorkerID) {
	w := &c.workers[id]
	w.up = w.State == pool.Up && !w.out
	free := c.idle(w)
	if free != w.free {
		w.free = free
		delta := 1
		if !free {
			delta = -1
		}
		c.free += delta
		for _, s := range w.Serves {
			if s.MaxBatch > 0 {
				c.models[s.Model].groupOf(w).free += delta
			}
		}
	}
	if w.timer >= 0 {
		c.timers.removeAt(w.timer)
	}
	at := w.Breaker.NextChange(c.now)
	if w.rested > c.now {
		at = min(at, w.rested)
	}
	if at != mono.Never {
		c.timers.set(at, breakerTimer, uint32(id))
	}
}

// idle reports whether the worker would take a batch now.
func (c *Core) idle(w *worker) bool {
	return w.Allows(c.now) && len(w.running) < w.Concurrency && w.rested <= c.now
}

// recount derives every group's numbers from the workers.
func (c *Core) recount() {
	c.epoch++
	for i := range c.models {
		m := &c.models[i]
		m.up, m.coming = 0, 0
		clear(m.meets)
		for j := range m.groups {
			g := &m.groups[j]
			g.free, g.up, g.maxItems = 0, 0, 0
			for _, id := range g.workers {
				w := &c.workers[id]
				limit := w.limit(pool.ModelID(i))
				if limit == 0 {
					continue
				}
				switch {
				case w.State == pool.Starting:
					m.coming++
				case w.up:
					g.up++
					m.up++
					g.maxItems = max(g.maxItems, limit)
					for _, s := range w.Serves {
						m.meets[s.Model] = m.meets[s.Model] || s.MaxBatch > 0
					}
				}
				if w.free {
					g.free++
				}
			}
		}
		c.judge(m)
		c.calm(m.id)
	}
}

// setState notes a change of a worker's state. A worker that went down loses
// its batches at once: their members are tried elsewhere.
func (c *Core) setState(id pool.WorkerID, s pool.State) {
	w := &c.workers[id]
	if w.State == s || !w.present || w.removed && s != pool.Down {
		return
	}
	was := w.State
	w.State = s
	if was == pool.Down && s == pool.Up {
		w.Breaker.Retry(c.now)
		if w.vital.finished > 0 && !c.cfg.Failures.NoSlowStart {
			w.vital.slow = slowSteps
		}
	}
	c.changed(id)
	if s != pool.Down {
		return
	}
	for _, slot := range w.running {
		if b := &c.batches[slot]; !b.given {
			c.abandon(b)
			c.giveBack(b, Lost, false)
		}
	}
}

// setLimit notes how many items of a model a worker takes; 0 = it does not
// serve the model now.
func (c *Core) setLimit(id pool.WorkerID, m pool.ModelID, limit int) {
	w := &c.workers[id]
	if !w.present || w.removed {
		return
	}
	if !w.lists(m) {
		w.Serves = append(w.Serves, pool.Serve{Model: m, MaxBatch: limit})
		c.regroup()
		return
	}
	for i := range w.Serves {
		if w.Serves[i].Model == m {
			w.Serves[i].MaxBatch = limit
		}
	}
	c.changed(id)
	c.dropLarge(&c.models[m])
}

// changed derives what follows from a change of the worker.
func (c *Core) changed(id pool.WorkerID) {
	if c.ill() {
		c.resettle()
		return
	}
	c.refresh(id)
	c.recount()
}

// limit is the most items of the model that the worker takes at once.
func (w *worker) limit(m pool.ModelID) int {
	for _, s := range w.Serves {
		if s.Model == m {
			return s.MaxBatch
		}
	}
	return 0
}

// endsAt is when a slot of the worker is predicted to be free by what it was
// started with; past or present when one is.
func (c *Core) endsAt(w *worker) mono.Time {
	if len(w.running) < w.Concurrency {
		return max(c.now, w.rested)
	}
	first := mono.Never
	for _, s := range w.running {
		first = min(first, c.batches[s].ends)
	}
	return first
}

// left estimates how long until the worker has a slot free: 0 when it has one.
// An execution that is over its estimate is taken to need a tenth of it more.
func (c *Core) left(w *worker) time.Duration {
	if len(w.running) < w.Concurrency {
		return max(0, w.rested.Sub(c.now))
	}
	least := time.Duration(1<<63 - 1)
	for _, s := range w.running {
		b := &c.batches[s]
		d := b.ends.Sub(c.now)
		if d <= 0 {
			d = b.ends.Sub(b.started)/10 + 1
		}
		least = min(least, d)
	}
	return least
}

func (m *model) groupOf(w *worker) *group { return m.group(w.class) }

func (m *model) group(class int32) *group {
	i := m.byClass[class]
	if i < 0 {
		panic("BUG: a worker's type does not serve its model")
	}
	return &m.groups[i]
}
