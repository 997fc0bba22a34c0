package dispatch

import (
	"math"
	"time"
)

const (
	// evenQuantile is what feasibility is judged by where the model's quantile
	// cannot be kept: an even chance.
	evenQuantile = 0.5
	// pauseShare is the share of the QoS target that the quantile may ask for beyond the
	// mean (or as much as the mean, if that is more) before that is taken for pauses.
	pauseShare = 0.25
)

// judge sets the quantile that feasibility is judged by: the model's own, as
// long as the workers that keep the target with it can carry what is asked for.
// Where executions pause now and then, more often than the quantile allows and
// for longer than requests can wait, no batch on such a worker is safe, whatever
// is done. Then what is in time with an even chance is as good as it gets; held
// to the model's quantile, the worker would stand idle or run one request at a
// time, and the capacity be gone with which nearly all could be in time.
func (c *Core) judge(m *model) {
	m.judged = m.Quantile
	usual := max(1, int(math.Round(m.demand.size)))
	least := usual // what must be in time in one piece
	if c.Splits(m.id) {
		least = min(least, m.least())
	}
	asked, carried := 0.0, 0.0 // items per ns
	if m.demand.gap > 0 {
		asked = m.demand.size / m.demand.gap
	}
	pauses := false
	for i := range m.groups {
		g := &m.groups[i]
		if g.up == 0 {
			continue
		}
		if !g.profile.Settled() {
			return // too little is known to give up on it
		}
		n := min(max(usual, g.enough, int(g.batch)), g.maxItems)
		mean, bound := g.profile.Mean(n), g.profile.Bound(n, m.Quantile)
		if bound-mean > max(time.Duration(pauseShare*float64(m.QoS)), mean) {
			pauses = true
			continue
		}
		full := g.profile.Within(m.QoS, min(max(m.MaxBatch, least), g.maxItems), m.Quantile)
		if full >= least {
			carried += float64(g.up*c.workers[g.workers[0]].Concurrency*full) / float64(max(1, g.profile.Mean(full)))
		}
	}
	if m.up > 0 && (carried == 0 || pauses && carried < asked) {
		m.judged = evenQuantile
	}
}
