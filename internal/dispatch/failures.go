package dispatch

import (
	"math"

	"motley/internal/pool"
)

// Failures bounds what failing executions may cost. Zero fields take the
// defaults.
type Failures struct {
	// RetryBudget is how many retries there may be for each request that arrives,
	// over about ten seconds, beside a small number that is always allowed; see
	// budget. Default 0.2; negative: no bound.
	RetryBudget float64
	// PoisonedAfter is on how many different workers a request fails before it is
	// taken to be at fault itself and ended, from 2 to 5; default 3; negative: never.
	// One whose attempts are spent before is exhausted.
	PoisonedAfter int
	// EjectRate is the share of failed executions, of the last 64, from which on a worker
	// gets no work for a while, where it is higher than that of the others; default 0.2;
	// negative: never.
	EjectRate float64
	// MaxEjected is the share of a model's workers that may be out by their rates; where
	// more are by their breakers, those are tried again soon. Default 0.5.
	MaxEjected float64
	// NoSlowStart gives workers that come back all of their work at once.
	NoSlowStart bool
	// Hedge has the members of an execution that is late run elsewhere as well, where a
	// worker stands idle that can still make their deadlines; the first answer counts. Late
	// is one that takes so many times its latency bound at the model's quantile; 0: never.
	Hedge float64
	// HedgeBudget is how many requests may run twice so for each that arrives, over about
	// ten seconds, beside a small number that is always allowed. Default 0.05.
	HedgeBudget float64
	// Split says how the members of a failed batch are tried again.
	Split Split
}

// Split says how many members of a batch that failed are tried again together.
type Split uint8

// The ways. With n members and k attempts left of the one with the fewest:
const (
	SplitByRoot Split = iota // n^((k−1)/k), at most half of them: alone at the last attempt
	SplitAlone               // one
	SplitHalves              // half
	SplitNever               // as they come, with others
)

const (
	defaultRetryBudget = 0.2
	defaultPoisoned    = 3
	mostPoisoned       = 5
	defaultHedgeBudget = 0.05
	defaultEjectRate   = 0.2
	defaultMaxEjected  = 0.5
)

func (f *Failures) setDefaults() {
	if f.RetryBudget == 0 {
		f.RetryBudget = defaultRetryBudget
	}
	if f.PoisonedAfter == 0 {
		f.PoisonedAfter = defaultPoisoned
	}
	if f.EjectRate == 0 {
		f.EjectRate = defaultEjectRate
	}
	if f.MaxEjected == 0 {
		f.MaxEjected = defaultMaxEjected
	}
	if f.HedgeBudget == 0 {
		f.HedgeBudget = defaultHedgeBudget
	}
}

// strikes are the different workers on which a request has failed, but for the one
// that would be too many.
type strikes struct {
	n  uint8
	on [mostPoisoned - 1]uint16 // low bits of their numbers
}

// holds reports whether the worker is among them.
func (s *strikes) holds(w pool.WorkerID) bool {
	for _, x := range s.known() {
		if x == uint16(w) {
			return true
		}
	}
	return false
}

func (s *strikes) known() []uint16 { return s.on[:min(int(s.n), len(s.on))] }

func (s *strikes) add(w pool.WorkerID) {
	if s.holds(w) {
		return
	}
	if int(s.n) < len(s.on) {
		s.on[s.n] = uint16(w)
	}
	s.n++
}

// elsewhere reports whether there is a strike on another worker.
func (s *strikes) elsewhere(w pool.WorkerID) bool { return s.n > 1 || s.n == 1 && s.on[0] != uint16(w) }

// alone reports whether the request runs in no batch with others.
func (r *request) alone() bool { return r.crowd == 1 }

// anyCrowd is more members than any batch has.
const anyCrowd = math.MaxInt

// crowd is the most members of a batch of the lead's on the worker. One that is to
// show that the worker is back has one: what else could be lost with it runs
// elsewhere.
func (c *Core) crowd(w pool.WorkerID, lead *request) int {
	switch {
	case c.workers[w].Breaker.Tripped():
		return 1
	case lead.crowd > 0:
		return int(lead.crowd)
	}
	return anyCrowd
}

func (c *Core) fail(id BatchID, fault Fault) {
	b := c.end(id)
	w := &c.workers[b.worker]
	counts := false
	switch {
	case b.given || fault == NoFault:
		w.Breaker.Released(c.now)
	case fault == RequestFault:
		c.success(b.worker)
	default:
		counts = c.failed(b, w, fault)
	}
	c.giveBack(b, fault, counts)
	c.refresh(b.worker)
	c.vacate(b.worker)
}

// hung takes the members away from an execution that runs far too long.
func (c *Core) hung(slot uint32) {
	b := &c.batches[slot]
	if b.given {
		return
	}
	w := &c.workers[b.worker]
	fault := WorkerFault
	if w.out {
		fault = Lost // what is wrong is known
	}
	counts := c.failed(b, w, fault)
	c.abandon(b)
	c.giveBack(b, fault, counts)
	c.refresh(b.worker)
}

// failed notes a failure of the worker's, unless all members have failed on others
// before: then it is theirs. It reports whether it tells of the members: the
// worker does well otherwise.
func (c *Core) failed(b *batch, w *worker, fault Fault) (tells bool) {
	w.vital.failures++
	tells = w.Breaker.Clean()
	if tells && (fault == WorkerFault || fault == Lost) && c.suspects(b) {
		w.Breaker.Released(c.now)
		return true
	}
	c.failure(b.worker, true)
	return tells
}

// suspects reports whether all members that wait for the execution have failed on
// another worker.
func (c *Core) suspects(b *batch) bool {
	for _, s := range b.members {
		if s != gone && !c.requests[s].struck.elsewhere(b.worker) {
			return false
		}
	}
	return b.wanted > 0
}

// giveBack sends the members of an execution to another try. tells is that the
// worker did well otherwise.
func (c *Core) giveBack(b *batch, fault Fault, tells bool) {
	merged := len(b.members) > 1
	crowd := c.apart(b, fault)
	for i, s := range b.members {
		if s == gone {
			continue
		}
		b.members[i] = gone
		b.wanted--
		r := &c.requests[s]
		if tells && (fault == WorkerFault || fault == Lost && !merged) {
			r.struck.add(b.worker)
		}
		if c.goesOn(b, s) {
			if fault != RequestFault || merged {
				continue // no attempt of its own
			}
			c.quitOther(s)
		}
		c.retry(s, b.worker, fault, merged, crowd)
	}
}

// apart is how many of the members of a failed execution may be together in the
// next; 0 where it says nothing of them.
func (c *Core) apart(b *batch, fault Fault) uint16 {
	n, tries, crowd, lost := 0, 0, uint16(0), false
	for _, s := range b.members {
		if s != gone {
			r := &c.requests[s]
			n++
			tries = max(tries, r.tries()+1)
			crowd = max(crowd, r.crowd)
			lost = lost || r.lost
		}
	}
	left := c.models[b.model].MaxAttempts - tries
	switch {
	case n == 0:
		return 0
	case fault == RequestFault:
		if crowd > 0 {
			return 1
		}
		return root(n, 2)
	case fault == Lost && (lost || left <= 1):
		return 1 // it cannot be told from one that breaks every worker
	case fault != WorkerFault:
		return crowd
	}
	switch c.cfg.Failures.Split {
	case SplitNever:
		return crowd
	case SplitAlone:
		return 1
	case SplitHalves:
		return uint16(max(1, n/2))
	}
	return root(n, left)
}

// root is n^((k−1)/k), from 1 to half of n: k times in a row it makes one of n.
func root(n, k int) uint16 {
	if k < 2 {
		return 1
	}
	return uint16(max(1, min(n/2, int(math.Pow(float64(n), float64(k-1)/float64(k))+1e-9), math.MaxUint16)))
}

// tries is how many executions with the request count against it.
func (r *request) tries() int { return int(r.attempts - r.excused) }

// retry puts a member of a failed execution back into its queue, or ends it.
func (c *Core) retry(slot uint32, on pool.WorkerID, fault Fault, merged bool, crowd uint16) {
	r := &c.requests[slot]
	m := &c.models[r.model]
	m.flying--
	r.attempts++
	if crowd > 0 {
		r.crowd = crowd
	}
	switch fault {
	case RequestFault:
		r.excused++ // another member may have been at fault
	case Unserved:
		r.missed++
		if int(r.missed) < max(m.MaxAttempts, min(m.up+1, mostMissed)) {
			r.excused++
		}
	case Lost:
		r.lost = true
	}
	switch k := c.cfg.Failures.PoisonedAfter; {
	case fault == RequestFault && !merged:
		c.drop(slot, Refused)
		return
	case k > 0 && int(r.struck.n) >= k && !merged:
		for _, id := range r.struck.known() {
			c.workers[id].vital.outcomes.Forgive()
		}
		c.drop(slot, Poisoned)
		return
	case r.tries() >= m.MaxAttempts:
		c.drop(slot, Exhausted)
		return
	case c.now > c.latestStart(m, r):
		c.drop(slot, Deadline)
		return
	case (fault == WorkerFault || fault == Lost) && !c.afford(m):
		c.drop(slot, OverBudget)
		return
	}
	if fault != RequestFault && fault != NoFault {
		r.failedOn = on
	}
	c.counts.Retried++
	c.enqueue(slot)
}

// mostMissed bounds how often workers in turn may not take a request.
const mostMissed = 100
