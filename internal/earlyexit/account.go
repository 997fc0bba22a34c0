package earlyexit

import "math"

// account counts for the report.
type account struct {
	seen, exited, audited, lost, alarms uint64
	disagreed                           float64 // audited losses, each over its chance
	squares                             float64 // sum of 1/q² of the same
	least                               float64 // the least audit chance of an exit
	ramps                               []RampReport
	classes                             [classSlots]ClassReport
	top                                 int // classes seen: below this
}

func newAccount(ramps int) account { return account{least: 1, ramps: make([]RampReport, ramps)} }

func (c *account) learn(o *Outcome, ran bool) {
	c.seen++
	for r := range c.ramps {
		if o.Signals[r].Seen() {
			c.ramps[r].Seen++
		}
	}
	if o.Lost {
		c.lost++
	}
	loss := 0.0
	if o.Exit >= 0 {
		c.exited++
		c.ramps[o.Exit].Exited++
		c.least = min(c.least, o.Audit)
		if ran {
			c.audited++
			c.ramps[o.Exit].Audited++
			if o.Disagrees() {
				loss = 1 / o.Audit
			}
		}
		c.disagreed += loss
		c.squares += loss * loss
		c.ramps[o.Exit].Disagreed += loss
	}
	if ran && o.Class >= 0 && o.Class < classSlots {
		k := &c.classes[o.Class]
		k.Seen++
		if o.Exit >= 0 {
			k.Exited++
		}
		k.Disagreed += loss
		c.top = max(c.top, int(o.Class)+1)
	}
}

// low95 bounds the share of answers that agree. With audits the losses count
// as many fewer rows would that are as uncertain: their variance over that of
// whole counts.
func (c *account) low95() float64 {
	if c.seen == 0 {
		return 0
	}
	thin := 1 / c.least
	if c.disagreed > 0 {
		thin = c.squares / c.disagreed
	}
	return 1 - upperShare(c.disagreed/thin, float64(c.seen)/thin, 0.95)
}

// Report implements Controller.
func (a *Adaptive) Report() Report {
	c := &a.account
	r := Report{
		Mode: a.cfg.Mode, Target: a.cfg.Target, Tau: a.tau, Safe: a.safe.left > 0, Alarms: c.alarms,
		Seen: c.seen, Exited: c.exited, Audited: c.audited, Lost: c.lost, Disagreed: c.disagreed,
		Bound:     a.planned()*float64(c.seen) - lowest/a.gain() + a.lossMost()*float64(max(1, a.most)),
		Agreement: 1, Low95: c.low95(), Certified: a.proof.proven(),
		Ramps: append([]RampReport(nil), c.ramps...), Classes: append([]ClassReport(nil), c.classes[:c.top]...),
	}
	if c.seen > 0 {
		r.Agreement = math.Max(0, 1-c.disagreed/float64(c.seen))
	}
	if c.least < 1 {
		r.Bound += slack(c.squares, 1/c.least)
	}
	active := a.Active(1, 1)
	for i := range r.Ramps {
		r.Ramps[i].Active = active>>i&1 == 1
	}
	return r
}
