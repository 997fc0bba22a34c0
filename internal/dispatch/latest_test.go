package dispatch

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"motley/internal/mono"
	"motley/internal/pool"
)

// latestCore is a core of four types of workers, one each, that take 64 items.
func latestCore(t *testing.T, policy string) *Core {
	c, _ := benchCore(t, policy, 4, 1)
	c.models[0].QoS = 200 * time.Millisecond
	return c
}

// TestLatestStartQuiet: handed over at that instant to a pool where nothing
// runs a request is started and answered in time; half of the bound later it
// would have been turned away, or late, under policies that choose the worker by its latency.
func TestLatestStartQuiet(t *testing.T) {
	const deadline = mono.Time(100 * time.Millisecond)
	for _, policy := range Policies() {
		for _, size := range []int{1, 5, 40, 64, 200} {
			for _, late := range []bool{false, true} {
				c := latestCore(t, policy)
				at, ok := c.LatestStart(0, size, deadline)
				if size > 64 && !c.Splits(0) {
					if ok {
						t.Errorf("%s: %d items are to start by %v, and no worker takes them", policy, size, at)
					}
					continue
				}
				if !ok || at <= 0 || at >= deadline {
					t.Errorf("%s: %d items can start until %v: %v", policy, size, at, ok)
					continue
				}
				if late && c.traits.Late {
					continue // they may have used a slower type
				}
				if late {
					at = at.Add(deadline.Sub(at) / 2)
				}
				if got := inTime(t, c, at, size, deadline); got == late {
					t.Errorf("%s: %d items handed over at %v are in time: %v", policy, size, at, got)
				}
			}
		}
	}
}

// inTime hands a request over and reports whether it is answered by its deadline,
// where batches take what they are predicted to.
func inTime(t *testing.T, c *Core, at mono.Time, size int, deadline mono.Time) bool {
	ev := Event{At: at, Kind: Arrive, Size: size, Deadline: deadline, MergeKey: 1}
	var ends []Event
	for range 1000 {
		for _, a := range c.Step(ev, nil) {
			switch a.Kind {
			case Start:
				ends = append(ends, Event{At: c.now.Add(c.Predicted(a.Batch)), Kind: Finish, Batch: a.Batch})
			case Answer:
				return c.now <= deadline
			case Reject, GiveUp:
				return false
			}
		}
		slices.SortFunc(ends, func(a, b Event) int { return cmp.Compare(a.At, b.At) })
		ev = Event{At: c.NextDeadline(), Kind: Tick}
		if len(ends) > 0 && ends[0].At <= ev.At {
			ev, ends = ends[0], ends[1:]
		}
	}
	t.Fatal("it does not end")
	return false
}

// TestLatestStartUnable: no worker, none that takes it, too little time.
func TestLatestStartUnable(t *testing.T) {
	c := latestCore(t, "priced")
	if _, ok := c.LatestStart(0, 1, mono.Time(time.Millisecond)); ok {
		t.Error("a millisecond is time enough for what takes 1.2 ms at best")
	}
	if at, ok := c.LatestStart(0, 1, mono.Never); !ok || at != mono.Never {
		t.Errorf("without a deadline: %v, %v", at, ok)
	}
	for w := range pool.WorkerID(4) {
		c.Step(Event{At: 1, Kind: WorkerState, Worker: w, State: pool.Down}, nil)
	}
	if _, ok := c.LatestStart(0, 1, mono.Time(time.Second)); ok {
		t.Error("nobody is up")
	}
}

// TestLatestStartUnderLoad: requests that are handed over at the last instant, as
// it was told up to 100 ms before, to a pool that is busy with others, are in time
// with about the model's quantile; under clockwork, whose workers have queues of
// their own, nine in ten.
func TestLatestStartUnderLoad(t *testing.T) {
	for policy, want := range map[string]float64{"priced": 0.985, "least-load": 0.985, "clockwork": 0.88} {
		for _, load := range []float64{0.3, 0.6, 0.8} {
			for _, probe := range []int{1, 30} {
				l := &latestRun{c: latestCore(t, policy), rng: rand.New(rand.NewPCG(1, 2)), probes: map[RequestID]mono.Time{}}
				l.run(load, probe)
				share := float64(l.inTime) / float64(l.inTime+l.missed)
				t.Logf("%s, load %v, %d items: %.4f of %d in time, %d not asked to wait", policy, load, probe, share, l.inTime+l.missed, l.unable)
				if share < want || l.inTime+l.missed < 1000 {
					t.Errorf("%s, load %v, %d items: %.4f of %d are in time", policy, load, probe, share, l.inTime+l.missed)
				}
			}
		}
	}
}

// latestRun is a pool under load.
type latestRun struct {
	c                      *Core
	rng                    *rand.Rand
	ids                    IDs
	future                 []Event // ends of batches, and probes to come
	probes                 map[RequestID]mono.Time
	inTime, missed, unable int
}

func (l *latestRun) step(ev Event) {
	for _, a := range l.c.Step(ev, nil) {
		if a.Kind == Start {
			took := time.Duration(float64(l.c.Predicted(a.Batch)) * math.Exp(0.05*l.rng.NormFloat64()))
			l.future = append(l.future, Event{At: ev.At.Add(took), Kind: Finish, Batch: a.Batch})
			continue
		}
		if due, ok := l.probes[a.Request]; ok {
			delete(l.probes, a.Request)
			if a.Kind == Answer && ev.At <= due {
				l.inTime++
			} else {
				l.missed++
			}
		}
		if a.Kind != CancelBatch {
			l.ids.Free(a.Request)
		}
	}
}

// run lets background requests of 1 to 20 items come at a share of what the
// pool carries, and asks for a probe with every tenth.
func (l *latestRun) run(load float64, probe int) {
	rate := 0.0 // items per ns, in batches of 32
	for i := range l.c.models[0].groups {
		rate += 32 / float64(l.c.models[0].groups[i].profile.Mean(32))
	}
	arrival := mono.Time(0)
	for n := 0; n < 20_000; {
		next := min(arrival, l.c.NextDeadline())
		first := -1
		for i := range l.future {
			if l.future[i].At <= next {
				first, next = i, l.future[i].At
			}
		}
		switch {
		case first >= 0:
			ev := l.future[first]
			l.future = append(l.future[:first], l.future[first+1:]...)
			if ev.Kind == Arrive {
				ev.Request = l.ids.New()
				l.probes[ev.Request] = ev.Deadline
			}
			l.step(ev)
		case next < arrival:
			l.step(Event{At: next, Kind: Tick})
		default:
			n++
			l.step(Event{At: arrival, Kind: Arrive, Request: l.ids.New(), Size: 1 + l.rng.IntN(20), Deadline: arrival.Add(200 * time.Millisecond), MergeKey: 1})
			if n%10 == 0 {
				due := arrival.Add(100 * time.Millisecond)
				at, ok := l.c.LatestStart(0, probe, due)
				if ok && at > arrival {
					l.future = append(l.future, Event{At: at, Kind: Arrive, Size: probe, Deadline: due, MergeKey: 1})
				} else {
					l.unable++
				}
			}
			arrival = arrival.Add(time.Duration(l.rng.ExpFloat64() * 10.5 / (load * rate)))
		}
	}
}

func TestLatestStartAllocatesNothing(t *testing.T) {
	l := newLoaded(t, "priced", 20, 100)
	for range 100 {
		l.round()
	}
	due := l.now.Add(10 * time.Second)
	if n := testing.AllocsPerRun(100, func() { l.c.LatestStart(0, 3, due) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkLatestStart(b *testing.B) {
	for _, workers := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			l := newLoaded(b, "priced", workers, 10*workers)
			due := l.now.Add(10 * time.Second)
			b.ReportAllocs()
			for b.Loop() {
				l.c.LatestStart(0, 3, due)
			}
		})
	}
}
