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
	work := m.Work()
	for i, c := range timings {
		if c.Batch != 1<<i || len(c.Trunk) != m.Stages() || len(c.Ramp) != m.Stages() {
			t.Fatalf("timing %d: %+v", i, c)
		}
		for k := range work {
			// A ramp is a hundredth of the work of its stage; ten of its time is far off.
			if c.Trunk[k] <= 0 || work[k].Ramp > 0 && (c.Ramp[k] <= 0 || c.Ramp[k] > c.Trunk[k]) {
				t.Errorf("batch %d, stage %d: trunk %v, ramp %v", c.Batch, k, c.Trunk[k], c.Ramp[k])
			}
		}
	}
	if n := len(timings); n < 2 || timings[n-1].Trunk[0] <= timings[0].Trunk[0] {
		t.Errorf("%d batch sizes; a large one is no slower than a single item", n)
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
