package dispatch

import "motley/internal/mono"

// budget is a model's allowance of what is done more than once: so much for each
// request that arrives and so much a second, saved up for budgetSpan at the most,
// and some in hand from the start.
//
// Retries are work that failing workers make for the others. In an overload that is
// what keeps it from ending, so they are bounded by a share of the traffic. One
// worker that dies must not spend all: of what the whole pool does in budgetSpan, 2 s
// worth may be tried again by default; what one of n workers has in hand, and loses
// once, is a batch time's n-th part. In hand from the start are two full batches.
type budget struct {
	saved float64
	seen  int // arrivals up to the last look
	at    mono.Time
	begun bool
}

const (
	budgetSpan   = 10 // s
	retriesEach  = 10 // a second, however little there is to do
	retriesSpare = 100
)

// look brings the budget up to date. share is by request, each by second, spare what is
// always in hand when nothing was spent.
func (b *budget) look(m *model, now mono.Time, share, each, spare float64) {
	if !b.begun {
		b.begun, b.saved = true, spare
	} else {
		b.saved += share*float64(m.demand.seen-b.seen) + each*float64(now-b.at)/1e9
	}
	b.seen, b.at = m.demand.seen, now
	most := spare
	if m.demand.gap > 0 {
		most += share * budgetSpan * 1e9 / m.demand.gap
	}
	b.saved = min(b.saved, most)
}

// spend takes n of the budget, or reports that there are not as many.
func (b *budget) spend(n float64) bool {
	if b.saved < n {
		return false
	}
	b.saved -= n
	return true
}

// afford reports whether a request of the model may be tried again, and charges it.
func (c *Core) afford(m *model) bool {
	share := c.cfg.Failures.RetryBudget
	if share < 0 {
		return true
	}
	m.retries.look(m, c.now, share, retriesEach, retriesSpare+2*float64(m.MaxBatch))
	return m.retries.spend(1)
}
