package dispatch

import (
	"fmt"
	"math"
	"testing"
	"time"

	"motley/internal/mono"
	"motley/internal/pool"
)

// proxied is a core under the policy with so many fast workers, which have a
// concurrency of their own, and slow ones behind them.
func proxied(t *testing.T, policy string, fast, slow, concurrency int) *Core {
	t.Helper()
	pol, err := NewPolicy(policy, 11)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Models: []Model{{Name: "m", QoS: time.Second}}, Types: make([]pool.InstanceType, 2), Policy: pol, Hang: time.Hour,
		Profiles: profiles(t, 1, []law{{time.Millisecond, time.Millisecond}, {2 * time.Millisecond, 2 * time.Millisecond}}),
	}
	for i := range fast + slow {
		w := pool.Worker{Name: fmt.Sprint(i), Concurrency: concurrency, State: pool.Up, Serves: []pool.Serve{{Model: 0, MaxBatch: 64}}}
		if i >= fast {
			w.Type = 1
		}
		cfg.Workers = append(cfg.Workers, w)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// end finishes a batch when it was predicted to end: nothing new is learned.
func end(c *Core, b BatchID) {
	c.Step(Event{At: c.Now().Add(c.Predicted(b)), Kind: Finish, Batch: b}, nil)
}

// TestLeastConnFills: where nothing ends, requests stand with the workers as
// their weights say: no worker has more for its weight than another one has
// room for.
func TestLeastConnFills(t *testing.T) {
	const weight = 5
	c := proxied(t, fmt.Sprintf("least-conn=%d", weight), 2, 3, 100)
	held, weights := make([]int, 5), []int{weight, weight, 1, 1, 1}
	var ids IDs
	for i := range 100 {
		out := c.Step(Event{At: mono.Time(i + 1), Kind: Arrive, Request: ids.New(), Size: 1, Deadline: mono.Never}, nil)
		w := out[0].Worker
		for other, h := range held {
			if held[w]*weights[other] > h*weights[w] {
				t.Fatalf("request %d goes to worker %d: %v", i, w, held)
			}
		}
		held[w]++
	}
}

// TestLeastConnTurns: workers that are all idle have turns by weight, mixed as
// nginx does it.
func TestLeastConnTurns(t *testing.T) {
	c := proxied(t, "least-conn=3", 1, 3, 1)
	var ids IDs
	got := make([]int, 4)
	order := ""
	for i := range 600 {
		out := c.Step(Event{At: c.Now() + 1, Kind: Arrive, Request: ids.New(), Size: 1, Deadline: mono.Never}, nil)
		w := out[0].Worker
		if i < 12 {
			order += fmt.Sprint(w)
		}
		got[w]++
		end(c, out[0].Batch)
	}
	if order != "010230010230" {
		t.Errorf("in the order %s", order)
	}
	for w, want := range []int{300, 100, 100, 100} {
		if got[w] != want {
			t.Errorf("worker %d has had %d of 600, want %d", w, got[w], want)
		}
	}
}

// TestRandomTwoDraws: of two that are drawn by weight the one with fewer gets
// the request. With one worker busy for good a fast one of weight 4 beside four
// slow ones has it where either draw is the fast one, which is busy: never, but
// where both are.
func TestRandomTwoDraws(t *testing.T) {
	c := proxied(t, "random-two=4", 1, 4, 100)
	var ids IDs
	arrive := func() Action {
		return c.Step(Event{At: c.Now() + 1, Kind: Arrive, Request: ids.New(), Size: 1, Deadline: mono.Never}, nil)[0]
	}
	a := arrive()
	for ; a.Worker != 0; a = arrive() { // until the fast one has one for good
		end(c, a.Batch)
	}
	const n = 20_000
	fast := 0.0
	for range n {
		a := arrive()
		if a.Worker == 0 {
			fast++
		}
		end(c, a.Batch)
	}
	if want := n * 0.25; math.Abs(fast-want) > 5*math.Sqrt(want) {
		t.Errorf("the fast worker had %v of %d, want about %.0f: both draws out of 8 parts, of which it has 4", fast, n, want)
	}
}

// TestTunablePolicies: a number that makes no sense is refused.
func TestTunablePolicies(t *testing.T) {
	for name, valid := range map[string]bool{
		"least-conn=1": true, "random-two=12": true, "least-conn=0": false, "random-two=x": false, "size-threshold=-1": false, "fcfs=1": false,
	} {
		if p, err := NewPolicy(name, 1); (err == nil) != valid || (p != nil) != valid {
			t.Errorf("%s: %v, %v", name, p, err)
		}
	}
}
