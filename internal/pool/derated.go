package pool

import "time"

// derated makes a Profile that of a worker which is slower, or less certain,
// than its type.
type derated struct {
	base       *Profile
	slow, wide float64
	target     float64 // ns
}

// widest is how much of the time that a bound leaves to the target a wider one
// may take: what is merely uncertain makes a worker the second choice, never
// one that is too slow for everything.
const widest = 0.5

// Derated returns the profile of a worker of this type that takes slow ≥ 1 times
// as long as the type, and about which less is sure: the bound lies wide ≥ 1 times
// as far above the mean, but takes no more than half of the time that it would
// leave to target (0: it may take any). The mean is not widened.
//
// It shares what this profile learns and learns nothing itself; Follow brings it
// up to date. It must not be observed.
func (p *Profile) Derated(slow, wide float64, target time.Duration) *Profile {
	d := &Profile{q: p.q, of: &derated{base: p, slow: max(1, slow), wide: max(1, wide), target: float64(target)}}
	d.Follow()
	return d
}

// Follow brings the estimates up to date with those of the type. It allocates
// nothing as long as the type's batch sizes are the same.
func (p *Profile) Follow() {
	of := p.of
	if of == nil {
		return
	}
	p.knots, p.seeded, p.seen, p.like = of.base.knots, of.base.seeded, of.base.seen, of.base.like
	if len(p.knots) == 0 {
		return
	}
	from, to := of.base.line(), &p.whole
	to.corners = append(to.corners[:0], from.corners...)
	to.index, to.per, to.over = from.index, of.slow*from.per, from.over
	least := 0.0
	for i := range to.corners {
		c := &to.corners[i]
		c.mean *= of.slow
		c.bound = of.bound(c.mean, of.slow*c.bound)
		c.bound = max(c.bound, least)
		least = c.bound
	}
	to.slopes()
}

// bound widens what lies between the mean and the bound.
func (d *derated) bound(mean, bound float64) float64 {
	if d.wide == 1 || bound <= mean {
		return bound
	}
	wider := mean + d.wide*(bound-mean)
	if d.target > 0 {
		wider = min(wider, bound+max(0, widest*(d.target-bound)))
	}
	return wider
}

// requantile asks for another probability.
func (p *Profile) requantile() {
	p.of.base.Bound(1, p.q)
	p.Follow()
}

func (d *derated) clone() *derated {
	c := *d
	c.base = d.base.Clone()
	return &c
}

// Expected is the mean that a batch of n items should have taken whose rows ran
// so far (see ObserveStages); without stages all ran to the end. 0 when nothing
// is known.
func (p *Profile) Expected(n int, stages []Stage) time.Duration {
	if len(p.knots) == 0 || n < 1 {
		return 0
	}
	whole := p.whole.at(n)
	if len(stages) > 0 && sound(n, stages) {
		whole *= p.ran(n, stages)
	}
	return toDuration(whole)
}

// NoteStages learns how far the rows of a batch ran, as ObserveStages does, and
// nothing of how long it took.
func (p *Profile) NoteStages(n int, stages []Stage, mix *Mix) {
	if n < 1 || !sound(n, stages) {
		return
	}
	if len(stages) > 0 {
		p.note(stages, mix)
	}
	if p.mixed != nil {
		p.mixed.mix.observe(n, stages)
		p.Remix()
	}
}
