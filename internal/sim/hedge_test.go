package sim_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"motley/internal/pool"
	"motley/internal/sim"
)

// punctual is the share of requests of 8 items in the mean that are answered within 100 ms
// by two workers of 5 ms + 50 µs per item and four of 2 ms + 500 µs, 10 % to and fro; load
// is of what they carry in full batches, or alone.
func punctual(t *testing.T, policy string, load float64, alone bool, disturb sim.Disturbance, hedge float64) float64 {
	core := fleet(t, policy, 6)
	core.Types = []pool.InstanceType{{Name: "fast"}, {Name: "slow"}}
	core.Hang = 30 * time.Second
	core.Models[0].QoS, core.Models[0].MaxBatch, core.Models[0].MaxQueue = faultyQoS, 64, 10_000
	core.Failures.Hedge = hedge
	law := func(typ pool.TypeID, n int) time.Duration {
		if typ == 0 {
			return 5*ms + time.Duration(n)*50*time.Microsecond
		}
		return 2*ms + time.Duration(n)*500*time.Microsecond
	}
	for i := range core.Workers {
		core.Workers[i].Serves = []pool.Serve{{Model: 0, MaxBatch: 64}}
		core.Workers[i].Type = pool.TypeID(min(1, i/2))
	}
	row := make([]*pool.Profile, 2)
	for typ := range row {
		var points []pool.Point
		for n := 1; n <= 64; n *= 2 {
			points = append(points, pool.Point{Batch: n, Mean: law(pool.TypeID(typ), n)})
		}
		var err error
		if row[typ], err = pool.NewProfile(points); err != nil {
			t.Fatal(err)
		}
	}
	core.Profiles = [][]*pool.Profile{row}
	rng := rand.New(rand.NewPCG(5, 8))
	serve := func(e sim.Execution) sim.Outcome {
		return sim.Outcome{Took: time.Duration(float64(law(core.Workers[e.Worker].Type, e.Items)) * math.Exp(0.1*rng.NormFloat64()))}
	}
	if disturb != nil {
		var err error
		if serve, err = disturb(serve, sim.Setting{Workers: core.Workers, Types: core.Types, Rng: rand.New(rand.NewPCG(6, 8))}); err != nil {
			t.Fatal(err)
		}
	}
	rate := load * (2*64/law(0, 64).Seconds() + 4*64/law(1, 64).Seconds()) / 8
	if alone {
		rate = load * (2/law(0, 8).Seconds() + 4/law(1, 8).Seconds())
	}
	arrivals := poisson(rand.New(rand.NewPCG(7, 8)), int(rate*4), time.Duration(1e9/rate))
	for i := range arrivals {
		arrivals[i].Size = 1 + rng.IntN(15)
		if !alone {
			arrivals[i].MergeKey = 1
		}
	}
	_, ends := run(t, sim.Config{Core: core, Serve: serve}, arrivals)
	return within(ends, arrivals, 0, faultyQoS)
}

// TestHedgingAtLarge compares with and without over many pools and loads: where it is worse
// at all, up to two thirds of the load, that is a small part of what it is better elsewhere.
func TestHedgingAtLarge(t *testing.T) {
	if testing.Short() {
		t.Skip("a minute, with the invariants and the race detector")
	}
	for _, policy := range []string{"priced", "least-load"} {
		for _, high := range []bool{false, true} {
			better, worse, cases := 0, 0, 0
			gain, loss, worst, where := 0.0, 0.0, 0.0, ""
			for name, disturb := range map[string]sim.Disturbance{
				"nothing": nil, "noise": sim.LognormalNoise(0.3), "heavy noise": sim.LognormalNoise(1),
				"1 % pause": sim.Straggling(-1, 0.01, 200*ms), "3 % pause": sim.Straggling(-1, 0.03, 60*ms),
				"one is slow": sim.Straggling(1, 1, 10*ms), "one hangs": sim.Straggling(1, 1, 20*time.Second),
			} {
				loads := []float64{0.2, 0.3, 0.4, 0.5, 0.6}
				if high {
					loads = []float64{0.7, 0.8, 0.9}
				}
				for _, load := range loads {
					for _, alone := range []bool{false, true} {
						cases++
						d := punctual(t, policy, load, alone, disturb, 1) - punctual(t, policy, load, alone, disturb, 0)
						switch {
						case d > 0.0003:
							better++
							gain += d
						case d < -0.0003:
							worse++
							loss -= d
						}
						if d < worst {
							worst, where = d, fmt.Sprintf("%s at %v, alone: %v", name, load, alone)
						}
					}
				}
			}
			t.Logf("%s, high load: %v: of %d cases %d better by %.4f in all, %d worse by %.4f, most by %.4f (%s)", policy, high, cases, better, gain, worse, loss, -worst, where)
			if !high && (loss > 0.2*gain || worse > better/2) {
				t.Errorf("%s: it does not pay", policy)
			}
		}
	}
}
