package dispatch

import (
	"time"

	"motley/internal/mono"
	"motley/internal/pool"
)

// LatestStart is the latest instant at which a request of so many items could
// be handed to the model and still be answered by the deadline with the model's
// quantile, as far as is known now. What waits and runs now is taken to be there
// then as well, and workers to be as busy as arrivals have found them of late. It
// is the present where too little is known to say. It reports false where the
// request would be late though it came at once, or no worker takes it.
//
// The request is one of the default priority that may share batches. Nothing
// changes by asking; it costs about as much as an admission.
func (c *Core) LatestStart(id pool.ModelID, size int, deadline mono.Time) (mono.Time, bool) {
	m := &c.models[id]
	r := request{model: id, size: size, deadline: deadline, arrived: c.now, key: 1, failedOn: -1}
	rows := min(size, m.largest()) // of its largest part
	if size < 1 || rows < 1 || rows < size && !c.splittable(m, &r) {
		return 0, false
	}
	r.entry = entry{due: deadline, seq: c.seq + 1, priority: DefaultPriority}
	if c.traits.Order == ByArrival {
		r.entry.due = c.now
	}
	ahead := c.itemsAhead(m, &r)
	if rows < size {
		ahead += float64(size + rows) // one part more: they do not fill workers evenly
	}
	for i := range m.groups {
		if g := &m.groups[i]; g.up > 0 && !g.profile.Settled() {
			return c.now, true
		}
	}
	need, ok := c.present(m, rows, ahead)
	if !ok || deadline == mono.Never {
		return mono.Never, ok
	}
	at := deadline.Add(-max(need, c.usual(m, rows)))
	return at, at >= c.now
}

// present is how long from now a request of so many items would be answered,
// with its bound, behind so many others; false where no worker takes it now.
func (c *Core) present(m *model, items int, ahead float64) (time.Duration, bool) {
	together := min(int(ahead)/m.up+items, max(m.MaxBatch, items))
	from := c.now
	if ahead > 0 {
		var rate, filled float64
		from = c.drained(m, ahead, together, &rate, &filled)
	}
	end := mono.Never
	for i := range m.groups {
		g := &m.groups[i]
		if g.up == 0 || g.maxItems < items {
			continue
		}
		n := min(together, g.maxItems)
		if ahead > 0 || g.free == 0 { // it will not be planned in a smaller batch
			n = max(n, min(g.enough, m.MaxBatch, g.maxItems))
		}
		need := g.profile.Bound(n, m.judged)
		for _, id := range g.workers {
			w := &c.workers[id]
			if !w.Allows(c.now) || w.limit(m.id) < items {
				continue
			}
			at := from
			if ahead == 0 {
				at = c.now.Add(c.left(w))
			}
			end = min(end, at.Add(need))
		}
	}
	return end.Sub(c.now), end != mono.Never
}

// usual is how long a request of so many items has at an instant that is not
// known yet. It takes the bound of a group so slow that, with the model's
// quantile, a worker of it or of a faster one is free then; or, if that is less,
// of the group that would be done first after a batch of its own. Policies that
// do not look at latencies may use any group.
func (c *Core) usual(m *model, items int) time.Duration {
	var need, last time.Duration
	waited := time.Duration(1<<63 - 1)
	for busy := 1.0; ; last = need {
		found := false
		for i := range m.groups { // the next slower ones
			g := &m.groups[i]
			if g.up == 0 || g.maxItems < items {
				continue
			}
			d := g.profile.Bound(items, m.judged)
			if d > last && (!found || d < need) {
				need, found = d, true
			}
		}
		if !found {
			break
		}
		for i := range m.groups {
			g := &m.groups[i]
			if g.up == 0 || g.maxItems < items || g.profile.Bound(items, m.judged) != need {
				continue
			}
			for range g.up {
				busy *= g.busy
			}
			n := min(max(items, g.enough, int(g.batch)), g.maxItems)
			waited = min(waited, g.profile.Mean(n)+g.profile.Bound(n, m.judged))
		}
		if busy <= 1-m.Quantile && !c.traits.Late {
			return min(need, waited)
		}
	}
	if c.traits.Late {
		return need
	}
	return waited
}

// batchSpan is how many batches the mean size of a group's is of.
const batchSpan = 16

// noteBusy takes in how busy an arrival finds the workers.
func (m *model) noteBusy() {
	for i := range m.groups {
		if g := &m.groups[i]; g.up > 0 {
			g.busy += (1 - float64(g.free)/float64(g.up) - g.busy) / demandSpan
		}
	}
}
