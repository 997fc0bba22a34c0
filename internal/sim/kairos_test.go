package sim_test

import (
	"math"
	"testing"
	"time"

	"motley/internal/dispatch"
	"motley/internal/pool"
	"motley/internal/sim"
	"motley/internal/workload"
)

// TestKairosFCFS finds the allowable throughput of first come, first served on
// KAIROS's samples, at 20,000 requests and three seeds, and compares it with
// what an independent simulator of the same set-up found. The share of misses is
// flat there (the GPU is busy half of the time at any such rate), so that the
// chance in 600 misses alone moves the rate by a tenth.
func TestKairosFCFS(t *testing.T) {
	long(t)
	cells := readData(t, "kairos/latency_samples.jsonl")
	arrivals, err := workload.ParseArrivals("exponential", nil)
	if err != nil {
		t.Fatal(err)
	}
	sizes, err := workload.ParseSizes("kairos", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		model  string
		qos    time.Duration
		counts []int // g4dn.xlarge, r5n.large
		want   float64
	}{
		{"rm2", 350 * ms, []int{1, 13}, 19.4}, {"rm2", 350 * ms, []int{2, 9}, 51.8},
		{"wnd", 25 * ms, []int{4, 2}, 923}, {"dien", 35 * ms, []int{4, 2}, 195},
	} {
		x := sim.Experiment{
			Models: []sim.Demand{{Model: dispatch.Model{Name: tc.model, QoS: tc.qos, MaxQueue: 1 << 30}, Sizes: sizes, Alone: true}},
			Types:  []pool.InstanceType{{Name: "g4dn.xlarge", USDPerHour: 0.526}, {Name: "r5n.large", USDPerHour: 0.149}},
			Counts: tc.counts, Truth: make([][]*sim.Truth, 1), Arrivals: arrivals, Requests: 20_000, Seeds: []uint64{1, 2, 3},
			Hang: time.Hour,
			Policy: func(seed uint64) dispatch.Policy {
				p, err := dispatch.NewPolicy("fcfs", seed)
				if err != nil {
					t.Fatal(err)
				}
				return late{p}
			},
		}
		for _, typ := range x.Types {
			truth, err := sim.NewTruth(cells, tc.model, typ.Name)
			if err != nil {
				t.Fatal(err)
			}
			x.Truth[0] = append(x.Truth[0], truth)
		}
		r, err := sim.NewRunner(x)
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.Allowable(0)
		if err != nil {
			t.Fatal(err)
		}
		if off := got.Rate/tc.want - 1; math.Abs(off) > 0.12 {
			t.Errorf("%s %v: %.1f requests/s, want %v within 12 %%", tc.model, tc.counts, got.Rate, tc.want)
		}
		t.Logf("%s %v: %.1f requests/s in %d runs, want %v", tc.model, tc.counts, got.Rate, got.Runs, tc.want)
	}
}
