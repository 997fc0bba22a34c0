package dispatch

import "motley/internal/pool"

// sizeThreshold is the static split of DeepRecSched (Gupta et al., ISCA 2020):
// requests of at least so many items queue for the accelerators, smaller ones
// for the rest, each first come, first served, one at a time, none dropped. The
// accelerators are the types that say so, or else the fastest one for the
// largest batch. Where one side has no worker up, the other takes all. (Their
// splitting of large requests over CPUs is left out.)
type sizeThreshold struct {
	items int // 0: the largest request that keeps the QoS target on the rest
	picks [1]uint32
}

func (*sizeThreshold) Name() string { return "size-threshold" }

func (*sizeThreshold) Traits() Traits { return Traits{Order: ByArrival, Late: true, Waits: true} }

func (p *sizeThreshold) Dispatch(t *Turn) {
	t.rounds(func(m pool.ModelID, i int) bool {
		mod := &t.c.models[m]
		r := t.request(m, i)
		fast, slow := false, false
		for j := range mod.groups {
			if g := &mod.groups[j]; g.up > 0 && r.size <= g.maxItems {
				fast = fast || p.fast(t, mod, g)
				slow = slow || !p.fast(t, mod, g)
			}
		}
		large := r.size >= p.threshold(t, mod)
		for j := range mod.groups {
			g := &mod.groups[j]
			if fast && slow && p.fast(t, mod, g) != large || !t.takes(mod, g, r) {
				continue
			}
			if w := t.pick(m, g, r.size, t.avoided(mod, r)); w >= 0 {
				p.picks[0] = r.entry.slot
				t.start(w, p.picks[:])
				return true
			}
		}
		return false
	})
}

// fast reports whether the group's type counts as an accelerator.
func (p *sizeThreshold) fast(t *Turn, m *model, g *group) bool {
	named := false
	for i := range m.groups {
		named = named || t.c.cfg.Types[m.groups[i].typ].Accelerator != ""
	}
	if named {
		return t.c.cfg.Types[g.typ].Accelerator != ""
	}
	for i := range m.groups {
		if m.groups[i].profile.Mean(m.MaxBatch) < g.profile.Mean(m.MaxBatch) {
			return false
		}
	}
	return true
}

// threshold is the smallest size, in items, that goes to the accelerators.
func (p *sizeThreshold) threshold(t *Turn, m *model) int {
	if p.items > 0 {
		return p.items
	}
	most := 0
	for i := range m.groups {
		g := &m.groups[i]
		if p.fast(t, m, g) || g.up == 0 {
			continue
		}
		n := sizeWithin(g, min(m.MaxBatch, g.maxItems), m.QoS)
		if most == 0 || n < most {
			most = n
		}
	}
	return most + 1
}
