package earlyexit

import "math"

// The shares of disagreement that can be certified: geometric about the one
// that is promised, which is one of them.
const (
	certifySteps = 32
	certifyAt    = 13 // the promised share
	certifyRatio = 1.2
)

var log20 = math.Log(20)

// certificate holds, for each share ε of a grid, a test martingale against
// "the chance of a loss is ε or more": its capital grows by 1 + b(ε − L) with
// each row, whose mean is then at most 1 for a bet b that was made before the
// row. By Ville's inequality it ever reaches 20 with chance 5 % at most, so what
// has reached it is proven at 95 % whenever one looks (Waudby-Smith and Ramdas,
// "Estimating means of bounded random variables by betting", JRSS-B 2024; with
// audits Xu, Karampatziakis and Mineiro, NeurIPS 2024: L is then an estimate
// with the right mean, and at most most).
//
// The capital is capped at ten times what certifies: that only loses capital,
// so the guarantee stands, and a drift takes the certificate away within tens
// of losses.
type certificate struct {
	shares  [certifySteps]float64
	capital [certifySteps]float64 // logarithms
	n, k    float64               // rows and losses of late, for the bets
}

func newCertificate(promised float64) (c certificate) {
	for i := range c.shares {
		c.shares[i] = min(0.95, promised*math.Pow(certifyRatio, float64(i-certifyAt)))
	}
	return c
}

// shares of the bet that would grow fastest if the losses of late went on, and
// of the largest that cannot lose everything.
const (
	kelly   = 0.6
	bravest = 0.8
)

// priorRows is for how many rows the bets take half of a share to be lost
// before any is seen.
const priorRows = 100

func (c *certificate) learn(loss, most float64) {
	for i := range c.capital {
		c.bet(i, loss, most)
	}
	c.note(loss)
}

// bet plays a row against the i-th share.
func (c *certificate) bet(i int, loss, most float64) {
	e := c.shares[i]
	p := max(0, (c.k+e/2*priorRows)/(c.n+priorRows))
	if p >= e {
		return
	}
	// A loss has variance of about p·most.
	b := min(kelly*(e-p)/(p*most+(e-p)*(e-p)), bravest/(most-e))
	c.capital[i] = min(log20+math.Ln10, c.capital[i]+math.Log1p(b*(e-loss)))
}

// note takes a row in for the bets to come.
func (c *certificate) note(loss float64) {
	c.n = c.n*(1-1./4000) + 1
	c.k = c.k*(1-1./4000) + loss
}

// proven is the smallest share that is certified now; 1: none.
func (c *certificate) proven() float64 {
	best := 1.0
	for i := certifySteps - 1; i >= 0 && c.capital[i] >= log20; i-- {
		best = c.shares[i]
	}
	return best
}
