package baseline

import (
	"motley/internal/earlyexit"
)

// The constants of the released code, for vision models.
const (
	codeWindow   = 4 // batches that are tuned on
	codeLoss     = 1e-4
	codeFirst    = 0.01
	codeFloor    = 0.001
	codeInterval = 30 // batches between adjustments
	codeRamps    = 3
	codeTail     = 0.05 // what ramps may add to a whole run
	codeMemory   = 20   // batches whose utilities are kept
	codeGap      = 0.02 // saving that a tuning must add for the set to stay
	codeEnough   = 0.9  // share of rows that exits, from which on no ramp is added
)

// ApparateCode is the controller as released (github.com/dywsjtu/apparate,
// vision models), which differs from the paper: the trigger is the batch, the
// window four of them, the budget of the tuning next to nothing, and a guard sets
// the thresholds of the ramps that erred to 0 once the accuracy since the
// beginning is under the target, or two batches of an interval were.
type ApparateCode struct {
	tally
	config  Config
	climber climber
	batch   int // rows
	fixed   bool

	takes  []float64
	thetas []float64
	quota  int // ramps that may be added

	current []record   // of the batch that is being learned
	recent  [][]record // the last codeWindow batches
	batches int
	correct float64 // rows that agreed, since the beginning
	total   float64
	// violations counts batches under the target since the last adjustment.
	violations int
	adjusted   bool        // the set changed, the thresholds are to be tuned
	exits      [][]float64 // of the last batches: the share that exits, by ramp
	utility    [][]float64 // by ramp: the utilities of the last batches
	saved      float64     // of the last batch
}

// NewApparateCode makes one that is handed batches of so many rows. It has mode
// latency alone. A set of ramps that is given stays as it is; the code's own is
// three at most, under a budget of its own of 5 %.
func NewApparateCode(c Config, batch int) (*ApparateCode, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	c.Mode = earlyexit.Latency
	a := &ApparateCode{
		tally: newTally(&c), config: c, climber: climber{codeFirst, codeFloor, codeLoss}, batch: max(1, batch),
		fixed: c.Ramps != 0, thetas: make([]float64, len(c.Cost.Until)), utility: make([][]float64, len(c.Cost.Until)),
	}
	set := c.Ramps
	for k := min(codeRamps, len(c.Cost.Until)); set == 0 && k > 0; k-- {
		if inner := between(0, len(c.Cost.Until)-1, k); Adds(&c.Cost, inner) <= codeTail+slack {
			set = inner
		}
	}
	a.use(set)
	return a, nil
}

// between are k positions evenly spaced between two that are not among them.
func between(left, right, k int) uint32 {
	var set uint32
	for i := range k {
		set |= 1 << (left + (i+1)*(right-left)/(k+1))
	}
	return set
}

func (a *ApparateCode) use(set uint32) {
	a.active = set
	a.takes = takesOf(&a.config.Cost, set)
}

// Active is the set as last adjusted.
func (a *ApparateCode) Active(int, float64) uint32 { return a.active }

// Decide compares the error with the ramp's threshold.
func (a *ApparateCode) Decide(row *earlyexit.Row, ramp int) earlyexit.Verdict {
	return a.below(row, ramp, a.thetas[ramp])
}

// Learn records the row; with the last one of a batch it acts.
func (a *ApparateCode) Learn(o *earlyexit.Outcome) {
	a.learn(o)
	if !o.Ran {
		return
	}
	a.current = append(a.current, newRecord(o))
	if len(a.current) < a.batch {
		return
	}
	if len(a.recent) == codeWindow {
		a.recent = a.recent[1:]
	}
	a.recent = append(a.recent, a.current)
	a.current = nil
	a.batches++
	a.step()
}

// step is what the code does after each batch.
func (a *ApparateCode) step() {
	last := a.recent[len(a.recent)-1]
	wrong, erred := 0, uint32(0)
	perRamp := make([]float64, len(a.thetas)) // exits
	perRampWrong := make([]float64, len(a.thetas))
	for i := range last {
		if last[i].exit >= 0 {
			perRamp[last[i].exit]++
		}
		if last[i].wrong() {
			wrong++
			perRampWrong[last[i].exit]++
		}
	}
	for r := range perRamp {
		if perRampWrong[r] > (1-a.config.Target)*perRamp[r]+slack {
			erred |= 1 << r
		}
	}
	n := float64(len(last))
	violated := float64(wrong) > (1-a.config.Target)*n+slack
	if violated {
		a.violations++
	}
	a.correct += n - float64(wrong)
	a.total += n
	a.remember(perRamp, n)
	if a.violations >= 2 || a.correct < a.config.Target*a.total-slack {
		for _, r := range listed(erred) {
			a.thetas[r] = 0
		}
		a.guarded++
	} else if violated || a.adjusted || a.batches == 1 {
		a.thetas = a.tuned()
		a.adjusted = false
		a.tunings++
	}
	if a.batches%codeInterval == 0 {
		a.violations = 0
		if a.active != 0 {
			a.adjust()
		}
	}
}

func (a *ApparateCode) window() []record {
	var all []record
	for _, b := range a.recent {
		all = append(all, b...)
	}
	return all
}

func (a *ApparateCode) tuned() []float64 {
	return a.climber.climb(a.window(), listed(a.active), a.takes)
}

// remember keeps the batch's exits, saving and utilities: what exiting at a ramp
// spares until the next one, less its cost to all that exit later.
func (a *ApparateCode) remember(exits []float64, n float64) {
	ramps := listed(a.active)
	rates := make([]float64, len(exits))
	left := 1.0
	a.saved = 0
	for k, r := range ramps {
		rates[r] = exits[r] / n
		left -= rates[r]
		next := a.takes[len(a.takes)-1]
		if k+1 < len(ramps) {
			next = a.takes[ramps[k+1]]
		}
		u := rates[r]*(next-a.takes[r]) - left*a.config.Cost.Ramp[r]/a.config.Cost.Whole
		a.utility[r] = append(a.utility[r], u)
		a.utility[r] = a.utility[r][max(0, len(a.utility[r])-codeMemory):]
		a.saved += rates[r] * (1 - a.takes[r])
	}
	a.saved += left * (1 - a.takes[len(a.takes)-1])
	a.exits = append(a.exits, rates)
	a.exits = a.exits[max(0, len(a.exits)-codeMemory):]
}

// negative are the ramps that were of no use in any of the last batches.
func (a *ApparateCode) negative() uint32 {
	var set uint32
next:
	for _, r := range listed(a.active) {
		for _, u := range a.utility[r] {
			if u > 0 {
				continue next
			}
		}
		set |= 1 << r
	}
	return set
}

func (a *ApparateCode) forget(set uint32) {
	for _, r := range listed(set) {
		a.utility[r] = nil
	}
}

// adjust changes the set as the code does, oddities included.
func (a *ApparateCode) adjust() {
	negative := a.negative()
	if negative == 0 {
		if !a.fixed {
			a.earlier()
		}
		return
	}
	if a.fixed {
		a.adjusted = true // in place of the change
		return
	}
	tuned := a.tuned()
	if s, _ := score(a.window(), listed(a.active), tuned, a.takes); s-a.saved > codeGap {
		a.thetas = tuned
		return
	}
	ramps, end := listed(a.active), len(a.thetas)-1
	if negative == a.active && a.active>>end&1 == 1 { // all are, the latest possible one too: it stays
		a.adjusted = len(ramps) > 1
		a.drop(negative &^ (1 << end))
		return
	}
	left := ramps[len(ramps)-1] + 1
	exits := 0.0
	for _, r := range listed(a.active &^ negative) {
		for _, rates := range a.exits {
			exits += rates[r] / float64(len(a.exits))
		}
	}
	a.drop(negative)
	a.adjusted = true
	if exits > codeEnough || left > end {
		return
	}
	added := uint32(1) << (left + (end-left)/2)
	a.thetas[listed(added)[0]] = 0
	a.quota--
	a.use(a.active | added)
	a.forget(a.active)
	a.moves++
}

func (a *ApparateCode) drop(set uint32) {
	a.forget(set)
	a.quota += len(listed(set))
	for _, r := range listed(set) {
		a.thetas[r] = 0
	}
	a.use(a.active &^ set)
}

// earlier adds a ramp halfway before the first one. Without a quota left the
// one with the highest utility makes room for it, which may be a slip.
func (a *ApparateCode) earlier() {
	ramps := listed(a.active)
	first := ramps[0]
	if first < 2 {
		a.adjusted = false
		return
	}
	if a.quota > 0 {
		a.quota--
	} else {
		best, top := ramps[0], -1.0
		for _, r := range ramps {
			sum := 0.0
			for _, u := range a.utility[r] {
				sum += u / float64(len(a.utility[r]))
			}
			if sum > top {
				best, top = r, sum
			}
		}
		a.thetas[best] = 0
		a.active &^= 1 << best
	}
	add := (first - 1) / 2
	a.thetas[add] = 0
	a.use(a.active | 1<<add)
	a.forget(a.active)
	a.adjusted = true
	a.moves++
}

// Report says what was counted.
func (a *ApparateCode) Report() earlyexit.Report { return a.report() }
