package sim_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"motley/internal/dispatch"
	"motley/internal/mono"
	"motley/internal/pool"
	"motley/internal/sim"
)

const ms = time.Millisecond

// at is an instant in milliseconds.
func at(n int) mono.Time { return mono.Time(n) * mono.Time(ms) }

// fleet is a core with one model on so many workers of one type, all up, that
// takes one batch each.
func fleet(tb testing.TB, policy string, workers int) dispatch.Config {
	pol, err := dispatch.NewPolicy(policy, 1)
	if err != nil {
		tb.Fatal(err)
	}
	cfg := dispatch.Config{
		Models: []dispatch.Model{{Name: "m", QoS: time.Hour, MaxQueue: 1 << 30}},
		Types:  make([]pool.InstanceType, 1), Policy: pol, Hang: time.Hour,
	}
	for i := range workers {
		cfg.Workers = append(cfg.Workers, pool.Worker{
			Name: fmt.Sprint(i), Concurrency: 1, State: pool.Up, Serves: []pool.Serve{{Model: 0, MaxBatch: 32}},
		})
	}
	return cfg
}

// run returns the result and the ends by arrival.
func run(tb testing.TB, cfg sim.Config, arrivals []sim.Arrival) (sim.Result, []sim.Ended) {
	tb.Helper()
	ends := make([]sim.Ended, len(arrivals))
	told := make([]int, len(arrivals))
	cfg.Done = func(e sim.Ended) {
		ends[e.Arrival] = e
		told[e.Arrival]++
	}
	res, err := sim.Run(cfg, arrivals)
	if err != nil {
		tb.Fatal(err)
	}
	for i, n := range told {
		if n != 1 {
			tb.Fatalf("arrival %d ended %d times", i, n)
		}
	}
	return res, ends
}

// fixed is a service time that depends on the number of items alone.
func fixed(base, item time.Duration) func(sim.Execution) sim.Outcome {
	return func(e sim.Execution) sim.Outcome { return sim.Outcome{Took: base + time.Duration(e.Items)*item} }
}

// mixed is a workload on a pool where everything happens: two models, three
// types, failures, hangs, deadlines that do not hold, workers that come and go.
func mixed(tb testing.TB, policy string, seed uint64) (sim.Config, []sim.Arrival) {
	rng := rand.New(rand.NewPCG(seed, 7))
	pol, err := dispatch.NewPolicy(policy, seed)
	if err != nil {
		tb.Fatal(err)
	}
	core := dispatch.Config{
		Models: []dispatch.Model{{Name: "a", QoS: 40 * ms, MaxQueue: 20}, {Name: "b", QoS: 100 * ms, MaxBatch: 8}},
		Types:  make([]pool.InstanceType, 3), Policy: pol, Hang: 20 * ms,
	}
	for i := range 5 {
		core.Workers = append(core.Workers, pool.Worker{
			Name: fmt.Sprint(i), Type: pool.TypeID(i % 3), Concurrency: 1 + i%2, State: pool.Up,
			Serves: []pool.Serve{{Model: 0, MaxBatch: 16}, {Model: 1, MaxBatch: 16}},
		})
	}
	var arrivals []sim.Arrival
	var now mono.Time
	for range 2000 {
		now = now.Add(time.Duration(rng.ExpFloat64() * float64(ms)))
		arrivals = append(arrivals, sim.Arrival{
			At: now, Model: pool.ModelID(rng.IntN(2)), Size: 1 + rng.IntN(4), MergeKey: rng.Uint64N(3),
			Timeout: time.Duration(rng.IntN(80)) * ms, Priority: rng.IntN(3),
		})
	}
	cfg := sim.Config{Core: core, Serve: func(e sim.Execution) sim.Outcome {
		o := sim.Outcome{Took: ms + time.Duration(rng.IntN(int(3*ms)))*time.Duration(e.Items)}
		switch k := rng.IntN(50); {
		case k < 3:
			o.Fault = dispatch.WorkerFault
		case k < 5:
			o.Fault = dispatch.RequestFault
		case k < 6:
			o.Took = time.Minute
		case k < 20: // some hang, or fail, after that
			o.Early = []sim.Early{{Member: rng.IntN(len(e.Sizes)), After: time.Duration(rng.Int64N(int64(o.Took)))}}
			o.Stages = []dispatch.Stage{{Share: 0.3, Rows: e.Items}, {Share: 0.7, Rows: rng.IntN(e.Items + 1)}}
			if k == 6 {
				o.Took = time.Minute
			} else if k == 7 {
				o.Fault = dispatch.WorkerFault
			}
		}
		return o
	}}
	for range 40 {
		cfg.Changes = append(cfg.Changes, dispatch.Event{
			At: mono.Time(rng.Int64N(int64(now))), Kind: dispatch.WorkerState,
			Worker: pool.WorkerID(rng.IntN(5)), State: pool.State(1 + rng.IntN(3)),
		})
	}
	return cfg, arrivals
}

// TestSameSeedSameBytes is invariant 6.
func TestSameSeedSameBytes(t *testing.T) {
	transcript := func(policy string, seed uint64) string {
		cfg, arrivals := mixed(t, policy, seed)
		var b strings.Builder
		cfg.Trace = func(ev dispatch.Event, actions []dispatch.Action) { fmt.Fprintln(&b, ev, actions) }
		res, ends := run(t, cfg, arrivals)
		fmt.Fprintf(&b, "%+v\n%+v\n", res, ends)
		return b.String()
	}
	for _, policy := range dispatch.Policies() {
		one, again, other := transcript(policy, 1), transcript(policy, 1), transcript(policy, 2)
		if one != again {
			t.Errorf("%s: one seed, two histories", policy)
		}
		if one == other {
			t.Errorf("%s: two seeds, one history", policy)
		}
	}
}

// TestEveryRequestEnds counts, by itself, what the result says.
func TestEveryRequestEnds(t *testing.T) {
	for _, policy := range dispatch.Policies() {
		kinds := map[dispatch.ActionKind]uint64{}
		for seed := range uint64(5) {
			cfg, arrivals := mixed(t, policy, seed)
			var batches, items int
			serve := cfg.Serve
			cfg.Serve = func(e sim.Execution) sim.Outcome {
				sum := 0
				for _, n := range e.Sizes {
					sum += n
				}
				if sum != e.Items || len(e.Sizes) == 0 {
					t.Errorf("%s: an execution of %d items in members of %v", policy, e.Items, e.Sizes)
				}
				batches++
				items += e.Items
				return serve(e)
			}
			res, ends := run(t, cfg, arrivals)
			mine := map[dispatch.ActionKind]uint64{}
			var last mono.Time
			for i, e := range ends {
				mine[e.Kind]++
				kinds[e.Kind]++
				last = max(last, e.At)
				if e.Took != e.At.Sub(arrivals[i].At) || e.Took < 0 || (e.Kind == dispatch.Answer) != (e.Reason == 0) {
					t.Errorf("%s: arrival %d at %v ended as %+v", policy, i, arrivals[i].At, e)
				}
			}
			if res.Arrived != uint64(len(arrivals)) || res.Answered != mine[dispatch.Answer] ||
				res.Rejected != mine[dispatch.Reject] || res.Failed != mine[dispatch.GiveUp] || res.Ended != last {
				t.Errorf("%s: result %+v, counted %v and the last at %v", policy, res, mine, last)
			}
			if res.Batches != batches || res.Items != items {
				t.Errorf("%s: %d batches of %d items, counted %d of %d", policy, res.Batches, res.Items, batches, items)
			}
		}
		for _, k := range []dispatch.ActionKind{dispatch.Answer, dispatch.Reject, dispatch.GiveUp} {
			if kinds[k] < 50 {
				t.Errorf("%s: %d ends by %v: the workload is too tame", policy, kinds[k], k)
			}
		}
	}
}

// TestSimultaneous steps what frees capacity before what asks for it, and the
// changes of workers between the two.
func TestSimultaneous(t *testing.T) {
	var got []string
	cfg := sim.Config{
		Core: fleet(t, "fcfs", 2), Serve: fixed(10*ms, 0),
		Changes: []dispatch.Event{
			{At: at(10), Kind: dispatch.WorkerLimit, Worker: 1, Size: 7},
			{At: at(10), Kind: dispatch.WorkerState, Worker: 1, State: pool.Draining},
		},
		Trace: func(ev dispatch.Event, _ []dispatch.Action) {
			if ev.At == at(10) {
				got = append(got, ev.Kind.String())
			}
		},
	}
	res, ends := run(t, cfg, []sim.Arrival{{At: 0, Size: 1}, {At: at(10), Size: 1}})
	if want := []string{"finish", "worker-state", "worker-limit", "arrive"}; !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}
	if ends[1].Took != 10*ms || res.Busy != 20*ms || res.Ended != at(20) {
		t.Errorf("the second waited: took %v; %+v", ends[1].Took, res)
	}
}

// TestChanges plays a worker's life: it drains, is gone, comes back, takes
// less, and drops what it runs.
func TestChanges(t *testing.T) {
	change := func(n int, w pool.WorkerID, s pool.State) dispatch.Event {
		return dispatch.Event{At: at(n), Kind: dispatch.WorkerState, Worker: w, State: s}
	}
	type start struct {
		at     mono.Time
		worker pool.WorkerID
		items  int
	}
	var starts []start
	cfg := sim.Config{
		Core: fleet(t, "least-load", 2),
		Serve: func(e sim.Execution) sim.Outcome {
			starts = append(starts, start{e.At, e.Worker, e.Items})
			return sim.Outcome{Took: 10 * ms}
		},
		Changes: []dispatch.Event{
			change(30, 0, pool.Down), // given out of order: Run sorts
			change(0, 1, pool.Draining),
			change(5, 0, pool.Draining),  // ends what it runs
			change(12, 0, pool.Starting), // comes back
			change(20, 0, pool.Up),
			change(32, 1, pool.Up), // takes over
			{At: at(50), Kind: dispatch.WorkerLimit, Worker: 1, Size: 2},
			change(1000, 0, pool.Up), // after the end
		},
	}
	res, ends := run(t, cfg, []sim.Arrival{
		{At: at(1), Size: 1, MergeKey: 1},  // on 0 until 11
		{At: at(6), Size: 1, MergeKey: 1},  // nobody is there, nor coming
		{At: at(13), Size: 2, MergeKey: 1}, // waits for 0 until 20, ends at 30
		{At: at(25), Size: 1, MergeKey: 1, Timeout: 4 * ms},
		{At: at(26), Size: 1, MergeKey: 1}, // on 0 at 30, where both are the same instant; moves
		{At: at(60), Size: 1, MergeKey: 1}, {At: at(61), Size: 1, MergeKey: 1},
		{At: at(62), Size: 1, MergeKey: 1}, {At: at(63), Size: 1, MergeKey: 1}, // two by two
		{At: at(64), Size: 3}, // too large by now
	})
	want := []start{
		{at(1), 0, 1}, {at(20), 0, 2}, {at(30), 0, 1}, {at(32), 1, 1},
		{at(60), 1, 1}, {at(70), 1, 2}, {at(80), 1, 1},
	}
	if !reflect.DeepEqual(starts, want) {
		t.Errorf("starts %v, want %v", starts, want)
	}
	for i, want := range []sim.Ended{
		{Kind: dispatch.Answer, At: at(11), Items: 1}, {Kind: dispatch.Reject, Reason: dispatch.NoWorker, At: at(6)},
		{Kind: dispatch.Answer, At: at(30), Items: 2},
		{Kind: dispatch.Reject, Reason: dispatch.Deadline, At: at(29) + 1}, {Kind: dispatch.Answer, At: at(42), Items: 1},
		{Kind: dispatch.Answer, At: at(70), Items: 1}, {Kind: dispatch.Answer, At: at(80), Items: 2},
		{Kind: dispatch.Answer, At: at(80), Items: 2}, {Kind: dispatch.Answer, At: at(90), Items: 1},
		{Kind: dispatch.Reject, Reason: dispatch.TooLarge, At: at(64)},
	} {
		if got := ends[i]; got.Kind != want.Kind || got.Reason != want.Reason || got.At != want.At || got.Items != want.Items {
			t.Errorf("arrival %d ended as %+v, want %+v", i, got, want)
		}
	}
	if res.Busy != 60*ms || res.Retried != 1 { // six whole executions and one that was stopped at once
		t.Errorf("busy %v with %d retries, want 60ms and 1", res.Busy, res.Retried)
	}
}

// TestFaults retries by what a fault says.
func TestFaults(t *testing.T) {
	for _, tc := range []struct {
		fault   dispatch.Fault
		kind    dispatch.ActionKind
		reason  dispatch.Reason
		workers []pool.WorkerID
	}{
		{dispatch.WorkerFault, dispatch.GiveUp, dispatch.Exhausted, []pool.WorkerID{0, 1, 0}},
		{dispatch.RequestFault, dispatch.GiveUp, dispatch.Refused, []pool.WorkerID{0}},
	} {
		var tried []pool.WorkerID
		_, ends := run(t, sim.Config{Core: fleet(t, "fcfs", 3), Serve: func(e sim.Execution) sim.Outcome {
			tried = append(tried, e.Worker)
			return sim.Outcome{Took: ms, Fault: tc.fault}
		}}, []sim.Arrival{{At: 0, Size: 1}})
		if e := ends[0]; e.Kind != tc.kind || e.Reason != tc.reason || !slices.Equal(tried, tc.workers) {
			t.Errorf("%v fault: %+v on workers %v, want %v %v on %v", tc.fault, e, tried, tc.kind, tc.reason, tc.workers)
		}
	}
}

// TestHung gives up an execution that takes an hour, and has its worker free at
// that very instant.
func TestHung(t *testing.T) {
	cfg := sim.Config{Core: fleet(t, "fcfs", 1)}
	cfg.Core.Hang = 20 * ms
	cfg.Serve = func(e sim.Execution) sim.Outcome {
		if e.At == 0 {
			return sim.Outcome{Took: time.Hour}
		}
		return sim.Outcome{Took: 10 * ms}
	}
	res, ends := run(t, cfg, []sim.Arrival{{At: 0, Size: 1}})
	if e := ends[0]; e.Kind != dispatch.Answer || e.At != at(30) || res.Busy != 30*ms || res.Batches != 2 || res.Retried != 1 {
		t.Errorf("%+v, %+v; want an answer after 30ms, all of them busy, in the second of two batches", e, res)
	}
}

// TestBadConfig is told of at once.
func TestBadConfig(t *testing.T) {
	cfg := fleet(t, "fcfs", 1)
	cfg.Policy = nil
	if _, err := sim.Run(sim.Config{Core: cfg}, nil); err == nil || !strings.Contains(err.Error(), "no policy") {
		t.Errorf("got %v, want an error that names the policy", err)
	}
	if res, err := sim.Run(sim.Config{Core: fleet(t, "fcfs", 1)}, nil); err != nil || res != (sim.Result{}) {
		t.Errorf("an empty experiment came to %+v, %v", res, err)
	}
}
