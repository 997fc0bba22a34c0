package dispatch

import (
	"time"

	"motley/internal/pool"
)

// A breaker opens when a worker fails several times in a row. One that fails every
// third batch never does, and where it fails fast it is free more often than the
// others and gets more of the work. It is ejected by its rate: its breaker opens, for
// longer each time, unless too many are out already.

const (
	// ejectLeast is how many failures there are to be before a rate is one: a worker
	// that fails 1 in 20 has that many of 15 once in 2,000 times.
	ejectLeast = 5
	// ejectOver is how much higher than that of the model's other workers a rate has to
	// be: what they all have is no fault of one.
	ejectOver = 1.25
	// ejectFor is how long a worker is out the first time, and ejectMost the longest.
	ejectFor  = 5 * time.Second
	ejectMost = time.Minute
	// slowAfter is how long a breaker must have been open for its worker to come back
	// little by little: after a moment nothing of it is cold.
	slowAfter = time.Second
	// slowSteps is in how many steps a worker comes back, a batch each: with an eighth
	// of its time at first, twice as much each time.
	slowSteps = 3
	// slowRest is the longest that a worker which comes back so rests after a batch.
	slowRest = time.Second
)

// success notes that the worker has answered.
func (c *Core) success(id pool.WorkerID) {
	w := &c.workers[id]
	v := w.vital
	v.outcomes.Add(false)
	if v.ejected > 0 && v.outcomes.Full() && !c.over(v) {
		v.ejected = 0
	}
	back := w.Breaker.Tripped()
	w.Breaker.Success(c.now)
	switch {
	case back && !c.cfg.Failures.NoSlowStart && c.now.Sub(v.opened) >= slowAfter:
		v.slow = slowSteps // it comes back step by step
	case v.slow > 0:
		v.slow--
	case !back:
		return
	}
	c.resettle()
}

// ramp is the share of its time that a worker works.
func (v *vital) ramp() float64 { return min(v.health.Ramp, 1/float64(int(1)<<v.slow)) }

// over reports whether a worker fails more often than is put up with.
func (c *Core) over(v *vital) bool {
	n := v.outcomes.Failed()
	return n >= ejectLeast && float64(n) >= c.cfg.Failures.EjectRate*float64(v.outcomes.Ended())
}

// failure notes that the worker has failed, and keeps it out if that is once too often.
// counts is that it is part of its rate.
func (c *Core) failure(id pool.WorkerID, counts bool) {
	w := &c.workers[id]
	v := w.vital
	if counts {
		v.outcomes.Add(true)
	}
	was := w.Breaker.Tripped()
	w.Breaker.Failure(c.now)
	if counts && c.cfg.Failures.EjectRate > 0 && !w.Breaker.Tripped() && c.over(v) && c.standsOut(w) && c.spared(w) {
		w.Breaker.Trip(c.now, min(ejectMost, ejectFor<<min(v.ejected, 8)))
		v.ejected++
	}
	if w.Breaker.Tripped() {
		v.outcomes = pool.Outcomes{}
		if !was {
			v.ejections++
			v.opened = c.now
			if c.ill() {
				c.resettle() // some may be needed now
			}
		}
		for _, s := range w.Serves {
			c.calm(s.Model)
		}
	}
}

// standsOut reports whether the worker fails much more often than the others that are
// up and serve a model of its own.
func (c *Core) standsOut(w *worker) bool {
	failed, ended := 0, 0
	for i := range c.workers {
		o := &c.workers[i]
		if o == w || !o.up || !c.meet(o, w) {
			continue
		}
		failed += o.vital.outcomes.Failed()
		ended += o.vital.outcomes.Ended()
	}
	own := &w.vital.outcomes
	return float64(own.Failed()*ended) > ejectOver*float64(failed*own.Ended())
}

// meet reports whether the two serve a model both.
func (c *Core) meet(a, b *worker) bool {
	for _, s := range a.Serves {
		if s.MaxBatch > 0 && b.limit(s.Model) > 0 {
			return true
		}
	}
	return false
}

// shut counts the workers of a model that are up, and those of them whose breakers are
// not closed.
func (c *Core) shut(m pool.ModelID) (up, shut int) {
	mod := &c.models[m]
	for i := range mod.groups {
		for _, id := range mod.groups[i].workers {
			if w := &c.workers[id]; w.up && w.limit(m) > 0 {
				up++
				if w.Breaker.Tripped() {
					shut++
				}
			}
		}
	}
	return up, shut
}

// spared reports whether every model that the worker serves has enough others.
func (c *Core) spared(w *worker) bool {
	for _, s := range w.Serves {
		if s.MaxBatch == 0 {
			continue
		}
		if up, shut := c.shut(s.Model); float64(shut+1) > c.cfg.Failures.MaxEjected*float64(up) {
			return false
		}
	}
	return true
}

// calm sees to it that the model is not left without service for long because most of its
// workers have failed: then each is tried again soon, however often that has failed.
func (c *Core) calm(m pool.ModelID) {
	if up, shut := c.shut(m); float64(shut) <= c.cfg.Failures.MaxEjected*float64(up) {
		return
	}
	mod := &c.models[m]
	for i := range mod.groups {
		for _, id := range mod.groups[i].workers {
			if o := &c.workers[id]; o.up && o.Breaker.Tripped() {
				o.Breaker.Hasten(c.now)
				c.refresh(id)
			}
		}
	}
}
