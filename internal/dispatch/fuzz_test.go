package dispatch

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"motley/internal/mono"
	"motley/internal/pool"
)

// drive plays random events, read from next, against a core with every
// invariant checked after each step, and an account of its own of what each
// request has become. In the end all workers come up and answer, and nothing
// may be left.
func drive(t testing.TB, policy string, next func(n int) int, steps int) *account {
	pol, err := NewPolicy(policy, 7)
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(walkConfig(t, pol))
	if err != nil {
		t.Fatal(err)
	}
	a := &account{t: t, c: c, calm: next(2) == 0, traits: pol.Traits(), live: map[RequestID]*truth{}, now: mono.Time(time.Second)}
	for range steps {
		a.now = a.now.Add(time.Duration(next(3_000)) * time.Microsecond)
		a.step(a.draw(next))
	}
	a.settle()
	return a
}

// walkConfig is a pool on which everything happens: models that are merged,
// hardly, and never split, workers of three types, one of them unknown, with
// different limits, some of which take two batches.
func walkConfig(t testing.TB, pol Policy) Config {
	laws := []law{{2 * time.Millisecond, 100 * time.Microsecond}, {time.Millisecond, 2 * time.Millisecond}, {}}
	cfg := Config{
		Models: []Model{
			{Name: "a", QoS: 30 * time.Millisecond, MaxQueue: 20},
			{Name: "b", QoS: 80 * time.Millisecond, MaxBatch: 5, MaxAttempts: 2},
			{Name: "c", QoS: 200 * time.Millisecond, NoSplit: true},
		},
		Types: make([]pool.InstanceType, 3), Policy: pol, Hang: 50 * time.Millisecond,
		Profiles: profiles(t, 3, laws), Tenants: []float64{1, 2}, Failures: Failures{Hedge: 1, HedgeBudget: 0.5},
	}
	for i := range 5 {
		w := pool.Worker{Name: fmt.Sprint(i), Type: pool.TypeID(i % 3), Concurrency: 1 + i/3, State: pool.Up,
			Breaker: pool.NewBreaker(pool.BreakerConfig{Failures: 2, Open: 7 * time.Millisecond, MaxOpen: 40 * time.Millisecond})}
		w.Serves = append(w.Serves, pool.Serve{Model: 0, MaxBatch: 1 + 7*i})
		if i != 2 {
			w.Serves = append(w.Serves, pool.Serve{Model: 1, MaxBatch: 16})
		}
		if i%2 == 0 {
			w.Serves = append(w.Serves, pool.Serve{Model: 2, MaxBatch: 64})
		}
		cfg.Workers = append(cfg.Workers, w)
	}
	return cfg
}

// account is what the driver of a core knows by itself.
type account struct {
	t       testing.TB
	c       *Core
	traits  Traits
	ids     IDs
	now     mono.Time
	live    map[RequestID]*truth
	order   []RequestID // of all that ever arrived
	running []run
	actions []Action
	split   int  // answers put together of parts
	calm    bool // hardly anything comes, and what is due happens: workers stand idle
	early   int  // exits of members that were there
	copied  int  // members that run in a second execution
	beaten  int  // of these, those that were answered by one of the two
	log     []byte
}

// truth is what has become of a request.
type truth struct {
	model    pool.ModelID
	key      uint64
	whole    bool // its rows must run together
	deadline mono.Time
	started  int
	flying   int    // executions that it is a member of
	rows     []bool // that have been answered
}

// run is an execution as the driver sees it.
type run struct {
	id      BatchID
	worker  pool.WorkerID
	members []RequestID
	rows    []Rows
	left    []bool // members whose answer came early
	beaten  []bool // members whose answer another execution gave first
	audited bool   // one of them was there to have it
	stopped bool
}

// draw makes up what happens next.
func (a *account) draw(next func(n int) int) Event {
	ev := Event{At: a.now, Kind: Tick}
	k := next(18)
	if a.calm && k < 8 && next(4) > 0 {
		k = 15
	}
	switch {
	case k < 8:
		return a.arrival(next)
	case k < 12 && len(a.running) > 0:
		ev = Event{At: a.now, Kind: Finish, Batch: a.running[next(len(a.running))].id}
		switch next(6) {
		case 0:
			ev.Kind, ev.Fault = Fail, Fault(1+next(5))
		case 1, 2: // often one that is gone
			ev.Kind, ev.Member = Exit, next(len(a.at(ev.Batch).members))
		case 3: // rows stopped
			items := 0
			for _, r := range a.at(ev.Batch).rows {
				items += r.Count
			}
			ev.Stages = []Stage{{Share: 0.25, Rows: items}, {Share: 0.75, Rows: next(items + 1)}}
		}
	case k == 12 && len(a.order) > 0:
		ev.Kind, ev.Request = Cancel, a.order[len(a.order)-1-next(min(len(a.order), 40))]
	case k == 13:
		ev = Event{At: a.now, Kind: WorkerState, Worker: pool.WorkerID(next(len(a.c.workers))), State: pool.State(next(4))}
		if next(2) == 0 {
			ev = Event{At: a.now, Kind: WorkerHealth, Worker: ev.Worker, Health: Health{
				Slowdown: 1 + float64(next(3))/2, Uncertainty: 1 + float64(next(3))/2, Ramp: float64(1+next(4)) / 4, Takes: next(3) > 0,
			}}
		}
	case k == 14:
		ev = Event{At: a.now, Kind: WorkerLimit, Worker: pool.WorkerID(next(len(a.c.workers))), Model: pool.ModelID(2 * next(2)), Size: next(40)}
	case k == 16:
		ev.Kind = []EventKind{WorkerLeave, WorkerStay, WorkerGone}[next(3)]
		ev.Worker = pool.WorkerID(next(len(a.c.workers)))
	case k == 17:
		return a.change(next)
	case k == 15 && a.c.NextDeadline() != mono.Never:
		a.now = max(a.now, a.c.NextDeadline())
		ev.At = a.now
	}
	return ev
}

// change draws a worker that joins, most often, or a type or a model that is
// added, or changed.
func (a *account) change(next func(n int) int) Event {
	ev := Event{At: a.now, Kind: WorkerJoin, Change: &Change{}}
	types, models := len(a.c.cfg.Types), len(a.c.models)
	switch k := next(8); {
	case k == 0 && types < 6:
		ev.Kind, ev.Change.Type = TypeAdd, pool.InstanceType{Name: "more"}
		return ev
	case k == 1:
		ev.Kind, ev.Model = ModelSet, pool.ModelID(next(min(models+1, 5)))
		if ev.Model == 0 && next(2) == 0 {
			ev.Kind, ev.Change.Tenants = TenantsSet, [][]float64{nil, {1, 2}, {3, 1, 1}}[next(3)]
			return ev
		}
		ev.Change.Model = Model{Name: "m", QoS: time.Duration(1+next(100)) * time.Millisecond, MaxBatch: 2 + next(20), MaxQueue: 5 + next(20), NoSplit: ev.Model == 2}
		return ev
	}
	ev.Worker = pool.WorkerID(len(a.c.workers))
	for w := range ev.Worker {
		if !a.c.Present(w) {
			ev.Worker = w
		}
	}
	if ev.Worker == 8 {
		ev.Kind = Tick
		return ev
	}
	ev.Change.Worker = pool.Worker{Name: "late", Type: pool.TypeID(next(types)), Concurrency: 1 + next(3), State: pool.State(next(4))}
	for m := range models {
		if next(3) > 0 {
			ev.Change.Worker.Serves = append(ev.Change.Worker.Serves, pool.Serve{Model: pool.ModelID(m), MaxBatch: next(40)})
		}
	}
	return ev
}

// arrival draws a request: one in four is large, one in four has time.
func (a *account) arrival(next func(n int) int) Event {
	ev := Event{
		At: a.now, Kind: Arrive, Request: a.ids.New(), Model: pool.ModelID(next(len(a.c.models))), Size: 1 + next(12),
		Deadline: a.now.Add(time.Duration(next(60)) * time.Millisecond),
		Priority: next(4), MergeKey: uint64(next(3)), Whole: next(8) == 0, Tenant: next(3),
	}
	if next(4) == 0 {
		ev.Size = 1 + next(400)
	}
	if next(4) == 0 {
		ev.Deadline = a.now.Add(time.Duration(next(600)) * time.Millisecond)
	}
	a.live[ev.Request] = &truth{
		model: ev.Model, key: ev.MergeKey, deadline: ev.Deadline, rows: make([]bool, ev.Size),
		whole: ev.Whole || ev.MergeKey == 0 || !a.c.Splits(ev.Model),
	}
	a.order = append(a.order, ev.Request)
	return ev
}

// step plays one event and books it.
func (a *account) step(ev Event) {
	switch ev.Kind {
	case Finish, Fail:
		a.ended(ev)
	case Exit:
		a.exits(ev)
	case Cancel:
		if a.live[ev.Request] != nil {
			delete(a.live, ev.Request)
			a.ids.Free(ev.Request)
		}
	}
	var failures []uint64 // by worker
	for i := range a.c.workers {
		failures = append(failures, a.c.workers[i].vital.failures)
	}
	a.actions = a.c.Step(ev, a.actions[:0])
	a.c.check()
	trials := map[pool.WorkerID]int{}
	for _, act := range a.actions {
		a.log = fmt.Appendln(a.log, act)
		switch act.Kind {
		case Start:
			a.starts(act)
			trials[act.Worker]++
		case Answer, Reject, GiveUp:
			a.ends(act)
		case CancelBatch:
			i := slices.IndexFunc(a.running, func(r run) bool { return r.id == act.Batch })
			if i < 0 || a.running[i].stopped {
				a.t.Fatalf("%v: not running, or stopped twice", act)
			}
			if a.running[i].audited && ev.Kind != WorkerState && ev.Kind != WorkerGone && a.c.workers[act.Worker].vital.failures == failures[act.Worker] {
				a.t.Fatalf("%v: %v does not hang, and answers that left it early are to be audited", ev, act)
			}
			a.running[i].stopped = true
			a.leave(&a.running[i])
		}
	}
	for w, n := range trials {
		if n > 1 && a.c.Worker(w).Breaker == pool.BreakerHalfOpen {
			a.t.Fatalf("%v: %d batches to try worker %d with", ev, n, w)
		}
	}
	a.checkRecords()
}

// ended books the end of an execution before the core hears of it.
func (a *account) ended(ev Event) {
	b := a.at(ev.Batch)
	for k := range b.rows {
		if ev.Kind == Finish && !b.stopped && !b.left[k] && !b.beaten[k] {
			a.answered(b, k)
		}
	}
	if !b.stopped {
		a.leave(b)
	}
	a.running = slices.DeleteFunc(a.running, func(r run) bool { return r.id == ev.Batch })
}

// at is a running execution.
func (a *account) at(id BatchID) *run {
	return &a.running[slices.IndexFunc(a.running, func(r run) bool { return r.id == id })]
}

// answered books the answer of a member.
func (a *account) answered(b *run, k int) {
	tr := a.live[b.members[k]]
	if tr == nil {
		return
	}
	for n := b.rows[k].From; n < b.rows[k].From+b.rows[k].Count; n++ {
		if tr.rows[n] {
			a.t.Fatalf("row %d of request %d is answered twice", n, b.members[k])
		}
		tr.rows[n] = true
	}
	for _, o := range a.in(b.members[k], b.rows[k]) {
		if o.id != b.id {
			for j, id := range o.members {
				o.beaten[j] = o.beaten[j] || id == b.members[k] && o.rows[j] == b.rows[k]
			}
			tr.flying--
			a.beaten++
		}
	}
}

// in are the executions that run those rows of a request, and are to answer them.
func (a *account) in(id RequestID, rows Rows) (all []*run) {
	for i := range a.running {
		o := &a.running[i]
		for k, m := range o.members {
			if m == id && o.rows[k] == rows && !o.stopped && !o.left[k] && !o.beaten[k] {
				all = append(all, o)
			}
		}
	}
	return all
}

// exits books the early answer of a member.
func (a *account) exits(ev Event) {
	b := a.at(ev.Batch)
	if b.stopped || b.left[ev.Member] || b.beaten[ev.Member] {
		return
	}
	b.left[ev.Member] = true
	a.early++
	a.answered(b, ev.Member)
	if tr := a.live[b.members[ev.Member]]; tr != nil {
		tr.flying--
		b.audited = true
	}
}

// leave notes that an execution has no members any more.
func (a *account) leave(b *run) {
	for k, id := range b.members {
		if tr := a.live[id]; tr != nil && !b.left[k] && !b.beaten[k] {
			tr.flying--
		}
	}
}

func (a *account) starts(act Action) {
	b := run{id: act.Batch, worker: act.Worker, members: slices.Clone(act.Requests), rows: slices.Clone(act.Rows), left: make([]bool, len(act.Requests)), beaten: make([]bool, len(act.Requests))}
	items, busy := 0, 1
	for i, id := range act.Requests {
		tr := a.live[id]
		if tr == nil {
			a.t.Fatalf("%v: started a request that has ended", act)
		}
		if act.Rows == nil {
			b.rows = append(b.rows, Rows{0, len(tr.rows)})
		}
		rows := b.rows[i]
		switch lead := a.live[act.Requests[0]]; {
		case tr.deadline < a.now && !a.traits.Late:
			a.t.Fatalf("%v: invariant 9: request %d is past its deadline", act, id)
		case tr.model != act.Model, i > 0 && (tr.key == 0 || tr.key != lead.key):
			a.t.Fatalf("%v: request %d does not belong there", act, id)
		case rows.From < 0 || rows.Count < 1 || rows.From+rows.Count > len(tr.rows):
			a.t.Fatalf("%v: request %d has %d rows", act, id, len(tr.rows))
		case tr.whole && rows.Count != len(tr.rows):
			a.t.Fatalf("%v: the rows of request %d must run together", act, id)
		case slices.Contains(tr.rows[rows.From:rows.From+rows.Count], true):
			a.t.Fatalf("%v: rows of request %d that have been answered", act, id)
		}
		if in := a.in(id, rows); len(in) > 1 || len(in) == 1 && in[0].worker == act.Worker {
			a.t.Fatalf("%v: the rows of request %d run already, in %d executions", act, id, len(in))
		} else if len(in) == 1 {
			a.copied++
		}
		tr.started++
		tr.flying++
		items += rows.Count
	}
	for _, r := range a.running {
		if r.worker == act.Worker {
			busy++
		}
	}
	a.running = append(a.running, b)
	if !a.c.Present(act.Worker) {
		a.t.Fatalf("%v on a worker that is gone", act)
	}
	if most := a.c.Limit(act.Worker, act.Model); items > most {
		a.t.Fatalf("%v: %d items on a worker that takes %d", act, items, most)
	}
	if most := a.c.workers[act.Worker].Concurrency; busy > most {
		a.t.Fatalf("%v: %d batches on a worker that runs %d", act, busy, most)
	}
}

func (a *account) ends(act Action) {
	tr := a.live[act.Request]
	if tr == nil {
		a.t.Fatalf("%v: invariant 3: ends twice", act)
	}
	if act.Kind == Reject && tr.started > 0 || act.Kind == GiveUp && tr.started == 0 {
		a.t.Fatalf("%v after %d starts", act, tr.started)
	}
	if act.Kind == Answer && (slices.Contains(tr.rows, false) || tr.flying != 0) {
		a.t.Fatalf("%v, but not all of its rows are, or some run still", act)
	}
	if act.Kind == Answer && tr.started > 1 {
		a.split++
	}
	delete(a.live, act.Request)
	a.ids.Free(act.Request)
}

// checkRecords holds that every record of the core is one of a live request or
// spare.
func (a *account) checkRecords() {
	n := len(a.c.spare)
	for id := range a.live {
		slot := a.c.slotOf(id)
		if slot == none {
			a.t.Fatalf("request %d is lost", id)
		}
		n++
		for s := a.c.requests[slot].next; s != slot; s = a.c.requests[s].next {
			n++
		}
	}
	if n != len(a.c.requests) {
		a.t.Fatalf("%d records, of which %d are in use or spare", len(a.c.requests), n)
	}
}

// settle brings all workers up and lets everything end.
func (a *account) settle() {
	for w := range pool.WorkerID(len(a.c.workers)) {
		a.step(Event{At: a.now, Kind: WorkerState, Worker: w, State: pool.Up})
		a.step(Event{At: a.now, Kind: WorkerHealth, Worker: w, Health: Healthy})
		for _, s := range a.c.workers[w].Serves {
			a.step(Event{At: a.now, Kind: WorkerLimit, Worker: w, Model: s.Model, Size: 400})
		}
	}
	for n := 0; len(a.live)+len(a.running) > 0; n++ {
		if n == 100_000 {
			a.t.Fatalf("%d requests do not end", len(a.live))
		}
		a.now = a.now.Add(time.Millisecond)
		ev := Event{At: a.now, Kind: Tick}
		if len(a.running) > 0 {
			ev = Event{At: a.now, Kind: Finish, Batch: a.running[0].id}
		} else if next := a.c.NextDeadline(); next != mono.Never {
			a.now = max(a.now, next)
			ev.At = a.now
		}
		a.step(ev)
	}
	n := a.c.Counts()
	if n.Arrived != n.Answered+n.Rejected+n.Failed+n.Cancelled || int(n.Arrived) != len(a.order) || n.Answered < uint64(a.split) {
		a.t.Fatalf("%+v of %d", n, len(a.order))
	}
	for i := range a.c.models {
		if r := a.c.Model(pool.ModelID(i)); r.Queued != 0 || r.QueuedItems != 0 || r.InFlight != 0 {
			a.t.Fatalf("model %d is left with %+v", i, r)
		}
	}
}

// TestRandomWalk runs long random histories under every policy.
func TestRandomWalk(t *testing.T) {
	for _, policy := range Policies() {
		t.Run(policy, func(t *testing.T) {
			early, copied, beaten := 0, 0, 0
			for seed := range uint64(20) {
				rng := rand.New(rand.NewPCG(seed, 1))
				a := drive(t, policy, rng.IntN, 2_000)
				early, copied, beaten = early+a.early, copied+a.copied, beaten+a.beaten
			}
			t.Logf("%d left early, %d ran twice, %d answered by one of the two", early, copied, beaten)
			if early < 100 || copied < 30 || beaten < 15 {
				t.Errorf("only %d members left early, %d ran twice, of which %d were answered", early, copied, beaten)
			}
		})
	}
}

func FuzzCore(f *testing.F) {
	f.Add([]byte("arrive and finish, fail and cancel, down and up again"))
	f.Add([]byte{0, 0, 1, 2, 3, 250, 9, 9, 9, 13, 1, 3, 15, 15, 15})
	f.Fuzz(func(t *testing.T, data []byte) {
		i := 0
		next := func(n int) int {
			v := 0
			for range 2 {
				if i < len(data) {
					v = v<<8 | int(data[i])
					i++
				}
			}
			return v % n
		}
		drive(t, Policies()[next(len(Policies()))], next, min(len(data), 400))
	})
}

// TestSameEventsSameActions is invariant 6.
func TestSameEventsSameActions(t *testing.T) {
	for _, policy := range Policies() {
		if a, b := transcriptOf(t, policy), transcriptOf(t, policy); a != b {
			t.Errorf("%s: two runs differ", policy)
		}
	}
}

func transcriptOf(t *testing.T, policy string) string {
	return string(drive(t, policy, rand.New(rand.NewPCG(1, 2)).IntN, 2_000).log)
}
