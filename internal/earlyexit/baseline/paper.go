package baseline

import (
	"math"

	"motley/internal/earlyexit"
)

// The constants of the paper (Apparate, SOSP 2024, §3).
const (
	paperWindow = 16  // rows over which the accuracy is averaged, and that are tuned on
	paperAdjust = 128 // rows between adjustments of the ramp set
	paperFirst  = 0.1
	paperFloor  = 0.01
)

// ApparatePaper is the controller as the paper's text has it: thresholds are
// tuned anew when the accuracy over the past 16 rows is under the target, the
// ramp set is adjusted every 128 rows. Its ramps start evenly spaced with
// thresholds of 0.
type ApparatePaper struct {
	tally
	config  Config
	climber climber
	takes   []float64 // of the active set
	thetas  []float64 // by ramp: it exits where 1 − confidence is less
	history []record  // the last paperAdjust rows
	fresh   int       // of them, those since the thresholds or the set changed
	fixed   bool
}

// NewApparatePaper makes one. It has mode latency alone. A set of ramps that is
// given stays as it is.
func NewApparatePaper(c Config) (*ApparatePaper, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	c.Mode = earlyexit.Latency
	p := &ApparatePaper{
		tally: newTally(&c), config: c, climber: climber{paperFirst, paperFloor, 1 - c.Target},
		thetas: make([]float64, len(c.Cost.Until)), fixed: c.Ramps != 0,
	}
	set := c.Ramps
	if set == 0 {
		set = Evenly(&c.Cost, c.Budget)
	}
	p.use(set)
	return p, nil
}

func (p *ApparatePaper) use(set uint32) {
	p.active = set
	p.takes = takesOf(&p.config.Cost, set)
	p.fresh = 0
}

// Active is the set as last adjusted.
func (p *ApparatePaper) Active(int, float64) uint32 { return p.active }

// Decide compares the error with the ramp's threshold.
func (p *ApparatePaper) Decide(row *earlyexit.Row, ramp int) earlyexit.Verdict {
	return p.below(row, ramp, p.thetas[ramp])
}

// below lets a row exit whose error is under the threshold.
func (t *tally) below(row *earlyexit.Row, ramp int, theta float64) earlyexit.Verdict {
	if s := row.Signals[ramp]; !s.Seen() || !(1-float64(s.Confidence) < theta) {
		return earlyexit.Verdict{}
	}
	return t.verdict(row)
}

// Learn records the row, tunes and adjusts.
func (p *ApparatePaper) Learn(o *earlyexit.Outcome) {
	p.learn(o)
	if !o.Ran {
		return
	}
	if len(p.history) == paperAdjust {
		p.history = append(p.history[:0], p.history[1:]...)
	}
	p.history = append(p.history, newRecord(o))
	p.fresh = min(p.fresh+1, paperWindow)
	wrong := 0
	recent := p.recent(paperWindow)
	for i := range recent[len(recent)-p.fresh:] {
		if recent[len(recent)-p.fresh+i].wrong() {
			wrong++
		}
	}
	if float64(wrong) > (1-p.config.Target)*float64(p.fresh)+slack {
		p.tune()
	}
	if (p.seen-p.lost)%paperAdjust == 0 {
		p.adjust()
	}
}

func (p *ApparatePaper) recent(n int) []record { return p.history[max(0, len(p.history)-n):] }

func (p *ApparatePaper) tune() {
	p.thetas = p.climber.climb(p.recent(paperWindow), listed(p.active), p.takes)
	p.fresh = 0
	p.tunings++
}

// Report says what was counted.
func (p *ApparatePaper) Report() earlyexit.Report { return p.report() }

// utilities are, by ramp, the time that rows avoided by exiting there less what
// the ramp added to those that it could not let go, on the last records.
func (p *ApparatePaper) utilities(thetas []float64) (by []float64, total float64) {
	c := &p.config.Cost
	ramps := listed(p.active)
	by = make([]float64, len(c.Until))
	for i := range p.history {
		exit := p.history[i].replay(ramps, thetas)
		for _, r := range ramps {
			if r == exit {
				by[r] += 1 - c.Until[r]/c.Whole
				break
			}
			by[r] -= c.Ramp[r] / c.Whole
		}
	}
	for _, r := range ramps {
		total += by[r]
	}
	return by, total
}

func negatives(by []float64, set uint32) uint32 {
	var out uint32
	for _, r := range listed(set) {
		if by[r] < 0 {
			out |= 1 << r
		}
	}
	return out
}

// adjust is Alg. 2: one tuning where a ramp does harm; if that does not help,
// such ramps go and one takes their place; where all do good, one is tried
// earlier. A given set is tuned alone.
func (p *ApparatePaper) adjust() {
	by, total := p.utilities(p.thetas)
	negative := negatives(by, p.active)
	if negative == 0 {
		if !p.fixed {
			p.probe(by)
		}
		return
	}
	tuned := p.climber.climb(p.recent(paperWindow), listed(p.active), p.takes)
	after, afterTotal := p.utilities(tuned)
	if p.fixed || negatives(after, p.active) == 0 && afterTotal >= total {
		p.thetas, p.fresh = tuned, 0
		p.tunings++
		return
	}
	p.replace(by, negative)
}

// rates are, by ramp, the share of the last records that exits there.
func (p *ApparatePaper) rates() []float64 {
	rates := make([]float64, len(p.thetas))
	ramps := listed(p.active)
	for i := range p.history {
		if exit := p.history[i].replay(ramps, p.thetas); exit >= 0 {
			rates[exit] += 1 / float64(len(p.history))
		}
	}
	return rates
}

// replace drops the negative ramps and activates the most promising other one.
func (p *ApparatePaper) replace(by []float64, negative uint32) {
	rates := p.rates()
	last := -1 // the latest ramp that does good
	for _, r := range listed(p.active &^ negative) {
		last = r
	}
	add := candidate(&p.config.Cost, rates, negative, last)
	set := p.active &^ negative
	for _, r := range listed(negative) {
		p.thetas[r] = 0
	}
	if add >= 0 && Adds(&p.config.Cost, set|1<<add) <= p.config.Budget+slack {
		set |= 1 << add
		p.thetas[add] = 0
	}
	p.moves++
	p.use(set)
}

// candidate looks in the intervals that the dropped ramps cut out of the ramps
// after last: the middle of each at first, then later positions. It takes the one
// whose utility by the upper bound of its exit rate is largest, if that is
// positive; −1: none.
func candidate(c *earlyexit.Cost, rates []float64, dropped uint32, last int) int {
	n := len(c.Until)
	var intervals [][2]int // first and last position
	from := last + 1
	for r := last + 1; r <= n; r++ {
		if r == n || dropped>>r&1 == 1 {
			if from < r {
				intervals = append(intervals, [2]int{from, r - 1})
			}
			from = r + 1
		}
	}
	for shift := range n {
		best, top := -1, 0.0
		for _, span := range intervals {
			at := (span[0]+span[1])/2 + shift
			if at > span[1] {
				continue
			}
			bound := upperBound(rates, dropped, last, at)
			if u := bound*(1-c.Until[at]/c.Whole) - (1-bound)*c.Ramp[at]/c.Whole; u > top {
				best, top = at, u
			}
		}
		if best >= 0 {
			return best
		}
	}
	return -1
}

// upperBound is the most that a ramp may let go: what the next dropped ramp
// after it did, and all dropped ones before it, and the one they come after
// (Fig. 11).
func upperBound(rates []float64, dropped uint32, last, at int) float64 {
	bound := 0.0
	if last >= 0 {
		bound = rates[last]
	}
	for _, r := range listed(dropped) {
		if r > last {
			bound += rates[r]
		}
		if r > at {
			break
		}
	}
	return math.Min(1, bound)
}

// probe tries a ramp right before the most useful one if the budget allows, or
// else moves the least useful one a position earlier.
func (p *ApparatePaper) probe(by []float64) {
	ramps := listed(p.active)
	if len(ramps) == 0 {
		p.use(Evenly(&p.config.Cost, p.config.Budget)) // begin anew
		return
	}
	best, worst := ramps[0], ramps[0]
	for _, r := range ramps {
		if by[r] > by[best] {
			best = r
		}
		if by[r] < by[worst] {
			worst = r
		}
	}
	set := p.active
	if before := best - 1; before >= 0 && set>>before&1 == 0 && Adds(&p.config.Cost, set|1<<before) <= p.config.Budget+slack {
		p.thetas[before] = 0
		set |= 1 << before
	} else if before := worst - 1; worst != best && before >= 0 && set>>before&1 == 0 {
		p.thetas[before], p.thetas[worst] = 0, 0
		set = set&^(1<<worst) | 1<<before
	}
	if set != p.active {
		p.moves++
		p.use(set)
	}
}
