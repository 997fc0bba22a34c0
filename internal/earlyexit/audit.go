package earlyexit

import "math"

// auditor spreads a share of audits over the rows that exit: with a chance
// that goes with √(p(1−p)), which makes the estimate of the losses as sharp as
// that many audits can (Neyman's allocation), and so more of them near the
// threshold.
type auditor struct {
	tokens float64 // rows that may be audited, had there been no chance
}

const (
	auditTokens = 40  // bounds the tokens either way
	auditUsual  = 1.0 // chance over √(p(1−p)) where the tokens are even
)

func (u *auditor) chance(risk, least float64) float64 {
	q := auditUsual * math.Sqrt(risk*(1-risk)) * math.Exp(u.tokens/(auditTokens/3.))
	return max(least, min(1, q))
}

// spend counts the chance of an exit that could stop.
func (u *auditor) spend(q float64) { u.tokens = max(-auditTokens, u.tokens-q) }

// earn counts a row.
func (u *auditor) earn(share float64) { u.tokens = min(auditTokens, u.tokens+share) }
