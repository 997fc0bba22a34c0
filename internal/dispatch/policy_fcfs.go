package dispatch

import "motley/internal/pool"

// fcfs gives the request that came first to the first free worker, in pool
// order, that can take it, one request at a time: what a plain queue does.
type fcfs struct{}

func (fcfs) Name() string   { return "fcfs" }
func (fcfs) Traits() Traits { return Traits{Order: ByArrival, Late: true} }

func (fcfs) Dispatch(t *Turn) {
	t.rounds(func(m pool.ModelID, i int) bool {
		w := t.firstFree(m, t.request(m, i))
		if w < 0 {
			return false
		}
		t.start(w, t.gather(m, nil, w, i, 1))
		return true
	})
}

// firstFree returns the first worker in pool order that is free and would make
// the request's deadline, or −1.
func (t *Turn) firstFree(m pool.ModelID, r *request) pool.WorkerID {
	mod := &t.c.models[m]
	first := pool.WorkerID(-1)
	for j := range mod.groups {
		g := &mod.groups[j]
		if !t.takes(mod, g, r) {
			continue
		}
		for _, id := range g.workers {
			w := &t.c.workers[id]
			if w.free && w.limit(m) >= r.size && id != t.avoided(mod, r) && (first < 0 || id < first) {
				first = id
				break
			}
		}
	}
	return first
}
