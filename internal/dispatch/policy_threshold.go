package dispatch

import "motley/internal/pool"

// sizeThreshold is the static split of DeepRecSched (Gupta et al., ISCA 2020):
// requests of at least so many items queue for the accelerators, smaller ones
// for the rest, each first come, first served, one at a time, none dropped. The
// accelerators are the types that say so, or else the fastest one for the
// largest batch. Where one side has no worker up, the other takes all. (Their
// splitting of large requests over CPUs is left out.)
type sizeThreshold struct {
	items  int     // 0: the largest request that keeps the QoS target on the rest
	splits []split // by model, as of this call
	picks  [1]uint32
}

// split is how one model's requests are parted.
type split struct {
	large int    // the smallest size, in items, that goes to the accelerators
	fast  []bool // by group: the type counts as an accelerator
}

func (*sizeThreshold) Name() string { return "size-threshold" }

func (*sizeThreshold) Traits() Traits { return Traits{Order: ByArrival, Late: true, Waits: true} }

func (p *sizeThreshold) Dispatch(t *Turn) {
	for len(p.splits) < len(t.c.models) {
		p.splits = append(p.splits, split{})
	}
	for i := range t.c.models {
		if m := &t.c.models[i]; m.queue.len() > 0 && len(m.groups) > 0 {
			p.split(t, m)
		}
	}
	t.rounds(func(m pool.ModelID, i int) bool {
		mod, s := &t.c.models[m], &p.splits[m]
		r := t.request(m, i)
		avoid := t.avoided(mod, r) // where it failed; any other will do, then
		want := r.size >= s.large
		if !p.has(mod, r.size, want) {
			want = !want
		}
		for j := range mod.groups {
			g := &mod.groups[j]
			if avoid < 0 && s.fast[j] != want || !t.takes(mod, g, r) {
				continue
			}
			if w := t.pick(m, g, r.size, avoid); w >= 0 {
				p.picks[0] = r.entry.slot
				t.start(w, p.picks[:])
				return true
			}
		}
		return false
	})
}

// has reports whether the side has a worker up that takes so many items.
func (p *sizeThreshold) has(m *model, size int, fast bool) bool {
	for j := range m.groups {
		if g := &m.groups[j]; g.up > 0 && size <= g.maxItems && p.splits[m.id].fast[j] == fast {
			return true
		}
	}
	return false
}

// split parts the model's requests by what its workers are now.
func (p *sizeThreshold) split(t *Turn, m *model) {
	s := &p.splits[m.id]
	s.fast = s.fast[:0]
	named := false
	for i := range m.groups {
		named = named || t.c.cfg.Types[m.groups[i].typ].Accelerator != ""
	}
	least := m.groups[0].profile.Mean(m.MaxBatch)
	for _, p := range m.profiles {
		least = min(least, p.Mean(m.MaxBatch))
	}
	for i := range m.groups {
		g := &m.groups[i]
		if named {
			s.fast = append(s.fast, t.c.cfg.Types[g.typ].Accelerator != "")
		} else {
			s.fast = append(s.fast, m.group(int32(g.typ)).profile.Mean(m.MaxBatch) == least)
		}
	}
	if s.large = p.items; s.large == 0 {
		s.large = largest(m, s.fast) + 1
	}
}

// largest is the most items that every type which is up and no accelerator
// answers within the QoS target; 0 without one.
func largest(m *model, fast []bool) int {
	most := 0
	for i := range m.groups {
		g := &m.groups[i]
		if fast[i] || g.up == 0 {
			continue
		}
		n := sizeWithin(g, min(m.MaxBatch, g.maxItems), m.QoS)
		if most == 0 || n < most {
			most = n
		}
	}
	return most
}
