package health

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"motley/internal/gpu/device"
	"motley/internal/mono"
)

// The catalog's entries that matter most, as NVIDIA's page says them.
func TestXIDs(t *testing.T) {
	if !slices.IsSortedFunc(xids[:], func(a, b xid) int { return a.code - b.code }) {
		t.Fatal("the table is not in order")
	}
	for i := 1; i < len(xids); i++ {
		if xids[i].code == xids[i-1].code {
			t.Errorf("XID %d is there twice", xids[i].code)
		}
	}
	for _, c := range []struct {
		code   int
		state  State
		action Action
	}{
		{13, Suspect, Restart}, {31, Suspect, Restart}, {43, OK, None}, {45, OK, None}, {48, Unhealthy, Restart},
		{62, Unhealthy, Restart}, {63, OK, None}, {64, Unhealthy, Restart}, {74, Unhealthy, Restart}, {79, Unhealthy, Restart},
		{92, OK, None}, {94, Suspect, Restart}, {95, Unhealthy, Restart}, {109, Unhealthy, Restart}, {119, Unhealthy, Restart},
		{120, Unhealthy, Restart}, {140, Unhealthy, Restart}, {154, OK, None}, {158, Unhealthy, Restart},
		{54, Suspect, Drain}, {1, Suspect, None}, {0, Suspect, None}, {-5, Suspect, None}, {1 << 30, Suspect, None},
	} {
		state, action, text := lookup(c.code).verdict()
		if state != c.state || action != c.action || text == "" {
			t.Errorf("XID %d: %v, %v, %q; want %v, %v", c.code, state, action, text, c.state, c.action)
		}
	}
}

func TestNames(t *testing.T) {
	var got []string
	for s := OK; s <= Gone; s++ {
		got = append(got, s.String())
	}
	for a := None; a <= Replace; a++ {
		got = append(got, a.String())
	}
	if want := []string{"ok", "derated", "suspect", "unhealthy", "gone", "none", "derate", "drain", "restart", "replace"}; !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

// The medians beside sorting by hand, and the ring beside a slice.
func TestRobust(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	r := newRing(7)
	var all []float64
	for range 200 {
		x := rng.NormFloat64()
		out, full := r.add(x)
		if len(all) >= 7 && (!full || out != all[len(all)-7]) {
			t.Fatalf("pushed out %v (%v), want %v", out, full, all[len(all)-7])
		}
		all = append(all, x)
		want := slices.Clone(all[max(0, len(all)-7):])
		got := r.last(7, nil)
		slices.Reverse(got)
		if !slices.Equal(got, want) {
			t.Fatalf("kept %v, want %v", got, want)
		}
		slices.Sort(want)
		if m := median(got); m != want[(len(want)-1)/2] {
			t.Fatalf("median %v of %v", m, want)
		}
	}
	normal := make([]float64, 10_000)
	for i := range normal {
		normal[i] = 3 + 2*rng.NormFloat64()
	}
	if mid, spread := centre(normal); math.Abs(mid-3) > 0.1 || math.Abs(spread-2) > 0.1 {
		t.Errorf("centre %v, spread %v; want 3 and 2", mid, spread)
	}
}

// Whatever happens: a judgement stays within its bounds, latencies alone never
// take a worker out, and what is out has a reason.
func TestRandomWalk(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 5))
		fleet := NewFleet(Config{})
		var workers []*Worker
		for i := range 6 {
			workers = append(workers, fleet.Add([]string{"a", "b"}[i%2]))
			workers[i].Describe(device.Device{SMClockMaxMHz: device.Of(2000)})
		}
		faulted := make([]bool, len(workers))
		accesses := []device.Access{device.Lost, device.ResetRequired, device.Hung, device.Denied, device.Failed}
		var now mono.Time
		var seq uint64
		for range 3000 {
			now = now.Add(time.Duration(rng.Int64N(int64(time.Second))))
			i := rng.IntN(len(workers))
			w := workers[i]
			switch rng.IntN(4) {
			case 0:
				s := device.Sample{Device: "d", Access: device.Reachable, Throttle: device.Throttle(rng.Uint64() >> rng.IntN(64)),
					SMClockMHz: device.Of(rng.Float64() * 2500), TemperatureC: device.Of(rng.Float64() * 100), Utilisation: device.Of(rng.Float64())}
				if seed%2 == 1 && rng.IntN(20) == 0 {
					seq++
					s.XIDs = []device.XID{{Seq: seq, Code: rng.IntN(180)}}
					s.Access = accesses[rng.IntN(len(accesses))]
					faulted[i] = true
				}
				w.Sample(now, s)
			case 3:
				if rng.IntN(50) == 0 {
					w.Restarted()
				}
			default:
				w.Batch(time.Duration(rng.ExpFloat64()*1e9), time.Duration(rng.ExpFloat64()*1e7))
			}
			j := w.Judge(now)
			if !(j.Slowdown >= 1) || math.IsInf(j.Slowdown, 0) || !(j.Uncertainty >= 1 && j.Uncertainty <= 2) || !(j.Ramp >= 0 && j.Ramp <= 1) {
				t.Fatalf("seed %d: %+v", seed, j)
			}
			if !j.Takes() && !faulted[i] {
				t.Fatalf("seed %d: out without a fault: %+v", seed, j)
			}
			if j.Takes() != (j.Ramp > 0) || j.State != OK && len(j.Evidence) == 0 || j.Since > now {
				t.Fatalf("seed %d: %+v", seed, j)
			}
		}
	}
}

// Machines of one type differ in temperature and clocks (made-up spreads: 6 °C
// and 1 % between machines, 3 °C and 1 % from sample to sample): nothing of
// that is odd, and one that runs 30 °C hotter or 25 % slower, or whose memory
// corrects errors all the time, is found within 20 samples.
func TestHardwareOddity(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	fleet := NewFleet(Config{})
	var workers []*Worker
	var warm []float64
	for range 8 {
		workers = append(workers, fleet.Add("a"))
		warm = append(warm, 60+6*rng.NormFloat64())
	}
	var now mono.Time
	errors := 0.0
	look := func(hot, slow, failing float64) {
		now = now.Add(time.Second)
		errors += failing
		for i, w := range workers {
			s := device.Sample{Device: "d", Access: device.Reachable, Utilisation: device.Of(0.9),
				TemperatureC: device.Of(warm[i] + 3*rng.NormFloat64()), SMClockMHz: device.Of(1500 * (1 + 0.01*rng.NormFloat64())),
				ECC: device.ECC{VolatileCorrected: device.Of(float64(now / mono.Time(time.Hour)))}}
			if i == 0 {
				s.TemperatureC.Value += hot
				s.SMClockMHz.Value *= slow
				s.ECC.VolatileCorrected.Value += errors
			}
			w.Sample(now, s)
		}
	}
	for i := range 20_000 {
		look(0, 1, 0)
		for n, w := range workers {
			if j := w.Judge(now); j.State != OK {
				t.Fatalf("sample %d of worker %d: %+v", i, n, j)
			}
		}
	}
	for _, c := range []struct{ hot, slow, failing float64 }{{30, 1, 0}, {0, 0.75, 0}, {0, 1, 20}} {
		n := 0
		for workers[0].Judge(now).State == OK && n < 100 {
			look(c.hot, c.slow, c.failing)
			n++
		}
		if n > 20 {
			t.Errorf("%+v: found after %d samples", c, n)
		}
		for range 4000 { // an hour: counts fade
			look(0, 1, 0)
		}
		for i, w := range workers {
			if j := w.Judge(now); j.State != OK {
				t.Errorf("%+v: worker %d afterwards: %+v", c, i, j)
			}
		}
	}
}

func BenchmarkBatch(b *testing.B) {
	fleet := NewFleet(Config{})
	var workers []*Worker
	for range 64 {
		workers = append(workers, fleet.Add("a"))
	}
	rng := rand.New(rand.NewPCG(1, 1))
	ratios := make([]time.Duration, 1024)
	for i := range ratios {
		ratios[i] = time.Duration(1e7 * math.Exp(0.1*rng.NormFloat64()))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		workers[i%64].Batch(ratios[i%1024], 1e7)
	}
}

func BenchmarkJudge(b *testing.B) {
	w := NewFleet(Config{}).Add("a")
	w.Sample(0, device.Sample{Device: "d", Access: device.Reachable})
	b.ReportAllocs()
	for b.Loop() {
		w.Judge(1)
	}
}
