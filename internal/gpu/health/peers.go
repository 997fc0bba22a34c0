package health

import (
	"fmt"
	"math"
)

// peers compares the workers of one type with each other: what happens to all
// of them (a larger model, a profile that lags) is nobody's fault, and who was
// slow from the first batch stands out.
type peers struct {
	members []*member
	due     int     // batches until level is computed anew
	level   float64 // how far the type as a whole is over its profile
	scratch []float64
}

// member is one worker, as the others see it.
type member struct {
	raw ring // logarithms of ratios, as they are
	res residual
	hw  features

	scratch []float64
}

func newMember() *member { return &member{raw: newRing(medianSpan), res: newResidual()} }

// lately is the median of the last n raw logarithms.
func (m *member) lately(n int) float64 {
	m.scratch = m.raw.last(n, m.scratch[:0])
	return median(m.scratch)
}

const (
	levelEvery = 8 // batches of the type
	levelLeast = 3 // workers: of two, who is off cannot be told
	// A worker is slow from the start when its usual lies this many spreads of
	// its peers' usuals, and at least this logarithm (half as slow again), over
	// theirs; and this needs this many peers.
	bornSpreads = 6
	bornLeast   = 0.4
	bornPeers   = 2
)

// batch notes one batch of a member; frozen as for residual.add. It returns
// how far the batch is over the member's usual.
func (p *peers) batch(m *member, logRatio float64, frozen bool) float64 {
	m.raw.add(logRatio)
	if p.due--; p.due <= 0 {
		p.due = levelEvery
		p.levelOut()
	}
	if m.raw.n < medianSpan { // until the type's level is known
		return logRatio
	}
	if m.res.add(logRatio-p.level, frozen) {
		m.res.alarm(p.others(m))
	}
	return logRatio - p.level - m.res.mid
}

// levelOut computes the type's level: the lower median over its workers of the
// medians of their last batches; 0 with too few.
func (p *peers) levelOut() {
	p.scratch = p.scratch[:0]
	for _, m := range p.members {
		if m.raw.n == medianSpan {
			p.scratch = append(p.scratch, m.lately(medianSpan))
		}
	}
	p.level = 0
	if len(p.scratch) >= levelLeast {
		p.level = median(p.scratch)
	}
}

// others is how far the member's peers were over their usual in as many
// batches as the member's change is old: the lower median, 0 of fewer than two.
func (p *peers) others(m *member) float64 {
	p.scratch = p.scratch[:0]
	for _, o := range p.members {
		if o != m && o.res.learned() {
			p.scratch = append(p.scratch, o.res.lately(m.res.changed()))
		}
	}
	if len(p.scratch) < 2 {
		return 0
	}
	return median(p.scratch)
}

// anomaly is what latencies say of a member.
type anomaly struct {
	slow     bool
	born     bool    // it never was faster
	slowdown float64 // over what the profile expects; at least 1
	batches  int     // since it was noticed
	peers    int     // how many of its type do not show it
	text     string
}

// judge says what latencies say of a member.
func (p *peers) judge(m *member) anomaly {
	a := anomaly{slowdown: 1}
	if !m.res.learned() {
		return a
	}
	over, born := p.born(m)
	if a.slow = m.res.alarmed || born; !a.slow {
		return a
	}
	for _, o := range p.members {
		if o != m && o.res.learned() && !o.res.alarmed {
			a.peers++
		}
	}
	if born {
		a.born, a.batches = true, m.res.batches
		a.slowdown = math.Exp(max(0, m.lately(medianSpan)))
		a.text = fmt.Sprintf("batches take %.2f times what they take on its %d peers, since its first", math.Exp(over), a.peers)
		return a
	}
	a.batches = m.res.since
	a.slowdown = math.Exp(max(0, m.lately(m.res.changed())))
	a.text = fmt.Sprintf("batches take %.2f times what they took on this worker (%d batches since that was noticed; %d workers of its type do not show it)",
		math.Exp(max(0, m.res.lately(m.res.changed()))), a.batches, a.peers)
	return a
}

// born reports whether a member's usual stands out from its peers'.
func (p *peers) born(m *member) (over float64, ok bool) {
	p.scratch = p.scratch[:0]
	for _, o := range p.members {
		if o != m && o.res.learned() {
			p.scratch = append(p.scratch, o.res.mid)
		}
	}
	if len(p.scratch) < bornPeers {
		return 0, false
	}
	mid, spread := centre(p.scratch)
	over = m.res.mid - mid
	return over, over > max(bornLeast, bornSpreads*spread)
}
