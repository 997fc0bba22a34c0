package dispatch

import (
	"math/rand/v2"
	"testing"
	"time"

	"motley/internal/mono"
	"motley/internal/pool"
)

// busy has the requests of n rounds come, k every 2 ms.
func (w *ward) busy(n, k int) (ids []RequestID) {
	for range n {
		ids = append(ids, w.ask(k)...)
		w.after(2 * time.Millisecond)
	}
	return ids
}

// share is what part of the executions started from the i-th on were the worker's.
func (w *ward) share(i int, id pool.WorkerID) float64 {
	n := 0
	for _, a := range w.starts[i:] {
		if a.Worker == id {
			n++
		}
	}
	return float64(n) / float64(len(w.starts)-i)
}

// TestFailingFastWorkerDoesNotAttractLoad has a worker fail at once, always or three
// times in ten: it is free more often than any other, and gets next to nothing all the
// same. Everybody is answered.
func TestFailingFastWorkerDoesNotAttractLoad(t *testing.T) {
	for _, policy := range Policies() {
		for _, rate := range []float64{1, 0.3} {
			w := newWard(t, policy, 4, nil)
			rng := rand.New(rand.NewPCG(1, 1))
			w.verdict = func(a Action) Fault {
				if a.Worker == 0 && rng.Float64() < rate {
					return WorkerFault
				}
				return 0
			}
			ids := w.busy(500, 2)
			from := len(w.starts)
			ids = append(ids, w.busy(1000, 2)...)
			w.after(100 * time.Millisecond)
			if s := w.share(from, 0); s > 0.02 {
				t.Errorf("%s, fails %v: a worker that fails gets %.3f of the work", policy, rate, s)
			}
			if n := w.sum(ids); n["answered"] != len(ids) {
				t.Errorf("%s, fails %v: %v", policy, rate, n)
			}
		}
	}
}

// TestClientErrorsDoNotOpenBreakers sends nothing but requests that workers refuse.
func TestClientErrorsDoNotOpenBreakers(t *testing.T) {
	w := newWard(t, "priced", 3, nil)
	w.verdict = func(Action) Fault { return RequestFault }
	ids := w.busy(300, 3)
	w.after(100 * time.Millisecond)
	if n := w.sum(ids); n["refused"] != len(ids) {
		t.Errorf("%v", n)
	}
	for i := range w.c.workers {
		if wk := &w.c.workers[i]; !wk.Breaker.Clean() || wk.vital.outcomes.Failed() > 0 || wk.vital.ejections > 0 {
			t.Errorf("worker %d is held to have failed", i)
		}
	}
}

// TestLoadIsChargedAtDecision has a burst come in one instant: no worker gets more than
// it takes at once, and none stands idle.
func TestLoadIsChargedAtDecision(t *testing.T) {
	for _, policy := range Policies() {
		w := newWard(t, policy, 4, func(c *Config) { c.Models[0].MaxBatch = 1 })
		w.ask(20)
		var by [4]int
		for _, a := range w.starts {
			by[a.Worker]++
		}
		if by != [4]int{1, 1, 1, 1} {
			t.Errorf("%s: %v", policy, by)
		}
	}
}

// TestCountsNeverLeak ends executions in every way there is: in the end no worker is
// charged with anything.
func TestCountsNeverLeak(t *testing.T) {
	for _, policy := range Policies() {
		w := newWard(t, policy, 4, func(c *Config) { c.Hang = 5 * time.Millisecond })
		rng := rand.New(rand.NewPCG(2, 1))
		w.verdict = func(Action) Fault {
			if k := rng.IntN(10); k < 5 {
				return Fault(1 + k)
			}
			return 0
		}
		var ids []RequestID
		for i := range 2000 {
			ids = append(ids, w.ask(3)...)
			switch i % 7 {
			case 0:
				w.step(Event{Kind: Cancel, Request: ids[len(ids)-1-rng.IntN(3)]})
			case 1:
				w.step(Event{Kind: WorkerState, Worker: pool.WorkerID(rng.IntN(4)), State: pool.Down})
			case 2, 3:
				w.step(Event{Kind: WorkerState, Worker: pool.WorkerID(rng.IntN(4)), State: pool.Up})
			case 4:
				if len(w.running) > 0 { // hangs
					w.running[rng.IntN(len(w.running))].at = w.now.Add(time.Second)
				}
			case 5:
				if len(w.running) > 0 && w.running[0].a.Kind == Start {
					w.step(Event{Kind: Exit, Batch: w.running[0].a.Batch})
				}
			}
			w.after(time.Duration(rng.IntN(3)) * time.Millisecond)
		}
		w.verdict = func(Action) Fault { return 0 }
		for i := range w.c.workers {
			w.step(Event{Kind: WorkerState, Worker: pool.WorkerID(i), State: pool.Up})
		}
		w.after(20 * time.Second)
		for i := range w.c.workers {
			if r := w.c.Worker(pool.WorkerID(i)); r.Batches+r.Items != 0 || r.Left > slowRest {
				t.Errorf("%s: worker %d is left with %+v", policy, i, r)
			}
		}
		m := w.c.Model(0)
		n := w.c.Counts()
		if m.Queued+m.QueuedItems+m.InFlight != 0 || n.Arrived != n.Answered+n.Rejected+n.Failed+n.Cancelled {
			t.Errorf("%s: the model is left with %+v, %+v", policy, m, n)
		}
	}
}

// TestMostAreNotEjected has three of four workers fail now and then: no more than half
// are out by that, and one that fails no more often than the others is not.
func TestMostAreNotEjected(t *testing.T) {
	for _, fail := range []int{1, 2, 3, 4} {
		w := newWard(t, "least-load", 4, func(c *Config) {
			for i := range c.Workers { // not by failures in a row
				c.Workers[i].Breaker = pool.NewBreaker(pool.BreakerConfig{Failures: 1 << 30})
			}
		})
		rng := rand.New(rand.NewPCG(3, 1))
		w.verdict = func(a Action) Fault {
			if int(a.Worker) < fail && rng.Float64() < 0.35 {
				return WorkerFault
			}
			return 0
		}
		most := 0
		for range 2000 {
			w.ask(3)
			w.after(2 * time.Millisecond)
			_, out := w.c.shut(0)
			most = max(most, out)
		}
		if want := min(fail, 2); fail < 4 && (most < 1 || most > want) || fail == 4 && most > 2 {
			t.Errorf("%d fail: %d out at once, want at most %d", fail, most, want)
		}
	}
}

// TestWholeFleetIsTriedAgainSoon: after a long outage of all workers, whose breakers
// would stay open for ever longer, they are back within a second.
func TestWholeFleetIsTriedAgainSoon(t *testing.T) {
	w := newWard(t, "priced", 4, func(c *Config) {
		for i := range c.Workers {
			c.Workers[i].Breaker = pool.NewBreaker(pool.BreakerConfig{MaxOpen: time.Hour})
		}
	})
	broken := true
	w.verdict = func(Action) Fault {
		if broken {
			return WorkerFault
		}
		return 0
	}
	w.busy(60_000, 1) // two minutes
	broken = false
	w.busy(500, 1)
	n := w.sum(w.busy(500, 1))
	if n["answered"] < 495 {
		t.Errorf("a second later: %v", n)
	}
}

// TestTrialIsOneRequest: no more is risked on a worker whose breaker is half-open.
func TestTrialIsOneRequest(t *testing.T) {
	for _, policy := range Policies() {
		w := newWard(t, policy, 2, nil)
		w.verdict = func(a Action) Fault {
			if a.Worker == 0 {
				return WorkerFault
			}
			return 0
		}
		w.busy(100, 8)
		opened := 0
		for range 2000 {
			tripped, i := w.c.workers[0].Breaker.Tripped(), len(w.starts)
			w.ask(8)
			w.after(2 * time.Millisecond)
			for _, a := range w.starts[i:] {
				if a.Worker != 0 || !tripped {
					continue
				}
				if opened++; len(a.Requests) > 1 {
					t.Fatalf("%s: %v to try it with", policy, a)
				}
			}
		}
		if opened < 2 {
			t.Errorf("%s: tried %d times", policy, opened)
		}
	}
}

// TestComesBackSlowly: a worker that was shut for a second and more works an eighth of its time
// after its trial, then a quarter, then half; one that was for a moment all of it.
func TestComesBackSlowly(t *testing.T) {
	const took = 1100 * time.Microsecond
	for open, gaps := range map[time.Duration][]time.Duration{
		1500 * time.Millisecond: {8 * took, 4 * took, 2 * took, took, took},
		100 * time.Millisecond:  {took, took, took},
	} {
		for _, policy := range []string{"least-load", "priced", "p2c"} {
			w := newWard(t, policy, 2, func(c *Config) {
				c.Models[0].MaxBatch = 1
				for i := range c.Workers {
					c.Workers[i].Breaker = pool.NewBreaker(pool.BreakerConfig{Open: open})
				}
			})
			broken := true
			w.verdict = func(a Action) Fault {
				if a.Worker == 0 && broken {
					return WorkerFault
				}
				return 0
			}
			w.busy(50, 1)
			broken = false
			w.after(open)
			from := len(w.starts)
			w.busy(500, 4) // more than one worker does
			var at []mono.Time
			for i, a := range w.starts {
				if i >= from && a.Worker == 0 && len(at) < 6 {
					at = append(at, w.at[i])
				}
			}
			for i, gap := range gaps {
				if got := at[i+1].Sub(at[i]); got < gap || got > gap+took {
					t.Errorf("%s, shut for %v: %v between starts %d and %d, want %v", policy, open, got, i, i+1, gap)
				}
			}
		}
	}
}
