package dispatch

import (
	"math/rand/v2"

	"motley/internal/pool"
)

// p2c draws two of the free workers by lot and takes the one that is predicted
// to answer sooner: the power of two choices (Mitzenmacher, IEEE TPDS 2001),
// merging as least-load does.
type p2c struct{ rng *rand.Rand }

func newP2C(seed uint64) *p2c { return &p2c{rng: rand.New(rand.NewPCG(seed, 0x70326332))} }

func (*p2c) Name() string   { return "p2c" }
func (*p2c) Traits() Traits { return Traits{} }

func (p *p2c) Dispatch(t *Turn) {
	t.rounds(func(m pool.ModelID, i int) bool {
		r := t.request(m, i)
		g, w := p.draw(t, m, r)
		if g2, w2 := p.draw(t, m, r); w < 0 || (w2 >= 0 && g2.profile.Mean(r.size) < g.profile.Mean(r.size)) {
			g, w = g2, w2
		}
		if w < 0 {
			return false
		}
		t.start(w, t.gather(m, g, w, i, t.share(m, i)))
		return true
	})
}

// draw picks one of the free workers that can take the request, all alike
// likely.
func (p *p2c) draw(t *Turn, m pool.ModelID, r *request) (*group, pool.WorkerID) {
	mod := &t.c.models[m]
	avoid := t.avoided(mod, r)
	var group *group
	worker, seen := pool.WorkerID(-1), 0
	for i := range mod.groups {
		g := &mod.groups[i]
		if !t.takes(mod, g, r) {
			continue
		}
		for _, id := range g.workers {
			w := &t.c.workers[id]
			if !w.free || id == avoid || w.limit(m) < r.size {
				continue
			}
			seen++
			if p.rng.IntN(seen) == 0 {
				group, worker = g, id
			}
		}
	}
	return group, worker
}
