package engine

import (
	"testing"
	"time"
)

func TestMeasure(t *testing.T) {
	m := loadFashion(t)
	begun := time.Now()
	timings, err := Measure(m)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v", time.Since(begun))
	for _, c := range timings {
		var whole time.Duration
		for _, d := range c.Trunk {
			whole += d
		}
		t.Logf("batch %d: %v; ramps:", c.Batch, whole)
		for k, d := range c.Ramp {
			t.Logf("  stage %d: trunk %.1f %%  ramp %v = %.2f %%", k, 100*float64(c.Trunk[k])/float64(whole), d, 100*float64(d)/float64(whole))
		}
	}
	t.Log(m.Work())
}
