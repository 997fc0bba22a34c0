package dispatch

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"motley/internal/mono"
	"motley/internal/pool"
)

// drive plays random events, read from next, against a core with every
// invariant checked after each step, and an account of its own of what each
// request has become.
func drive(t testing.TB, policy string, next func(n int) int, steps int) {
	laws := []law{{2 * time.Millisecond, 100 * time.Microsecond}, {time.Millisecond, 2 * time.Millisecond}, {}}
	pol, err := NewPolicy(policy, 7)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Models: []Model{
			{Name: "a", QoS: 30 * time.Millisecond, MaxQueue: 20},
			{Name: "b", QoS: 80 * time.Millisecond, MaxBatch: 5, MaxAttempts: 2},
		},
		Types: make([]pool.InstanceType, 3), Policy: pol, Hang: 50 * time.Millisecond,
		Profiles: profiles(t, 2, laws),
	}
	for i := range 5 {
		w := pool.Worker{Name: fmt.Sprint(i), Type: pool.TypeID(i % 3), Concurrency: 1 + i/3, State: pool.Up}
		w.Serves = append(w.Serves, pool.Serve{Model: 0, MaxBatch: 1 + 7*i})
		if i != 2 {
			w.Serves = append(w.Serves, pool.Serve{Model: 1, MaxBatch: 16})
		}
		cfg.Workers = append(cfg.Workers, w)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var ids IDs
	var now mono.Time
	type truth struct {
		deadline mono.Time
		started  int
	}
	live := map[RequestID]*truth{}
	var order []RequestID
	type run struct {
		id      BatchID
		members []RequestID
		stopped bool
	}
	var running []run
	var actions []Action
	for range steps {
		now = now.Add(time.Duration(next(3_000)) * time.Microsecond)
		ev := Event{At: now, Kind: Tick}
		switch k := next(16); {
		case k < 8:
			id := ids.New()
			ev = Event{
				At: now, Kind: Arrive, Request: id, Model: pool.ModelID(next(2)), Size: 1 + next(12),
				Deadline: now.Add(time.Duration(next(60)) * time.Millisecond), Priority: next(4), MergeKey: uint64(next(3)),
			}
			live[id] = &truth{deadline: ev.Deadline}
			order = append(order, id)
		case k < 12 && len(running) > 0:
			i := next(len(running))
			ev = Event{At: now, Kind: Finish, Batch: running[i].id}
			if next(4) == 0 {
				ev.Kind, ev.Fault = Fail, Fault(1+next(3))
			}
			running = slices.Delete(running, i, i+1)
		case k == 12 && len(order) > 0:
			id := order[next(len(order))]
			if live[id] == nil {
				break
			}
			ev = Event{At: now, Kind: Cancel, Request: id}
			delete(live, id)
			ids.Free(id)
		case k == 13:
			ev = Event{At: now, Kind: WorkerState, Worker: pool.WorkerID(next(5)), State: pool.State(next(4))}
		case k == 14:
			ev = Event{At: now, Kind: WorkerLimit, Worker: pool.WorkerID(next(5)), Model: 0, Size: next(20)}
		case k == 15 && c.NextDeadline() != mono.Never:
			now = max(now, c.NextDeadline())
			ev.At = now
		}
		actions = c.Step(ev, actions[:0])
		c.check()
		for _, a := range actions {
			switch a.Kind {
			case Start:
				running = append(running, run{id: a.Batch, members: slices.Clone(a.Requests)})
				items := 0
				for _, id := range a.Requests {
					tr := live[id]
					if tr == nil {
						t.Fatalf("%v: started a request that has ended", a)
					}
					if tr.deadline < now && !pol.Traits().Late {
						t.Fatalf("%v: invariant 9: request %d is past its deadline", a, id)
					}
					tr.started++
					items += c.requests[id.Index()].size
				}
				if items > c.Limit(a.Worker, a.Model) {
					t.Fatalf("%v: %d items on a worker that takes %d", a, items, c.Limit(a.Worker, a.Model))
				}
			case Answer, Reject, GiveUp:
				tr := live[a.Request]
				if tr == nil {
					t.Fatalf("%v: invariant 3: ends twice", a)
				}
				if a.Kind == Reject && tr.started > 0 || a.Kind == GiveUp && tr.started == 0 {
					t.Fatalf("%v after %d starts", a, tr.started)
				}
				delete(live, a.Request)
				ids.Free(a.Request)
			case CancelBatch:
				i := slices.IndexFunc(running, func(r run) bool { return r.id == a.Batch })
				if i < 0 || running[i].stopped {
					t.Fatalf("%v: not running, or stopped twice", a)
				}
				running[i].stopped = true
			}
		}
	}
	n := c.Counts()
	if got := n.Arrived - n.Answered - n.Rejected - n.Failed - n.Cancelled; got != uint64(len(live)) {
		t.Fatalf("%+v leaves %d, the account has %d", n, got, len(live))
	}
}

// TestRandomWalk runs long random histories under every policy.
func TestRandomWalk(t *testing.T) {
	for _, policy := range Policies() {
		t.Run(policy, func(t *testing.T) {
			for seed := range uint64(20) {
				rng := rand.New(rand.NewPCG(seed, 1))
				drive(t, policy, rng.IntN, 2_000)
			}
		})
	}
}

func FuzzCore(f *testing.F) {
	f.Add([]byte("arrive and finish, fail and cancel, down and up again"))
	f.Add([]byte{0, 0, 1, 2, 3, 250, 9, 9, 9, 13, 1, 3, 15, 15, 15})
	f.Fuzz(func(t *testing.T, data []byte) {
		i := 0
		next := func(n int) int {
			v := 0
			for range 2 {
				if i < len(data) {
					v = v<<8 | int(data[i])
					i++
				}
			}
			return v % n
		}
		drive(t, Policies()[next(len(Policies()))], next, min(len(data), 400))
	})
}

// TestSameEventsSameActions is invariant 6.
func TestSameEventsSameActions(t *testing.T) {
	for _, policy := range Policies() {
		if a, b := transcriptOf(t, policy), transcriptOf(t, policy); a != b {
			t.Errorf("%s: two runs differ", policy)
		}
	}
}

func transcriptOf(t *testing.T, policy string) string {
	c, ids := benchCore(t, policy, 10, 1)
	var out []byte
	var now mono.Time
	for i := range 300 {
		now = now.Add(100 * time.Microsecond)
		for _, a := range c.Step(Event{At: now, Kind: Arrive, Request: ids.New(), Size: 1 + i%4, Deadline: now.Add(time.Second), MergeKey: 1}, nil) {
			out = fmt.Appendln(out, a)
		}
	}
	return string(out)
}
