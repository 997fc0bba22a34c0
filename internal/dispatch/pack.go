package dispatch

import "motley/internal/mono"

// packRounds bounds the exchanges by which one batch is filled up.
const packRounds = 3

// pack fills up a batch that is about to start: from the batches planned for
// later it takes in a request that still fits, or exchanges one of its own for
// a larger one, where all deadlines hold. A batch of 860 items where 1,000 are
// allowed wastes a seventh of its fixed cost.
func (p *plan) pack(i int32) {
	d := &p.drafts[i]
	lead := &p.t.c.requests[d.lead]
	if p.o.NoPack || p.o.NoMerge || lead.key == 0 || lead.alone {
		return
	}
	for range packRounds {
		gain, from, in, out := 0, int32(-1), -1, -1
		for o := range p.drafts {
			e := &p.drafts[o]
			l := &p.lanes[e.lane]
			if int32(o) == i || e.model != d.model || len(e.members) == 0 || l.free && l.first == int32(o) {
				continue
			}
			for k, s := range e.members {
				r := &p.t.c.requests[s]
				if r.size <= gain || !mergeable(lead, r) || r.failedOn == p.lanes[d.lane].worker {
					continue
				}
				if r.size <= d.most-d.items {
					if p.keeps(d, r.size, min(d.due, r.deadline)) {
						gain, from, in, out = r.size, int32(o), k, -1
					}
					continue
				}
				if x := p.exchange(d, e, r, gain); x >= 0 {
					gain, from, in, out = r.size-p.t.c.requests[d.members[x]].size, int32(o), k, x
				}
			}
		}
		if from < 0 {
			return
		}
		p.move(i, from, in, out, gain)
	}
}

// keeps reports whether the batch with so many items more ends by due.
func (p *plan) keeps(d *draft, more int, due mono.Time) bool {
	return !d.group.profile.Settled() ||
		d.start.Add(d.group.profile.Bound(d.items+more, p.t.c.models[d.model].q)) <= due
}

// exchange returns the member of d that r of e may take the place of so that d
// gains the most items, more than gain; −1 if there is none.
func (p *plan) exchange(d, e *draft, r *request, gain int) int {
	best := -1
	for x, s := range d.members {
		own := &p.t.c.requests[s]
		more := r.size - own.size
		if more <= gain || d.items+more > d.most || own.alone || own.failedOn == p.lanes[e.lane].worker {
			continue
		}
		if p.keeps(d, more, min(p.dueWithout(d, x), r.deadline)) && p.keeps(e, -more, own.deadline) {
			best, gain = x, more
		}
	}
	return best
}

// dueWithout is the earliest deadline of the members of d but x.
func (p *plan) dueWithout(d *draft, x int) mono.Time {
	due := mono.Never
	for i, s := range d.members {
		if i != x {
			due = min(due, p.t.c.requests[s].deadline)
		}
	}
	return due
}

// move takes member in of draft from over into draft to, in exchange for
// member out unless that is −1.
func (p *plan) move(to, from int32, in, out, gain int) {
	d, e := &p.drafts[to], &p.drafts[from]
	s := e.members[in]
	if out < 0 {
		d.members = append(d.members, s)
		e.members = append(e.members[:in], e.members[in+1:]...)
	} else {
		e.members[in], d.members[out] = d.members[out], s
	}
	d.items += gain
	e.items -= gain
	d.due, e.due = p.dueWithout(d, -1), p.dueWithout(e, -1)
	d.lead = d.members[0]
	if len(e.members) > 0 {
		e.lead = e.members[0]
	}
}
