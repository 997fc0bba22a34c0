package fleet

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestAgendaOrder: everything is called at its instant, and in order, whatever
// the order it was asked for in.
func TestAgendaOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &agenda{clock: newRuntimeClock()}
		go a.run()
		began := time.Now()
		var mu sync.Mutex
		var called, want []time.Duration
		note := func(d time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			called = append(called, d)
			if off := time.Since(began) - d; off != 0 {
				t.Errorf("called %v late", off)
			}
		}
		rng := rand.New(rand.NewPCG(1, 2))
		for range 200 {
			d := time.Duration(rng.IntN(1000)) * 100 * time.Microsecond
			want = append(want, d)
			a.at(began.Add(d), func() {
				note(d)
				if d == want[0] { // from within a call, too
					a.at(began.Add(time.Second), func() { note(time.Second) })
				}
			})
		}
		time.Sleep(2 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		for range len(called) - len(want) {
			want = append(want, time.Second)
		}
		slices.Sort(want)
		if !slices.Equal(called, want) || len(called) < 201 {
			t.Errorf("called %d, want %d in order", len(called), len(want))
		}
		if err := a.close(); err != nil {
			t.Error(err)
		}
		a.at(time.Now(), func() { t.Error("called after close") })
		synctest.Wait()
	})
}

// precision has n calls made at random instants over a span, and returns by how
// much they were late, in order.
func precision(t testing.TB, c clock, n int, span time.Duration) []time.Duration {
	t.Helper()
	a := &agenda{clock: c}
	go a.run()
	late := make([]time.Duration, n)
	var all sync.WaitGroup
	all.Add(n)
	began := time.Now()
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range late {
		at := began.Add(time.Duration(rng.Int64N(int64(span))))
		a.at(at, func() {
			late[i] = time.Since(at)
			all.Done()
		})
	}
	all.Wait()
	if err := a.close(); err != nil {
		t.Error(err)
	}
	slices.Sort(late)
	return late
}

// TestPrecision: never early, and closer than the runtime's timers get: those
// are late by half a millisecond as a rule. Other work on the machine may
// disturb a round, not all of them.
func TestPrecision(t *testing.T) {
	best := time.Hour
	for range 5 {
		late := precision(t, newClockOf(t), 200, 200*ms)
		if late[0] < 0 {
			t.Fatalf("called %v early", -late[0])
		}
		if best = min(best, late[len(late)/2]); best < 50*time.Microsecond {
			return
		}
	}
	if _, coarse := newClockOf(t).(*runtimeClock); !coarse {
		t.Errorf("late by %v in the middle", best)
	}
}

func newClockOf(t testing.TB) clock {
	t.Helper()
	c, err := newClock()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.close() })
	return c
}

// BenchmarkPrecision tells by how much calls are late that are 1 ms apart, by the
// system's clock and by the runtime's.
func BenchmarkPrecision(b *testing.B) {
	for _, c := range []struct {
		name string
		make func() clock
	}{
		{"system", func() clock { return newClockOf(b) }},
		{"runtime", func() clock { return newRuntimeClock() }},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				late := precision(b, c.make(), 1000, time.Second)
				b.ReportMetric(float64(late[500])/1e3, "p50-µs")
				b.ReportMetric(float64(late[990])/1e3, "p99-µs")
			}
		})
	}
}

// TestHistogram compares quantiles with those of the sorted values.
func TestHistogram(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	var h histogram
	if h.quantile(0.5) != 0 {
		t.Error("a quantile of nothing")
	}
	values := make([]time.Duration, 10_000)
	for i := range values {
		values[i] = time.Duration(rng.ExpFloat64() * 1e5)
		h.add(values[i])
	}
	slices.Sort(values)
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 1} {
		want := values[max(int(q*10_000)-1, 0)]
		if got := h.quantile(q); got < want || float64(got) > float64(want)*1.0626+1 {
			t.Errorf("quantile %v: %v, want %v up to 1/16 more", q, got, want)
		}
	}
	h.add(-1)
	h.add(1 << 62)
	if h.quantile(0) != 0 || h.quantile(1) < 1<<61 {
		t.Errorf("ends: %v, %v", h.quantile(0), h.quantile(1))
	}
}
