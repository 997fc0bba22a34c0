package dispatch

import (
	"math/rand/v2"
	"slices"
	"testing"

	"motley/internal/mono"
	"motley/internal/pool"
)

// checkedClockwork is clockwork with every call held against a plain account:
// whose queue a request is in, and when that worker is done with it if the queue
// is played through.
type checkedClockwork struct {
	clockwork
	t       *testing.T
	account map[RequestID]pool.WorkerID

	starts, merged, rejects, moves int
}

func (k *checkedClockwork) Dispatch(t *Turn) {
	c := t.c
	queue := make([][]*request, len(c.workers))
	// done plays a worker's queue through, with one more request behind it: what
	// it runs, then batches of neighbours, each as large as its deadlines allow.
	// late: the last one starts a batch, and that ends too late by the bound.
	done := func(id pool.WorkerID, more *request) (end mono.Time, late bool) {
		end = c.now
		for _, slot := range c.workers[id].running {
			end = max(c.now, c.batches[slot].ends)
		}
		var batch []*request
		var start mono.Time
		for _, r := range append(slices.Clone(queue[id]), more) {
			m, profile := c.ModelConfig(r.model), c.Profile(r.model, c.workers[id].Type)
			items, due := r.size, r.deadline
			for _, b := range batch {
				items, due = items+b.size, min(due, b.deadline)
			}
			if len(batch) == 0 || batch[0].model != r.model || batch[0].key != r.key || r.key == 0 ||
				items > min(m.MaxBatch, c.Limit(id, r.model)) || start.Add(profile.Bound(items, m.Quantile)) > due {
				batch, items, start = nil, r.size, end
				late = start.Add(profile.Bound(items, m.Quantile)) > r.deadline
			} else {
				late = false
			}
			batch = append(batch, r)
			end = start.Add(profile.Mean(items))
		}
		return end, late
	}
	can := func(r *request, id pool.WorkerID) bool {
		return c.workers[id].State == pool.Up && c.Limit(id, r.model) >= r.size
	}
	holds := func(r *request, id pool.WorkerID) bool {
		m := c.ModelConfig(r.model)
		return c.now.Add(c.Profile(r.model, c.workers[id].Type).Bound(r.size, m.Quantile)) <= r.deadline
	}
	var rejected []RequestID
	for _, r := range (reference{c}).requests(len(c.requests)) {
		id, has := k.account[r.id]
		if has && len(queue[id]) == 0 && len(c.workers[id].running) == 0 && !holds(r, id) {
			has = false
			k.moves++
		}
		if !has {
			found := false
			var end mono.Time
			for typ := range c.cfg.Types { // of equals the first type's first worker
				for w := range pool.WorkerID(len(c.workers)) {
					if int(c.workers[w].Type) != typ || !can(r, w) {
						continue
					}
					if e, late := done(w, r); !late && (!found || e < end) {
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
