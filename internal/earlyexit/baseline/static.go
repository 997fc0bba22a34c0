package baseline

import (
	"math"

	"motley/internal/earlyexit"
)

// Static exits by thresholds that were tuned once, as BranchyNet and DeeBERT do.
type Static struct {
	tally
	thresholds []float64 // by ramp
}

// NewStatic tunes on recorded rows: the thresholds that save most while the
// target holds on them.
func NewStatic(c Config, rows []earlyexit.Outcome) (*Static, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	set := c.Ramps
	if set == 0 {
		set = Evenly(&c.Cost, c.Budget)
	}
	s := newSearch(rows, &c.Cost, set)
	v, _ := s.best(Allowance(len(rows), c.Target))
	t := &Static{tally: newTally(&c), thresholds: s.thresholds(v, len(c.Cost.Until))}
	t.active = set
	return t, nil
}

// Active is always the same set.
func (s *Static) Active(int, float64) uint32 { return s.active }

// Decide compares the confidence with the ramp's threshold.
func (s *Static) Decide(row *earlyexit.Row, ramp int) earlyexit.Verdict {
	if !sure(row, ramp, s.thresholds[ramp]) {
		return earlyexit.Verdict{}
	}
	return s.verdict(row)
}

func sure(row *earlyexit.Row, ramp int, threshold float64) bool {
	s := row.Signals[ramp]
	return s.Seen() && float64(s.Confidence) >= threshold && !math.IsInf(threshold, 1)
}

// Learn counts.
func (s *Static) Learn(o *earlyexit.Outcome) { s.learn(o) }

// Report says what was counted.
func (s *Static) Report() earlyexit.Report { return s.report() }
