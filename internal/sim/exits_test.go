package sim_test

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"motley/internal/dispatch"
	"motley/internal/pool"
	"motley/internal/sim"
	"motley/internal/workload"
)

// leaving is a model of three stages, of which the last is half of the work.
func leaving(stop, hidden bool) *sim.Exits {
	return &sim.Exits{Share: []float64{0.25, 0.25, 0.5}, Leave: [][]float64{{0.55, 0.15, 0.3}}, Stop: stop, Hidden: hidden}
}

// exitsOn is a pool under priced that serves one model.
func exitsOn(tb testing.TB, truth []*sim.Truth, counts []int, qos time.Duration, sizes string, requests int, e *sim.Exits) sim.Experiment {
	tb.Helper()
	arrivals, err := workload.ParseArrivals("exponential", nil)
	if err != nil {
		tb.Fatal(err)
	}
	law, err := workload.ParseSizes(sizes, nil)
	if err != nil {
		tb.Fatal(err)
	}
	x := sim.Experiment{
		Models: []sim.Demand{{Model: dispatch.Model{Name: "m", QoS: qos, MaxBatch: 1000}, Sizes: law, Exits: e}},
		Counts: counts, Truth: [][]*sim.Truth{truth}, Points: make([][][]pool.Point, 1), Types: make([]pool.InstanceType, len(counts)),
		Arrivals: arrivals, Requests: requests, Warmup: requests / 10, Seeds: []uint64{1, 2},
		Policy: func(uint64) dispatch.Policy { return dispatch.NewPriced(dispatch.PricedOptions{}) },
	}
	for _, t := range truth {
		x.Points[0] = append(x.Points[0], t.Points())
	}
	return x
}

// kairosTruth is a model of KAIROS's on its GPU and a CPU.
func kairosTruth(tb testing.TB, model string) (truth []*sim.Truth) {
	cells := readData(tb, "kairos/latency_samples.jsonl")
	for _, typ := range []string{"g4dn.xlarge", "r5n.large"} {
		t, err := sim.NewTruth(cells, model, typ)
		if err != nil {
			tb.Fatal(err)
		}
		truth = append(truth, t)
	}
	return truth
}

func runner(tb testing.TB, x sim.Experiment) *sim.Runner {
	tb.Helper()
	r, err := sim.NewRunner(x)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// TestExits holds the times of executions with exits against what they are
// defined to be, on a worker that takes 2 + n ms and has hardly anything to do.
func TestExits(t *testing.T) {
	var rows []pool.Row
	for n := 1; n <= 8; n++ {
		rows = append(rows, pool.Row{Model: "m", InstanceType: "t", Point: pool.Point{Batch: n, Mean: time.Duration(2+n) * ms}})
	}
	truth, err := sim.TruthFromRows(rows, "m", "t")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		size     string
		exits    *sim.Exits
		p50, p99 float64 // ms
		busy     float64 // ms per request
	}{
		{"fixed:1", nil, 3, 3, 3},
		{"fixed:1", leaving(false, false), 0.75, 3, 3},
		{"fixed:1", leaving(true, false), 0.75, 3, 0.25*3 + 0.25*0.45*3 + 0.5*0.3*3},
		// Both rows have left after the first stage with 0.30, after the second with 0.49.
		{"fixed:2", leaving(false, false), 4, 4, 4},
		// A stage costs 4 ms with two rows, 3 with one.
		{"fixed:2", leaving(true, false), 0.25*4 + 0.25*3 + 0.5*3, 4,
			0.25*4 + 0.25*(0.2025*4+0.495*3) + 0.5*(0.09*4+0.42*3)},
	} {
		r := runner(t, exitsOn(t, []*sim.Truth{truth}, []int{1}, time.Second, tc.size, 4000, tc.exits))
		m, err := r.Measure(0.5, 1)
		if err != nil {
			t.Fatal(err)
		}
		busy := m.Result.Busy.Seconds() * 1000 / float64(m.Result.Answered)
		if m.Requests != m.Within || !near(m.P50, tc.p50) || !near(m.P99, tc.p99) || math.Abs(busy/tc.busy-1) > 0.03 {
			t.Errorf("%s, %+v: p50 %v, p99 %v, busy %.3f ms, %d of %d in time; want %v, %v, %.3f, all",
				tc.size, tc.exits, m.P50, m.P99, busy, m.Within, m.Requests, tc.p50, tc.p99, tc.busy)
		}
		if again, _ := r.Measure(0.5, 1); !reflect.DeepEqual(m, again) {
			t.Errorf("%s, %+v: two runs differ", tc.size, tc.exits)
		}
	}
}

// near allows for the few requests that meet another.
func near(got time.Duration, want float64) bool { return math.Abs(got.Seconds()*1000-want) < 0.01 }

// TestExitsRefused are laws that make no sense.
func TestExitsRefused(t *testing.T) {
	for _, tc := range []struct {
		e    sim.Exits
		want string
	}{
		{sim.Exits{Share: []float64{1}}, "0 laws"},
		{sim.Exits{Share: []float64{0.5, 0.5}, Leave: [][]float64{{1}}}, "must be as many"},
		{sim.Exits{Share: []float64{0.5, 0.6}, Leave: [][]float64{{0.5, 0.5}}}, "1 together"},
		{sim.Exits{Share: []float64{0.5, 0.5}, Leave: [][]float64{{1.5, -0.5}}}, "negative"},
		{sim.Exits{Share: []float64{1}, Leave: [][]float64{{1}, {1}}}, "positive time"},
	} {
		if _, err := sim.NewRunner(exitsOn(t, []*sim.Truth{spread(t, 1, 1)}, []int{1}, time.Second, "fixed:1", 1, &tc.e)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: %v, want %q", tc.e, err, tc.want)
		}
	}
}

// TestExitsCarry: on KAIROS's rm2 a core that knows the exit mix carries far more
// where rows stop than one without exits, no less than one that is left to learn
// from what batches take, as long as the mix stays as it is, and more than that
// one when it changes between easy inputs and ones of which every row runs to
// the end.
func TestExitsCarry(t *testing.T) {
	long(t)
	truth := kairosTruth(t, "rm2")
	allowable := func(e *sim.Exits) float64 {
		x := exitsOn(t, truth, []int{2, 4}, 350*ms, "kairos", 12_000, e)
		x.Seeds = x.Seeds[:1]
		a, err := runner(t, x).Allowable(0)
		if err != nil {
			t.Fatal(err)
		}
		return a.Rate
	}
	turns := func(hidden bool) *sim.Exits {
		e := leaving(true, hidden)
		e.Leave, e.Every = [][]float64{{0.7, 0.2, 0.1}, {0, 0, 1}}, 20*time.Second
		return e
	}
	off, known, hidden := allowable(nil), allowable(leaving(true, false)), allowable(leaving(true, true))
	knownTurns, hiddenTurns := allowable(turns(false)), allowable(turns(true))
	t.Logf("no exits %.1f requests/s; mix known %.1f, hidden %.1f; in turns with no exits: known %.1f, hidden %.1f",
		off, known, hidden, knownTurns, hiddenTurns)
	if known < 1.6*off || known < 0.98*hidden || knownTurns < 1.05*hiddenTurns {
		t.Error("want 1.6 times what no exits carry, 0.98 of what hidden ones do, and 1.05 times that in turns")
	}
}

// TestExitsLeaveEarly: where rows run on, the median falls, and the pool carries
// what it did.
func TestExitsLeaveEarly(t *testing.T) {
	long(t)
	truth := kairosTruth(t, "dien")
	at := func(e *sim.Exits, rate float64) sim.Measurement {
		r := runner(t, exitsOn(t, truth, []int{2, 4}, 35*ms, "fixed:1", 20_000, e))
		m, err := r.MeasureAll(rate)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	for _, rate := range []float64{1000, 3000} {
		off := at(nil, rate)
		on := at(leaving(false, false), rate)
		t.Logf("%v/s: median %v, with early answers %v; within QoS %.4f, %.4f; busy %.3f, %.3f; batches %d, %d", rate, off.P50, on.P50, off.Share(), on.Share(), off.Busy, on.Busy, off.Result.Batches, on.Result.Batches)
		if on.P50 > off.P50*7/10 || on.Share() < off.Share() || math.Abs(on.Busy/off.Busy-1) > 0.01 {
			t.Errorf("%v/s: want a median 30 %% lower, no fewer in time, and workers as busy", rate)
		}
	}
}
