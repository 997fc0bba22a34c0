package pool

import (
	"math"
	"slices"
	"time"
)

// mixed is what rows that stop early make of a profile.
type mixed struct {
	curve
	mix     *Mix
	share   []float64 // by stage: of the time of a whole run
	parts   []part    // by corner
	version uint64    // of the mix that they are for
	q       float64   // and the probability
	age     int       // refreshes since
}

// part is what is left of a whole run of so many items.
type part struct {
	mean float64 // expected
	most float64 // not exceeded with the bound's probability
}

const (
	// partsEvery is after how many batches the parts are computed again though the
	// mix is as it was: the shape of the whole run's curve counts as well.
	partsEvery = 64
	// shareSpan is how many batches a stage's share is of.
	shareSpan = 16
	// fine is up to where the mixed curve has four corners to the octave. What is
	// left of a batch changes with its size most where few rows reach a stage.
	fine = 512
)

// ObserveStages is Observe for a batch whose rows may have stopped early: it took
// what was left of a whole run, and the profile learns what a whole run would
// have taken,
//
//	took / Σ_s share_s·L(rows_s)/L(n),  L(0) = 0,
//
// where L is the present estimate. The mix, which the profiles of a model share,
// learns how far the rows ran; from then on Mean and Bound are of what it leaves.
// Without stages all rows ran to the end. A batch whose stages make no sense
// (shares that are not positive and 1 together, more rows than before or than n)
// is ignored. The other profiles of the mix want a Remix then.
func (p *Profile) ObserveStages(n int, took time.Duration, stages []Stage, mix *Mix) {
	if n < 1 || took <= 0 || !sound(n, stages) {
		return
	}
	if len(stages) > 0 {
		p.note(stages, mix)
	}
	if p.mixed == nil {
		p.Observe(n, took)
		return
	}
	whole := took
	if len(stages) > 0 {
		whole = toDuration(float64(took) / p.ran(n, stages))
	}
	p.mixed.mix.observe(n, stages)
	p.Observe(n, whole)
}

// ran is the share of a whole run of n rows that the stages are. At first that is
// half fixed and half per item.
func (p *Profile) ran(n int, stages []Stage) float64 {
	ran := 0.0
	for _, s := range stages {
		switch {
		case s.Rows == 0:
		case len(p.knots) == 0:
			ran += s.Share * (1 + float64(s.Rows)/float64(n)) / 2
		default:
			ran += s.Share * p.whole.at(s.Rows) / p.whole.at(n)
		}
	}
	return ran
}

// sound reports whether a batch of n rows can have run so.
func sound(n int, stages []Stage) bool {
	sum, rows := 0.0, n
	for i, s := range stages {
		if !(s.Share > 0) || s.Rows < 0 || s.Rows > rows || i == 0 && s.Rows < 1 {
			return false
		}
		sum, rows = sum+s.Share, s.Rows
	}
	return len(stages) == 0 || math.Abs(sum-1) < 1e-6
}

// note takes in what share of the time each stage has. A profile whose stages
// are other ones than the mix is of has a mix of its own.
func (p *Profile) note(stages []Stage, mix *Mix) {
	m := p.mixed
	if m == nil || len(m.share) != len(stages) {
		m = &mixed{mix: mix, share: make([]float64, len(stages))}
		p.mixed = m
		for i, s := range stages {
			m.share[i] = s.Share
		}
		switch len(mix.reach) {
		case len(stages):
		case 0:
			mix.begin(len(stages))
		default:
			m.mix = &Mix{}
			m.mix.begin(len(stages))
		}
	}
	for i, s := range stages {
		m.share[i] += (s.Share - m.share[i]) / shareSpan
	}
	if len(m.corners) == 0 && len(p.knots) > 0 {
		p.mixed.refresh(&p.whole, p.q)
	}
}

// Remix brings the estimates up to date with the mix, which other profiles have
// taught too. It costs nothing as long as that has hardly moved.
func (p *Profile) Remix() {
	if m := p.mixed; m != nil && len(p.knots) > 0 && m.version != m.mix.version {
		m.refresh(&p.whole, p.q)
	}
}

func (m *mixed) clone() *mixed {
	c := *m
	c.curve, c.mix = m.curve.clone(), m.mix.clone()
	c.share, c.parts = slices.Clone(m.share), slices.Clone(m.parts)
	return &c
}

// refresh makes the curve out of the whole run's.
func (m *mixed) refresh(whole *curve, q float64) {
	if len(m.corners) == 0 {
		m.lay(whole)
	}
	if m.q == q {
		m.age++ // otherwise somebody asks for another probability
	}
	if m.version != m.mix.version || m.age > partsEvery {
		m.version, m.age, m.q = m.mix.version, 0, 0
		m.divideMean(whole)
	}
	if m.q != q {
		m.q = q
		m.divideMost(whole)
	}
	mean, bound := 0.0, 0.0
	for i := range m.corners {
		c := &m.corners[i]
		all, most := whole.estimate(c.n)
		mean = max(mean, all*m.parts[i].mean)
		bound = max(bound, most*m.parts[i].most)
		if whole.over {
			bound = max(bound, mean)
		}
		c.mean, c.bound = mean, bound
	}
	m.per, m.over = 0, whole.over
	for s, share := range m.share {
		m.per += share * m.mix.used[s] * whole.per
	}
	m.slopes()
}

// lay sets the corners: those of the whole run's curve, and more where they are
// far apart.
func (m *mixed) lay(whole *curve) {
	var at []int
	for _, c := range whole.corners {
		at = append(at, c.n)
	}
	last := at[len(at)-1]
	for n, step := 1, 1; n <= min(fine, last); n += step {
		at = append(at, n)
		k, _ := octave(n)
		step = max(1, 1<<k/4)
	}
	slices.Sort(at)
	at = slices.Compact(at)
	m.corners, m.parts = make([]corner, len(at)), make([]part, len(at))
	for i, n := range at {
		m.corners[i].n = n
	}
	m.reindex()
}

// divideMean computes the parts that are expected.
func (m *mixed) divideMean(whole *curve) {
	for i := range m.corners {
		n, left := m.corners[i].n, 0.0
		for s, share := range m.share {
			left += share * m.mix.expected(whole, n, m.mix.used[s])
		}
		m.parts[i].mean = min(1, left/whole.at(n))
	}
}

// divideMost computes the parts that are not exceeded with probability q.
func (m *mixed) divideMost(whole *curve) {
	z := max(0, math.Sqrt2*math.Erfinv(2*m.q-1))
	for i := range m.corners {
		n, left := m.corners[i].n, 0.0
		for s, share := range m.share {
			if rows := m.mix.most(n, m.mix.used[s], z); rows >= 1 {
				left += share * whole.between(rows)
			}
		}
		m.parts[i].most = min(1, left/whole.at(n))
	}
}
