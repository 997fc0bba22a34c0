package dispatch

import "motley/internal/pool"

// leastLoad gives each request, earliest deadline first, to the free worker
// that is predicted to answer it first, among those predicted to make its
// deadline, and merges into its batch whatever else waits and fits: as long as
// workers are free nothing waits, so batches grow only as the pool fills up.
type leastLoad struct{}

func (*leastLoad) Name() string   { return "least-load" }
func (*leastLoad) Traits() Traits { return Traits{} }

func (*leastLoad) Dispatch(t *Turn) {
	t.rounds(func(m pool.ModelID, i int) bool {
		g, w := t.soonest(m, t.request(m, i))
		if w < 0 {
			return false
		}
		t.start(w, t.gather(m, g, w, i, t.share(m, i)))
		return true
	})
}

// soonest returns the free worker with the earliest predicted end for the
// request, of those whose latency bound holds its deadline, and −1 if none
// does.
func (t *Turn) soonest(m pool.ModelID, r *request) (*group, pool.WorkerID) {
	mod := &t.c.models[m]
	avoid := t.avoided(mod, r)
	var best *group
	worker := pool.WorkerID(-1)
	for i := range mod.groups {
		g := &mod.groups[i]
		if !t.takes(mod, g, r) {
			continue
		}
		if best != nil && g.profile.Mean(r.size) >= best.profile.Mean(r.size) {
			continue
		}
		if w := t.pick(m, g, r.size, avoid); w >= 0 {
			best, worker = g, w
		}
	}
	return best, worker
}
