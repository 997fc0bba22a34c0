package sim_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"motley/internal/dispatch"
	"motley/internal/mono"
	"motley/internal/pool"
	"motley/internal/sim"
)

// pausing has so many workers that take 6 ms and 60 µs per item, and now and then, a
// share of their executions, 300 ms, up to the instant until; 64 items at most, within
// 250 ms. Single items arrive at the rate, per second.
func pausing(t *testing.T, policy string, workers int, share, rate float64, until mono.Time, requests int) (sim.Config, []sim.Arrival) {
	cfg := fleet(t, policy, workers)
	cfg.Models[0].QoS, cfg.Models[0].MaxBatch, cfg.Models[0].MaxQueue = 250*ms, 64, 10_000
	for i := range cfg.Workers {
		cfg.Workers[i].Serves = []pool.Serve{{Model: 0, MaxBatch: 64}}
	}
	var points []pool.Point
	for n := 1; n <= 64; n *= 2 {
		points = append(points, pool.Point{Batch: n, Mean: 6*ms + time.Duration(n)*60*time.Microsecond})
	}
	p, err := pool.NewProfile(points)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Profiles = [][]*pool.Profile{{p}}
	rng := rand.New(rand.NewPCG(3, 8))
	serve := func(e sim.Execution) sim.Outcome {
		took := (6 + 0.06*float64(e.Items)) * math.Exp(0.05*rng.NormFloat64())
		if rng.Float64() < share && e.At < until {
			took = 300 * (0.9 + 0.2*rng.Float64())
		}
		return sim.Outcome{Took: time.Duration(took * float64(ms))}
	}
	arrivals := poisson(rng, requests, time.Duration(1e9/rate))
	for i := range arrivals {
		arrivals[i].MergeKey = 1
	}
	return sim.Config{Core: cfg, Serve: serve}, arrivals
}

// within is the share of the arrivals from the instant on that are answered in the time.
func within(ends []sim.Ended, arrivals []sim.Arrival, from mono.Time, qos time.Duration) float64 {
	good, all := 0, 0
	for i, e := range ends {
		if arrivals[i].At < from {
			continue
		}
		all++
		if e.Kind == dispatch.Answer && e.Took <= qos {
			good++
		}
	}
	return float64(good) / float64(all)
}

// TestPauses has more executions pause for longer than the target than its
// percentile allows, so that nothing is safe. At about half of what the pool carries
// by the mean (64 items in 15.6 ms at 2 % pauses) only what is in such an execution need
// be late, on a single worker also what comes in the pause, and is early enough for that;
// once they have stopped, nothing is.
func TestPauses(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes, with the invariants and the race detector")
	}
	for _, c := range []struct {
		policy      string
		workers     int
		share, want float64
	}{
		{"priced", 8, 0.012, 0.98}, {"priced", 8, 0.02, 0.97}, {"priced", 8, 0.05, 0.94}, {"priced", 1, 0.02, 0.8},
		{"least-load", 8, 0.012, 0.97}, {"least-load", 8, 0.02, 0.96}, {"p2c", 8, 0.02, 0.96}, {"clockwork", 8, 0.02, 0.9},
	} {
		until := at(4000)
		cfg, arrivals := pausing(t, c.policy, c.workers, c.share, 2000*float64(c.workers), until, 12_000*c.workers)
		_, ends := run(t, cfg, arrivals)
		last := 0
		for last < len(arrivals) && arrivals[last].At < until {
			last++
		}
		during := within(ends[:last], arrivals, 0, 250*ms)
		after := within(ends, arrivals, until.Add(time.Second), 250*ms)
		if during < c.want || after < 0.999 {
			t.Errorf("%s on %d, %.1f %% pause: %.2f %% within the target, want %.0f %%; %.2f %% after the pauses", c.policy, c.workers, 100*c.share, 100*during, 100*c.want, 100*after)
		}
	}
}

// TestSlowStart has a large pool take far longer than the target for a second: what
// is believed of it then, by the mean too, must not outlast that.
func TestSlowStart(t *testing.T) {
	for _, policy := range []string{"priced", "least-load"} {
		for _, known := range []bool{true, false} {
			cfg, arrivals := pausing(t, policy, 500, 0, 10_000, 0, 20_000)
			cfg.Core.Models[0].QoS = 25 * ms
			if !known {
				cfg.Core.Profiles = nil
			}
			rng := rand.New(rand.NewPCG(1, 1))
			usual := cfg.Serve
			cfg.Serve = func(e sim.Execution) sim.Outcome {
				o := usual(e)
				if e.At < at(1000) {
					o.Took = 30*ms + time.Duration(rng.Int64N(int64(90*ms)))
				}
				return o
			}
			_, ends := run(t, cfg, arrivals)
			if share := within(ends, arrivals, at(1200), 25*ms); share < 0.99 {
				t.Errorf("%s, profiles known: %v: %.1f %% within the target 0.2 s later", policy, known, 100*share)
			}
		}
	}
}

// TestOverload asks for more than the pool can do: what it does must not shrink with
// that. A worker does 64 items in 9.84 ms.
func TestOverload(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes, with the invariants and the race detector")
	}
	for _, workers := range []int{1, 8} {
		full := float64(workers) * 64 / 0.00984
		for _, over := range []float64{1.2, 2, 3} {
			cfg, arrivals := pausing(t, "priced", workers, 0, over*full, 0, int(4*over*full)) // 4 s
			_, ends := run(t, cfg, arrivals)
			if did := over * within(ends, arrivals, at(1000), 250*ms); did < 0.85 {
				t.Errorf("%d workers, asked for %.1f of what they can do: %.2f of it is done", workers, over, did)
			}
		}
	}
}
