package pool

import (
	"math"
	"time"
)

// How fast the estimate learns and forgets, in batches.
const (
	lawDecay  = 1 - 1.0/256 // the affine law
	knotDecay = 1 - 1.0/128 // the correction of a knot, by batches near it
	knotPrior = 4           // batches' worth of doubt in a correction
	driftKeep = 0.85        // what each batch leaves of the old while they disagree
	// ridge is how much of the data's weight the fit is pulled towards its
	// default shape, which decides where the data cannot: when all batches
	// have one size.
	ridge = 0.02
)

// Observe learns from one finished batch of n items. Batches that took no
// time, or none at all (n < 1), are ignored.
func (p *Profile) Observe(n int, took time.Duration) {
	if n < 1 || took <= 0 {
		return
	}
	y := min(float64(took), longest)
	p.seen++
	if len(p.knots) == 0 {
		p.begin(y)
	}
	mean := p.whole.at(n)
	logRatio := math.Log(y / mean)

	lo, share := p.near(n)
	familiar := p.knots[lo].w*(1-share) + p.knots[min(lo+1, len(p.knots)-1)].w*share
	held, verdict := p.shift.judge(logRatio, familiar)
	switch verdict {
	case replaced:
		p.forget(0)
		p.ratio.drop()
	case drifting:
		p.forget(driftKeep)
		p.ratio.drop()
	default:
		p.ratio.add(logRatio, n)
	}
	if held != logRatio {
		y = mean * math.Exp(held)
	}

	p.sums.add(p.unit(n), y, mean)
	p.law = p.sums.solve(p.seeded, p.seen)
	p.correct(lo, share, y/p.law.at(p.unit(n)))
	p.refresh()
}

// begin sets the knots of a profile without measurements: powers of two, at
// half fixed and half per item of the first batch.
func (p *Profile) begin(y float64) {
	p.knots = make([]knot, octaves)
	for i := range p.knots {
		p.knots[i] = knot{n: 1 << i, u: float64(int(1) << i), p99: defaultP99}
	}
	if p.q == 0 {
		p.q = defaultQ
	}
	p.shift = newDrift()
	p.like = nil
	p.reindex()
	for i := range p.whole.corners {
		c := &p.whole.corners[i]
		c.mean, c.bound = y, y
	}
}

// unit is the regressor of the law at n: the measured mean, interpolated, or
// n itself.
func (p *Profile) unit(n int) float64 {
	if !p.seeded {
		return float64(n)
	}
	k := p.knots
	i := p.whole.above(n)
	switch {
	case i == 0:
		slope := min(p.table.per, k[0].u/float64(k[0].n))
		return k[0].u - slope*float64(k[0].n-n)
	case i == len(k):
		return k[i-1].u + p.table.per*float64(n-k[i-1].n)
	}
	t := float64(n-k[i-1].n) / float64(k[i].n-k[i-1].n)
	return k[i-1].u + t*(k[i].u-k[i-1].u)
}

// near returns the knot at or below n and how far n lies on the way to the
// next, 0 … 1; beyond the outermost knots that is all on the one side.
func (p *Profile) near(n int) (lo int, share float64) {
	i := p.whole.above(n)
	if i == 0 {
		return 0, 0
	}
	if i == len(p.knots) {
		return i - 1, 0
	}
	a, b := p.knots[i-1].n, p.knots[i].n
	return i - 1, float64(n-a) / float64(b-a)
}

// correct notes the ratio of a batch to the law at the two knots beside it.
func (p *Profile) correct(lo int, share, ratio float64) {
	note := func(k *knot, w float64) {
		keep := 1 - w*(1-knotDecay)
		k.w = k.w*keep + w
		k.r = k.r*keep + w*ratio
	}
	note(&p.knots[lo], 1-share)
	if share > 0 {
		note(&p.knots[lo+1], share)
	}
}

// forget leaves a share of what was learned from batches.
func (p *Profile) forget(keep float64) {
	p.sums.scale(keep)
	for i := range p.knots {
		p.knots[i].w *= keep
		p.knots[i].r *= keep
	}
}

// refresh computes the knots' means and bounds from the law, the corrections
// and the spread.
func (p *Profile) refresh() {
	if p.of != nil {
		p.requantile()
		return
	}
	// While few ratios were seen, the measured (or default) P99 counts, scaled
	// from 0.99 to q as a normal's spread would be.
	seen := float64(p.ratio.count) / 32
	prior := 1 / (1 + seen*seen)
	stretch := math.Sqrt2 * math.Erfinv(2*p.q-1) / 2.326
	if ratio, fresh := p.ratio.quantile(p.q); fresh {
		common := math.Log(ratio)
		for i := range p.knots {
			k := &p.knots[i]
			k.learned = math.Exp(common * p.ratio.sizes.of(k.n))
		}
	}
	floor := 0.05
	if p.q >= 0.5 {
		floor = 1
	}
	mean, bound := 0.0, 0.0
	for i := range p.knots {
		k := &p.knots[i]
		mean = max(mean, p.law.at(k.u)*(k.r+knotPrior)/(k.w+knotPrior))
		spread := (1-prior)*k.learned + prior*max(0.05, 1+(k.p99-1)*stretch)
		bound = max(bound, mean*max(spread, floor))
		c := &p.whole.corners[i]
		c.mean, c.bound = mean, bound
	}
	p.whole.per, p.whole.over = p.affine().per, p.q >= 0.5
	p.whole.slopes()
	if p.mixed != nil {
		p.mixed.refresh(&p.whole, p.q)
	}
}

// reindex makes the whole run's curve ready for the knots. It is due when they
// are set; their items never change.
func (p *Profile) reindex() {
	p.whole.corners = make([]corner, len(p.knots))
	for i := range p.knots {
		p.whole.corners[i].n = p.knots[i].n
	}
	p.whole.reindex()
}
