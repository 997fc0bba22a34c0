package dispatch

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"motley/internal/mono"
	"motley/internal/pool"
)

// reference is KAIROS's query distribution written down a second time, from
// its description and for small pools only: plain matrices, and an assignment
// that tries every set of workers.
type reference struct {
	c *Core
}

// requests are the waiting ones by priority and then arrival, at most two per
// worker.
func (f reference) requests(workers int) []*request {
	var all []*request
	for i := range f.c.requests {
		if f.c.requests[i].state == queued {
			all = append(all, &f.c.requests[i])
		}
	}
	slices.SortFunc(all, func(a, b *request) int {
		if a.entry.priority != b.entry.priority {
			return int(a.entry.priority - b.entry.priority)
		}
		if a.arrived != b.arrived {
			return int(a.arrived - b.arrived)
		}
		return int(a.entry.seq) - int(b.entry.seq)
	})
	return all[:min(len(all), 2*workers)]
}

// workers are those that are up.
func (f reference) workers() []pool.WorkerID {
	var ids []pool.WorkerID
	for i := range f.c.workers {
		if f.c.workers[i].State == pool.Up {
			ids = append(ids, pool.WorkerID(i))
		}
	}
	return ids
}

func (f reference) latency(m pool.ModelID, id pool.WorkerID, n int) float64 {
	return float64(f.c.Profile(m, f.c.workers[id].Type).Mean(n))
}

// coefficient turns time of the worker into time of the first one that serves
// the model, by the latency of the largest batch; two digits.
func (f reference) coefficient(m pool.ModelID, id pool.WorkerID) float64 {
	most := f.c.ModelConfig(m).MaxBatch
	for first := range f.c.workers {
		for _, s := range f.c.cfg.Workers[first].Serves {
			if s.Model == m {
				return math.Round(f.latency(m, pool.WorkerID(first), most)/f.latency(m, id, most)*100) / 100
			}
		}
	}
	panic("nobody serves the model")
}

// cost of a request on a worker, in ns; +Inf where it cannot run.
func (f reference) cost(r *request, id pool.WorkerID) float64 {
	w := &f.c.workers[id]
	if f.c.Limit(id, r.model) < r.size {
		return math.Inf(1)
	}
	left := 0.0
	for _, slot := range w.running { // concurrency 1
		left = max(0, float64(f.c.batches[slot].ends-f.c.now))
	}
	l := left + f.latency(r.model, id, r.size)
	qos := float64(f.c.ModelConfig(r.model).QoS)
	remaining := max(0, float64(r.deadline-f.c.now))
	if rest := remaining - l; remaining > 0 && rest < 0 {
		return 10 * qos
	} else if remaining > 0 && rest-0.02*qos < 0 {
		return 5 * qos
	}
	return f.coefficient(r.model, id) * l
}

// value is what an assignment is worth: how many requests it matches, and then
// its cost.
type value struct {
	matched int
	cost    float64
}

func (v value) better(w value) bool {
	return v.matched > w.matched || v.matched == w.matched && v.cost < w.cost
}

// assign tries every set of workers, request by request.
func assign(cost [][]float64, allowed func(i, j int) bool) value {
	if len(cost) == 0 {
		return value{}
	}
	cols := len(cost[0])
	best := map[uint]value{0: {}} // by the set of workers used
	for i, row := range cost {
		next := map[uint]value{}
		offer := func(set uint, v value) {
			if old, ok := next[set]; !ok || v.better(old) {
				next[set] = v
			}
		}
		for set, v := range best {
			offer(set, v)
			for j := range cols {
				if set&(1<<j) == 0 && !math.IsInf(row[j], 1) && allowed(i, j) {
					offer(set|1<<j, value{v.matched + 1, v.cost + row[j]})
				}
			}
		}
		best = next
	}
	top := value{}
	for set, v := range best {
		if bits.OnesCount(set) != v.matched {
			panic("a worker twice")
		}
		if v.better(top) {
			top = v
		}
	}
	return top
}

// checkedKairos is kairos with every round held against the reference.
type checkedKairos struct {
	kairos
	t      *testing.T
	rounds int
	starts int
	waits  int // rounds after which a request stood beside a free worker
	levels int // rounds with more than one priority
}

func (k *checkedKairos) Dispatch(t *Turn) {
	for k.checkedRound(t) {
	}
}

func (k *checkedKairos) checkedRound(t *Turn) bool {
	f := reference{t.c}
	workers := f.workers()
	waiting := f.requests(len(workers))
	free := map[pool.WorkerID]bool{}
	for _, id := range workers {
		free[id] = len(t.c.workers[id].running) == 0
	}
	// The matrix is of before the round; what is started changes it.
	// Of several priorities the highest is matched as if it were alone.
	var cost [][]float64
	var slots []uint32
	for _, r := range waiting {
		if r.entry.priority > waiting[0].entry.priority {
			k.levels++
			break
		}
		row := make([]float64, len(workers))
		for j, id := range workers {
			row[j] = f.cost(r, id)
		}
		cost, slots = append(cost, row), append(slots, r.entry.slot)
	}
	before := len(t.c.out)
	more := k.round(t)

	started := map[uint32]pool.WorkerID{}
	for _, a := range t.c.out[before:] {
		if a.Kind != Start {
			continue
		}
		if len(a.Requests) != 1 {
			k.t.Fatalf("%v: merged", a)
		}
		if !free[a.Worker] {
			k.t.Fatalf("%v: the worker is busy", a)
		}
		k.starts++
		if slot := a.Requests[0].Index(); slices.Contains(slots, slot) {
			started[slot] = a.Worker
		}
	}
	if any := len(t.c.out) > before; more != any {
		k.t.Fatalf("something started: %v, and yet more = %v", any, more)
	}
	k.compare(workers, slots, cost, free, started)
	k.rounds++
	return more
}

// compare holds what was started against the best assignments: the best of
// those that give exactly these requests their free workers, and the others
// none, must be as good as the best of all. (Which requests the busy workers
// get is not seen.)
func (k *checkedKairos) compare(workers []pool.WorkerID, slots []uint32, cost [][]float64, free map[pool.WorkerID]bool, started map[uint32]pool.WorkerID) {
	idle := 0
	for _, id := range workers {
		if free[id] {
			idle++
		}
	}
	all := assign(cost, func(int, int) bool { return true })
	seen := assign(cost, func(i, j int) bool {
		id := workers[j]
		if on, ok := started[slots[i]]; ok {
			return on == id
		}
		return !free[id]
	})
	if seen.matched != all.matched || math.Abs(seen.cost-all.cost) > 1e-9*all.cost+1e-3 {
		k.t.Fatalf("round %d: started %v: at best %d matched at %.0f ns, and there is %d at %.0f ns;\nfree %v\ncosts %.0f",
			k.rounds, started, seen.matched, seen.cost, all.matched, all.cost, free, cost)
	}
	if len(started) < min(len(slots), idle) {
		k.waits++
	}
}

// TestKairosAgainstReference plays random histories of two models on four
// types and holds every matching against the reference.
func TestKairosAgainstReference(t *testing.T) {
	total := checkedKairos{}
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 8))
		k := &checkedKairos{t: t}
		priority := func() int { return 0 }
		if seed%2 == 1 {
			priority = func() int { return 1 + r.IntN(3) }
		}
		runRandom(t, r, randomPool(t, r, k), 200, priority, nil)
		total.rounds += k.rounds
		total.starts += k.starts
		total.waits += k.waits
		total.levels += k.levels
	}
	if total.starts < 1000 || total.waits < 100 || total.levels < 100 {
		t.Errorf("%d starts in %d rounds, %d of them with a request beside a free worker, %d with several priorities: too little was tried",
			total.starts, total.rounds, total.waits, total.levels)
	}
	t.Logf("%d starts in %d rounds; %d left a request beside a free worker, %d had several priorities",
		total.starts, total.rounds, total.waits, total.levels)
}

// randomPool is two models on up to five workers of four types with random
// laws; some workers serve only one of them, or only small requests.
func randomPool(t testing.TB, r *rand.Rand, p Policy) *Core {
	var laws []law
	for range 4 {
		laws = append(laws, law{
			time.Duration(1 + r.IntN(8_000_000)), time.Duration(1 + r.IntN(1_000_000)),
		})
	}
	cfg := Config{
		Models: []Model{
			{Name: "a", QoS: 20 * time.Millisecond, MaxBatch: 64, MaxQueue: 50},
			{Name: "b", QoS: 60 * time.Millisecond, MaxBatch: 100, MaxQueue: 50},
		},
		Types: make([]pool.InstanceType, 4), Policy: p, Profiles: profiles(t, 2, laws), Hang: time.Hour,
	}
	for i := range 1 + r.IntN(5) {
		w := pool.Worker{Name: fmt.Sprint(i), Type: pool.TypeID(r.IntN(4)), Concurrency: 1, State: pool.Up}
		for m := range pool.ModelID(2) {
			if i == 0 || r.IntN(4) > 0 {
				w.Serves = append(w.Serves, pool.Serve{Model: m, MaxBatch: []int{8, 64, 64, 64}[r.IntN(4)]})
			}
		}
		if i == 0 {
			for j := range w.Serves {
				w.Serves[j].MaxBatch = 64
			}
		}
		cfg.Workers = append(cfg.Workers, w)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// runRandom lets requests arrive and batches end at random, near the instants
// that were predicted. seen is given every step.
func runRandom(t testing.TB, r *rand.Rand, c *Core, steps int, priority func() int, seen func(Event, []Action)) {
	t.Helper()
	var ids IDs
	var now mono.Time
	type run struct {
		id  BatchID
		end mono.Time
	}
	var running []run
	var out []Action
	gap := 1 + r.IntN(8_000_000)
	next := mono.Time(r.IntN(gap))
	for range steps {
		soon := -1
		for i := range running {
			if soon < 0 || running[i].end < running[soon].end {
				soon = i
			}
		}
		var ev Event
		switch {
		case c.NextDeadline() <= next && (soon < 0 || c.NextDeadline() <= running[soon].end):
			now = max(now, c.NextDeadline())
			ev = Event{At: now, Kind: Tick}
		case soon >= 0 && running[soon].end <= next:
			now = max(now, running[soon].end)
			ev = Event{At: now, Kind: Finish, Batch: running[soon].id}
			running = slices.Delete(running, soon, soon+1)
		default:
			now = max(now, next)
			next = now + 1 + mono.Time(r.IntN(2*gap))
			m := pool.ModelID(r.IntN(2))
			ev = Event{
				At: now, Kind: Arrive, Request: ids.New(), Model: m, Size: 1 + r.IntN(1+r.IntN(64)),
				Deadline: now.Add(c.ModelConfig(m).QoS), Priority: priority(), MergeKey: uint64(r.IntN(3)),
			}
		}
		out = c.Step(ev, out[:0])
		c.check()
		if seen != nil {
			seen(ev, out)
		}
		for _, a := range out {
			switch a.Kind {
			case Start:
				took := float64(c.Predicted(a.Batch)) * (0.8 + 0.5*r.Float64())
				running = append(running, run{a.Batch, now.Add(time.Duration(took) + 1)})
			case Answer, Reject, GiveUp:
				ids.Free(a.Request)
			}
		}
	}
}
