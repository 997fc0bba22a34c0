package dispatch

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"motley/internal/mono"
	"motley/internal/pool"
)

// benchCore is a core with one model on workers of four types, all up.
func benchCore(tb testing.TB, policy string, workers, concurrency int) (*Core, *IDs) {
	pol, err := NewPolicy(policy, 1)
	if err != nil {
		tb.Fatal(err)
	}
	laws := []law{
		{5 * time.Millisecond, 50 * time.Microsecond}, {time.Millisecond, 200 * time.Microsecond},
		{time.Millisecond, 400 * time.Microsecond}, {2 * time.Millisecond, 300 * time.Microsecond},
	}
	cfg := Config{
		Models: []Model{{Name: "m", QoS: time.Second, MaxBatch: 32, MaxQueue: 100_000}},
		Types:  make([]pool.InstanceType, 4), Policy: pol, Profiles: profiles(tb, 1, laws),
	}
	for i := range workers {
		cfg.Workers = append(cfg.Workers, pool.Worker{
			Name: fmt.Sprint(i), Type: pool.TypeID(i % 4), Concurrency: concurrency, State: pool.Up,
			Serves: []pool.Serve{{Model: 0, MaxBatch: 64}},
		})
	}
	c, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return c, &IDs{}
}

// loaded is a core whose workers are all busy and which keeps queued requests
// waiting: every round one batch finishes and as many requests arrive as it
// took along.
type loaded struct {
	c       *Core
	ids     *IDs
	now     mono.Time
	queued  int
	large   int // items of every 16th request; 0: there are none
	running []BatchID
	actions []Action
}

func newLoaded(tb testing.TB, policy string, workers, queued int) *loaded {
	c, ids := benchCore(tb, policy, workers, 1)
	l := &loaded{c: c, ids: ids, queued: queued}
	for c.Model(0).Queued < queued {
		l.arrive()
	}
	return l
}

func (l *loaded) arrive() {
	l.now++
	size := 1 + int(l.now)%3
	if l.large > 0 && l.now%16 == 0 {
		size = l.large
	}
	l.step(Event{
		At: l.now, Kind: Arrive, Request: l.ids.New(), Size: size,
		Deadline: l.now.Add(1000 * time.Second), MergeKey: 1,
	})
}

func (l *loaded) step(ev Event) {
	l.actions = l.c.Step(ev, l.actions[:0])
	for i := range l.actions {
		switch a := &l.actions[i]; a.Kind {
		case Start:
			l.running = append(l.running, a.Batch)
		case Answer, Reject, GiveUp:
			l.ids.Free(a.Request)
		}
	}
}

// finish ends the batch that runs longest.
func (l *loaded) finish() {
	b := l.running[0]
	l.running = l.running[:copy(l.running, l.running[1:])]
	l.now += 1000
	l.step(Event{At: l.now, Kind: Finish, Batch: b})
}

func (l *loaded) round() {
	l.finish()
	for l.c.Model(0).Queued < l.queued {
		l.arrive()
	}
}

// TestStepAllocatesNothing holds the promise for every policy in steady state.
func TestStepAllocatesNothing(t *testing.T) {
	if checked {
		t.Skip("the invariant checks allocate")
	}
	for _, policy := range Policies() {
		l := newLoaded(t, policy, 100, 1000)
		for range 2000 {
			l.round()
		}
		if n := testing.AllocsPerRun(500, l.round); n != 0 {
			t.Errorf("%s: %v allocations per round, want 0", policy, n)
		}
	}
}

// TestSplittingAllocatesNothing holds it for requests that no worker takes whole.
func TestSplittingAllocatesNothing(t *testing.T) {
	if checked {
		t.Skip("the invariant checks allocate")
	}
	l := newLoaded(t, "priced", 20, 0)
	l.queued, l.large = 100, 500
	parts := 0
	round := func() {
		if len(l.running) > 0 {
			l.finish()
		}
		for l.c.Model(0).Queued < l.queued {
			l.arrive()
		}
		for i := range l.actions {
			if l.actions[i].Rows != nil {
				parts++
			}
		}
	}
	for range 20_000 {
		round()
	}
	if n := testing.AllocsPerRun(2000, round); n != 0 || parts < 1000 {
		t.Errorf("%v allocations per round with %d executions of parts, want 0 with many", n, parts)
	}
}

// BenchmarkStep times one step (arrivals and finishes mixed as they come) of a
// pool that is busy and has a queue. It reports the 99th percentile as well.
// kairos is left out at 1,000 workers, where a step is a matching of 2,000 with
// 1,000 and takes a second.
func BenchmarkStep(b *testing.B) {
	for _, policy := range Policies() {
		for _, size := range []struct{ workers, queued int }{{10, 100}, {100, 1000}, {1000, 10000}} {
			b.Run(fmt.Sprintf("%s/workers=%d/queued=%d", policy, size.workers, size.queued), func(b *testing.B) {
				if policy == "kairos" && size.workers > 100 {
					b.Skip("a full matching")
				}
				l := newLoaded(b, policy, size.workers, size.queued)
				for range 300 {
					l.round()
				}
				took := make([]time.Duration, 0, b.N)
				b.ReportAllocs()
				b.ResetTimer()
				for len(took) < b.N {
					start := time.Now()
					if l.c.Model(0).Queued < size.queued {
						l.arrive()
					} else {
						l.finish()
					}
					took = append(took, time.Since(start))
				}
				b.StopTimer()
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)*99/100]), "p99-ns")
			})
		}
	}
}

// BenchmarkStepCalm times one step of a pool that has ten requests in it, hardly
// any of which waits: what a decision costs by how many workers there are besides.
func BenchmarkStepCalm(b *testing.B) {
	for _, policy := range Policies() {
		for _, workers := range []int{20, 100, 1000} {
			b.Run(fmt.Sprintf("%s/workers=%d", policy, workers), func(b *testing.B) {
				l := newLoaded(b, policy, workers, 0)
				round := func() {
					if len(l.running) == 0 || len(l.running)+l.c.Model(0).Queued < 10 {
						l.arrive()
					} else {
						l.finish()
					}
				}
				for range 3000 {
					round()
				}
				took := make([]time.Duration, 0, b.N)
				b.ReportAllocs()
				b.ResetTimer()
				for len(took) < b.N {
					start := time.Now()
					round()
					took = append(took, time.Since(start))
				}
				b.StopTimer()
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)*99/100]), "p99-ns")
			})
		}
	}
}
