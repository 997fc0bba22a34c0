package engine

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// The counts of docs/model.md, recomputed from its table of layers.
func TestWork(t *testing.T) {
	conv := func(cin, cout, side int) int64 { return int64(9 * cin * cout * side * side) }
	ramp := func(c, kernel int) int64 { return int64(c*9*kernel*kernel + c*9*10) }
	want := []Work{
		{conv(1, 16, 28) + conv(16, 24, 14), ramp(24, 6)},
		{conv(24, 24, 14), ramp(24, 6)},
		{conv(24, 24, 14), ramp(24, 6)},
		{conv(24, 40, 7), ramp(40, 3)},
		{conv(40, 40, 7), ramp(40, 3)},
		{conv(40, 40, 7), ramp(40, 3)},
		{conv(40, 40, 7) + ramp(40, 3), 0},
	}
	m := loadFashion(t)
	got := m.Work()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	var sum int64
	for _, w := range got {
		sum += w.Trunk
	}
	if sum/1e4 != 536 && sum/1e4 != 537 {
		t.Errorf("%d multiply-adds, docs/model.md says 5.37 million", sum)
	}
}

func TestMeasure(t *testing.T) {
	m := loadFashion(t)
	timings, err := Measure(m)
	if err != nil {
		t.Fatal(err)
	}
	if len(timings) == 0 {
		t.Fatal("no batch size was measured")
	}
	// Whoever else uses the machine may stretch any one part.
	var trunk, ramp time.Duration
	for i, c := range timings {
		if c.Batch != 1<<i || len(c.Trunk) != m.Stages() || len(c.Ramp) != m.Stages() {
			t.Fatalf("timing %d: %+v", i, c)
		}
		for k, w := range m.Work() {
			if c.Trunk[k] <= 0 || w.Ramp > 0 && c.Ramp[k] <= 0 {
				t.Errorf("batch %d, stage %d: trunk %v, ramp %v", c.Batch, k, c.Trunk[k], c.Ramp[k])
			}
			trunk, ramp = trunk+c.Trunk[k], ramp+c.Ramp[k]
		}
	}
	if ramp >= trunk { // a hundredth of the work
		t.Errorf("all ramps take %v, the network %v", ramp, trunk)
	}
	if again, err := m.Timings(); err != nil || len(again) == 0 {
		t.Errorf("Timings: %v, %v", again, err)
	}
}

// BenchmarkRamps runs a batch with all ramps and tells which share of the whole
// run, without ramps, each of them takes.
func BenchmarkRamps(b *testing.B) {
	m := loadFashion(b)
	for _, n := range []int{1, 2, 4, 8, 16, 32, 64} {
		b.Run(fmt.Sprintf("batch=%d", n), func(b *testing.B) {
			c := Timing{Batch: n, Trunk: make([]time.Duration, m.Stages()), Ramp: make([]time.Duration, m.Stages())}
			for b.Loop() {
				if err := c.run(m); err != nil {
					b.Fatal(err)
				}
			}
			var whole time.Duration
			for _, d := range c.Trunk {
				whole += d
			}
			for k, d := range c.Ramp[:m.Stages()-1] {
				b.ReportMetric(100*float64(d)/float64(whole), fmt.Sprintf("%%ramp%d", k))
			}
		})
	}
}

// Dropping rows costs next to nothing beside a stage.
func BenchmarkKeep(b *testing.B) {
	m := loadFashion(b)
	for _, n := range []int{8, 64} {
		b.Run(fmt.Sprintf("batch=%d", n), func(b *testing.B) {
			var half []int
			for i := 0; i < n; i += 2 {
				half = append(half, i)
			}
			for b.Loop() {
				b.StopTimer()
				e, err := m.Begin(imageTensor(noise(n)))
				if err == nil {
					_, err = e.Next(context.Background(), false)
				}
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				if err := e.Keep(half); err != nil {
					b.Fatal(err)
				}
				e.Close()
			}
		})
	}
}
