package planner

import (
	"testing"
	"time"
)

// A type that runs no large request within QoS serves them in parts, where
// that is allowed.
func TestSplit(t *testing.T) {
	p := Problem{
		Types:  []Type{{Name: "slow", USDPerHour: 1}},
		Models: []Model{{Name: "m", Sizes: []int{10, 100}, P: []float64{1, 1}, QoS: 50 * time.Millisecond, MaxBatch: 100}},
		Latency: func(_, _, items int) (mean, bound time.Duration) {
			d := 5*time.Millisecond + time.Duration(items)*time.Millisecond // 45 items in 50 ms
			return d, d
		},
		Budget: 4,
	}
	if _, err := Solve(&p); err == nil {
		t.Error("100 items in one piece take 105 ms of 50, and there is a plan")
	}
	p.Models[0].Split = true
	plan, err := Solve(&p)
	if err != nil {
		t.Fatal(err)
	}
	if n := plan.Best.Mix[0].OnDemand; n != 4 {
		t.Errorf("%d instances, want 4", n)
	}
	// 55 items a request in batches of at most 45, 50 ms each, by 4 workers.
	most := 4 / 0.050 * 45 / 55
	if e, b := plan.Best.Estimate, plan.Best.Bounds.Batching; !(e > 0.5*most && e <= b*1.02) || b > most*1.0001 {
		t.Errorf("estimate %.1f, batching bound %.1f, by hand %.1f", e, b, most)
	}
	if plan.Best.Bounds.LP != 0 {
		t.Errorf("one by one %.1f, want none", plan.Best.Bounds.LP)
	}
}

// TestSplitJoins: a request in parts needs as many instances at once.
func TestSplitJoins(t *testing.T) {
	p := Problem{
		Types:  []Type{{Name: "slow", USDPerHour: 1}, {Name: "fast", USDPerHour: 10}},
		Models: []Model{{Name: "m", Sizes: []int{10, 100}, P: []float64{1, 1}, QoS: 50 * time.Millisecond, MaxBatch: 100, Split: true}},
		Latency: func(_, typ, items int) (mean, bound time.Duration) {
			d := 5*time.Millisecond + time.Duration(items)*time.Millisecond // 45 items in 50 ms
			return d / time.Duration([]int{1, 4}[typ]), d / time.Duration([]int{1, 4}[typ])
		},
		Rate: 1,
	}
	for _, c := range []struct {
		largest int
		p       float64
		mix     []int
		carries bool
	}{
		{100, 1, []int{1, 0}, false},
		{100, 1, []int{2, 0}, false}, // 90 items
		{100, 1, []int{3, 0}, true},
		{100, 1, []int{0, 1}, true},     // whole
		{100, 1, []int{1, 1}, true},     // and beside others too
		{100, 0.001, []int{1, 0}, true}, // those may miss their QoS
		{90, 1, []int{2, 0}, true},
		{91, 1, []int{2, 0}, false},
	} {
		p.Models[0].Sizes[1], p.Models[0].P[1] = c.largest, c.p
		table, err := newTable(&p)
		if err != nil {
			t.Fatal(err)
		}
		rate := newEstimator(table).rate([]float64{float64(c.mix[0]), float64(c.mix[1])})
		if (rate > 0) != c.carries {
			t.Errorf("%v with %v items (%v): %v requests/s", c.mix, c.largest, c.p, rate)
		}
	}
	// So the cheapest mix for the least rate has three of them.
	p.Models[0].Sizes[1], p.Models[0].P[1] = 100, 1
	plan, err := Solve(&p)
	if err != nil || MixText(p.Types, plan.Best.Mix) != "slow=3" {
		t.Errorf("%s, %v", MixText(p.Types, plan.Best.Mix), err)
	}
}

// TestBatchingApplies: the bound of merging says nothing of requests that run
// whole and alone.
func TestBatchingApplies(t *testing.T) {
	for _, c := range []struct {
		most  int
		split bool
		want  bool
	}{{0, false, true}, {200, false, true}, {199, false, false}, {1, false, false}, {1, true, true}} {
		p := printable()
		p.Models[0].MaxBatch, p.Models[0].Split = c.most, c.split
		b, err := BoundsOf(p, []int{1, 1})
		if err != nil || (b.Batching > 0) != c.want {
			t.Errorf("batches of up to %d, split %v: %v, %v", c.most, c.split, b.Batching, err)
		}
	}
}
