package earlyexit

// ahead is what going on from a ramp is worth to a row, by its risk there: in
// the share of a whole run that will be saved, less the price of the risk that
// will be taken. It makes the exit rule an optimal stopping rule: leaving is
// worth what it saves over going on.
type ahead [bins]float64

// aheadShare is the share of a new row in its bin.
const aheadShare = 0.02

// leastGain keeps a ramp usable that saves next to nothing over the next one.
const leastGain = 0.002

// score is the least τ at which a row of the given risk exits where leaving
// saves the given share. For any fixed values the rule is nested: a larger τ
// lets exit whatever a smaller one does.
func (h *ahead) score(risk, odds, saved float64) float64 {
	return risk / max(leastGain, saved-h[binOf(odds)])
}

// learn takes in that going on was worth value.
func (h *ahead) learn(odds, value, weight float64) {
	b := binOf(odds)
	h[b] += min(1, aheadShare*weight) * (value - h[b])
}
