package earlyexit

import "math"

// auditor spreads a share of audits over the rows that exit: with a chance
// that goes with √(p(1−p)/c), which makes the estimate of the losses as sharp
// as the compute c that audits take can (Neyman's allocation with costs,
// Cochran, "Sampling techniques", §5.5), and so more of them near the threshold
// and at late exits; and fewer where rows that looked alike have just run to the end,
// as frames of a video do: the first of them tell about the others.
type auditor struct {
	tokens float64 // rows that could be audited beyond the chances given so far
}

const (
	tokensMost = 40   // bounds the tokens either way
	tokensFold = 13.3 // tokens that make the chance e times as large
)

// cheapest is the least that an audit is taken to cost, as a share of a run.
const cheapest = 0.05

func (u *auditor) chance(risk, cost, near, least float64) float64 {
	q := math.Sqrt(risk*(1-risk)/max(cheapest, cost)) * math.Exp(u.tokens/tokensFold) / (1 + near)
	return max(least, min(1, q))
}

// spend counts the chance of an exit that could stop.
func (u *auditor) spend(q float64) { u.tokens = max(-tokensMost, u.tokens-q) }

// earn counts a row.
func (u *auditor) earn(share float64) { u.tokens = min(tokensMost, u.tokens+share) }
