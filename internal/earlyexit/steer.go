package earlyexit

import (
	"math"
	"math/bits"
)

// auditedSpend is how much less is planned where only audits tell what was
// lost: control holds the rate less closely, so more is left to chance.
const auditedSpend = 0.65

// planned is the share of rows that are planned to disagree.
func (a *Adaptive) planned() float64 {
	planned := a.cfg.Spend * (1 - a.cfg.Target)
	if a.cfg.Mode == Compute {
		planned *= auditedSpend
	}
	return planned
}

// lossMost bounds the estimate of a loss.
func (a *Adaptive) lossMost() float64 {
	if a.cfg.Mode == Compute {
		return 1 / a.cfg.AuditLeast
	}
	return 1
}

// auditedGain and the root of the share of audits make the gain smaller where
// only audits tell: each of their losses counts for many, so that most of what
// larger steps followed would be chance.
const auditedGain = 0.5

// gain is that of the integral control.
func (a *Adaptive) gain() float64 {
	if a.cfg.Mode == Compute {
		return auditedGain * a.cfg.Gain * math.Sqrt(a.cfg.Audits)
	}
	return a.cfg.Gain
}

// steer sets τ for the next rows.
func (a *Adaptive) steer() {
	budget := (1 - a.cfg.Target) * float64(a.cfg.Window)
	share := a.control.share(budget, a.cfg.Pace, a.cfg.Tight)
	if a.safe.left > 0 {
		share *= a.safeShare()
	}
	if a.tau = 0; share > 0 {
		a.tau = a.mix.tau(a.planned() * share)
		a.price += (math.Log(1/max(gridLow, a.tau)) - a.price) / a.cfg.Recent
	}
}

// reconsider chooses the set of one cost anew. A change must be worth something
// for each ramp that comes or goes: a replay does not see what a ramp tells the
// later ones of a row, nor that nothing is learned of one that is left out.
func (a *Adaptive) reconsider() {
	const least, better = 48, 0.003 // rows to judge by; what each ramp's change must be worth
	if len(a.cfg.Costs) == 0 || a.kept.n < least {
		return
	}
	i := a.turn
	a.turn = (i + 1) % len(a.sets)
	cost, price := &a.cfg.Costs[i], math.Exp(a.price)
	allowed := func(s uint32) bool { return a.allowed(s, i) }
	now := a.kept.worth(a.sets[i], cost, price)
	near, v := a.kept.climb(a.sets[i], cost, price, allowed)
	far, w := a.kept.climb(0, cost, price, allowed)
	if w > v {
		near, v = far, w
	}
	if v > now+better*float64(bits.OnesCount32(near^a.sets[i])) {
		lead := a.lead()
		a.sets[i] = near
		a.weigh()
		if a.lead() != lead {
			a.changes = alarm{} // another ramp's confidences are distributed differently
		}
	}
}

// lead is the ramp whose confidences are watched for a change: the first that
// every single row is seen at.
func (a *Adaptive) lead() int { return bits.TrailingZeros32(a.sets[0] | 1<<(len(a.ramps)-1)) }
