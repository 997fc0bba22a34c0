package dispatch

// crowd is how many requests make a batch that is worth while before early drop pays: where
// it takes but a few, one that is nearly late hardly shrinks it.
const crowd = 8

// dropEarly turns away, in an overload, what waits at the head of a queue and has too
// little time left for a batch that is worth while. It would shrink the batch it is in
// and so make what waits behind it late in turn, until only small batches run, of
// requests that are as late as can be. Nexus (Shen et al., SOSP 2019) drops early for the
// same reason.
func (p *priced) dropEarly(t *Turn) {
	if p.o.NoShed {
		return
	}
	for i := range t.c.models {
		m := &t.c.models[i]
		m.crowded = false
		enough := m.enough()
		if enough == 0 || float64(enough) < crowd*m.demand.size*float64(m.up) || m.coming > 0 || !m.demand.overload() {
			continue
		}
		for m.queue.items > enough && p.hasty(t, m) {
			m.demand.noteShed()
			t.reject(m.queue.at(0).slot)
		}
		m.crowded = m.queue.items > enough
	}
}

// enough is how many items all workers need for a batch each that is worth while; 0
// where nothing is merged.
func (m *model) enough() (n int) {
	for i := range m.groups {
		n += m.groups[i].up * m.groups[i].enough
	}
	return n
}

// hasty reports whether the first waiting request leaves no worker time for a batch
// that is worth while, and may make room: it is merged with others, none of its rows
// has run, and nobody less important waits.
func (p *priced) hasty(t *Turn, m *model) bool {
	first := m.queue.at(0)
	r := &t.c.requests[first.slot]
	if r.key == 0 || r.alone() || r.next != first.slot || first.priority != m.queue.at(m.queue.len()-1).priority || t.c.lockedOut(m, r) || t.c.tenants.short(int(r.tenant)) {
		return false
	}
	for i := range m.groups {
		g := &m.groups[i]
		if g.up > 0 && (!g.profile.Settled() || t.fits(m, g, min(max(r.size, g.enough), g.maxItems), r.deadline)) {
			return false
		}
	}
	return true
}
