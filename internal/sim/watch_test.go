package sim_test

import (
	"encoding/csv"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"motley/internal/dispatch"
	"motley/internal/gpu/device"
	"motley/internal/gpu/health"
	"motley/internal/mono"
	"motley/internal/pool"
	"motley/internal/sim"
	"motley/internal/triage"
	"motley/internal/workload"
)

// The pool of the tests below: three types, eight workers; batches scatter by 10 %.
// Worker 0 is one of two GPUs.
var (
	watchTypes = []pool.InstanceType{{Name: "gpu"}, {Name: "cpu"}, {Name: "old"}}
	watchMix   = []int{2, 3, 3}
	watchLaws  = [][2]time.Duration{{8 * ms, ms / 2}, {5 * ms, 3 * ms}, {10 * ms, 6 * ms}}
)

const watchQoS = 100 * ms

// watched is the pool as it is, or with worker 0 as one of another type, slower
// by a factor.
func watched(tb testing.TB, policy string, slower float64) sim.Experiment {
	tb.Helper()
	sizes, err := workload.NewSizes(workload.Histogram{Sizes: []int{1, 2, 4, 8}, P: []float64{0.25, 0.25, 0.25, 0.25}})
	if err != nil {
		tb.Fatal(err)
	}
	arrivals, err := workload.ParseArrivals("exponential", nil)
	if err != nil {
		tb.Fatal(err)
	}
	x := sim.Experiment{
		Models: []sim.Demand{{Model: dispatch.Model{Name: "m", QoS: watchQoS, MaxBatch: 32}, Sizes: sizes}},
		Types:  watchTypes, Counts: watchMix, Arrivals: arrivals, Requests: 1, Seeds: []uint64{1},
		Truth: [][]*sim.Truth{nil}, Points: [][][]pool.Point{nil}, MaxBatch: [][]int{nil}, Hopeless: -1,
		Policy: func(seed uint64) dispatch.Policy {
			p, err := dispatch.NewPolicy(policy, seed)
			if err != nil {
				tb.Fatal(err)
			}
			return p
		},
	}
	laws := watchLaws
	if slower != 1 {
		x.Types = append([]pool.InstanceType{{Name: "slow"}}, watchTypes...)
		x.Counts = append([]int{1, watchMix[0] - 1}, watchMix[1:]...)
		slow := [2]time.Duration{}
		for i, d := range watchLaws[0] {
			slow[i] = time.Duration(slower * float64(d))
		}
		laws = append([][2]time.Duration{slow}, watchLaws...)
	}
	for i, l := range laws {
		var rows []pool.Row
		for _, n := range []int{1, 2, 4, 8, 16, 32} {
			mean := l[0] + time.Duration(n)*l[1]
			rows = append(rows, pool.Row{Model: "m", InstanceType: x.Types[i].Name, Point: pool.Point{Batch: n, Mean: mean, P99: mean * 5 / 4}})
		}
		truth, err := sim.TruthFromRows(rows, "m", x.Types[i].Name)
		if err != nil {
			tb.Fatal(err)
		}
		x.Truth[0] = append(x.Truth[0], truth)
		x.Points[0] = append(x.Points[0], truth.Points())
		x.MaxBatch[0] = append(x.MaxBatch[0], 32)
	}
	return x
}

// goodput is the rate of answers within QoS to what arrives from one instant up to
// another.
func goodput(tb testing.TB, x sim.Experiment, rate float64, seed uint64, from, to mono.Time) float64 {
	tb.Helper()
	x.Requests = int(rate * time.Duration(to).Seconds())
	x.Warmup = int(rate * time.Duration(from).Seconds())
	r, err := sim.NewRunner(x)
	if err != nil {
		tb.Fatal(err)
	}
	m, err := r.Measure(rate, seed)
	if err != nil {
		tb.Fatal(err)
	}
	return rate * m.Share()
}

// throttledGPU is what the telemetry of a GPU says that runs at a share of its
// clock from one instant up to another.
func throttledGPU(at, from, to mono.Time, share float64) device.Sample {
	s := device.Sample{Device: "GPU-0", Access: device.Reachable, Utilisation: device.Of(0.9), SMClockMHz: device.Of(1590)}
	if at >= from && at < to {
		s.SMClockMHz, s.Throttle = device.Of(1590*share), device.HWThermal
	}
	return s
}

var gpu0 = device.Device{ID: "GPU-0", Kind: device.GPU, SMClockMaxMHz: device.Of(1590)}

// One GPU is throttled to half of its speed and says so: from 2 s after, goodput
// is within 5 % of that of a pool in which it always was of another type, half as
// fast, and known as such; and already in the first 2 s it is above that of a
// pool where nobody looks.
func TestThrottledWorker(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes, with the invariants and the race detector")
	}
	const from, after, to = mono.Time(10 * time.Second), mono.Time(12 * time.Second), mono.Time(32 * time.Second)
	telemetry := func(w pool.WorkerID, at mono.Time) (device.Sample, bool) {
		return throttledGPU(at, from, mono.Never, 0.5), w == 0
	}
	for _, policy := range []string{"priced", "least-load", "clockwork"} {
		for _, rate := range []float64{400, 600, 800} {
			variant := func(slower float64, w *sim.Watch, from2, to2 mono.Time) float64 {
				x := watched(t, policy, slower)
				x.Models[0].Model.QoS = watchQoS / 2
				if x.Watch = w; slower == 1 {
					x.Disturb = []sim.Disturbance{sim.SlowWorker(0, from, mono.Never, 2)}
				}
				sum := 0.0
				for seed := range uint64(3) {
					sum += goodput(t, x, rate, seed, from2, to2) / 3
				}
				return sum
			}
			watch := &sim.Watch{Devices: map[pool.WorkerID]device.Device{0: gpu0}, Read: telemetry}
			known, with, latencies, blind := variant(2, nil, after, to), variant(1, watch, after, to), variant(1, &sim.Watch{}, after, to), variant(1, nil, after, to)
			t.Logf("%s, %.0f/s, goodput after 2 s: known %.1f, telemetry %.1f (%+.1f %%), latencies alone %.1f (%+.1f %%), nobody looks %.1f (%+.1f %%)", policy, rate,
				known, with, 100*(with/known-1), latencies, 100*(latencies/known-1), blind, 100*(blind/known-1))
			first, firstLatencies, firstBlind := variant(1, watch, from, after), variant(1, &sim.Watch{}, from, after), variant(1, nil, from, after)
			t.Logf("%s, %.0f/s, in the first 2 s: telemetry %.1f, latencies alone %.1f, nobody looks %.1f", policy, rate, first, firstLatencies, firstBlind)
			if with < 0.95*known {
				t.Errorf("%s at %v/s: goodput %.1f with telemetry, %.1f where it is known", policy, rate, with, known)
			}
			if margin := 1.02; policy != "least-load" && rate > 400 && (with < margin*blind || first < margin*firstBlind) {
				t.Errorf("%s at %v/s: goodput %.1f and %.1f with telemetry, %.1f and %.1f without", policy, rate, with, first, blind, firstBlind)
			}
		}
	}
}

// A GPU with a fatal XID, whose batches hang from then on: no request fails. Where
// nobody looks some do, under most policies.
func TestFatalXID(t *testing.T) {
	const from = mono.Time(10 * time.Second)
	lost := 0
	for _, policy := range dispatch.Policies() {
		rate := 600.0
		switch policy {
		case "fcfs", "kairos", "size-threshold", "random-two": // they carry less
			rate = 250
		}
		for _, kept := range []bool{true, false} { // false: nobody looks, as proof that something happens
			x := watched(t, policy, 1)
			x.Models[0].Model.QoS = time.Second
			x.Hang = time.Second
			x.Disturb = []sim.Disturbance{func(next sim.Serve, _ sim.Setting) (sim.Serve, error) {
				return func(e sim.Execution) sim.Outcome {
					o := next(e)
					if e.Worker == 0 && e.At.Add(o.Took) > from {
						o.Took = time.Hour
					}
					return o
				}, nil
			}}
			if kept {
				x.Watch = &sim.Watch{
					Devices: map[pool.WorkerID]device.Device{0: gpu0},
					Read: func(w pool.WorkerID, at mono.Time) (device.Sample, bool) {
						s := throttledGPU(at, 0, 0, 1)
						if at > from {
							s.XIDs = []device.XID{{Seq: 1, Code: 79}}
						}
						return s, w == 0
					},
				}
			}
			x.Requests = int(20 * rate)
			r, err := sim.NewRunner(x)
			if err != nil {
				t.Fatal(err)
			}
			m, err := r.Measure(rate, 1)
			if err != nil {
				t.Fatal(err)
			}
			missed := m.Requests - m.Within
			t.Logf("%s, telemetry %v: %d of %d missed, %d retries", policy, kept, missed, m.Requests, m.Result.Retried)
			if kept && missed > 0 {
				t.Errorf("%s: %d missed", policy, missed)
			}
			if !kept && missed > 0 {
				lost++
			}
		}
	}
	if lost < 4 {
		t.Errorf("only under %d policies anything is lost where nobody looks: the trouble is too small", lost)
	}
}

// A straggler whose telemetry is fine is found within 50 of its batches, and of
// the others none is suspected.
func TestSilentStraggler(t *testing.T) {
	const from = mono.Time(20 * time.Second)
	for _, policy := range []string{"priced", "least-load", "fcfs"} {
		for victim := range pool.WorkerID(8) {
			x := watched(t, policy, 1)
			batches, found := 0, 0
			x.Disturb = []sim.Disturbance{sim.SlowWorker(victim, from, mono.Never, 3), func(next sim.Serve, _ sim.Setting) (sim.Serve, error) {
				return func(e sim.Execution) sim.Outcome {
					if e.Worker == victim && e.At >= from {
						batches++
					}
					return next(e)
				}, nil
			}}
			x.Watch = &sim.Watch{Told: func(at mono.Time, c triage.Change, j health.Judgement) {
				switch {
				case j.State == health.OK:
				case c.Worker != victim || at < from:
					t.Errorf("%s: worker %d at %v: %v %v", policy, c.Worker, at, j.State, j.Evidence)
				case found == 0:
					found = batches
				}
			}}
			goodput(t, x, 400, 1, 0, from+mono.Time(20*time.Second))
			if found == 0 || found > 50 {
				t.Errorf("%s: worker %d: found after %d of %d batches (0: never)", policy, victim, found, batches)
			}
			t.Logf("%s: worker %d found after %d batches", policy, victim, found)
		}
	}
}

// readCells reads relative speeds measured on Azure (TUNA, EuroSys'25) by cell:
// test, kind, region, lifespan.
func readCells(tb testing.TB) (names []string, cells map[string][]float64) {
	tb.Helper()
	const path = "../../../shared/data/azure_vm_noise/relative_speed_sampled.csv"
	f, err := os.Open(path)
	if err != nil {
		tb.Skipf("NOT CHECKED against %s: %v", path, err)
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil {
		tb.Fatal(err)
	}
	cells = map[string][]float64{}
	for _, l := range lines[1:] {
		name := strings.Join(l[:4], " ")
		v, err := strconv.ParseFloat(l[6], 64)
		if err != nil {
			tb.Fatal(err)
		}
		if cells[name] == nil {
			names = append(names, name)
		}
		cells[name] = append(cells[name], v)
	}
	slices.Sort(names)
	return names, cells
}

// Healthy pools as noisy as machines of Azure, each batch as one of the cell's
// measurements: no false alarm in 100,000 batches.
func TestHealthyNoise(t *testing.T) {
	names, cells := readCells(t)
	total := 0
	for i, name := range names {
		speeds := cells[name]
		x := watched(t, "priced", 1)
		x.Disturb = []sim.Disturbance{func(next sim.Serve, s sim.Setting) (sim.Serve, error) {
			return func(e sim.Execution) sim.Outcome {
				o := next(e)
				o.Took = time.Duration(float64(o.Took) / speeds[s.Rng.IntN(len(speeds))])
				return o
			}, nil
		}}
		told := 0
		x.Watch = &sim.Watch{Told: func(at mono.Time, c triage.Change, j health.Judgement) {
			told++
			t.Errorf("%s: worker %d at %v: %v %v", name, c.Worker, at, j.State, j.Evidence)
		}}
		x.Requests = 20_000
		if testing.Short() {
			x.Requests = 2000
		}
		r, err := sim.NewRunner(x)
		if err != nil {
			t.Fatal(err)
		}
		m, err := r.Measure(300, uint64(i))
		if err != nil {
			t.Fatal(err)
		}
		total += m.Result.Batches
		t.Logf("%s: %d batches, %d changes told", name, m.Result.Batches, told)
	}
	if total < 100_000 && !testing.Short() {
		t.Errorf("only %d batches", total)
	}
}

// The same configuration gives the same judgements.
func TestWatchRepeats(t *testing.T) {
	var logs [2]string
	for i := range logs {
		x := watched(t, "priced", 1)
		x.Disturb = []sim.Disturbance{sim.SlowWorker(3, mono.Time(5*time.Second), mono.Never, 2)}
		x.Watch = &sim.Watch{Told: func(at mono.Time, c triage.Change, j health.Judgement) { logs[i] += fmt.Sprintln(at, c, j) }}
		logs[i] += fmt.Sprint(goodput(t, x, 400, 1, 0, mono.Time(10*time.Second)))
	}
	if logs[0] != logs[1] || len(logs[0]) < 100 {
		t.Errorf("%s\nthen\n%s", logs[0], logs[1])
	}
	if got := disturbed(t, sim.SlowWorker(1, at(5), at(10), 2), 1, at(5)); math.Abs(got-2) > 0.01 {
		t.Errorf("takes %v times as long", got)
	}
	if _, err := sim.SlowWorker(1, 0, 1, 2)(nil, sim.Setting{Rng: rand.New(rand.NewPCG(1, 1))}); err == nil {
		t.Error("a worker that is not there")
	}
}
