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
	// judgeEvery is how many arrivals there are to one that has the model judged by
	// the quantile judged anew, beside what every finished batch does.
	judgeEvery = 16
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
	keeps, pauses := false, false
	for i := range m.groups {
		g := &m.groups[i]
		if g.up == 0 {
			continue
		}
		if !g.profile.Settled() {
			return // too little is known to give up on it
		}
		if m.pauses(g, usual) {
			pauses = true
		} else {
			keeps = keeps || least <= g.maxItems && g.profile.Bound(least, m.Quantile) <= m.QoS
		}
	}
	if m.up > 0 && (!keeps || pauses && m.demand.gap > 0 && c.carried(m, usual, least)*m.demand.gap < m.demand.size) {
		m.judged = evenQuantile
	}
}

// pauses reports whether the quantile asks for so much more than the mean, of the
// batches that the group runs, that this leaves no time to wait.
func (m *model) pauses(g *group, usual int) bool {
	n := min(max(usual, g.enough, int(g.batch)), g.maxItems)
	mean, bound := g.profile.Mean(n), g.profile.Bound(n, m.Quantile)
	return bound-mean > max(time.Duration(pauseShare*float64(m.QoS)), mean)
}

// carried is how many items per ns the workers do that do not pause, in batches
// that keep the target.
func (c *Core) carried(m *model, usual, least int) float64 {
	sum := 0.0
	for i := range m.groups {
		g := &m.groups[i]
		if g.up == 0 || m.pauses(g, usual) {
			continue
		}
		if n := g.profile.Within(m.QoS, min(max(m.MaxBatch, least), g.maxItems), m.Quantile); n >= least {
			sum += float64(g.up*c.workers[g.workers[0]].Concurrency*n) / float64(max(1, g.profile.Mean(n)))
		}
	}
	return sum
}
