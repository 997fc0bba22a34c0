package dispatch

import (
	"math/rand/v2"
	"testing"
	"time"

	"motley/internal/mono"
	"motley/internal/pool"
)

// A backlog that is far longer than plans look ahead, of requests that have all
// the time in the world: whatever their sizes, none makes room for another.
func TestBacklogWaits(t *testing.T) {
	const deadline = time.Minute
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 3))
		c, ids := benchCore(t, "priced", 3, 1)
		c.models[0].MaxBatch, c.models[0].QoS = 8, 30*time.Second
		for i := range c.models[0].groups {
			g := &c.models[0].groups[i]
			fixed, item := time.Duration(rng.IntN(2000))*time.Microsecond, time.Duration(1+rng.IntN(1000))*time.Microsecond
			g.profile, _ = pool.NewProfile([]pool.Point{{Batch: 1, Mean: fixed + item}, {Batch: 8, Mean: fixed + 8*item}})
			if rng.IntN(2) == 0 {
				g.profile, _ = pool.NewProfile(nil)
			}
			c.models[0].profiles[i] = g.profile
		}
		var running []BatchID
		answered := 0
		now := mono.Time(0)
		step := func(ev Event) {
			for _, a := range c.Step(ev, nil) {
				switch a.Kind {
				case Start:
					running = append(running, a.Batch)
				case Answer:
					answered++
				case Reject, GiveUp:
					t.Fatalf("seed %d: %v at %v, due in %v", seed, a, now, deadline)
				}
			}
		}
		const requests = 400
		for i := range requests {
			now++
			step(Event{At: now, Kind: Arrive, Request: ids.New(), Size: 1 + rng.IntN(4), Deadline: now.Add(deadline), MergeKey: 1})
			if i%8 == 7 {
				now = now.Add(time.Duration(1+rng.IntN(9)) * time.Millisecond)
				step(Event{At: now, Kind: Finish, Batch: running[0]})
				running = running[1:]
			}
		}
		for answered < requests {
			now = now.Add(time.Duration(1+rng.IntN(9)) * time.Millisecond)
			b := running[0]
			running = running[1:]
			step(Event{At: now, Kind: Finish, Batch: b})
		}
	}
}
