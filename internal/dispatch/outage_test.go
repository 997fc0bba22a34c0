package dispatch

import (
	"testing"
	"time"

	"motley/internal/pool"
)

// TestNoModelIsLeftWithoutService: whoever can answer does, be it that it is to go or ill, while
// the breakers of all others are open. Where most of those that are there are shut because
// others have gone, they are tried again soon.
func TestNoModelIsLeftWithoutService(t *testing.T) {
	ill := Health{Slowdown: 1, Uncertainty: 1, Ramp: 1}
	for name, c := range map[string]struct {
		events []Event
		shut   []pool.WorkerID // from when on they answer is told by mended
		mended bool            // by the time of the events
	}{
		"one is to go":   {[]Event{{Kind: WorkerLeave}}, []pool.WorkerID{1, 2, 3}, false},
		"one is ill":     {[]Event{{Kind: WorkerHealth, Health: ill}}, []pool.WorkerID{1, 2, 3}, false},
		"two go down":    {[]Event{{Kind: WorkerState, State: pool.Down}, {Kind: WorkerState, Worker: 1, State: pool.Down}}, []pool.WorkerID{2, 3}, true},
		"two are gone":   {[]Event{{Kind: WorkerGone}, {Kind: WorkerGone, Worker: 1}}, []pool.WorkerID{2, 3}, true},
		"two are to go":  {[]Event{{Kind: WorkerLeave}, {Kind: WorkerLeave, Worker: 1}}, []pool.WorkerID{2, 3}, false},
		"two serve less": {[]Event{{Kind: WorkerLimit}, {Kind: WorkerLimit, Worker: 1}}, []pool.WorkerID{2, 3}, true},
	} {
		for _, shutFirst := range []bool{true, false} {
			if !shutFirst && c.mended {
				continue
			}
			for _, policy := range []string{"priced", "least-load"} {
				w := newWard(t, policy, 4, nil)
				broken := map[pool.WorkerID]bool{}
				w.verdict = func(a Action) Fault {
					if broken[a.Worker] {
						return WorkerFault
					}
					return 0
				}
				shut := func() {
					for _, id := range c.shut {
						broken[id] = true
						for range 3 {
							w.c.failure(id, true)
						}
						w.c.workers[id].Breaker.Trip(w.now, time.Minute) // as one that has failed often
						w.c.refresh(id)
					}
				}
				w.busy(100, 1)
				w.after(100 * time.Millisecond)
				if shutFirst {
					shut()
				}
				for _, ev := range c.events {
					w.step(ev)
				}
				if !shutFirst {
					shut()
				}
				if c.mended {
					clear(broken)
					w.busy(300, 1)
				}
				if n := w.sum(w.busy(300, 1)); n["answered"] < 290 {
					t.Errorf("%s, %s, shut first %v: %v", name, policy, shutFirst, n)
				}
			}
		}
	}
}
