package dispatch

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"motley/internal/fluid"
	"motley/internal/mono"
	"motley/internal/pool"
)

// pricedPool is one model under priced on counts[i] workers of a type with
// laws[i] each, which take limits[i] items.
func pricedPool(t *testing.T, o PricedOptions, m Model, laws []law, counts, limits []int) (*Core, *priced) {
	t.Helper()
	p := NewPriced(o).(*priced)
	cfg := Config{Models: []Model{m}, Types: make([]pool.InstanceType, len(laws)), Policy: p, Profiles: profiles(t, 1, laws)}
	for i, n := range counts {
		for range n {
			cfg.Workers = append(cfg.Workers, pool.Worker{
				Type: pool.TypeID(i), Concurrency: 1, State: pool.Up, Serves: []pool.Serve{{Model: 0, MaxBatch: limits[i]}},
			})
		}
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c, p
}

// asked lets requests of the sizes arrive, 1 ms apart, so often that the core
// knows what is asked for, and returns the prices for that.
func asked(c *Core, p *priced, sizes []int) []float64 {
	var ids IDs
	for i := range 40 * len(sizes) {
		now := c.Now().Add(time.Millisecond)
		c.Step(Event{At: now, Kind: Arrive, Request: ids.New(), Size: sizes[i%len(sizes)], Deadline: now.Add(time.Microsecond)}, nil)
	}
	p.prices.next = 0
	p.prices.refresh(c, &p.o)
	return p.prices.y
}

// On pools of three types the prices are the duals of the fluid program written
// down from the laws, the dearest being 1.
func TestPricesAreTheDuals(t *testing.T) {
	model := Model{Name: "m", QoS: time.Second, MaxBatch: 64}
	priced := 0
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 41))
		var laws []law
		counts, limits := make([]int, 3), []int{64, 64, 64}
		for i := range 3 {
			laws = append(laws, law{time.Duration(1+r.IntN(20)) * time.Millisecond, time.Duration(1+r.IntN(30)) * 100 * time.Microsecond})
			counts[i] = 1 + r.IntN(4)
		}
		sizes := []int{1, 5, 60}[:1+r.IntN(3)]
		for _, merging := range []bool{false, true} {
			c, p := pricedPool(t, PricedOptions{NoMerge: !merging}, model, laws, counts, limits)
			got := asked(c, p, sizes)
			problem := fluid.Problem{}
			for i := range counts {
				problem.Capacity = append(problem.Capacity, float64(counts[i]))
			}
			for _, n := range sizes {
				problem.Share = append(problem.Share, 1)
				for _, l := range laws {
					cost := float64(l.fixed + time.Duration(n)*l.item)
					if merging { // its share of a full batch
						cost = min(cost, float64(l.fixed+64*l.item)/64*float64(n))
					}
					problem.Cost = append(problem.Cost, cost)
				}
			}
			var solver fluid.Solver
			want, err := solver.Solve(&problem)
			if err != nil {
				t.Fatal(err)
			}
			dearest := slices.Max(want.Price)
			for i := range got {
				if want.Price[i] < 1e-9*dearest {
					continue // see TestPricesOfWhatNobodyNeeds
				}
				priced++
				if math.Abs(got[i]-want.Price[i]/dearest) > 1e-6 {
					t.Fatalf("seed %d, merging %v: prices %v, want %v / %v", seed, merging, got, want.Price, dearest)
				}
			}
		}
	}
	if priced < 200 {
		t.Errorf("only %d prices were compared", priced)
	}
}

// Where nothing is known, neither of types nor of what will be asked for, all
// types are worth the same.
func TestPricesWhereNothingIsKnown(t *testing.T) {
	c, p := pricedPool(t, PricedOptions{}, Model{Name: "m"}, []law{{}, {}}, []int{1, 2}, []int{64, 64})
	p.prices.refresh(c, &p.o)
	if !slices.Equal(p.prices.y, []float64{1, 1}) {
		t.Errorf("before the first request: %v", p.prices.y)
	}
	if got := asked(c, p, []int{1, 20}); !slices.Equal(got, []float64{1, 1}) {
		t.Errorf("types of which nothing is known: %v", got)
	}
}

// The only worker of type 0 has to run all that is large, so that time of the
// many others, which are half as fast, adds nothing to what the pool carries.
// They are not for free all the same: by their speed they are worth half.
func TestPricesOfWhatNobodyNeeds(t *testing.T) {
	laws := []law{{0, time.Millisecond}, {0, 2 * time.Millisecond}}
	c, p := pricedPool(t, PricedOptions{NoMerge: true, NoSplit: true}, Model{Name: "m"}, laws, []int{1, 20}, []int{64, 4})
	got := asked(c, p, []int{2, 60})
	if want := pricesLeast / 2; got[0] != 1 || math.Abs(got[1]-want) > 1e-6 {
		t.Errorf("%v, want 1 and %v", got, want)
	}
	// Nor is a type whose workers' breakers happen to be open.
	for id := range pool.WorkerID(21) {
		for range 3 {
			c.workers[id].Breaker.Failure(c.Now())
		}
	}
	p.prices.next = 0
	p.prices.refresh(c, &p.o)
	if slices.Min(p.prices.y) == 0 {
		t.Errorf("breakers open: %v", p.prices.y)
	}
}

// Requests that no type takes whole have their prices by their parts.
func TestPricesOfParts(t *testing.T) {
	laws := []law{{0, time.Millisecond}, {0, 4 * time.Millisecond}}
	c, p := pricedPool(t, PricedOptions{}, Model{Name: "m", QoS: 10 * time.Second}, laws, []int{1, 1}, []int{64, 64})
	if got := asked(c, p, []int{1000}); got[0] != 1 || math.Abs(got[1]-0.25) > 1e-6 {
		t.Errorf("%v, want 1 and 0.25", got)
	}
}

// worthwhile is found in steps of 5 %, hence held to what it promises only:
// within its share of the target, no item costs over a tenth more than in the
// best, and one step less would.
func TestWorthwhile(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 42))
		l := law{time.Duration(r.IntN(20)) * time.Millisecond, time.Duration(1+r.IntN(50)) * 20 * time.Microsecond}
		qos := time.Duration(10+r.IntN(200)) * time.Millisecond
		c, _ := pricedPool(t, PricedOptions{}, Model{Name: "m", QoS: qos}, []law{l}, []int{1}, []int{1 + r.IntN(100)})
		m := &c.models[0]
		g := &m.groups[0]
		got := g.worthwhile(m)
		mean := func(n int) float64 { return float64(g.profile.Mean(n)) }
		most := 1
		for n := 2; n <= min(64, g.maxItems) && mean(n) <= enoughShare*float64(qos); n++ {
			most = n
		}
		best := math.Inf(1)
		for n := 1; n <= most; n++ {
			best = min(best, mean(n)/float64(n))
		}
		if got < 1 || got > most || got < most && mean(got)/float64(got) > 1.1*best*1.001 {
			t.Errorf("seed %d: %d of at most %d, an item costs %.0f there and %.0f at best", seed, got, most, mean(got)/float64(got), best)
		}
		if before := (got - 1) * 20 / 21; before > 1 && mean(before)/float64(before) < 1.1*best {
			t.Errorf("seed %d: %d, but %d is enough", seed, got, before)
		}
	}
	c, _ := pricedPool(t, PricedOptions{}, Model{Name: "m"}, []law{{}}, []int{1}, []int{64})
	if got := c.models[0].groups[0].worthwhile(&c.models[0]); got != 1 {
		t.Errorf("nothing is known: %d, want 1", got)
	}
}

// room is the largest batch that is in time, by trying each.
func TestRoom(t *testing.T) {
	c, _ := pricedPool(t, PricedOptions{}, Model{Name: "m"}, []law{{3 * time.Millisecond, 700 * time.Microsecond}, {}}, []int{1, 1}, []int{50, 50})
	m := &c.models[0]
	for start := mono.Time(0); start < mono.Time(50*time.Millisecond); start += mono.Time(1_234_567) {
		for _, most := range []int{0, 1, 7, 50, 64} {
			due := mono.Time(40 * time.Millisecond)
			want := 0
			for n := 1; n <= min(most, 50); n++ {
				if start.Add(m.groups[0].profile.Bound(n, m.Quantile)) <= due {
					want = n
				}
			}
			if got := room(m, &m.groups[0], start, due, most); got != want {
				t.Errorf("from %v to %v, at most %d: %d, want %d", start, due, most, got, want)
			}
			if got := room(m, &m.groups[0], start, mono.Never, most); got != min(most, 50) {
				t.Errorf("no deadline, at most %d: %d", most, got)
			}
			if got := room(m, &m.groups[1], start, due, most); got != min(most, 50) {
				t.Errorf("nothing is known, at most %d: %d", most, got)
			}
		}
	}
}

// A step lets at most so many make room for others. Who finds no place after that
// waits for the next step, and is not turned away for what is still in its way.
func TestEvictionsAreBounded(t *testing.T) {
	c, _ := pricedPool(t, PricedOptions{NoMerge: true, NoSplit: true}, Model{Name: "m", MaxBatch: 1},
		[]law{{0, time.Millisecond}}, []int{1}, []int{64})
	var ids IDs
	sizes := map[RequestID]int{}
	arrive := func(size int, due time.Duration) []Action {
		id := ids.New()
		sizes[id] = size
		return c.Step(Event{At: c.Now() + 1, Kind: Arrive, Request: id, Size: size, Deadline: mono.Time(due)}, nil)
	}
	busy := arrive(1, time.Second)[0].Batch
	for range 20 { // each is late without one of the small ones behind
		arrive(30, 32*time.Millisecond)
	}
	for range 10 {
		arrive(2, 30*time.Millisecond)
	}
	large, small := 0, 0
	take := func(out []Action) {
		for _, a := range out {
			switch {
			case a.Kind == Start:
				busy = a.Batch
			case a.Kind == Answer:
			case sizes[a.Request] == 30: // turned away, or given up
				large++
			default:
				small++
			}
		}
	}
	take(c.Step(Event{At: mono.Time(time.Millisecond), Kind: Finish, Batch: busy}, nil))
	if large != evictions || small != 0 {
		t.Errorf("in the first step %d large and %d small requests made room, want %d and none", large, small, evictions)
	}
	take(c.Step(Event{At: mono.Time(2 * time.Millisecond), Kind: Fail, Fault: NoFault, Batch: busy}, nil))
	if large != 20 || small != 0 || c.Model(0).Queued != 9 {
		t.Errorf("then %d of 20 large and %d small requests have, and %d wait", large, small, c.Model(0).Queued)
	}
}

// An overload of one model sheds nothing of another that shares no worker
// with it, in whatever state: it does as well as alone.
func TestModelsDoNotShedEachOther(t *testing.T) {
	rejected := func(withOther bool) (n int) {
		p := NewPriced(PricedOptions{})
		cfg := Config{
			Models: []Model{{Name: "a", QoS: 50 * time.Millisecond}, {Name: "b", QoS: 100 * time.Millisecond}}, Types: make([]pool.InstanceType, 2), Policy: p,
			Profiles: profiles(t, 2, []law{{0, time.Millisecond}, {0, 20 * time.Millisecond}}),
		}
		for i := range 2 {
			cfg.Workers = append(cfg.Workers, pool.Worker{Type: pool.TypeID(i), Concurrency: 1, State: pool.Up, Serves: []pool.Serve{{Model: pool.ModelID(i), MaxBatch: 8}}})
		}
		c, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		var ids IDs
		ends := map[BatchID]mono.Time{}
		take := func(out []Action) {
			for _, a := range out {
				if a.Kind == Start {
					ends[a.Batch] = c.Now().Add(c.Predicted(a.Batch))
				} else if a.Kind != Answer && a.Model == 1 {
					n++
				}
			}
		}
		for i := range 2000 {
			now := mono.Time(i) * mono.Time(time.Millisecond)
			for b, end := range ends {
				if end <= now {
					delete(ends, b)
					take(c.Step(Event{At: now, Kind: Finish, Batch: b}, nil))
				}
			}
			if i%24 == 0 {
				take(c.Step(Event{At: now, Kind: Arrive, Request: ids.New(), Model: 1, Size: 1, Deadline: now.Add(100 * time.Millisecond), MergeKey: 1}, nil))
			}
			if withOther {
				take(c.Step(Event{At: now, Kind: Arrive, Request: ids.New(), Model: 0, Size: 3, Deadline: now.Add(50 * time.Millisecond), MergeKey: 1}, nil))
			}
		}
		return n
	}
	if alone, beside := rejected(false), rejected(true); beside != alone {
		t.Errorf("%d requests are turned away beside an overloaded model, %d alone", beside, alone)
	}
}
