package earlyexit

// Log-odds are binned from lowOdds in steps of oddsStep.
const (
	bins     = 24
	lowOdds  = -9.0
	oddsStep = 0.5
)

func binOf(odds float64) int { return max(0, min(bins-1, int((odds-lowOdds)/oddsStep))) }

// recalibration maps a model's log-odds to what came of them: an isotonic
// curve over bins, each drawn towards the model.
type recalibration struct {
	n, k, o [bins]float64 // by bin: rows, those that disagreed, sum of log-odds
	at      [bins]float64 // by bin: where its point of the curve lies, in log-odds of the model
	curve   [bins]float64 // by bin: the recalibrated log-odds
	since   int           // rows since it was drawn
}

// refreshRows is how often the curve is drawn anew.
const refreshRows = 32

func (c *recalibration) due() bool { return c.since >= refreshRows }

// learn takes in a row that disagreed (y = 1) or not, after the rows before
// have been scaled by keep.
func (c *recalibration) learn(odds, y, weight, keep float64) {
	for i := range c.n {
		c.n[i] *= keep
		c.k[i] *= keep
		c.o[i] *= keep
	}
	c.since++
	b := binOf(odds)
	c.n[b] += weight
	c.k[b] += weight * y
	c.o[b] += weight * odds
}

// refresh draws the curve; the model counts for prior rows in each bin.
func (c *recalibration) refresh(prior float64) {
	var risks, weights [bins]float64
	var starts [bins]int
	c.since = 0
	for b := range bins {
		middle := lowOdds + (float64(b)+0.5)*oddsStep
		c.at[b] = (c.o[b] + middle) / (c.n[b] + 1)
		risks[b] = (c.k[b] + prior*sigmoid(c.at[b])) / (c.n[b] + prior)
		weights[b] = c.n[b] + prior
	}
	isotonic(risks[:], weights[:], starts[:])
	for b, r := range risks {
		c.curve[b] = logit(r)
	}
}

// risk is the recalibrated probability: linear in log-odds between the points
// of the curve, parallel to the model outside of them.
func (c *recalibration) risk(odds float64) float64 {
	b := binOf(odds)
	if odds < c.at[b] {
		b--
	}
	switch {
	case b < 0:
		return sigmoid(c.curve[0] + odds - c.at[0])
	case b == bins-1:
		return sigmoid(c.curve[b] + odds - c.at[b])
	}
	t := (odds - c.at[b]) / max(c.at[b+1]-c.at[b], 1e-9)
	return sigmoid(c.curve[b] + min(1, t)*(c.curve[b+1]-c.curve[b]))
}
