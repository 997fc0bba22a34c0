package earlyexit

import "math"

// weightMost bounds what an audited row stands for beyond its exit: one over
// its chance is more than a few rows can be learned from.
const weightMost = 5

// observe takes in what a row shows of the world, whatever became of it.
func (a *Adaptive) observe(o *Outcome, v *view, ran bool) {
	weight := 0.0 // what the row stands for from its exit on
	if ran {
		weight = min(weightMost, 1/o.Audit)
	}
	a.mix.learn(v.scores[:len(a.ramps)], v.risks[:], v.seen, o.Exit, weight, a.cfg.Recent)
	if lead := a.lead(); o.Signals[lead].Seen() && a.changes.learn(confidenceOdds(o.Signals[lead].Confidence), a.cfg.AlarmRows) {
		a.alarm()
	}
	a.lookBack(o, v, ran, weight)
	for r := len(a.ramps) - 1; r >= 0; r-- {
		if v.seen>>r&1 == 0 {
			continue
		}
		y, w, known := a.label(o, v, r, ran, weight)
		if !known {
			continue
		}
		p := &a.ramps[r]
		p.curve.learn(v.model[r], y, w, 1-1/a.cfg.Memory)
		if p.all.n == 0 || p.curve.due() {
			p.curve.refresh(a.cfg.Prior)
		}
		p.model.learn(&v.x[r], y, w, a.cfg.Walk, varianceMost)
		if c := o.Signals[r].Class; c >= 0 {
			p.classes[c%classSlots].learn(y, w, 300)
		}
		p.all.learn(y, w, 1000)
		p.recent += 0.3 * (y - p.recent)
	}
	if !ran {
		if o.Exit >= 0 {
			a.answer = o.Signals[o.Exit].Class
		}
		return
	}
	if v.seen == 1<<len(a.ramps)-1 && len(a.cfg.Costs) > 0 {
		a.kept.add(v.risks[:len(a.ramps)], weight)
	}
	a.near.add(o)
	a.answer = o.Class
}

// label is the chance that ramp r disagreed on a row, and for how many rows it
// counts; known is false where the row tells nothing about the ramp.
//
// A row that ran to the end tells. Whether it did so depends on what the models
// know of it at its exit and after, so there it counts once (of a model of y
// given x, a sample drawn by x is as good as any).
//
// Before its exit that would not do: rows run to the end where later ramps were
// unsure, which is where this one was wrong more often than it knows. So a row
// that left later and stopped tells as well: the ramp disagrees with the full
// model if it does with the exit, but for the exit's own risk. Where classes
// are unknown only weights can make up for those rows.
func (a *Adaptive) label(o *Outcome, v *view, r int, ran bool, weight float64) (y, w float64, known bool) {
	if r >= o.Exit {
		return 1 - float64(o.Agree>>r&1), 1, ran
	}
	class, answer := o.Signals[r].Class, o.Signals[o.Exit].Class
	classes := class >= 0 && answer >= 0
	switch {
	case ran && classes:
		return 1 - float64(o.Agree>>r&1), 1, true
	case ran:
		return 1 - float64(o.Agree>>r&1), weight, true
	case class == answer:
		return v.risks[o.Exit], 1, classes
	}
	return 1 - v.risks[o.Exit], 1, classes
}

// lookBack learns what going on from each ramp was worth. Up to its exit every
// row shows that; beyond, those that ran to the end do for the others.
func (a *Adaptive) lookBack(o *Outcome, v *view, ran bool, weight float64) {
	value, price := 0.0, math.Exp(a.price)
	for r := len(a.ramps) - 1; r >= 0; r-- {
		if v.seen>>r&1 == 0 {
			continue
		}
		p := &a.ramps[r]
		w := weight
		if r < o.Exit {
			w = 1
		}
		if ran || r < o.Exit {
			p.ahead.learn(v.odds[r], value, w)
		}
		leave := p.saved - price*v.risks[r]
		if value = max(p.ahead[binOf(v.odds[r])], leave); r == o.Exit {
			value = leave
		}
	}
}
