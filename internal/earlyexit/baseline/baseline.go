// Package baseline holds what earlyexit.Adaptive is measured against: what was
// published before (Static, ApparatePaper, ApparateCode) and what nobody can do
// without knowing the future (Hindsight, Clairvoyant). All of them exit on the
// confidence alone and assume that every row is run to the end, so they know
// mode latency only; Static and the two that know the future need no feedback,
// so they have mode compute as well, without audits.
//
// It is pure, as earlyexit is.
package baseline

import (
	"fmt"
	"math"
	"math/bits"

	"gonum.org/v1/gonum/mathext"

	"motley/internal/earlyexit"
)

// Config is what every baseline is given.
type Config struct {
	Mode   earlyexit.Mode // Latency, or Compute where the controller has it
	Target float64        // the share of answers that are to agree, in (0, 1]
	Cost   earlyexit.Cost // of a batch; only its proportions matter
	// Ramps is the set that is evaluated, as bits, for good. 0: the controller's
	// own choice within Budget.
	Ramps uint32
	// Budget is what evaluating ramps may add to a whole run, as a share of it.
	Budget float64
}

// check reports what makes no sense.
func (c *Config) check() error {
	n := len(c.Cost.Until)
	switch {
	case !(c.Target > 0 && c.Target <= 1):
		return fmt.Errorf("cannot make the controller: the target is %v, want a share in (0, 1]", c.Target)
	case n == 0 || n > earlyexit.MaxRamps || len(c.Cost.Ramp) != n || !(c.Cost.Whole > 0):
		return fmt.Errorf("cannot make the controller: costs of %d stages and %d ramps, want 1 to %d of both, and those of a whole run",
			n, len(c.Cost.Ramp), earlyexit.MaxRamps)
	case c.Ramps>>n != 0:
		return fmt.Errorf("cannot make the controller: ramps %b, the model has %d", c.Ramps, n)
	case !(c.Budget >= 0):
		return fmt.Errorf("cannot make the controller: a budget of %v", c.Budget)
	}
	return nil
}

// listed are the ramps of a set, ascending.
func listed(set uint32) []int {
	ramps := make([]int, 0, bits.OnesCount32(set))
	for ; set != 0; set &= set - 1 {
		ramps = append(ramps, bits.TrailingZeros32(set))
	}
	return ramps
}

// Adds is what evaluating a set of ramps adds to a whole run, as a share of it.
func Adds(c *earlyexit.Cost, set uint32) float64 {
	sum := 0.0
	for _, r := range listed(set) {
		sum += c.Ramp[r]
	}
	return sum / c.Whole
}

// Takes is what a row takes that leaves at a ramp (−1: at none), as a share of a
// run without ramps, when the given set is evaluated.
func Takes(c *earlyexit.Cost, set uint32, exit int) float64 {
	if exit < 0 {
		return 1 + Adds(c, set)
	}
	return c.Until[exit]/c.Whole + Adds(c, set&(2<<exit-1))
}

// slack lets a sum of shares meet a bound that it equals.
const slack = 1e-9

// Evenly is the largest set of ramps, evenly spaced over all of them, that adds
// at most budget to a whole run (Apparate §3.1).
func Evenly(c *earlyexit.Cost, budget float64) uint32 {
	for k := len(c.Until); k > 0; k-- {
		if set := spaced(len(c.Until), k); Adds(c, set) <= budget+slack {
			return set
		}
	}
	return 0
}

// spaced is a set of k of n ramps, the first and the last among them; one alone
// is the middle one.
func spaced(n, k int) uint32 {
	if k == 1 {
		return 1 << ((n - 1) / 2)
	}
	var set uint32
	for i := range k {
		set |= 1 << int(math.Floor(float64(i*(n-1))/float64(k-1)+0.5))
	}
	return set
}

// Allowance is how many of n answers may disagree at a target.
func Allowance(n int, target float64) int { return int(float64(n)*(1-target) + slack) }

// tally counts what reports need.
type tally struct {
	mode                    earlyexit.Mode
	target                  float64
	seen, exited, lost      uint64
	checked, disagreed      uint64 // of the exits: those that ran to the end
	active                  uint32
	ramps                   [earlyexit.MaxRamps]earlyexit.RampReport
	count                   int // ramps of the model
	tunings, guarded, moves uint64
}

func newTally(c *Config) tally {
	return tally{mode: c.Mode, target: c.Target, count: len(c.Cost.Until)}
}

func (t *tally) learn(o *earlyexit.Outcome) {
	t.seen++
	for r, s := range o.Signals {
		if s.Seen() {
			t.ramps[r].Seen++
		}
	}
	if o.Lost {
		t.lost++
	}
	if o.Exit < 0 {
		return
	}
	t.exited++
	t.ramps[o.Exit].Exited++
	if !o.Ran {
		return
	}
	t.checked++
	t.ramps[o.Exit].Audited++
	if o.Disagrees() {
		t.disagreed++
		t.ramps[o.Exit].Disagreed++
	}
}

// report is about the rows that were checked.
func (t *tally) report() earlyexit.Report {
	r := earlyexit.Report{
		Mode: t.mode, Target: t.target, Tau: math.NaN(), Bound: math.NaN(), Seen: t.seen, Exited: t.exited, Audited: t.checked, Lost: t.lost,
		Disagreed: float64(t.disagreed), Agreement: 1, Certified: 1,
	}
	if n := t.seen - t.exited + t.checked; n > 0 {
		r.Agreement = 1 - float64(t.disagreed)/float64(n)
		r.Low95 = mathext.InvRegIncBeta(float64(n-t.disagreed), float64(t.disagreed)+1, 0.05)
		if n == t.disagreed {
			r.Low95 = 0
		}
	}
	for i := range t.count {
		ramp := t.ramps[i]
		ramp.Active = t.active>>i&1 == 1
		r.Ramps = append(r.Ramps, ramp)
	}
	return r
}

// verdict lets a row exit in the tally's mode.
func (t *tally) verdict(row *earlyexit.Row) earlyexit.Verdict {
	if min(row.Mode, t.mode) == earlyexit.Off {
		return earlyexit.Verdict{}
	}
	v := earlyexit.Verdict{Exit: true, Audit: 1}
	if min(row.Mode, t.mode) == earlyexit.Compute {
		v.Stop, v.Audit = true, 0
	}
	return v
}
