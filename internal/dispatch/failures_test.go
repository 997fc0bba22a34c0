package dispatch

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"motley/internal/mono"
	"motley/internal/pool"
)

// ward is a core with so many alike workers and one model, and a driver in whose
// hands executions end as verdict says, a millisecond and 0.1 ms per member after
// their start.
type ward struct {
	t       *testing.T
	c       *Core
	ids     IDs
	now     mono.Time
	running []wardRun
	ends    map[RequestID]Action
	starts  []Action    // copies, in order
	at      []mono.Time // of them
	verdict func(a Action) Fault
}

type wardRun struct {
	at mono.Time
	a  Action
}

func newWard(t *testing.T, policy string, workers int, tune func(*Config)) *ward {
	pol, err := NewPolicy(policy, 1)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Models:   []Model{{Name: "m", QoS: time.Second}},
		Types:    make([]pool.InstanceType, 1),
		Profiles: profiles(t, 1, []law{{time.Millisecond, 100 * time.Microsecond}}), Policy: pol,
	}
	for i := range workers {
		cfg.Workers = append(cfg.Workers, pool.Worker{Name: fmt.Sprint(i), Concurrency: 1, State: pool.Up, Serves: []pool.Serve{{Model: 0, MaxBatch: 64}}})
	}
	if tune != nil {
		tune(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &ward{t: t, c: c, ends: map[RequestID]Action{}, verdict: func(Action) Fault { return 0 }}
}

func (w *ward) step(ev Event) {
	ev.At = w.now
	for _, a := range w.c.Step(ev, nil) {
		switch a.Kind {
		case Start:
			a.Requests = slices.Clone(a.Requests)
			w.starts, w.at = append(w.starts, a), append(w.at, w.now)
			took := time.Millisecond + time.Duration(len(a.Requests))*100*time.Microsecond
			w.running = append(w.running, wardRun{w.now.Add(took), a})
		case CancelBatch:
			for i := range w.running {
				if w.running[i].a.Batch == a.Batch {
					w.running[i].at, w.running[i].a.Kind = w.now, CancelBatch
				}
			}
		default:
			if _, twice := w.ends[a.Request]; twice {
				w.t.Fatalf("request %d ends twice", a.Request)
			}
			w.ends[a.Request] = a
		}
	}
	if len(w.starts) > 1_000_000 {
		w.t.Fatal("no end to it")
	}
}

// ask lets n requests arrive, with half a second for each.
func (w *ward) ask(n int) (ids []RequestID) {
	for range n {
		id := w.ids.New()
		ids = append(ids, id)
		w.step(Event{Kind: Arrive, Request: id, Size: 1, MergeKey: 1, Deadline: w.now.Add(500 * time.Millisecond)})
	}
	return ids
}

// run lets time pass, up to an instant.
func (w *ward) run(until mono.Time) {
	for {
		at, i := w.c.NextDeadline(), -1
		for k, r := range w.running {
			if r.at <= at || i >= 0 && r.at < w.running[i].at {
				at, i = r.at, k
			}
		}
		if at > until {
			w.now = until
			return
		}
		w.now = at
		if i < 0 {
			w.step(Event{Kind: Tick})
			continue
		}
		a := w.running[i].a
		w.running = slices.Delete(w.running, i, i+1)
		ev := Event{Kind: Finish, Batch: a.Batch}
		if a.Kind == CancelBatch {
			ev.Kind, ev.Fault = Fail, NoFault
		} else if f := w.verdict(a); f != 0 {
			ev.Kind, ev.Fault = Fail, f
		}
		w.step(ev)
	}
}

func (w *ward) after(d time.Duration) { w.run(w.now.Add(d)) }

// sum counts how requests ended.
func (w *ward) sum(ids []RequestID) map[string]int {
	n := map[string]int{}
	for _, id := range ids {
		a, ok := w.ends[id]
		switch {
		case !ok:
			n["open"]++
		case a.Kind == Answer:
			n["answered"]++
		default:
			n[a.Reason.String()]++
		}
	}
	return n
}

// TestPoisonedRequest has one of a crowd make every batch fail that it is in: it is
// ended after three executions, its neighbours are all answered, nobody's breaker opens,
// and what it costs is bounded. Policies that start where the first worker is free try it
// on the first one twice, and do not find out what is wrong with it.
func TestPoisonedRequest(t *testing.T) {
	for _, policy := range Policies() {
		t.Run(policy, func(t *testing.T) {
			w := newWard(t, policy, 4, nil)
			ids := w.ask(100)
			bad := ids[40]
			w.verdict = func(a Action) Fault {
				if slices.Contains(a.Requests, bad) {
					return WorkerFault
				}
				return 0
			}
			w.after(400 * time.Millisecond)
			if n := w.sum(ids); n["answered"] != 99 || w.ends[bad].Kind != GiveUp {
				t.Errorf("%v, the bad one: %v", n, w.ends[bad])
			}
			var tried []pool.WorkerID
			for _, a := range w.starts {
				if slices.Contains(a.Requests, bad) {
					tried = append(tried, a.Worker)
				}
			}
			reason := Poisoned
			if len(tried) == 3 && tried[0] == tried[2] {
				reason = Exhausted
			}
			if got := w.ends[bad].Reason; len(tried) != 3 || got != reason || reason == Exhausted && (policy == "priced" || policy == "least-load") {
				t.Errorf("tried on workers %v, then %v", tried, got)
			}
			for i := range w.c.workers {
				if w.c.workers[i].Breaker.Tripped() {
					t.Errorf("worker %d has its breaker open", i)
				}
			}
		})
	}
}

// TestPoisonedRequestsInARow sends hundreds of them, each alone: no breaker opens as
// long as others are answered in between.
func TestPoisonedRequestsInARow(t *testing.T) {
	w := newWard(t, "least-load", 4, nil)
	bad := map[RequestID]bool{}
	w.verdict = func(a Action) Fault {
		for _, id := range a.Requests {
			if bad[id] {
				return WorkerFault
			}
		}
		return 0
	}
	var good, all []RequestID
	for range 300 {
		w.step(Event{Kind: Tick})
		id := w.ids.New()
		bad[id] = true
		all = append(all, id)
		w.step(Event{Kind: Arrive, Request: id, Size: 1, Deadline: w.now.Add(500 * time.Millisecond)})
		good = append(good, w.ask(4)...)
		w.after(10 * time.Millisecond)
		for i := range w.c.workers {
			if w.c.workers[i].Breaker.Tripped() {
				t.Fatalf("at %v worker %d is shut", w.now, i)
			}
		}
	}
	if n := w.sum(good); n["answered"] != len(good) {
		t.Errorf("the good ones: %v", n)
	}
	if n := w.sum(all); n["poisoned"] < 200 {
		t.Errorf("the bad ones: %v", n)
	}
}

// TestRequestKillsWorkers has a request take down each worker that gets it. Its
// neighbours are all answered, by workers that are left or come back.
func TestRequestKillsWorkers(t *testing.T) {
	for _, policy := range Policies() {
		w := newWard(t, policy, 5, nil)
		ids := w.ask(60)
		bad := ids[20]
		w.verdict = func(a Action) Fault {
			if !slices.Contains(a.Requests, bad) {
				return 0
			}
			w.step(Event{Kind: WorkerState, Worker: a.Worker, State: pool.Down}) // a probe is quicker than the answer
			return NoFault
		}
		w.after(450 * time.Millisecond)
		if n := w.sum(ids); n["answered"] != 59 || w.ends[bad].Kind != GiveUp {
			t.Errorf("%s: %v, the bad one: %v", policy, n, w.ends[bad])
		}
	}
}

// TestRequestBreaksConnections is the same where the workers are there again at once,
// and the request is seen to be at fault once it was alone on two of them.
func TestRequestBreaksConnections(t *testing.T) {
	w := newWard(t, "priced", 4, func(c *Config) { c.Models[0].MaxAttempts, c.Failures.PoisonedAfter = 8, 2 })
	ids := w.ask(60)
	bad := ids[20]
	w.verdict = func(a Action) Fault {
		if slices.Contains(a.Requests, bad) {
			return Lost
		}
		return 0
	}
	for range 100 { // others show that the workers do well
		w.after(4 * time.Millisecond)
		w.ask(4)
	}
	if n := w.sum(ids); n["answered"] != 59 || w.ends[bad].Reason != Poisoned {
		t.Errorf("%v, the bad one: %v", n, w.ends[bad])
	}
}

// TestDeadWorkerSplitsNothing: that a worker is gone says nothing of what it ran, which
// runs elsewhere as it was, and costs it no attempt where it was never run.
func TestDeadWorkerSplitsNothing(t *testing.T) {
	for _, fault := range []Fault{Lost, Unserved} {
		w := newWard(t, "least-load", 2, func(c *Config) { c.Models[0].MaxAttempts = 2 + int(Lost-fault) })
		first := w.ask(2) // one for each worker
		ids := w.ask(32)
		w.verdict = func(a Action) Fault {
			if a.Worker == 0 && a.Requests[0] != first[0] {
				return fault
			}
			return 0
		}
		w.after(100 * time.Millisecond)
		if n := w.sum(ids); n["answered"] != 32 {
			t.Errorf("%v: %v", fault, n)
		}
		if len(w.starts) > 7 { // 2, halves on both, what failed elsewhere
			t.Errorf("%v: %d executions: %v", fault, len(w.starts), w.starts)
		}
	}
}

// TestRetryBudget has every execution fail: no more is tried again than the budget
// has, and who would be is told so.
func TestRetryBudget(t *testing.T) {
	for _, budget := range []float64{0, 0.5, -1} {
		w := newWard(t, "least-load", 4, func(c *Config) {
			c.Models[0].MaxBatch = 1
			c.Failures.RetryBudget = budget
			for i := range c.Workers { // would be in the way
				c.Workers[i].Breaker = pool.NewBreaker(pool.BreakerConfig{Failures: 1 << 30})
			}
		})
		w.verdict = func(Action) Fault { return WorkerFault }
		var ids []RequestID
		for range 4000 {
			ids = append(ids, w.ask(1)...)
			w.after(5 * time.Millisecond)
		}
		w.after(time.Second)
		n := w.sum(ids)
		share := budget
		if share == 0 {
			share = 0.2
		}
		most := share*4000 + 20*retriesEach + retriesSpare + 2 + 20*retriesEach
		retried := float64(w.c.Counts().Retried)
		switch {
		case budget < 0:
			if n["retry_budget"] > 0 || retried < 7000 {
				t.Errorf("unbounded: %v, %v tried again", n, retried)
			}
		case retried > most || retried < 0.8*share*4000 || n["retry_budget"] < 1000:
			t.Errorf("budget %v: %v tried again, want about %v: %v", share, retried, most, n)
		}
	}
}

// TestRetriesWhenCalm: where next to nothing comes, everything is tried again.
func TestRetriesWhenCalm(t *testing.T) {
	w := newWard(t, "priced", 3, nil)
	tried := map[RequestID]bool{}
	w.verdict = func(a Action) Fault {
		if id := a.Requests[0]; !tried[id] {
			tried[id] = true
			return WorkerFault
		}
		return 0
	}
	var ids []RequestID
	for range 60 {
		ids = append(ids, w.ask(1)...)
		w.after(time.Second)
	}
	if n := w.sum(ids); n["answered"] != 60 {
		t.Errorf("%v", n)
	}
}

// TestFleetFails tells a fleet that fails from requests that are at fault: with no
// worker that does well, breakers open.
func TestFleetFails(t *testing.T) {
	w := newWard(t, "least-load", 4, nil)
	w.verdict = func(Action) Fault { return WorkerFault }
	for range 50 {
		w.ask(1)
		w.after(time.Millisecond)
	}
	for i := range w.c.workers {
		if !w.c.workers[i].Breaker.Tripped() {
			t.Errorf("worker %d fails all and still gets work", i)
		}
	}
}
