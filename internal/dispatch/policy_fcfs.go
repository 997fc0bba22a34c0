package dispatch

import "motley/internal/pool"

// fcfs gives the request that came first to the first free worker, in pool
// order, that can take it, one request at a time: what a plain queue does.
type fcfs struct{}

func (fcfs) Name() string { return "fcfs" }
func (fcfs) Order() Order { return ByArrival }

func (fcfs) Dispatch(t *Turn) {
	for m := range pool.ModelID(t.Models()) {
		mod := &t.c.models[m]
		for i := 0; i < min(t.Waiting(m), Window) && t.Free(m) > 0; {
			r := t.request(m, i)
			w := pool.WorkerID(-1)
			for j := range mod.groups {
				g := &mod.groups[j]
				if g.free == 0 || !t.fits(mod, g, r.size, r.deadline) {
					continue
				}
				for _, id := range g.workers {
					wk := &t.c.workers[id]
					if wk.free && wk.limit(m) >= r.size && id != t.avoided(mod, r) && (w < 0 || id < w) {
						w = id
						break
					}
				}
			}
			if w < 0 {
				i++
				continue
			}
			t.start(w, t.gather(m, nil, w, i, 1))
		}
	}
}
