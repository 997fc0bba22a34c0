package earlyexit

import "fmt"

// varianceMost bounds how uncertain a model's weight becomes.
const varianceMost = 2

// view is what the models say of a row at the ramps that it was seen at.
type view struct {
	x                          [MaxRamps]vector
	model, odds, risks, scores [MaxRamps]float64
	seen                       uint32
}

func (a *Adaptive) look(signals []Signal, v *view) {
	v.seen = 0
	for r := range a.ramps {
		if signals[r].Seen() {
			v.seen |= 1 << r
			v.model[r], v.odds[r], v.risks[r], _ = a.risk(signals, r, &v.x[r])
			v.scores[r] = a.ramps[r].ahead.score(v.risks[r], v.odds[r], a.ramps[r].saved)
		}
	}
}

// Learn implements Controller.
//
// An audit that is lost counts as one that was not drawn: it is assumed that
// workers fail and clients leave regardless of whether the answer was right. A
// row that got no answer teaches nothing.
func (a *Adaptive) Learn(o *Outcome) {
	if a.pending > 0 && a.first(o.Signals) >= 0 {
		a.pending--
	}
	if o.Exit >= 0 {
		a.flight.land(o.Signals[o.Exit].Class, a.pending)
	}
	if o.Lost && o.Exit < 0 {
		return
	}
	var v view
	a.look(o.Signals, &v)
	ran := o.Ran && !o.Lost
	// The loss as estimated: without bias, from the audits, with the calibrated
	// risk as a control variate; and as believed, with the audits' noise shrunk.
	estimate, believed := 0.0, 0.0
	if o.Exit >= 0 {
		risk := v.risks[o.Exit]
		estimate, believed = risk, risk
		if ran {
			loss := 0.0
			if o.Disagrees() {
				loss = 1
			}
			estimate += (loss - risk) / o.Audit
			believed = loss
		}
	}
	a.account.learn(o, ran)
	a.proof.learn(estimate, a.lossMost())
	a.control.learn(estimate, believed, a.planned(), a.gain())
	a.audits.earn(a.cfg.Audits)
	if a.cfg.ClassTarget > 0 && ran {
		a.learnClasses(o)
	}
	a.observe(o, &v, ran)
	if ran {
		a.safe.learn(&v, a.mix.tau(a.planned()), o.Agree)
	}
	a.steer()
	if n := a.account.seen; n%uint64(a.cfg.Reconsider) == 0 {
		a.reconsider()
	}
}

// alarm answers a change: carefully, and ready to learn.
func (a *Adaptive) alarm() {
	a.account.alarms++
	a.safe.begin(a.cfg.SafeRows)
	for r := range a.ramps {
		a.ramps[r].model.loosen(a.cfg.Jolt, varianceMost)
	}
}

// Warm learns from rows of a calibration file, which ran to the end: the
// models, not where control stands. It is for a controller that has not been
// used yet, and spares it the caution of one that knows nothing. What was
// learned so is taken to hold about as well as after an alarm.
func (a *Adaptive) Warm(rows []Outcome) error {
	for i := range rows {
		if len(rows[i].Signals) != len(a.ramps) {
			return fmt.Errorf("cannot learn from calibration row %d: it has %d ramps, want %d", i, len(rows[i].Signals), len(a.ramps))
		}
	}
	alarms := a.account.alarms
	var v view
	for i := range rows {
		a.look(rows[i].Signals, &v)
		a.observe(&rows[i], &v, rows[i].Ran && !rows[i].Lost)
		a.steer()
	}
	for range a.sets {
		a.reconsider()
	}
	for r := range a.ramps {
		a.ramps[r].model.loosen(a.cfg.Jolt, varianceMost)
	}
	a.safe, a.near, a.answer, a.account.alarms = safety{}, neighbours{}, -1, alarms
	a.steer()
	return nil
}

// classGain is how much faster control of a class is, which sees few rows.
const classGain = 2

// learnClasses holds a budget for each class, the one answered and the full
// model's, by integral control like the whole: a loss counts for both, since
// classes that are taken for each other share the blame.
func (a *Adaptive) learnClasses(o *Outcome) {
	step := func(class int32, loss float64) {
		if class >= 0 {
			c := &a.classes[class%classSlots]
			*c = min(0, *c+classGain*a.cfg.Gain*(1-a.cfg.ClassTarget-loss))
		}
	}
	if o.Exit < 0 || !o.Disagrees() {
		step(o.Class, 0)
		return
	}
	step(o.Class, 1/o.Audit)
	step(o.Signals[o.Exit].Class, 1/o.Audit)
}
