package live

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"motley/internal/backend"
	"motley/internal/dispatch"
	"motley/internal/gate"
	"motley/internal/mono"
	"motley/internal/pool"
)

// TestParityMembers does as TestParity where workers join, leave, stay after all and are gone,
// models change, and a type and a model are new.
func TestParityMembers(t *testing.T) {
	const seeds = 40
	seen := map[string]int{}
	for seed := range uint64(seeds) {
		x := newExperiment(seed, 300)
		x.populate()
		want, wantEnds := x.simulate(t)
		got, gotEnds := x.live(t)
		compareLogs(t, seed, want.lines(), got.lines())
		if !slices.Equal(wantEnds, gotEnds) {
			t.Errorf("seed %d: the clients were told otherwise than in the simulation", seed)
		}
		if t.Failed() {
			return
		}
		want.count(seen)
		for _, s := range want.log {
			if s.happenings[0] == "worker-gone" && slices.Contains(s.happenings, "cancel-batch") {
				seen["moved"]++
			}
		}
	}
	for _, what := range []string{"type-add", "model-set", "worker-join", "worker-leave", "worker-stay", "worker-gone", "moved", "answer", "exit"} {
		if seen[what] < 10 {
			t.Errorf("%q came %d times in %d histories: the workload is too tame (%v)", what, seen[what], seeds, seen)
		}
	}
}

// populate adds changes of who is there to those of the experiment, and a fourth model, which
// some requests are for once it is there.
func (x *experiment) populate() {
	rng := rand.New(rand.NewPCG(x.seed, 0x6d656d62657273))
	last := x.arrivals[len(x.arrivals)-1].At
	start := last / 8
	taken := map[mono.Time]bool{}
	for _, a := range x.arrivals {
		taken[a.At] = true
	}
	for _, c := range x.changes {
		taken[c.At] = true
	}
	at := start
	next := func() mono.Time {
		at = at.Add(1 + time.Duration(rng.Int64N(int64(last-start)/25)))
		for taken[at] {
			at++
		}
		taken[at] = true
		return at
	}
	add := func(ev dispatch.Event) { x.changes = append(x.changes, ev) }
	add(dispatch.Event{At: next(), Kind: dispatch.TypeAdd, Change: &dispatch.Change{Type: pool.InstanceType{Name: "new"}}})
	add(dispatch.Event{At: next(), Kind: dispatch.ModelSet, Model: 3, Change: &dispatch.Change{Model: dispatch.Model{Name: "d", QoS: 40 * time.Millisecond}}})
	for i := range x.arrivals {
		if a := &x.arrivals[i]; a.At > at && rng.IntN(5) == 0 {
			a.Model = 3
		}
	}
	slots := make([]bool, workersInParity) // who is there
	for i := range slots {
		slots[i] = true
	}
	for range 24 {
		w := rng.IntN(len(slots))
		ev := dispatch.Event{At: next(), Worker: pool.WorkerID(w)}
		switch k := rng.IntN(8); {
		case k == 0:
			ev.Kind, ev.Model = dispatch.ModelSet, pool.ModelID(rng.IntN(4))
			ev.Change = &dispatch.Change{Model: dispatch.Model{
				Name: string(rune('a' + ev.Model)), QoS: time.Duration(20+rng.IntN(80)) * time.Millisecond, MaxBatch: 1 + rng.IntN(20), MaxQueue: 5 + rng.IntN(20),
			}}
			ev.Worker = 0
		case !slots[w] || k == 1:
			if slots[w] {
				w, slots = len(slots), append(slots, false)
			}
			slots[w] = true
			ev.Kind, ev.Worker = dispatch.WorkerJoin, pool.WorkerID(w)
			joins := pool.Worker{
				Name: fmt.Sprint("w", w), Type: pool.TypeID(rng.IntN(4)), Concurrency: 1 + rng.IntN(2), State: pool.Up,
				Breaker: pool.NewBreaker(pool.BreakerConfig{Failures: 2, Open: 9_000_001}),
			}
			for m := range pool.ModelID(4) {
				if rng.IntN(3) > 0 {
					joins.Serves = append(joins.Serves, pool.Serve{Model: m, MaxBatch: 4 << rng.IntN(4)})
				}
			}
			ev.Change = &dispatch.Change{Worker: joins}
		case k < 4:
			ev.Kind = dispatch.WorkerLeave
		case k == 4:
			ev.Kind = dispatch.WorkerStay
		default:
			ev.Kind, slots[w] = dispatch.WorkerGone, false
		}
		add(ev)
	}
	slices.SortFunc(x.changes, func(a, b dispatch.Event) int { return int(a.At - b.At) })
}

// anew are the changes with profiles that nobody has taught yet.
func (x *experiment) anew() []dispatch.Event {
	all := slices.Clone(x.changes)
	for i := range all {
		if all[i].Change == nil {
			continue
		}
		c := *all[i].Change
		if all[i].Kind == dispatch.TypeAdd || all[i].Kind == dispatch.ModelSet && all[i].Model == 3 {
			p, err := pool.NewProfile([]pool.Point{{Batch: 1, Mean: 3 * time.Millisecond}, {Batch: 16, Mean: 8 * time.Millisecond}})
			if err != nil {
				panic(err)
			}
			c.Profiles = []*pool.Profile{p}
		}
		all[i].Change = &c
	}
	return all
}

// happen has the loop know of what the event tells the core.
func (x *experiment) happen(l *Loop, ev dispatch.Event, line *line) {
	if ev.Change == nil {
		if ev.Kind == dispatch.WorkerGone {
			l.worker(ev.Worker).tell(ev)
			l.mu.Lock()
			l.worker(ev.Worker).removed = true
			l.mu.Unlock()
			return
		}
		l.inject(ev)
		return
	}
	l.change(func(next *table) dispatch.Event {
		switch ev.Kind {
		case dispatch.TypeAdd:
			next.types = append(next.types, ev.Change.Type)
		case dispatch.ModelSet:
			if int(ev.Model) == len(next.models) {
				e := &modelEntry{ModelSetup: ModelSetup{Name: ev.Change.Model.Name}, info: new(atomic.Pointer[Info])}
				e.Gate = next.models[0].Gate
				if e.Gate != nil {
					e.Gate = gate.New(&always{}, 1)
				}
				next.models = append(next.models, e)
			}
		case dispatch.WorkerJoin:
			b := drawn{x: x, worker: ev.Worker, epoch: l.epoch, line: line}
			var back backend.Backend = b
			if x.early {
				back = drawnEarly{b}
			}
			m := newMember(l, Joining{Worker: ev.Change.Worker, Backend: back})
			m.id = ev.Worker
			if int(m.id) == len(next.workers) {
				next.workers = append(next.workers, nil)
			}
			next.workers[m.id] = m
		}
		return ev
	})
}
