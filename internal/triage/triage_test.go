package triage

import (
	"math"
	"slices"
	"strconv"
	"testing"
	"time"

	"motley/internal/dispatch"
	"motley/internal/gpu/device"
	"motley/internal/gpu/health"
	"motley/internal/mono"
	"motley/internal/pool"
)

const second = mono.Time(time.Second)

func sample(clock float64) device.Sample {
	s := device.Sample{Device: "g", Access: device.Reachable, Utilisation: device.Of(1), SMClockMHz: device.Of(clock)}
	if clock < 1000 {
		s.Throttle = device.HWThermal
	}
	return s
}

// One worker is throttled to a half and back: the core is told of both at once,
// and of nothing in between.
func TestThrottled(t *testing.T) {
	w := New(health.Config{}, []string{"t4", "t4", "cpu"})
	w.Describe(1, device.Device{ID: "g", SMClockMaxMHz: device.Of(1500)})
	var told []dispatch.Health
	for at := second; at < 60*second; at += second / 4 {
		clock := 1500.0
		if at >= 10*second && at < 30*second {
			clock = 750
		}
		w.Sample(at, 1, sample(clock))
		for i := range pool.WorkerID(3) {
			took := 10 * time.Millisecond
			if i == 1 && clock < 1000 {
				took *= 2
			}
			w.Batch(i, took, 10*time.Millisecond)
		}
		for _, c := range w.Judge(at, nil) {
			if c.Worker != 1 {
				t.Errorf("at %v worker %d: %+v", at, c.Worker, c)
			}
			if c.Told {
				told = append(told, c.Health)
			}
		}
	}
	if len(told) != 2 || math.Abs(told[0].Slowdown-2) > 0.06 || !told[0].Takes || told[1] != dispatch.Healthy {
		t.Errorf("told %v", told)
	}
	r := w.Report(60*second, 1)
	if r.Device.ID != "g" || r.Batches != 236 || r.Age != 250*time.Millisecond || r.ProfileError > 0.1 {
		t.Errorf("%+v", r)
	}
	if r := w.Report(60*second, 0); r.Age >= 0 || r.Batches != 236 {
		t.Errorf("%+v", r)
	}
}

// A fault takes a worker out, a restart brings it back bit by bit; telemetry that
// stops widens, and no more.
func TestFaultAndStale(t *testing.T) {
	w := New(health.Config{}, []string{"t4"})
	w.Sample(second, 0, sample(1500))
	bad := sample(1500)
	bad.XIDs = []device.XID{{Seq: 1, Code: 79}}
	w.Sample(2*second, 0, bad)
	if c := w.Judge(2*second, nil); len(c) != 1 || !c[0].Told || c[0].Health.Takes || c[0].Was != health.OK {
		t.Fatalf("%+v", c)
	}
	w.Restarted(0)
	ramps := map[float64]bool{}
	var last dispatch.Health
	for at := 3 * second; at < 60*second; at += second {
		w.Sample(at, 0, sample(1500))
		for _, c := range w.Judge(at, nil) {
			if last = c.Health; last.Takes {
				ramps[math.Round(10*last.Ramp)] = true
			}
		}
	}
	if len(ramps) != 10 || last != dispatch.Healthy {
		t.Errorf("it came back by %v and is %v", ramps, last)
	}
	stale := false
	for at := 60 * second; at < 120*second; at += second {
		for _, c := range w.Judge(at, nil) {
			stale = stale || w.Report(at, 0).Stale
			last = c.Health
		}
	}
	if want := (dispatch.Health{Slowdown: 1, Uncertainty: 2, Ramp: 1, Takes: true}); !stale || last != want {
		t.Errorf("stale %v: %v", stale, last)
	}
}

// Slowdowns that waver by less than they are known to are told once.
func TestSteps(t *testing.T) {
	p := patient{told: dispatch.Healthy}
	told := 0
	for i := range 100 {
		p.judged = health.Judgement{Slowdown: 1.5 * (1 + 0.02*float64(i%3-1)), Uncertainty: 1.1, Ramp: 1}
		if h := p.health(); h != p.told {
			p.told = h
			told++
		}
	}
	if told != 1 || p.told.Uncertainty != 1 || math.Abs(p.told.Slowdown-1.5) > 0.05 {
		t.Errorf("told %d times, at last %v", told, p.told)
	}
	for _, c := range []struct{ ramp, want float64 }{{0.1, 0.1}, {0.19, 0.1}, {0.3, 0.3}, {0.999, 0.9}, {1, 1}, {0.01, 0.1}} {
		p.judged = health.Judgement{Slowdown: 1, Uncertainty: 1, Ramp: c.ramp}
		if h := p.health(); math.Abs(h.Ramp-c.want) > 1e-9 {
			t.Errorf("ramp %v: %v", c.ramp, h.Ramp)
		}
	}
	p.judged = health.Judgement{State: health.Gone, Slowdown: 1, Uncertainty: 1}
	if p.health().Takes {
		t.Error("one that is gone takes work")
	}
}

// BenchmarkJudge is one look at so many workers of one type of which each has had
// a batch since the last.
func BenchmarkJudge(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			w := New(health.Config{}, slices.Repeat([]string{"t4"}, n))
			round := func(i int) {
				for k := range pool.WorkerID(n) {
					w.Batch(k, time.Duration(10+(i+int(k))%3)*time.Millisecond, 11*time.Millisecond)
				}
			}
			for i := range 100 {
				round(i)
			}
			var changes []Change
			now := mono.Time(0)
			for i := 0; b.Loop(); i++ {
				round(i)
				now += second / 10
				changes = w.Judge(now, changes[:0])
			}
		})
	}
}
