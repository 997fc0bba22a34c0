package dispatch

import (
	"math"
	"time"

	"motley/internal/mono"
)

// tenants share the pool by weight where it cannot serve them all: max-min fair, so
// that who asks for less than its share gets all of it, and what it leaves is
// shared by the others. Nothing is held back for anybody: while there is capacity
// left everyone is served, and who may wait longest is not a matter of shares.
type tenants struct {
	all   []tenant
	last  mono.Time // to which the sums have faded
	level float64   // work per weight that nobody gets more of than by what others leave; +Inf where all can be served
	seen  int       // arrivals until it is computed again
}

// tenant is one of those who share, and what it asked for and got of late, in
// ns of a worker's time in full batches.
type tenant struct {
	weight      float64
	asked, used float64
}

const (
	// tenantSpan is the time over which work is remembered.
	tenantSpan = 2 * time.Second
	// tenantEvery is how many arrivals there are to one that has shares computed
	// anew.
	tenantEvery = 16
	// tenantSlack is by how much a tenant may be over its share before that
	// counts: what arrives is not a fluid.
	tenantSlack = 1.05
	// crowdedShare is the share of the QoS target that what waits must take the
	// workers before anybody is turned away for being over its share: less, and
	// workers might run dry.
	crowdedShare = 0.5
	claimSteps   = 4
	// overShare is the cost of a request whose tenant has twice its share, in the unit of
	// costs: more than any request's own, and less than a level of priority.
	overShare = 1e15
)

func (t *tenants) set(weights []float64) {
	for len(t.all) < max(1, len(weights)) {
		t.all = append(t.all, tenant{weight: 1})
	}
	t.all = t.all[:max(1, len(weights))]
	for i, w := range weights {
		t.all[i].weight = w
	}
	t.level, t.seen = math.Inf(1), 0
}

// of is the tenant with that number; the first stands for one that is not known.
func (t *tenants) of(i int) *tenant {
	if i < 0 || i >= len(t.all) {
		i = 0
	}
	return &t.all[i]
}

// one reports whether there is nobody to share with.
func (t *tenants) one() bool { return len(t.all) < 2 }

// fade lets the sums forget what lies back.
func (t *tenants) fade(now mono.Time) {
	if now == t.last {
		return
	}
	f := math.Exp(-float64(now-t.last) / float64(tenantSpan))
	for i := range t.all {
		t.all[i].asked *= f
		t.all[i].used *= f
	}
	t.last = now
}

// share computes the level up to which what is done at present would fill all
// tenants alike, each by its weight and none beyond what it asks for: the level
// L that solves Σ min(asked_i, L·w_i) = Σ used_i.
func (t *tenants) share() {
	asked, used := 0.0, 0.0
	for i := range t.all {
		asked += t.all[i].asked
		used += t.all[i].used
	}
	t.level = math.Inf(1)
	if asked <= used*tenantSlack || used == 0 {
		return
	}
	low, high := 0.0, 0.0
	for i := range t.all {
		high = max(high, t.all[i].asked/t.all[i].weight)
	}
	for range 40 {
		mid, sum := (low+high)/2, 0.0
		for i := range t.all {
			sum += min(t.all[i].asked, mid*t.all[i].weight)
		}
		if sum < used {
			low = mid
		} else {
			high = mid
		}
	}
	t.level = high
}

// over is how far the tenant is over its share, as a part of that; 0 or less where
// it is not.
func (t *tenants) over(i int) float64 {
	o := t.of(i)
	return o.used/(o.weight*t.level*tenantSlack) - 1
}

// claim says how soon one of the tenant's requests makes room: 1 where it has its
// share, in steps, lest chance decide between two that have. With one tenant, or
// where all can be served, it is 0.
func (t *tenants) claim(i int) float64 {
	if t.one() || math.IsInf(t.level, 1) {
		return 0
	}
	return math.Round((1+t.over(i))*claimSteps) / claimSteps
}

// short reports whether the tenant has clearly less than its share, while not
// all can be served.
func (t *tenants) short(i int) bool { return !t.one() && t.level < math.Inf(1) && t.claim(i) < 1 }

// asks notes that a tenant asks for a request's work.
func (c *Core) asks(m *model, r *request) {
	t := &c.tenants
	if t.one() {
		return
	}
	t.fade(c.now)
	t.of(int(r.tenant)).asked += m.work(r.size)
	if t.seen--; t.seen <= 0 {
		t.seen = tenantEvery
		t.share()
	}
}

// gets notes that a tenant gets it.
func (c *Core) gets(m *model, r *request) {
	if t := &c.tenants; !t.one() && r.attempts == 0 {
		t.fade(c.now)
		t.of(int(r.tenant)).used += m.work(r.size)
	}
}

// work is what so many items cost a worker, in ns; a unit each while nothing is known.
func (m *model) work(items int) float64 {
	if per := m.itemCost(); per > 0 {
		return float64(items) * per
	}
	return float64(items)
}

// tooMuch reports whether a request is to be turned away as it comes because
// its tenant has more than its share while others wait.
func (c *Core) tooMuch(m *model, r *request) bool {
	if c.tenants.one() || m.queue.len() == 0 || c.tenants.over(int(r.tenant)) <= 0 {
		return false
	}
	return c.Drain(m.id) > time.Duration(crowdedShare*float64(m.QoS))
}

// makeRoom turns a waiting request away of which the tenant has more than its
// share, in favour of one whose tenant has not. It reports whether there was one.
func (c *Core) makeRoom(m *model, r *request) bool {
	if c.tenants.one() || c.tenants.over(int(r.tenant)) > 0 {
		return false
	}
	out, most := none, 0.0
	for i := m.queue.len() - 1; i >= max(0, m.queue.len()-Window); i-- {
		e := m.queue.at(i)
		o := &c.requests[e.slot]
		if e.priority < r.entry.priority || o.next != e.slot || o.attempts > 0 {
			continue // dearer than that: it is more urgent, or has begun
		}
		if over := c.tenants.over(int(o.tenant)); over > most {
			out, most = e.slot, over
		}
	}
	if out == none {
		return false
	}
	c.dequeue(out)
	c.drop(out, Share)
	return true
}
