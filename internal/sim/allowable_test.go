package sim_test

import (
	"fmt"
	"math"
	"reflect"
	"testing"
	"time"

	"motley/internal/dispatch"
	"motley/internal/mono"
	"motley/internal/pool"
	"motley/internal/sim"
	"motley/internal/workload"
)

// single is one worker that takes 10 ms for anything, first come, first
// served, with equal gaps between requests.
func single(tb testing.TB, arrivals string) sim.Experiment {
	tb.Helper()
	x := fifteen(tb, "fcfs", 5000)
	a, err := workload.ParseArrivals(arrivals, nil)
	if err != nil {
		tb.Fatal(err)
	}
	truth, err := sim.TruthFromRows([]pool.Row{{Model: "m", InstanceType: "t", Point: pool.Point{Batch: 1000, Mean: 10 * ms}}}, "m", "t")
	if err != nil {
		tb.Fatal(err)
	}
	x.Types, x.Counts, x.Truth, x.Points = x.Types[:1], []int{1}, [][]*sim.Truth{{truth}}, nil
	x.Arrivals = a
	return x
}

// TestAllowableKnown finds rates that are known beforehand.
func TestAllowableKnown(t *testing.T) {
	long(t)
	x := single(t, "constant")
	for _, workers := range []int{1, 4} {
		x.Counts = []int{workers}
		r, err := sim.NewRunner(x)
		if err != nil {
			t.Fatal(err)
		}
		want := 100 * float64(workers) // and a trifle more, that the last ones' QoS takes
		for _, start := range []float64{0, 1, 5000} {
			got, err := r.Allowable(start)
			if err != nil || got.Rate < want*0.995 || got.Rate > want*1.03 {
				t.Errorf("%d workers, from %v: %.2f, %v; want about %v", workers, start, got.Rate, err, want)
			}
			if got.At.Rate != got.Rate || got.At.Share() < 0.99 || got.At.Requests != 15_000 || got.Runs < 3 {
				t.Errorf("%d workers, from %v: measured %+v there", workers, start, got.At)
			}
		}
	}
	for rate, want := range map[float64]bool{395: true, 420: false} { // of the four workers
		r, err := sim.NewRunner(x)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := r.Holds(rate); err != nil || got != want {
			t.Errorf("%v requests/s on four workers that do 400: holds %v, %v", rate, got, err)
		}
	}
	x.Models = []sim.Demand{x.Models[0]}
	x.Models[0].Model.QoS = 9 * ms // nothing can be done
	r, err := sim.NewRunner(x)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := r.Allowable(10); err != nil || got.Rate != 0 {
		t.Errorf("an impossible QoS: %v, %v", got.Rate, err)
	}
}

// TestAllowableIsAllowed holds the answer against runs without early ends: the
// rate holds, 2 % above does not, and the same question gets the same answer.
func TestAllowableIsAllowed(t *testing.T) {
	long(t)
	for _, policy := range []string{"fcfs", "least-load"} {
		r, err := sim.NewRunner(fifteen(t, policy, 5000))
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.Allowable(0)
		if err != nil {
			t.Fatal(err)
		}
		again, err := r.Allowable(0)
		if err != nil || !reflect.DeepEqual(got, again) {
			t.Errorf("%s: one question, two answers:\n%+v\n%+v", policy, got, again)
		}
		at, err := r.MeasureAll(got.Rate)
		if err != nil || !reflect.DeepEqual(at, got.At) {
			t.Errorf("%s: measured\n%+v and in the search\n%+v, %v", policy, at, got.At, err)
		}
		above, err := r.MeasureAll(got.Rate * 1.02)
		if err != nil || above.Share() >= 0.99 || at.Share() < 0.99 {
			t.Errorf("%s: share %.4f at %.1f/s, %.4f at 2 %% above, %v", policy, at.Share(), got.Rate, above.Share(), err)
		}
		t.Logf("%s: %.1f requests/s in %d runs, p99 %v", policy, got.Rate, got.Runs, got.At.P99)
	}
}

// TestMeasureCounts holds the numbers of an overload against each other.
func TestMeasureCounts(t *testing.T) {
	long(t)
	x := single(t, "exponential")
	x.Warmup = 500
	r, err := sim.NewRunner(x)
	if err != nil {
		t.Fatal(err)
	}
	for _, rate := range []float64{20, 90, 150} {
		m, err := r.Measure(rate, 1)
		if err != nil {
			t.Fatal(err)
		}
		if m.Requests != 4500 || m.Within+m.Late+m.Rejected+m.GivenUp != m.Requests || m.Models[0].Within != m.Within {
			t.Errorf("%v/s: %+v does not add up", rate, m)
		}
		if m.Result.Arrived != 5000 || m.Aborted || m.USDPerHour != 0.526 {
			t.Errorf("%v/s: %+v", rate, m)
		}
		if late := m.P99 > 120*ms; late != (float64(m.Late) > 0.01*float64(m.Within+m.Late)) {
			t.Errorf("%v/s: %d late of %d, p99 %v", rate, m.Late, m.Within+m.Late, m.P99)
		}
		if (m.P99All == sim.Unanswered) != (m.Rejected+m.GivenUp > m.Requests/100) {
			t.Errorf("%v/s: p99 of all %v with %d unanswered", rate, m.P99All, m.Rejected+m.GivenUp)
		}
		if want := min(rate, 100); m.Goodput > want*1.05 {
			t.Errorf("%v/s: goodput %v", rate, m.Goodput)
		}
	}
}

// disturbed is how much longer an execution takes at an instant.
func disturbed(t *testing.T, d sim.Disturbance, worker pool.WorkerID, at mono.Time) float64 {
	t.Helper()
	s := sim.Setting{
		Types:   []pool.InstanceType{{Name: "gpu"}, {Name: "cpu"}},
		Workers: []pool.Worker{{Type: 0}, {Type: 1}}, Rng: workload.Stream(1, "test"),
	}
	serve, err := d(func(sim.Execution) sim.Outcome { return sim.Outcome{Took: time.Second} }, s)
	if err != nil {
		t.Fatal(err)
	}
	const n = 20_000
	sum := 0.0
	for range n {
		sum += serve(sim.Execution{At: at, Worker: worker, Items: 1}).Took.Seconds() / n
	}
	return sum
}

// TestDisturbances change what they say.
func TestDisturbances(t *testing.T) {
	hour := mono.Time(time.Hour)
	slowStart := sim.SlowStart([]sim.Outage{{Worker: 1, To: at(1000)}}, 3, time.Second)
	for i, tc := range []struct {
		d      sim.Disturbance
		worker pool.WorkerID
		at     mono.Time
		want   float64
	}{
		{sim.NormalNoise(0.1), 0, 0, 1},
		{sim.LognormalNoise(0.3), 0, 0, 1},
		{sim.Slowdown("cpu", at(5), at(10), 2), 1, at(4), 1},
		{sim.Slowdown("cpu", at(5), at(10), 2), 1, at(5), 2},
		{sim.Slowdown("cpu", at(5), at(10), 2), 1, at(10), 1},
		{sim.Slowdown("cpu", at(5), at(10), 2), 0, at(7), 1},
		{sim.Drift("gpu", 0.5), 0, 2 * hour, 2},
		{sim.Drift("gpu", -0.5), 0, hour, 0.5},
		{sim.Drift("gpu", 0.5), 1, 2 * hour, 1},
		{sim.Rounded(700 * ms), 0, 0, 0.7},
		{slowStart, 1, at(999), 1},
		{slowStart, 1, at(1000), 3},
		{slowStart, 1, at(1500), 2},
		{slowStart, 0, at(1500), 1},
	} {
		if got := disturbed(t, tc.d, tc.worker, tc.at); math.Abs(got-tc.want) > 0.01 {
			t.Errorf("case %d: takes %.3f times as long, want %v", i, got, tc.want)
		}
	}
	for i, d := range []sim.Disturbance{
		sim.NormalNoise(-1), sim.LognormalNoise(math.NaN()), sim.Slowdown("tpu", 0, 1, 2), sim.Slowdown("cpu", 0, 1, 0),
		sim.Drift("tpu", 1), sim.Rounded(0), sim.SlowStart(nil, 0.5, time.Second),
	} {
		if _, err := d(nil, sim.Setting{Types: []pool.InstanceType{{Name: "cpu"}}}); err == nil {
			t.Errorf("bad disturbance %d is taken", i)
		}
	}
}

// TestOutages fails what runs on a worker that goes away, has it tried again,
// and uses the worker again when it is back.
func TestOutages(t *testing.T) {
	x := single(t, "constant")
	x.Counts = []int{2}
	x.Outages = []sim.Outage{{Worker: 0, From: at(5005), To: at(20_005), Notice: 50 * ms}}
	r, err := sim.NewRunner(x)
	if err != nil {
		t.Fatal(err)
	}
	m, err := r.Measure(90, 1)
	if err != nil {
		t.Fatal(err)
	}
	if m.Result.Retried < 2 || m.Result.Retried > 100 || m.Share() < 0.98 {
		t.Errorf("%d retries, %.4f within QoS: %+v", m.Result.Retried, m.Share(), m)
	}
	x.Outages[0].To = mono.Never
	x.Outages = append(x.Outages, sim.Outage{Worker: 1, From: at(30_005), To: mono.Never})
	if r, err = sim.NewRunner(x); err != nil {
		t.Fatal(err)
	}
	if m, err = r.Measure(90, 1); err != nil {
		t.Fatal(err)
	}
	if got, want := float64(m.Within), 30.005*90; math.Abs(got-want) > 20 {
		t.Errorf("%v within QoS, want about %v: those before the last worker went", got, want)
	}
	x.Outages = []sim.Outage{{Worker: 7, From: 0, To: 1}}
	if _, err := sim.NewRunner(x); err == nil {
		t.Error("an outage of a worker that does not exist")
	}
	list := sim.RandomOutages(workload.Stream(1, "outages"), 50, mono.Time(100*time.Hour), 9*time.Hour, time.Hour, 0)
	var away time.Duration
	for _, o := range list {
		away += min(o.To, mono.Time(100*time.Hour)).Sub(o.From)
	}
	if share := away.Hours() / 5000; math.Abs(share-0.1) > 0.02 {
		t.Errorf("workers are away for a share %.3f, want 0.1", share)
	}
}

// TestSeveralModels holds each model to its own QoS.
func TestSeveralModels(t *testing.T) {
	long(t)
	x := single(t, "exponential")
	slow := x.Models[0]
	slow.Model.Name, slow.Share = "slow", 3
	x.Models = append(x.Models, slow)
	x.Truth = append(x.Truth, x.Truth[0])
	x.Counts = []int{3}
	r, err := sim.NewRunner(x)
	if err != nil {
		t.Fatal(err)
	}
	m, err := r.Measure(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	if part := float64(m.Models[1].Requests) / float64(m.Requests); math.Abs(part-0.75) > 0.02 {
		t.Errorf("the second model gets %.3f of the requests, want 0.75", part)
	}
	both, err := r.Allowable(0)
	if err != nil || both.Rate < 150 || both.Rate > 300 {
		t.Errorf("%v, %v", both.Rate, err)
	}
	x.Models[0].Model.QoS = 9 * ms // of which nothing can be answered
	if r, err = sim.NewRunner(x); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Allowable(100); err != nil || got.Rate != 0 {
		t.Errorf("one model cannot hold, and %v/s are allowed, %v", got.Rate, err)
	}
}

// TestBadExperiments say what is wrong.
func TestBadExperiments(t *testing.T) {
	for i, spoil := range []func(*sim.Experiment){
		func(x *sim.Experiment) { x.Models = nil },
		func(x *sim.Experiment) { x.Counts = x.Counts[:1] },
		func(x *sim.Experiment) { x.Counts = []int{1, -1} },
		func(x *sim.Experiment) { x.Truth = nil },
		func(x *sim.Experiment) { x.Truth = [][]*sim.Truth{nil} },
		func(x *sim.Experiment) { x.Policy = nil },
		func(x *sim.Experiment) { x.Arrivals = nil },
		func(x *sim.Experiment) { x.Requests = 0 },
		func(x *sim.Experiment) { x.Warmup = x.Requests },
		func(x *sim.Experiment) { x.Seeds = nil },
		func(x *sim.Experiment) { x.Models = []sim.Demand{{Model: dispatch.Model{Name: "m"}}} },
		func(x *sim.Experiment) { x.Points = [][][]pool.Point{{{{Batch: 0}}}} },
	} {
		x := fifteen(t, "fcfs", 10)
		spoil(&x)
		if _, err := sim.NewRunner(x); err == nil || !testing.Verbose() && len(fmt.Sprint(err)) < 20 {
			t.Errorf("bad experiment %d: %v", i, err)
		}
	}
}

// TestSpan: an outage of the middle third of a run hits as many requests at
// every rate, and so does what a disturbance does from Span on.
func TestSpan(t *testing.T) {
	x := single(t, "constant") // 5,000 requests
	x.OutagesOver = func(span time.Duration) []sim.Outage {
		return []sim.Outage{{Worker: 0, From: mono.Time(span / 3), To: mono.Time(2 * span / 3)}}
	}
	x.Models[0].Model.QoS = 15 * ms
	for _, rate := range []float64{10, 40, 80} {
		r, err := sim.NewRunner(x)
		if err != nil {
			t.Fatal(err)
		}
		m, err := r.Measure(rate, 1)
		if err != nil || m.Share() < 0.66 || m.Share() > 0.67 {
			t.Errorf("%v requests/s: %.4f within QoS, %v; want two thirds", rate, m.Share(), err)
		}
	}
	x.OutagesOver = nil
	x.Disturb = []sim.Disturbance{func(next sim.Serve, s sim.Setting) (sim.Serve, error) {
		if want := 5000 * time.Second / 40; s.Span != want {
			t.Errorf("span %v, want %v", s.Span, want)
		}
		return next, nil
	}}
	r, err := sim.NewRunner(x)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Measure(40, 1); err != nil {
		t.Fatal(err)
	}
}
