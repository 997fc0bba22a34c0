package sim_test

import (
	"fmt"
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

// faulty is a fleet of workers that take 6 ms and 60 µs per item, 5 % to and fro, up to
// 64 items at once, and single items that come at a rate, as a share of what the workers
// carry at most, within 100 ms.
type faulty struct {
	policy   string
	workers  int
	load     float64
	seconds  float64
	failures dispatch.Failures
	disturb  []sim.Disturbance
	changes  []dispatch.Event
}

// faultyEnd is what a run of it comes to.
type faultyEnd struct {
	sim.Result
	good    float64 // share of what is not poisoned that is answered in time
	failed  int     // of these that are not answered
	tail    time.Duration
	why     map[string]int
	ends    []sim.Ended
	arrived []sim.Arrival
}

const faultyQoS = 100 * ms

func (f faulty) run(t *testing.T, poison int) faultyEnd {
	t.Helper()
	core := fleet(t, f.policy, f.workers)
	core.Hang = 30 * time.Second
	core.Models[0].QoS, core.Models[0].MaxBatch, core.Models[0].MaxQueue = faultyQoS, 64, 10_000
	core.Failures = f.failures
	var points []pool.Point
	for i := range core.Workers {
		core.Workers[i].Serves = []pool.Serve{{Model: 0, MaxBatch: 64}}
	}
	for n := 1; n <= 64; n *= 2 {
		points = append(points, pool.Point{Batch: n, Mean: 6*ms + time.Duration(n)*60*time.Microsecond})
	}
	p, err := pool.NewProfile(points)
	if err != nil {
		t.Fatal(err)
	}
	core.Profiles = [][]*pool.Profile{{p}}
	rng := rand.New(rand.NewPCG(5, 8))
	serve := func(e sim.Execution) sim.Outcome {
		return sim.Outcome{Took: time.Duration((6 + 0.06*float64(e.Items)) * math.Exp(0.05*rng.NormFloat64()) * float64(ms))}
	}
	setting := sim.Setting{Workers: core.Workers, Rng: rand.New(rand.NewPCG(6, 8))}
	for _, d := range f.disturb {
		if serve, err = d(serve, setting); err != nil {
			t.Fatal(err)
		}
	}
	rate := f.load * float64(f.workers) * 64 / 0.00984
	arrivals := poisson(rand.New(rand.NewPCG(7, 8)), int(rate*f.seconds), time.Duration(1e9/rate))
	for i := range arrivals {
		arrivals[i].MergeKey = 1
	}
	x := faultyEnd{why: map[string]int{}}
	x.Result, x.ends = run(t, sim.Config{Core: core, Serve: serve, Changes: f.changes}, arrivals)
	x.arrived = arrivals
	good, all := 0, 0
	var late []time.Duration
	for i, e := range x.ends {
		if poison > 0 && sim.Poisoned(i, poison) {
			continue
		}
		all++
		switch {
		case e.Kind != dispatch.Answer:
			x.failed++
			x.why[e.Kind.String()+" "+e.Reason.String()]++
			late = append(late, time.Hour)
		case e.Took <= faultyQoS:
			good++
			late = append(late, e.Took)
		default:
			late = append(late, e.Took)
		}
	}
	x.good = float64(good) / float64(all)
	slices.Sort(late)
	x.tail = late[len(late)*999/1000]
	return x
}

func (x faultyEnd) String() string {
	return fmt.Sprintf("%.4f %% in time, %d not answered %v, p99.9 %v, busy %v, %d batches", 100*x.good, x.failed, x.why, x.tail, x.Busy.Round(ms), x.Batches)
}

// TestSplitRetry compares ways to try the members of failed batches again: where every
// 2,000th request makes its batch fail, by groups of the root of their number nobody else
// fails, and by every other way some do. Where a worker fails all, that costs no more than
// the few batches until its breaker opens; where it is dead, nothing is split.
func TestSplitRetry(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes with the invariants checked at every step")
	}
	ways := []dispatch.Split{dispatch.SplitByRoot, dispatch.SplitAlone, dispatch.SplitHalves, dispatch.SplitNever}
	for _, load := range []float64{0.5, 0.7} {
		var poison, fails, dead []faultyEnd
		for _, way := range ways {
			f := faulty{policy: "priced", workers: 4, load: load, seconds: 3, failures: dispatch.Failures{Split: way}}
			f.disturb = []sim.Disturbance{sim.Poison(2000)}
			poison = append(poison, f.run(t, 2000))
			f.disturb = []sim.Disturbance{sim.Failing(1, at(1000), mono.Never, 1, dispatch.WorkerFault, 2*ms)}
			fails = append(fails, f.run(t, 0))
			f.disturb = []sim.Disturbance{sim.Failing(1, at(1000), mono.Never, 1, dispatch.Unserved, ms)}
			dead = append(dead, f.run(t, 0))
			t.Logf("load %v, way %d: poison: %v", load, way, poison[len(poison)-1])
			t.Logf("load %v, way %d: fails: %v", load, way, fails[len(fails)-1])
			t.Logf("load %v, way %d: dead: %v", load, way, dead[len(dead)-1])
		}
		for way := 1; way < len(ways); way++ {
			if poison[way].good >= poison[0].good || poison[way].failed < 50 {
				t.Errorf("load %v: way %d is no worse than that by the root: %v against %v", load, way, poison[way], poison[0])
			}
			if dead[way].good != dead[0].good || dead[way].Batches != dead[0].Batches {
				t.Errorf("load %v: a dead worker has batches split", load)
			}
		}
		for _, x := range []faultyEnd{poison[0], fails[0], dead[0]} {
			if x.failed > 0 || x.good < 0.9999 {
				t.Errorf("load %v: by the root: %v", load, x)
			}
		}
	}
}

// TestEjection has one of four workers fail every third batch, in a fifth of the time
// that it would take: without ejection it goes on and on.
func TestEjection(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes with the invariants checked at every step")
	}
	for _, policy := range []string{"priced", "least-load", "p2c"} {
		for _, load := range []float64{0.3, 0.6} {
			f := faulty{policy: policy, workers: 4, load: load, seconds: 5}
			f.disturb = []sim.Disturbance{sim.Failing(1, at(500), mono.Never, 0.33, dispatch.WorkerFault, 2*ms)}
			with := f.run(t, 0)
			f.failures.EjectRate = -1
			without := f.run(t, 0)
			t.Logf("%s at %v: with %v, %d again; without %v, %d again", policy, load, with, with.Retried, without, without.Retried)
			if with.failed > without.failed || with.Retried*4 > without.Retried {
				t.Errorf("%s at %v: with ejection %v, %d again; without %v, %d again", policy, load, with, with.Retried, without, without.Retried)
			}
		}
	}
}

// TestKilledEveryFiveSeconds kills one of four workers every 5 s, for 2 s, heard of after
// one, at 60 % load: nobody fails, the budget of retries is far from spent, and all but
// the few that are late by the failed try are in time.
func TestKilledEveryFiveSeconds(t *testing.T) {
	if testing.Short() {
		t.Skip("a minute, with the invariants and the race detector")
	}
	var list []sim.Outage
	for i := range 6 {
		list = append(list, sim.Outage{Worker: pool.WorkerID(i % 4), From: at(1000 + 5000*i), To: at(3000 + 5000*i), Notice: time.Second})
	}
	for _, policy := range []string{"priced", "least-load", "p2c", "clockwork"} {
		for _, budget := range []float64{0, 0.02} {
			f := faulty{policy: policy, workers: 4, load: 0.6, seconds: 32, failures: dispatch.Failures{RetryBudget: budget}}
			f.disturb = []sim.Disturbance{sim.Outages(list)}
			var err error
			if f.changes, err = sim.Changes(list, 4); err != nil {
				t.Fatal(err)
			}
			x := f.run(t, 0)
			t.Logf("%s, budget %v: %v, %d again of %d", policy, budget, x, x.Retried, x.Arrived)
			if x.failed > 0 || x.good < 0.999 {
				t.Errorf("%s, budget %v: %v", policy, budget, x)
			}
		}
	}
}

// TestHedgingPays has executions pause, of all workers or of one, or a worker hang: where
// the pool has room, who waits for those is answered by others. Where nothing is wrong, and
// where there is no room, it makes no difference.
func TestHedgingPays(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes with the invariants checked at every step")
	}
	for _, c := range []struct {
		name    string
		disturb []sim.Disturbance
		load    float64
		pays    bool
	}{
		{"pauses", []sim.Disturbance{sim.Straggling(-1, 0.01, 200*ms)}, 0.2, true},
		{"pauses", []sim.Disturbance{sim.Straggling(-1, 0.01, 200*ms)}, 0.5, true},
		{"pauses", []sim.Disturbance{sim.Straggling(-1, 0.01, 200*ms)}, 0.9, false},
		{"one pauses", []sim.Disturbance{sim.Straggling(1, 0.2, 200*ms)}, 0.2, true},
		{"one pauses", []sim.Disturbance{sim.Straggling(1, 0.2, 200*ms)}, 0.5, true},
		{"one hangs", []sim.Disturbance{sim.Straggling(1, 1, 20*time.Second)}, 0.5, true},
		{"nothing", nil, 0.2, false}, {"nothing", nil, 0.5, false}, {"nothing", nil, 0.9, false},
	} {
		for _, policy := range []string{"priced", "least-load"} {
			f := faulty{policy: policy, workers: 8, load: c.load, seconds: 2, disturb: c.disturb}
			off := f.run(t, 0)
			f.failures.Hedge = 1
			on := f.run(t, 0)
			t.Logf("%s, %s at %v: off %v; on %v", policy, c.name, c.load, off, on)
			switch {
			case on.good < off.good-0.0002 || float64(on.tail) > 1.05*float64(off.tail) || float64(on.Busy) > 1.05*float64(off.Busy):
				t.Errorf("%s, %s at %v: off %v; on %v", policy, c.name, c.load, off, on)
			case c.pays && 1-on.good > 0.2*(1-off.good):
				t.Errorf("%s, %s at %v: it does not pay: off %v; on %v", policy, c.name, c.load, off, on)
			}
		}
	}
}
