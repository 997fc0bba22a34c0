package baseline

import (
	"fmt"
	"math"
	"math/bits"
	"slices"

	"motley/internal/earlyexit"
)

// Hindsight has, in each segment, the thresholds on confidence that would have
// been best there at the target, and, where the set is not given, the best set of
// ramps within the budget: what any rule by thresholds can come to at most, up
// to the quality of the search.
type Hindsight struct {
	tally
	starts     []int // of the segments, the first is 0
	sets       []uint32
	thresholds [][]float64 // by segment, by ramp
	begun      int         // rows that Active was asked for
}

// NewHindsight is given the rows that will come and where the segments start.
func NewHindsight(c Config, rows []earlyexit.Outcome, starts []int) (*Hindsight, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if len(starts) == 0 || starts[0] != 0 || !slices.IsSorted(starts) || starts[len(starts)-1] > len(rows) {
		return nil, fmt.Errorf("cannot make the controller: segments that start at %v of %d rows", starts, len(rows))
	}
	h := &Hindsight{tally: newTally(&c), starts: starts}
	for k, from := range starts {
		to := len(rows)
		if k+1 < len(starts) {
			to = starts[k+1]
		}
		set, thresholds := foreseen(&c, rows[from:to])
		h.sets, h.thresholds = append(h.sets, set), append(h.thresholds, thresholds)
	}
	h.active = h.sets[0]
	return h, nil
}

// foreseen is the best set and its thresholds for a segment.
func foreseen(c *Config, rows []earlyexit.Outcome) (uint32, []float64) {
	most := Allowance(len(rows), c.Target)
	best, top := math.Inf(-1), uint32(0)
	var thresholds []float64
	for _, set := range candidates(c) {
		s := newSearch(rows, &c.Cost, set)
		v, got := s.best(most)
		if got.saved > best {
			best, top, thresholds = got.saved, set, s.thresholds(v, len(c.Cost.Until))
		}
	}
	if c.Ramps != 0 {
		return top, thresholds
	}
	for _, r := range listed(top) { // perhaps not worth what it costs
		s := newSearch(rows, &c.Cost, top&^(1<<r))
		if v, got := s.best(most); got.saved > best {
			best, top, thresholds = got.saved, top&^(1<<r), s.thresholds(v, len(c.Cost.Until))
		}
	}
	return top, thresholds
}

// mostSets bounds how many sets are tried.
const mostSets = 64

// candidates are the sets that those who know the future choose from: the given
// one, or all within the budget to which no ramp can be added; the even one
// alone where those are too many.
func candidates(c *Config) []uint32 {
	if c.Ramps != 0 {
		return []uint32{c.Ramps}
	}
	n := len(c.Cost.Until)
	var sets []uint32
	if n <= 12 {
		for set := range uint32(1) << n {
			if Adds(&c.Cost, set) <= c.Budget+slack && maximal(c, set) {
				sets = append(sets, set)
			}
		}
	}
	if len(sets) == 0 || len(sets) > mostSets {
		return []uint32{Evenly(&c.Cost, c.Budget)}
	}
	return sets
}

func maximal(c *Config, set uint32) bool {
	for r := range c.Cost.Until {
		if set>>r&1 == 0 && Adds(&c.Cost, set|1<<r) <= c.Budget+slack {
			return false
		}
	}
	return true
}

func (h *Hindsight) segment(row int) int {
	k, found := slices.BinarySearch(h.starts, row)
	if !found {
		k--
	}
	return k
}

// Active is the best set of the segment in which the batch begins.
func (h *Hindsight) Active(n int, _ float64) uint32 {
	h.active = h.sets[h.segment(h.begun)]
	h.begun += n
	return h.active
}

// Decide goes by the thresholds of the row's segment.
func (h *Hindsight) Decide(row *earlyexit.Row, ramp int) earlyexit.Verdict {
	if !sure(row, ramp, h.thresholds[h.segment(int(row.Seq))][ramp]) {
		return earlyexit.Verdict{}
	}
	return h.verdict(row)
}

// Learn counts.
func (h *Hindsight) Learn(o *earlyexit.Outcome) { h.learn(o) }

// Report says what was counted.
func (h *Hindsight) Report() earlyexit.Report { return h.report() }

// Clairvoyant exits at the first ramp whose answer is the full model's. No rule
// can save more with the same ramps.
type Clairvoyant struct {
	tally
	rows []earlyexit.Outcome
}

// NewClairvoyant is given the rows that will come. Where the set of ramps is
// not given, it takes the best one within the budget for all of them.
func NewClairvoyant(c Config, rows []earlyexit.Outcome) (*Clairvoyant, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	v := &Clairvoyant{tally: newTally(&c), rows: rows}
	least := math.Inf(1)
	for _, set := range candidates(&c) {
		sum := 0.0
		for i := range rows {
			first := bits.TrailingZeros32(rows[i].Agree & set)
			if first == 32 {
				first = -1
			}
			sum += Takes(&c.Cost, set, first)
		}
		if sum < least {
			least, v.active = sum, set
		}
	}
	return v, nil
}

// Active is always the same set.
func (v *Clairvoyant) Active(int, float64) uint32 { return v.active }

// Decide knows.
func (v *Clairvoyant) Decide(row *earlyexit.Row, ramp int) earlyexit.Verdict {
	if v.rows[row.Seq].Agree>>ramp&1 == 0 {
		return earlyexit.Verdict{}
	}
	return v.verdict(row)
}

// Learn counts.
func (v *Clairvoyant) Learn(o *earlyexit.Outcome) { v.learn(o) }

// Report says what was counted.
func (v *Clairvoyant) Report() earlyexit.Report { return v.report() }
