package dispatch

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"motley/internal/mono"
	"motley/internal/pool"
)

// oneWorker is models a, b, … alike on a single worker, which is busy until b0
// finishes.
func oneWorker(t *testing.T, policy string, models int) (c *Core, ids *IDs, busy BatchID) {
	t.Helper()
	pol, err := NewPolicy(policy, 3)
	if err != nil {
		t.Fatal(err)
	}
	w := pool.Worker{Name: "w", Concurrency: 1, State: pool.Up}
	cfg := Config{Types: make([]pool.InstanceType, 1), Policy: pol, Profiles: profiles(t, models, []law{{time.Millisecond, time.Millisecond}}), Hang: time.Hour}
	for m := range models {
		cfg.Models = append(cfg.Models, Model{Name: fmt.Sprint(m), QoS: 10 * time.Second})
		w.Serves = append(w.Serves, pool.Serve{Model: pool.ModelID(m), MaxBatch: 64})
	}
	cfg.Workers = []pool.Worker{w}
	if c, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	ids = &IDs{}
	out := c.Step(Event{Kind: Arrive, Request: ids.New(), Size: 1, Deadline: mono.Time(10 * time.Second)}, nil)
	if len(out) != 1 || out[0].Kind != Start {
		t.Fatalf("%s: the first request is not started: %v", policy, out)
	}
	return c, ids, out[0].Batch
}

// drain finishes one batch after the other, each when it was predicted to end,
// and returns the requests in the order of their starts.
func drain(t *testing.T, c *Core, busy BatchID) []RequestID {
	t.Helper()
	var order []RequestID
	for {
		end := c.Now().Add(max(c.Predicted(busy), 1))
		out := c.Step(Event{At: end, Kind: Finish, Batch: busy}, nil)
		at := slices.IndexFunc(out, func(a Action) bool { return a.Kind == Start })
		if at < 0 {
			return order
		}
		order = append(order, out[at].Requests...)
		busy = out[at].Batch
	}
}

// Whatever the sizes and the models, a higher priority starts first.
func TestPoliciesHonourPriorities(t *testing.T) {
	for _, policy := range Policies() {
		t.Run(policy, func(t *testing.T) {
			for seed := range uint64(20) {
				r := rand.New(rand.NewPCG(seed, 21))
				c, ids, busy := oneWorker(t, policy, 3)
				priority := map[RequestID]int{}
				for i := range 40 {
					now := mono.Time(i + 1)
					id := ids.New()
					priority[id] = 1 + r.IntN(4)
					c.Step(Event{
						At: now, Kind: Arrive, Request: id, Model: pool.ModelID(r.IntN(3)), Size: 1 + r.IntN(20),
						Deadline: now.Add(10 * time.Second), Priority: priority[id],
					}, nil)
				}
				order := drain(t, c, busy)
				if len(order) != 40 {
					t.Fatalf("%d of 40 were started", len(order))
				}
				if !slices.IsSortedFunc(order, func(a, b RequestID) int { return priority[a] - priority[b] }) {
					t.Fatalf("seed %d: started by priority %v", seed, order)
				}
			}
		})
	}
}

// Models that share a worker and ask the same of it get the same: of any first
// part of what it runs, each has its share.
func TestPoliciesServeModelsAlike(t *testing.T) {
	for _, policy := range Policies() {
		t.Run(policy, func(t *testing.T) {
			c, ids, busy := oneWorker(t, policy, 3)
			model := map[RequestID]int{}
			for i := range 90 {
				now := mono.Time(i + 1)
				id := ids.New()
				model[id] = i % 3
				c.Step(Event{At: now, Kind: Arrive, Request: id, Model: pool.ModelID(i % 3), Size: 1 + i/3%5, Deadline: now.Add(10 * time.Second)}, nil)
			}
			var got [3]int
			for i, id := range drain(t, c, busy) {
				got[model[id]]++
				// kairos picks the cheaper of two, priced the largest of those that it
				// plans, as no two can be merged.
				apart := 2
				if policy == "priced" {
					apart = 6
				}
				if least, most := slices.Min(got[:]), slices.Max(got[:]); most-least > apart {
					t.Fatalf("after %d starts the models have %v", i+1, got)
				}
			}
			if got != [3]int{30, 30, 30} {
				t.Errorf("of 30 requests each %v were started", got)
			}
		})
	}
}

// A request that a worker has failed is tried on the other one, slower as it
// is.
func TestPoliciesAvoidTheWorkerThatFailed(t *testing.T) {
	for _, policy := range Policies() {
		t.Run(policy, func(t *testing.T) {
			pol, err := NewPolicy(policy, 3)
			if err != nil {
				t.Fatal(err)
			}
			serves := []pool.Serve{{Model: 0, MaxBatch: 64}}
			c, err := New(Config{
				Models: []Model{{Name: "m", QoS: time.Second}}, Types: make([]pool.InstanceType, 2), Policy: pol,
				Profiles: profiles(t, 1, []law{{time.Millisecond, time.Millisecond}, {2 * time.Millisecond, 2 * time.Millisecond}}),
				Workers: []pool.Worker{
					{Name: "fast", Concurrency: 1, State: pool.Up, Serves: serves},
					{Name: "slow", Type: 1, Concurrency: 1, State: pool.Up, Serves: serves},
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			var ids IDs
			out := c.Step(Event{Kind: Arrive, Request: ids.New(), Size: 5, Deadline: mono.Time(time.Second), MergeKey: 1}, nil)
			for range 2 { // and back again
				if len(out) != 1 || out[0].Kind != Start {
					t.Fatalf("not started: %v", out)
				}
				first := out[0]
				out = c.Step(Event{At: c.Now() + 1, Kind: Fail, Fault: WorkerFault, Batch: first.Batch}, nil)
				if len(out) != 1 || out[0].Kind != Start || out[0].Worker == first.Worker {
					t.Fatalf("failed on worker %d, then %v", first.Worker, out)
				}
			}
		})
	}
}

// The better of two draws: with 3 fast and 7 slow workers free the draw is a
// fast one in 1 − 0.7² of all cases, and all of a type are drawn alike.
func TestP2CDrawsTwo(t *testing.T) {
	cfg := Config{
		Models: []Model{{Name: "m", QoS: time.Second}}, Types: make([]pool.InstanceType, 2), Policy: newP2C(5),
		Profiles: profiles(t, 1, []law{{time.Millisecond, time.Millisecond}, {2 * time.Millisecond, 2 * time.Millisecond}}),
	}
	for i := range 10 {
		w := pool.Worker{Name: fmt.Sprint(i), Concurrency: 1, State: pool.Up, Serves: []pool.Serve{{Model: 0, MaxBatch: 64}}}
		if i >= 3 {
			w.Type = 1
		}
		cfg.Workers = append(cfg.Workers, w)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	const n = 20_000
	var ids IDs
	var drawn [10]float64
	for range n {
		id := ids.New()
		out := c.Step(Event{At: c.Now() + 1, Kind: Arrive, Request: id, Size: 1, Deadline: mono.Never}, nil)
		drawn[out[0].Worker]++
		c.Step(Event{At: c.Now().Add(c.Predicted(out[0].Batch)), Kind: Finish, Batch: out[0].Batch}, nil)
		ids.Free(id)
	}
	for i, got := range drawn {
		want := n * (1 - 0.7*0.7) / 3
		if i >= 3 {
			want = n * 0.7 * 0.7 / 7
		}
		if math.Abs(got-want) > 5*math.Sqrt(want) {
			t.Errorf("worker %d was drawn %v times, want about %.0f", i, got, want)
		}
	}
}

// TestThresholdParts holds the rule of size-threshold in random histories: who
// runs where, one by one, first come first served on each side, and nobody
// waits beside a free worker of his side.
func TestThresholdParts(t *testing.T) {
	starts := [2]int{}
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 31))
		p := &sizeThreshold{items: []int{0, 0, 20}[seed%3]}
		c := randomPool(t, r, p)
		if seed%2 == 0 {
			c.cfg.Types[r.IntN(4)].Accelerator = "T4"
		}
		// side says which sides take a request, by the rule as it is written.
		side := func(m pool.ModelID, size int) (want bool, both bool) {
			qos, most := c.ModelConfig(m).QoS, c.ModelConfig(m).MaxBatch
			limit := math.MaxInt
			has := map[bool]bool{}
			for i := range c.models[m].groups {
				g := &c.models[m].groups[i]
				fast := p.isFast(c, m, g.typ)
				has[fast] = has[fast] || g.maxItems >= size
				if fast {
					continue
				}
				n := 1
				for n < min(most, g.maxItems) && g.profile.Mean(n+1) <= qos {
					n++
				}
				limit = min(limit, n)
			}
			if limit == math.MaxInt {
				limit = 0
			}
			threshold := limit + 1
			if p.items > 0 {
				threshold = p.items
			}
			return size >= threshold, has[true] && has[false]
		}
		type queueOf struct {
			worker pool.WorkerID
			model  pool.ModelID
		}
		last := map[queueOf]uint64{}
		runRandom(t, r, c, 200, func() int { return 0 }, func(ev Event, out []Action) {
			for _, a := range out {
				if a.Kind != Start {
					continue
				}
				if len(a.Requests) != 1 {
					t.Fatalf("seed %d: %v: merged", seed, a)
				}
				q := &c.requests[a.Requests[0].Index()]
				want, both := side(a.Model, q.size)
				if got := p.isFast(c, a.Model, c.workers[a.Worker].Type); both && got != want {
					t.Fatalf("seed %d: %v: %d items of model %d on an accelerator: %v, want %v", seed, a, q.size, a.Model, got, want)
				}
				if both {
					starts[map[bool]int{false: 0, true: 1}[want]]++
				}
				if w := (queueOf{a.Worker, a.Model}); p.items == 0 {
					continue // the threshold moves with what is learned
				} else if q.entry.seq < last[w] {
					t.Fatalf("seed %d: %v: overtaken by a later one", seed, a)
				} else {
					last[w] = q.entry.seq
				}
			}
			for i := range c.requests {
				q := &c.requests[i]
				if q.state != queued {
					continue
				}
				want, both := side(q.model, q.size)
				for id := range c.workers {
					w := &c.workers[id]
					if w.free && w.limit(q.model) >= q.size && (!both || p.isFast(c, q.model, w.Type) == want) {
						t.Fatalf("seed %d at %v: request %d waits beside worker %d", seed, ev, q.id, id)
					}
				}
			}
		})
	}
	if starts[0] < 500 || starts[1] < 100 {
		t.Errorf("%d starts on the rest and %d on accelerators: too little was tried", starts[0], starts[1])
	}
}

// isFast is the rule for who counts as an accelerator: those that say so, else
// the fastest for the largest batch.
func (p *sizeThreshold) isFast(c *Core, m pool.ModelID, typ pool.TypeID) bool {
	named, least := false, time.Duration(math.MaxInt64)
	for i := range c.models[m].groups {
		g := &c.models[m].groups[i]
		named = named || c.cfg.Types[g.typ].Accelerator != ""
		least = min(least, g.profile.Mean(c.models[m].MaxBatch))
	}
	if named {
		return c.cfg.Types[typ].Accelerator != ""
	}
	return c.Profile(m, typ).Mean(c.models[m].MaxBatch) == least
}
