package sim_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"motley/internal/dispatch"
	"motley/internal/mono"
	"motley/internal/pool"
	"motley/internal/sim"
)

// poisson draws n arrivals of one item each at a mean distance.
func poisson(rng *rand.Rand, n int, gap time.Duration) []sim.Arrival {
	arrivals := make([]sim.Arrival, n)
	var now float64
	for i := range arrivals {
		now += rng.ExpFloat64() * float64(gap)
		arrivals[i] = sim.Arrival{At: mono.Time(now), Size: 1}
	}
	return arrivals
}

// TestPollaczekKhinchine compares the mean wait of first come, first served on
// one worker with what queueing theory says of Poisson arrivals:
//
//	E[wait] = λ·E[S²] / (2·(1−ρ)),
//
// that is ρ·D / (2·(1−ρ)) for a constant service time D and ρ·S / (1−ρ) for an
// exponential one of mean S. A share 1−ρ of the requests does not wait at all.
// λ, S and ρ are those of the sample, which takes most of the chance out.
func TestPollaczekKhinchine(t *testing.T) {
	long(t)
	const n, service = 60_000, 10 * ms
	for seed, tc := range []struct {
		name string
		load float64
		draw func(*rand.Rand) time.Duration
	}{
		{"constant", 0.3, func(*rand.Rand) time.Duration { return service }},
		{"constant", 0.6, func(*rand.Rand) time.Duration { return service }},
		{"constant", 0.8, func(*rand.Rand) time.Duration { return service }},
		{"exponential", 0.5, func(r *rand.Rand) time.Duration { return time.Duration(r.ExpFloat64() * float64(service)) }},
	} {
		rng := rand.New(rand.NewPCG(uint64(seed), 2))
		arrivals := poisson(rng, n, time.Duration(float64(service)/tc.load))
		var served, squares float64
		starts := make([]mono.Time, 0, n) // in order of arrival, for nothing overtakes
		res, ends := run(t, sim.Config{Core: fleet(t, "fcfs", 1), Serve: func(e sim.Execution) sim.Outcome {
			starts = append(starts, e.At)
			took := tc.draw(rng)
			served += float64(took)
			squares += float64(took) * float64(took)
			return sim.Outcome{Took: took}
		}}, arrivals)
		if res.Answered != n {
			t.Fatalf("%s at %v: %+v, want all answered", tc.name, tc.load, res.Counts)
		}
		var wait float64
		none := 0
		for i := range ends {
			w := starts[i].Sub(arrivals[i].At)
			wait += float64(w) / n
			if w == 0 {
				none++
			}
		}
		rate := n / float64(arrivals[n-1].At)
		load := rate * served / n
		want := rate * squares / n / (2 * (1 - load))
		if off := wait/want - 1; math.Abs(off) > 0.03 {
			t.Errorf("%s at load %v: mean wait %v, theory says %v (%+.1f %%)",
				tc.name, tc.load, time.Duration(wait), time.Duration(want), 100*off)
		}
		t.Logf("%s at load %v: mean wait %v, theory says %v", tc.name, tc.load, time.Duration(wait), time.Duration(want))
		if got := float64(none) / n; math.Abs(got-(1-load)) > 0.01 {
			t.Errorf("%s at load %v: %.3f do not wait, theory says %.3f", tc.name, tc.load, got, 1-load)
		}
		if math.Abs(float64(res.Busy)-served) > 1 {
			t.Errorf("%s: busy %v, served %v", tc.name, res.Busy, time.Duration(served))
		}
	}
}

// TestKieferWolfowitz holds every instant of first come, first served on
// several equal workers against the textbook's recursion: a request starts
// when it has come and the first of the workers is free.
func TestKieferWolfowitz(t *testing.T) {
	long(t)
	for _, workers := range []int{1, 2, 5} {
		rng := rand.New(rand.NewPCG(3, uint64(workers)))
		arrivals := poisson(rng, 5000, 9*ms/time.Duration(workers))
		for i := range arrivals {
			arrivals[i].Size = 1 + rng.IntN(9)
			arrivals[i].MergeKey = 1 // which this policy ignores
		}
		serve := fixed(3*ms, ms)
		_, ends := run(t, sim.Config{Core: fleet(t, "fcfs", workers), Serve: serve}, arrivals)
		free := make([]mono.Time, workers)
		for i, a := range arrivals {
			slices.Sort(free)
			free[0] = max(a.At, free[0]).Add(serve(sim.Execution{Items: a.Size}).Took)
			if ends[i].At != free[0] || ends[i].Items != a.Size {
				t.Fatalf("%d workers: request %d ended at %v in a batch of %d, want %v and %d",
					workers, i, ends[i].At, ends[i].Items, free[0], a.Size)
			}
		}
	}
}

// TestWorkConservation follows every policy from outside: with deadlines far
// away, no worker stands idle while a request waits.
func TestWorkConservation(t *testing.T) {
	long(t)
	for _, policy := range dispatch.Policies() {
		if p, err := dispatch.NewPolicy(policy, 1); err != nil {
			t.Fatal(err)
		} else if p.Traits().Waits {
			continue
		}
		const workers = 4
		arrivals := poisson(rand.New(rand.NewPCG(4, 4)), 5000, 2*ms)
		for i := range arrivals {
			arrivals[i].MergeKey = uint64(i % 3)
		}
		waiting, busy, waited, idled := 0, 0, 0, 0
		running := map[dispatch.BatchID]bool{}
		perWorker := make([]int, workers)
		trace := func(ev dispatch.Event, actions []dispatch.Action) {
			switch ev.Kind {
			case dispatch.Arrive:
				waiting++
			case dispatch.Finish:
				delete(running, ev.Batch)
			}
			for _, a := range actions {
				if a.Kind == dispatch.Start {
					waiting -= len(a.Requests)
					running[a.Batch] = true
					perWorker[a.Worker]++
				}
			}
			busy = len(running)
			if waiting > 0 {
				waited++
			}
			if busy < workers {
				idled++
			}
			if waiting > 0 && busy < workers {
				t.Fatalf("%s: after %v %d requests wait and %d workers of %d are busy", policy, ev, waiting, busy, workers)
			}
		}
		res, _ := run(t, sim.Config{Core: fleet(t, policy, workers), Serve: fixed(6*ms, ms/2), Trace: trace}, arrivals)
		if waited < 100 || idled < 100 || res.Answered != 5000 {
			t.Errorf("%s: requests waited after %d steps and workers idled after %d: nothing was shown", policy, waited, idled)
		}
		for w, n := range perWorker {
			if n == 0 {
				t.Errorf("%s: worker %d was never used (%v)", policy, pool.WorkerID(w), perWorker)
			}
		}
	}
}

// long is for tests of many simulated requests, which take minutes where every
// invariant is checked at every step.
func long(t *testing.T) {
	if testing.Short() {
		t.Skip("simulates many requests")
	}
}
