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
	due     int // batches until common is computed anew
	common  float64
	scratch []float64
}

// member is one worker, as the others see it.
type member struct {
	res residual
	hw  features
}

const (
	commonEvery = 8 // batches of the type
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
	if p.due--; p.due <= 0 {
		p.due = commonEvery
		p.common = p.shift()
	}
	if m.res.add(logRatio, p.common, frozen) {
		m.res.alarm(p.others(m, min(m.res.run, medianSpan)))
	}
	return logRatio - m.res.mid - p.common
}

// shift is how far the type as a whole is over its usual: the lower median of
// its workers, and 0 within what chance does.
func (p *peers) shift() float64 {
	p.scratch = p.scratch[:0]
	spread := 0.0
	for _, m := range p.members {
		if m.res.learned() && m.res.recent.n >= medianSpan {
			p.scratch = append(p.scratch, m.res.lately(medianSpan))
			spread = max(spread, m.res.spread)
		}
	}
	if len(p.scratch) < 3 { // of two, who is off cannot be told
		return 0
	}
	return max(0, median(p.scratch)-spread)
}

// others is how far the member's peers were over their usual in their last n
// batches: the lower median, 0 of fewer than two.
func (p *peers) others(m *member, n int) float64 {
	p.scratch = p.scratch[:0]
	for _, o := range p.members {
		if o != m && o.res.learned() {
			p.scratch = append(p.scratch, o.res.lately(n))
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
	slowdown float64 // at least 1
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
	for _, o := range p.members {
		if o != m && o.res.learned() && !o.res.alarmed {
			a.peers++
		}
	}
	if m.res.alarmed {
		a.slow, a.slowdown, a.batches = true, m.res.slowdown(p.common), m.res.since
		a.text = fmt.Sprintf("batches take %.2f times what they took on this worker (%d batches since that was noticed; %d workers of its type do not show it)",
			a.slowdown, a.batches, a.peers)
		return a
	}
	if over, ok := p.born(m); ok {
		a.slow, a.born, a.slowdown, a.batches = true, true, math.Exp(over), m.res.batches
		a.text = fmt.Sprintf("batches take %.2f times what they take on its %d peers, since its first", a.slowdown, a.peers)
	}
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
