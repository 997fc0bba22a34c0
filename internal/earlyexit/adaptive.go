package earlyexit

import (
	"fmt"
	"math"
)

// Adaptive is the controller that learns. Of every row it estimates at each
// ramp the chance that the ramp's answer is not the full model's (logistic,
// recalibration), compares it with what leaving there saves (ahead), and lets
// it exit up to one threshold τ, which it sets so that the mean risk of the
// rows of late is what is planned (mix), and plans what the losses that were
// seen leave room for (control).
//
// In steady state Decide and Learn do not allocate.
type Adaptive struct {
	cfg    Config
	ramps  []ramp
	near   neighbours
	answer int32 // what the last row was answered, by the full model where it ran to the end; −1: unknown

	mix     mix
	control control
	audits  auditor
	proof   certificate
	changes alarm
	safe    safety
	account account
	classes [classSlots]float64 // with ClassTarget: by class the logarithm of the share of τ that holds

	tau   float64 // 0: no exits
	price float64 // running mean of log 1/τ, of a τ that exits

	sets    []uint32 // by cost: the active ramps
	kept    kept
	turn    int    // the cost whose set is chosen next
	flight  flight // of those, the ones that exited
	pending uint64 // rows decided about and not learned of
	most    uint64 // of those, at most, when one exited
}

// ramp is what is known of one ramp.
type ramp struct {
	model   logistic
	curve   recalibration
	ahead   ahead
	classes [classSlots]rate
	all     rate
	recent  float64 // share of the last few rows that disagreed
	saved   float64 // share of a whole run that leaving here saves
}

// coldRows is for how long a controller that knows nothing is as careful as
// after an alarm.
const coldRows = 256

// New returns a controller that knows nothing yet.
func New(c Config) (*Adaptive, error) {
	if err := c.complete(); err != nil {
		return nil, fmt.Errorf("cannot make an early-exit controller: %w", err)
	}
	a := &Adaptive{cfg: c, ramps: make([]ramp, c.Ramps), answer: -1, mix: newMix(), kept: newKept(c.Ramps), price: math.Log(50)}
	a.control.ring = make([]float32, c.Window)
	a.account, a.proof = newAccount(c.Ramps), newCertificate(1-c.Target)
	for r := range a.ramps {
		p := &a.ramps[r]
		p.model.reset(vector{0: -0.5, 1: -2}, 0.5)
		p.curve.refresh(c.Prior)
	}
	a.sets = make([]uint32, max(1, len(c.Costs)))
	for i := range a.sets {
		a.sets[i] = spread(c.Ramps, func(s uint32) bool { return a.allowed(s, i) })
	}
	a.weigh()
	a.safe.begin(coldRows)
	return a, nil
}

// weigh takes in what exits save in a batch of the first cost. Batches of
// other sizes are taken to be alike: a row is not told its batch's size.
func (a *Adaptive) weigh() {
	spent := 0.0
	for r := range a.ramps {
		if len(a.cfg.Costs) == 0 {
			a.ramps[r].saved = 1 - float64(r+1)/float64(len(a.ramps)+1)
			continue
		}
		c := &a.cfg.Costs[0]
		if a.sets[0]>>r&1 == 1 {
			spent += c.Ramp[r]
		}
		a.ramps[r].saved = 1 - (c.Until[r]+spent)/c.Whole
	}
}

// allowed tells whether a set keeps to the budget for batches that go by cost
// i: from one row more than the cost before it, whose budget it keeps as well.
func (a *Adaptive) allowed(set uint32, i int) bool {
	for j := max(0, i-1); j <= i && j < len(a.cfg.Costs); j++ {
		if !fits(set, &a.cfg.Costs[j], a.cfg.Budget) {
			return false
		}
	}
	return true
}

// Active implements Controller. A small share of batches evaluates all ramps,
// so that sets can be compared; it is far smaller than what a 95th percentile
// leaves out.
func (a *Adaptive) Active(n int, chance float64) uint32 {
	all := uint32(1<<a.cfg.Ramps - 1)
	switch {
	case a.cfg.Mode == Off:
		return 0
	case len(a.cfg.Costs) == 0 || chance < a.cfg.Explore:
		return all
	}
	i := 0
	for i < len(a.cfg.Costs)-1 && a.cfg.Costs[i].Batch < n {
		i++
	}
	return a.sets[i]
}

// risk estimates the chance that ramp r's answer is not the full model's.
// model are the log-odds before recalibration, odds those after it.
func (a *Adaptive) risk(signals []Signal, r int, x *vector) (model, odds, risk, near float64) {
	near = a.features(signals, r, x)
	model = a.ramps[r].model.logOdds(x)
	risk = a.ramps[r].curve.risk(model)
	return model, logit(risk), risk, near
}

// Decide implements Controller.
func (a *Adaptive) Decide(row *Row, r int) Verdict {
	if r == a.first(row.Signals) {
		a.pending++
	}
	v := Verdict{Audit: 1}
	if a.cfg.Mode == Off || row.Mode == Off || a.tau == 0 || !row.Signals[r].Seen() {
		return v
	}
	var x vector
	_, odds, risk, near := a.risk(row.Signals, r, &x)
	tau := a.tau
	if c := row.Signals[r].Class; c >= 0 && a.cfg.ClassTarget > 0 {
		tau *= math.Exp(min(0, a.classes[c%classSlots]))
		if a.classes[c%classSlots] < lowest {
			return v
		}
	}
	score := a.ramps[r].ahead.score(risk, odds, a.ramps[r].saved)
	if a.cfg.Mode == Latency { // mode compute leaves windows to chance anyway
		score *= a.flight.alike(row.Signals[r].Class, a.changes.correlation())
	}
	if score > tau || row.Most > 0 && risk > row.Most {
		return v
	}
	v.Exit = true
	a.flight.leave(row.Signals[r].Class)
	a.most = max(a.most, a.pending)
	if a.cfg.Mode == Compute && row.Mode == Compute && !row.Idle {
		v.Audit = a.audits.chance(risk, a.ramps[r].saved, near, a.cfg.AuditLeast)
		a.audits.spend(v.Audit)
		v.Stop = row.Chance >= v.Audit
	}
	return v
}

// first is the first ramp that was evaluated.
func (a *Adaptive) first(signals []Signal) int {
	for r := range signals {
		if signals[r].Seen() {
			return r
		}
	}
	return -1
}
