package dispatch

import "motley/internal/mono"

// packRounds bounds the changes by which one batch is filled up.
const packRounds = 3

// pack fills up a batch that is about to start: from the batches planned for
// later it takes in records that still fit, or exchanges one of its own for a
// larger one, and at last rows of one that does not, where all deadlines hold.
// A batch of 860 items where 1,000 are allowed wastes a seventh of its fixed
// cost.
func (p *plan) pack(i int32) {
	lead := &p.t.c.requests[p.drafts[i].lead]
	if p.o.NoPack || p.o.NoMerge || lead.key == 0 || lead.alone() {
		return
	}
	rounds := 0
	for ; rounds < packRounds && p.improve(i, lead); rounds++ {
	}
	if p.t.c.models[lead.model].demand.overload() {
		return // rows that run make a request one that nobody can make room of
	}
	for ; rounds < packRounds && p.topUp(i, lead); rounds++ {
	}
}

// donors calls try with every draft that a batch which starts now may take
// members from.
func (p *plan) donors(i int32, try func(e *draft)) {
	for o := range p.drafts {
		if e := &p.drafts[o]; e.model == p.drafts[i].model && len(e.members) > 0 && !p.starts(int32(o)) {
			try(e)
		}
	}
}

// improve takes in the largest record that fits, or makes the exchange that
// gains most items; it reports whether there was any.
func (p *plan) improve(i int32, lead *request) bool {
	d := &p.drafts[i]
	gain, in, out := 0, -1, -1
	var from *draft
	p.donors(i, func(e *draft) {
		for k, s := range e.members {
			r := &p.t.c.requests[s.slot]
			if !p.entire(s) || r.size <= gain || !mergeable(lead, r) || r.failedOn == p.lanes[d.lane].worker {
				continue
			}
			if r.size <= d.most-d.items && len(d.members) < d.crowd {
				if p.keeps(d, r.size, min(d.due, r.deadline)) {
					gain, from, in, out = r.size, e, k, -1
				}
				continue
			}
			if x := p.exchange(d, e, r, gain); x >= 0 {
				gain, from, in, out = r.size-p.t.c.requests[d.members[x].slot].size, e, k, x
			}
		}
	})
	if from == nil {
		return false
	}
	own, other := member{}, from.members[in]
	if out >= 0 {
		own = d.members[out]
		d.members[out], from.members[in] = other, own
	} else {
		d.members = append(d.members, other)
		from.members = append(from.members[:in], from.members[in+1:]...)
	}
	p.settle(d)
	p.settle(from)
	return true
}

// entire reports whether the member is all of its record. Of one that was cut
// in this very step, rows have started, and its size is theirs.
func (p *plan) entire(s member) bool {
	r := &p.t.c.requests[s.slot]
	return r.state == queued && s.rows == r.size
}

// keeps reports whether the batch with so many items more ends by due.
func (p *plan) keeps(d *draft, more int, due mono.Time) bool {
	return !d.group.profile.Settled() ||
		d.start.Add(d.group.profile.Bound(d.items+more, p.t.c.models[d.model].judged)) <= due
}

// exchange returns the member of d that r of e may take the place of so that d
// gains the most items, more than gain; −1 if there is none.
func (p *plan) exchange(d, e *draft, r *request, gain int) int {
	best := -1
	for x, s := range d.members {
		own := &p.t.c.requests[s.slot]
		more := r.size - own.size
		if !p.entire(s) || more <= gain || d.items+more > d.most || own.failedOn == p.lanes[e.lane].worker {
			continue
		}
		if p.keeps(d, more, min(p.dueWithout(d, x), r.deadline)) && p.keeps(e, -more, own.deadline) {
			best, gain = x, more
		}
	}
	return best
}

// topUp takes in rows of the most urgent request that does not fit whole; it
// reports whether there was any.
func (p *plan) topUp(i int32, lead *request) bool {
	d := &p.drafts[i]
	if len(d.members) >= d.crowd {
		return false
	}
	m := &p.t.c.models[d.model]
	least := m.least()
	var from *draft
	at, rows := -1, 0
	p.donors(i, func(e *draft) {
		for k, s := range e.members {
			r := &p.t.c.requests[s.slot]
			if !p.t.c.splittable(m, r) || !mergeable(lead, r) || r.failedOn == p.lanes[d.lane].worker || d.holds(s.slot) ||
				from != nil && r.deadline >= p.t.c.requests[from.members[at].slot].deadline {
				continue
			}
			n := min(room(m, d.group, d.start, min(d.due, r.deadline), d.most)-d.items, s.rows)
			if n < s.rows {
				n = min(n, s.rows-least) // what is left must be worth while too
			}
			if n >= least {
				from, at, rows = e, k, n
			}
		}
	})
	if from == nil {
		return false
	}
	s := &from.members[at]
	d.members = append(d.members, member{s.slot, rows})
	if s.rows -= rows; s.rows == 0 {
		from.members = append(from.members[:at], from.members[at+1:]...)
	}
	p.settle(d)
	p.settle(from)
	return true
}

// settle derives a draft's numbers from its members, of which it may have
// none. Its end, and what is planned behind it, stay as they were: the plan is
// about to be carried out.
func (p *plan) settle(d *draft) {
	d.items, d.due = 0, p.dueWithout(d, -1)
	for _, s := range d.members {
		d.items += s.rows
	}
	if len(d.members) > 0 {
		d.lead = d.members[0].slot
	}
}

// dueWithout is the earliest deadline of the members of d but x.
func (p *plan) dueWithout(d *draft, x int) mono.Time {
	due := mono.Never
	for i, s := range d.members {
		if i != x {
			due = min(due, p.t.c.requests[s.slot].deadline)
		}
	}
	return due
}
