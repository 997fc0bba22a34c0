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
