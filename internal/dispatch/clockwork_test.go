package dispatch

import (
	"math/rand/v2"
	"slices"
	"testing"

	"motley/internal/mono"
	"motley/internal/pool"
)

// checkedClockwork is clockwork with every call held against a plain account:
// whose queue a request is in, when that worker is done with what is before it,
// and what follows from that.
type checkedClockwork struct {
	clockwork
	t       *testing.T
	account map[RequestID]pool.WorkerID

	starts, merged, rejects, moves int
}

func (k *checkedClockwork) Dispatch(t *Turn) {
	c := t.c
	done := make([]mono.Time, len(c.workers)) // with what it runs and what is before
	queue := make([][]*request, len(c.workers))
	for i := range c.workers {
		done[i] = c.now
		for _, slot := range c.workers[i].running {
			done[i] = max(c.now, c.batches[slot].ends)
		}
	}
	can := func(r *request, id pool.WorkerID) bool {
		return c.workers[id].State == pool.Up && c.Limit(id, r.model) >= r.size
	}
	holds := func(r *request, id pool.WorkerID, from mono.Time) bool {
		m := c.ModelConfig(r.model)
		return from.Add(c.Profile(r.model, c.workers[id].Type).Bound(r.size, m.Quantile)) <= r.deadline
	}
	var rejected []RequestID
	for _, r := range (reference{c}).requests(len(c.requests)) {
		id, has := k.account[r.id]
		if has && len(queue[id]) == 0 && len(c.workers[id].running) == 0 && !holds(r, id, c.now) {
			has = false
			k.moves++
		}
		if !has {
			found := false
			var end mono.Time
			for typ := range c.cfg.Types { // of equals the first type's first worker
				for w := range pool.WorkerID(len(c.workers)) {
					if int(c.workers[w].Type) != typ || !can(r, w) || !holds(r, w, done[w]) {
						continue
					}
					if e := done[w].Add(c.Profile(r.model, c.workers[w].Type).Mean(r.size)); !found || e < end {
						found, id, end = true, w, e
					}
				}
			}
			if !found {
				rejected = append(rejected, r.id)
				continue
			}
			k.account[r.id] = id
		}
		done[id] = done[id].Add(c.Profile(r.model, c.workers[id].Type).Mean(r.size))
		queue[id] = append(queue[id], r)
	}
	started := map[pool.WorkerID][]RequestID{}
	for i, q := range queue {
		if len(c.workers[i].running) > 0 || len(q) == 0 {
			continue
		}
		id := pool.WorkerID(i)
		profile := c.Profile(q[0].model, c.workers[i].Type)
		m := c.ModelConfig(q[0].model)
		items, due := 0, mono.Never
		for j, r := range q {
			alike := j == 0 || r.model == q[0].model && r.key == q[0].key && r.key != 0
			late := c.now.Add(profile.Bound(items+r.size, m.Quantile)) > min(due, r.deadline)
			if !alike || j > 0 && (late || items+r.size > min(m.MaxBatch, c.Limit(id, r.model))) {
				continue
			}
			items, due = items+r.size, min(due, r.deadline)
			started[id] = append(started[id], r.id)
		}
	}

	before := len(c.out)
	k.clockwork.Dispatch(t)
	for _, a := range c.out[before:] {
		switch a.Kind {
		case Start:
			k.starts++
			if len(a.Requests) > 1 {
				k.merged++
			}
			if want := started[a.Worker]; !slices.Equal(a.Requests, want) {
				k.t.Fatalf("%v on worker %d, want %v", a.Requests, a.Worker, want)
			}
			delete(started, a.Worker)
		case Reject:
			k.rejects++
			if len(rejected) == 0 || rejected[0] != a.Request {
				k.t.Fatalf("request %d is rejected, want %v", a.Request, rejected)
			}
			rejected = rejected[1:]
		}
	}
	if len(started)+len(rejected) > 0 {
		k.t.Fatalf("not started: %v, not rejected: %v", started, rejected)
	}
}

// TestClockworkAgainstAccount plays random histories of two models, three
// priorities and four types.
func TestClockworkAgainstAccount(t *testing.T) {
	total := checkedClockwork{}
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 41))
		k := &checkedClockwork{t: t, account: map[RequestID]pool.WorkerID{}}
		priority := func() int { return 0 }
		if seed%2 == 1 {
			priority = func() int { return 1 + r.IntN(3) }
		}
		c := randomPool(t, r, k)
		runRandom(t, r, c, 300, priority, func(_ Event, out []Action) {
			for _, a := range out {
				if a.Kind == Reject || a.Kind == Answer {
					delete(k.account, a.Request)
				}
			}
		})
		total.starts += k.starts
		total.merged += k.merged
		total.rejects += k.rejects
		total.moves += k.moves
	}
	if total.starts < 1000 || total.merged < 200 || total.rejects < 200 || total.moves < 20 {
		t.Errorf("%d starts, %d of several requests, %d rejects, %d turns that came too late: too little was tried",
			total.starts, total.merged, total.rejects, total.moves)
	}
	t.Logf("%d starts, %d of several requests, %d rejects, %d turns that came too late", total.starts, total.merged, total.rejects, total.moves)
}
