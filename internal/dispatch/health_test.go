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

// A derated worker is to every policy what a worker of another instance type
// would be that is as much slower: same decisions on random bursts.
func TestDeratedIsAnotherType(t *testing.T) {
	slow := 2.0
	laws := []law{{4 * time.Millisecond, time.Millisecond}, {2 * time.Millisecond, 3 * time.Millisecond}, {8 * time.Millisecond, 2 * time.Millisecond}}
	started := 0
	for seed := range uint64(40) {
		for _, policy := range Policies() {
			var logs [2][]string
			for side := range logs {
				rng := rand.New(rand.NewPCG(seed, 1))
				pol, err := NewPolicy(policy, seed)
				if err != nil {
					t.Fatal(err)
				}
				cfg := Config{Models: []Model{{Name: "m", QoS: 80 * time.Millisecond, MaxBatch: 16}}, Policy: pol, Types: make([]pool.InstanceType, 2+side), Profiles: profiles(t, 1, laws[:2+side])}
				cfg.Types[0].Accelerator = "T4"
				if side == 1 {
					cfg.Types[2].Accelerator = "T4"
				}
				for i := range 6 {
					w := pool.Worker{Type: pool.TypeID(i % 2), Concurrency: 1 + i/4, State: pool.Up, Serves: []pool.Serve{{MaxBatch: 16}}}
					if i == 2 && side == 1 {
						w.Type = 2
					}
					cfg.Workers = append(cfg.Workers, w)
				}
				c, err := New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				var ids IDs
				h := Healthy
				h.Slowdown = slow
				if side == 0 {
					c.Step(Event{Kind: WorkerHealth, Worker: 2, Health: h}, nil)
				}
				var now mono.Time
				for range 60 {
					now += mono.Time(rng.Int64N(int64(2 * time.Millisecond)))
					ev := Event{At: now, Kind: Arrive, Request: ids.New(), Size: 1 + rng.IntN(20), Deadline: now.Add(time.Duration(10+rng.IntN(90)) * time.Millisecond), MergeKey: 1}
					for _, a := range c.Step(ev, nil) {
						logs[side] = append(logs[side], fmt.Sprint(now, a))
						if a.Kind == Start {
							started++
						}
					}
				}
				logs[side] = append(logs[side], fmt.Sprint(c.LatestStart(0, 3, now.Add(90*time.Millisecond))), fmt.Sprint(c.Drain(0), c.Idle(0, 4)))
			}
			if !slices.Equal(logs[0], logs[1]) {
				t.Fatalf("%s, seed %d:\n%v\nas another type:\n%v", policy, seed, logs[0], logs[1])
			}
		}
	}
	if started < 1000 {
		t.Errorf("only %d batches", started)
	}
}

// Uncertainty widens the bound and not the mean, and never makes a worker too
// slow for what it was quick enough for with half of the time to spare.
func TestUncertain(t *testing.T) {
	for _, policy := range Policies() {
		c, ids := benchCore(t, policy, 4, 1)
		for i := range pool.WorkerID(4) {
			c.Step(Event{Kind: WorkerHealth, Worker: i, Health: Health{Slowdown: 1, Uncertainty: 2, Ramp: 1, Takes: true}}, nil)
		}
		for i := range c.models[0].groups[4:] {
			g, base := &c.models[0].groups[4+i], &c.models[0].groups[i]
			if g.profile.Mean(8) != base.profile.Mean(8) || g.profile.Bound(8, 0.99) < base.profile.Bound(8, 0.99) || g.up != 1 || base.up != 0 {
				t.Errorf("group %d: %+v", i, g)
			}
		}
		for i := range 4 {
			actions := c.Step(Event{At: mono.Time(i + 1), Kind: Arrive, Request: ids.New(), Size: 1, Deadline: mono.Time(time.Second), MergeKey: 1}, nil)
			if started := len(actions) == 1 && actions[0].Kind == Start; !started && (policy == "least-load" || len(actions) > 0) {
				t.Errorf("%s: request %d: %v", policy, i, actions)
			}
		}
	}
}

// The type's profile learns nothing of how long a derated worker takes, unless
// nothing else is known, and then as if it were not derated.
func TestLearnsNotOfDerated(t *testing.T) {
	for _, known := range []bool{true, false} {
		pol, _ := NewPolicy("least-load", 1)
		laws := []law{{10 * time.Millisecond, 0}}
		if !known {
			laws[0] = law{}
		}
		c, err := New(Config{
			Models: []Model{{Name: "m", QoS: time.Second, MaxBatch: 1}}, Types: make([]pool.InstanceType, 1), Policy: pol, Profiles: profiles(t, 1, laws),
			Workers: []pool.Worker{{Concurrency: 1, State: pool.Up, Serves: []pool.Serve{{MaxBatch: 1}}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		c.Step(Event{Kind: WorkerHealth, Health: Health{Slowdown: 4, Uncertainty: 1, Ramp: 1, Takes: true}}, nil)
		var ids IDs
		var now mono.Time
		for range 50 {
			id := ids.New()
			a := c.Step(Event{At: now, Kind: Arrive, Request: id, Size: 1, Deadline: mono.Never}, nil)
			worker, expected := c.Expected(a[0].Batch, nil)
			if worker != 0 || known && expected != 10*time.Millisecond {
				t.Fatalf("worker %d, %v", worker, expected)
			}
			now = now.Add(60 * time.Millisecond)
			c.Step(Event{At: now, Kind: Finish, Batch: a[0].Batch}, nil)
			ids.Free(id)
		}
		p := c.Profile(0, 0)
		want, samples := 10*time.Millisecond, 0
		if !known {
			want, samples = 15*time.Millisecond, settled
		}
		if got := p.Mean(1); math.Abs(float64(got-want)) > 1e5 || p.Samples() != samples {
			t.Errorf("known %v: it learned %v of %d batches, want %v of %d", known, got, p.Samples(), want, samples)
		}
	}
}

const settled = 8 // batches, see pool.Profile.Settled

// A worker that comes back works the share of its time that it should.
func TestRamp(t *testing.T) {
	for _, ramp := range []float64{0.1, 0.5, 1} {
		c, ids := benchCore(t, "fcfs", 2, 1)
		c.Step(Event{Kind: WorkerHealth, Worker: 1, Health: Health{Slowdown: 1, Uncertainty: 1, Ramp: ramp, Takes: true}}, nil)
		l := &loaded{c: c, ids: ids, queued: 50}
		for c.Model(0).Queued < l.queued {
			l.arrive()
		}
		busy, since := time.Duration(0), mono.Time(-1)
		const until = mono.Time(5 * time.Second)
		for l.now < until { // every batch takes 7 ms
			if since < 0 && len(c.workers[1].running) > 0 {
				since = l.now
			}
			if len(l.running) > 0 {
				b := l.running[0]
				l.now = max(l.now, c.batches[uint32(b)].started.Add(7*time.Millisecond))
				l.running = l.running[1:]
				if c.batches[uint32(b)].worker == 1 {
					busy += 7 * time.Millisecond
				}
				l.step(Event{At: l.now, Kind: Finish, Batch: b})
			}
			for c.Model(0).Queued < l.queued {
				l.arrive()
			}
		}
		if share := busy.Seconds() / time.Duration(until).Seconds(); math.Abs(share-ramp) > 0.02 {
			t.Errorf("it worked %.3f of its time, want %v", share, ramp)
		}
	}
}

// Whatever a driver says, healths are held within bounds, classes do not pile
// up, and steps go on without allocating.
func TestHealthsWithinBounds(t *testing.T) {
	if checked {
		t.Skip("the invariant checks allocate")
	}
	l := newLoaded(t, "priced", 20, 100)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range 2000 {
		h := Health{Slowdown: 1 + rng.Float64(), Uncertainty: 1 + rng.Float64(), Ramp: rng.Float64(), Takes: rng.IntN(4) > 0}
		switch i % 50 {
		case 0:
			h = Health{Slowdown: math.NaN(), Uncertainty: math.Inf(1), Ramp: -1, Takes: true}
		case 1:
			h = Health{}
		}
		l.step(Event{At: l.now, Kind: WorkerHealth, Worker: pool.WorkerID(rng.IntN(20)), Health: h})
		if len(l.running) > 0 {
			l.round()
		}
	}
	if n := len(l.c.classes); n > 2*20+4 {
		t.Errorf("%d classes of 20 workers", n)
	}
	for i := range pool.WorkerID(20) {
		l.step(Event{At: l.now, Kind: WorkerHealth, Worker: i, Health: Health{Slowdown: 1 + float64(i%3), Uncertainty: 1, Ramp: 1, Takes: i%5 > 0}})
	}
	for range 2000 {
		l.round()
	}
	if n := testing.AllocsPerRun(500, l.round); n != 0 {
		t.Errorf("%v allocations per round", n)
	}
}
