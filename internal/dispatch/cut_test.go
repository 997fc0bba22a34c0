package dispatch

import (
	"testing"
	"time"

	"motley/internal/mono"
	"motley/internal/pool"
)

// TestHopeless: in an overload a request that the pool cannot serve is refused at once, unless it
// can wait for the overload to pass, is more important than what waits, or nothing does.
func TestHopeless(t *testing.T) {
	c, err := New(Config{
		Models: []Model{{Name: "m", QoS: 100 * time.Millisecond, MaxBatch: 8}}, Types: make([]pool.InstanceType, 1), Policy: NewPriced(PricedOptions{}),
		Profiles: profiles(t, 1, []law{{10 * time.Millisecond, 5 * time.Millisecond}}),
		Workers:  []pool.Worker{{Concurrency: 1, State: pool.Up, Serves: []pool.Serve{{MaxBatch: 64}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var ids IDs
	at := func(i int) Event {
		now := mono.Time(i) * mono.Time(time.Millisecond)
		return Event{At: now, Kind: Arrive, Request: ids.New(), Size: 1 + i%4, Deadline: now.Add(100 * time.Millisecond), MergeKey: 1}
	}
	m := &c.models[0]
	for i := 0; i < 5000 && (i < 2000 || m.queue.len() == 0); i++ { // ten times what the worker can do
		c.Step(at(i), nil)
		if i%50 == 49 && len(c.workers[0].running) > 0 {
			c.Step(Event{At: c.now, Kind: Finish, Batch: c.batches[c.workers[0].running[0]].id}, nil)
		}
	}
	if !m.demand.overload() || m.cut >= demandBins || m.queue.len() == 0 {
		t.Fatalf("no overload: shed %.2f, cut at bin %d, %d wait", m.demand.shed, m.cut, m.queue.len())
	}
	for _, r := range []struct {
		name     string
		size     int
		within   time.Duration
		priority int32
		want     bool
	}{
		{"large", 4, 100 * time.Millisecond, DefaultPriority, true},
		{"the smallest, of which some can be served", 1, 100 * time.Millisecond, DefaultPriority, false},
		{"patient", 4, time.Minute, DefaultPriority, false},
		{"important", 4, 100 * time.Millisecond, 1, false},
	} {
		got := c.hopeless(m, &request{size: r.size, deadline: c.now.Add(r.within), entry: entry{priority: r.priority}})
		if got != r.want {
			t.Errorf("%s: hopeless %v", r.name, got)
		}
	}
	m.queue = queue{}
	if c.hopeless(m, &request{size: 4, deadline: c.now.Add(100 * time.Millisecond)}) {
		t.Error("hopeless where nothing waits")
	}
}

// TestNobodyIsHopelessByAGuess: a crowd that comes to workers of which only single, slow
// executions are known has time enough, and all of it is let in.
func TestNobodyIsHopelessByAGuess(t *testing.T) {
	c, err := New(Config{
		Models: []Model{{Name: "m", QoS: time.Second, MaxBatch: 64}}, Types: make([]pool.InstanceType, 1), Policy: NewPriced(PricedOptions{}),
		Workers: []pool.Worker{{Concurrency: 1, State: pool.Up, Serves: []pool.Serve{{MaxBatch: 64}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var ids IDs
	now := mono.Time(0)
	ask := func(within time.Duration) []Action {
		return c.Step(Event{At: now, Kind: Arrive, Request: ids.New(), Size: 1, Deadline: now.Add(within), MergeKey: 1}, nil)
	}
	end := func() []Action {
		now = now.Add(300 * time.Millisecond) // whatever the size
		return c.Step(Event{At: now, Kind: Finish, Batch: c.batches[c.workers[0].running[0]].id}, nil)
	}
	for range 20 {
		ask(time.Minute)
		end()
	}
	const crowd = 2000
	for i := range crowd {
		now = now.Add(time.Microsecond)
		if i == crowd/2 || i == crowd*3/4 {
			end()
		}
		for _, a := range ask(time.Minute) {
			if a.Kind == Reject {
				t.Fatalf("%v, with a minute to go", a)
			}
		}
	}
	for c.counts.Answered < 20+crowd {
		if len(c.workers[0].running) == 0 {
			t.Fatalf("%d answered", c.counts.Answered)
		}
		end()
	}
}
