package earlyexit

import "math"

// The state of the integral control, as the logarithm of the share of the plan
// that holds. Below lowest nothing exits.
const (
	lowest  = -3.0
	highest = 1.0
)

// hardStop is how many times a window's budget may be used before nothing
// exits at all.
const hardStop = 1.5

// control holds the rate of disagreements. It has two parts.
//
// The integral x ← min(highest, x + γ(ε − L)) is rolling risk control: with ε
// the planned share, L at most m and no exits while x < lowest, x never falls
// below lowest − γm, and summing up gives, for any stream and any model of it,
//
//	Σ L ≤ ε·T + (x₁ − lowest)/γ + m
//
// after T rows (Gibbs and Candès, "Adaptive conformal inference under
// distribution shift", NeurIPS 2021, prop. 4.1; Feldman et al., "Achieving risk
// control in online learning settings", TMLR 2023). Rows that are not learned of
// yet add at most m each. With full feedback L is the loss itself and m is 1.
// With audits L is an unbiased estimate of it and m is 1/q for the least audit
// chance q; the true losses then exceed the bound by at most the deviation of
// a martingale (see slack).
//
// The window paces: as the budget of the last rows is used up, the plan
// shrinks; beyond hardStop times the budget nothing exits, so that with full
// feedback no window has more losses than that, one, and those in flight.
type control struct {
	x    float64
	ring []float32 // by row: its loss, or what is believed of it
	next int
	sum  float64 // of ring
}

// learn takes in a row: the estimate of its loss for the integral, and what is
// believed of it for the window.
func (c *control) learn(estimate, believed, planned, gain float64) {
	c.x = min(highest, c.x+gain*(planned-estimate))
	c.sum += float64(float32(believed)) - float64(c.ring[c.next])
	c.ring[c.next] = float32(believed)
	if c.next++; c.next == len(c.ring) {
		c.next, c.sum = 0, 0
		for _, v := range c.ring { // rounding does not pile up
			c.sum += float64(v)
		}
	}
}

// share is the share of the plan that holds now; budget is the losses that a
// window may have.
func (c *control) share(budget, pace, tight float64) float64 {
	if c.x < lowest || c.sum >= hardStop*budget {
		return 0
	}
	left := 1 - c.sum/budget
	return math.Exp(c.x) * math.Pow(tight, max(0, 1-left/pace))
}

// slack bounds at 95 % by how much audited losses can differ from their
// estimate, whose squares sum to squares and are each at most most (Freedman,
// "On tail probabilities for martingales", Annals of Probability 3, 1975).
func slack(squares, most float64) float64 {
	const log20 = 2.995732273553991
	return math.Sqrt(2*log20*squares) + log20*most/3
}
