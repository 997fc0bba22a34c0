package sim_test

import (
	"testing"
	"time"

	"motley/internal/dispatch"
	"motley/internal/pool"
	"motley/internal/sim"
	"motley/internal/workload"
)

// spread is a log-normal truth: an affine mean, and a 99th percentile 1.3
// times that.
func spread(tb testing.TB, fixed, item float64) *sim.Truth {
	tb.Helper()
	var rows []pool.Row
	for n := 10; n <= 1000; n += 10 {
		mean := (fixed + item*float64(n)) * float64(ms)
		rows = append(rows, pool.Row{Model: "m", InstanceType: "t", Point: pool.Point{
			Batch: n, Mean: toDuration(mean), P99: toDuration(1.3 * mean),
		}})
	}
	t, err := sim.TruthFromRows(rows, "m", "t")
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

// fifteen is a pool of 15 workers of two types under KAIROS's sizes.
func fifteen(tb testing.TB, policy string, requests int) sim.Experiment {
	tb.Helper()
	arrivals, err := workload.ParseArrivals("exponential", nil)
	if err != nil {
		tb.Fatal(err)
	}
	sizes, err := workload.ParseSizes("kairos", nil)
	if err != nil {
		tb.Fatal(err)
	}
	truth := []*sim.Truth{spread(tb, 4, 0.02), spread(tb, 1, 0.1)}
	return sim.Experiment{
		Models: []sim.Demand{{Model: dispatch.Model{Name: "m", QoS: 120 * ms, MaxBatch: 1000}, Sizes: sizes}},
		Types:  []pool.InstanceType{{Name: "gpu", USDPerHour: 0.526}, {Name: "cpu", USDPerHour: 0.149}},
		Counts: []int{3, 12}, Truth: [][]*sim.Truth{truth},
		Points: [][][]pool.Point{{truth[0].Points(), truth[1].Points()}},
		Policy: func(seed uint64) dispatch.Policy {
			p, err := dispatch.NewPolicy(policy, seed)
			if err != nil {
				tb.Fatal(err)
			}
			return p
		},
		Arrivals: arrivals, Requests: requests, Seeds: []uint64{1, 2, 3},
	}
}

// BenchmarkRequests simulates a pool of 15 workers at a high but possible
// load.
func BenchmarkRequests(b *testing.B) {
	for _, policy := range []string{"fcfs", "least-load", "priced"} {
		b.Run(policy, func(b *testing.B) {
			const requests = 20_000
			r, err := sim.NewRunner(fifteen(b, policy, requests))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				if _, err := r.Measure(500, 1); err != nil {
					b.Fatal(err)
				}
				n += requests
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "requests/s")
		})
	}
}

// TestAllocations holds that a run costs allocations for its set-up only.
func TestAllocations(t *testing.T) {
	long(t)
	for _, policy := range []string{"least-load", "priced"} {
		count := func(requests int) float64 {
			r, err := sim.NewRunner(fifteen(t, policy, requests))
			if err != nil {
				t.Fatal(err)
			}
			return testing.AllocsPerRun(2, func() {
				if _, err := r.Measure(500, 1); err != nil {
					t.Fatal(err)
				}
			})
		}
		short, long := count(1000), count(21_000)
		if per := (long - short) / 20_000; per > 0.005 {
			t.Errorf("%s: %v allocations for 1,000 requests, %v for 21,000: %.4f for each", policy, short, long, per)
		}
		t.Logf("%s: %v allocations for 1,000 requests, %v for 21,000", policy, short, long)
	}
}

func toDuration(ns float64) time.Duration { return time.Duration(ns) }
