package dispatch

import (
	"testing"
	"time"

	"motley/internal/mono"
	"motley/internal/pool"
)

// TestComeBack: a crowd that waits in vain holds nobody up for longer than its
// time, however long all of it would take.
func TestComeBack(t *testing.T) {
	c, err := New(Config{
		Models: []Model{{Name: "m", QoS: 400 * time.Millisecond, MaxBatch: 4}}, Types: make([]pool.InstanceType, 1), Policy: NewPriced(PricedOptions{}),
		Profiles: profiles(t, 1, []law{{10 * time.Millisecond, 10 * time.Millisecond}}),
		Workers:  []pool.Worker{{Concurrency: 1, State: pool.Up, Serves: []pool.Serve{{MaxBatch: 4}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := c.ComeBack(0); d > 100*time.Millisecond {
		t.Errorf("with nothing to do: %v", d)
	}
	var ids IDs
	const deadline = 400 * time.Millisecond
	for range 200 {
		c.Step(Event{Kind: Arrive, Request: ids.New(), Size: 1, Deadline: mono.Time(deadline), MergeKey: 1}, nil)
	}
	if all := c.Drain(0); all < 2*time.Second {
		t.Fatalf("all that waits takes %v: no crowd", all)
	}
	if d := c.ComeBack(0); d <= 0 || d > deadline {
		t.Errorf("told to come back after %v, when the time of all that waits is up after %v", d, deadline)
	}
}
