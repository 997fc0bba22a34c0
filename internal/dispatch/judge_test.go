package dispatch

import (
	"testing"
	"time"
)

// judgedPool has two workers of each of two types, 10 ms a batch of 10, of which those of
// the second pause for 400 ms in two of a hundred executions that its profile has seen.
func judgedPool(t *testing.T, paused int) *Core {
	t.Helper()
	model := Model{Name: "m", QoS: 250 * time.Millisecond, MaxBatch: 10}
	laws := []law{{9 * time.Millisecond, 100 * time.Microsecond}, {9 * time.Millisecond, 100 * time.Microsecond}}
	c, _ := pricedPool(t, PricedOptions{}, model, laws, []int{2, 2}, []int{10, 10})
	for i := range 1000 {
		took := 10 * time.Millisecond
		if paused > 0 && i%(100/paused) == 0 {
			took = 400 * time.Millisecond
		}
		c.models[0].groups[1].profile.Observe(10, took)
	}
	return c
}

// Those that do not pause carry up to 2,000 items per second: below that nobody has to
// be content with an even chance, and above it nobody is refused for more.
func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name   string
		paused int
		gap    time.Duration
		down   bool // the good ones
		want   float64
	}{
		{"nothing has come", 2, 0, false, 0.99},
		{"the good ones suffice", 2, 600 * time.Microsecond, false, 0.99},
		{"they do not", 2, 400 * time.Microsecond, false, evenQuantile},
		{"all are good", 0, 400 * time.Microsecond, false, 0.99},
		{"none is", 2, 600 * time.Microsecond, true, evenQuantile},
		{"there is one kind, and it is good", 0, 600 * time.Microsecond, true, 0.99},
	} {
		core := judgedPool(t, c.paused)
		if c.down {
			core.workers[0].State, core.workers[1].State = 0, 0
			core.recount()
		}
		m := &core.models[0]
		m.demand.gap, m.demand.size = float64(c.gap), 1
		if core.judge(m); m.judged != c.want {
			t.Errorf("%s: judged by %v, want %v", c.name, m.judged, c.want)
		}
	}
}

// Of so many idle workers one is tried each time that all together have been idle
// for a second, and no more than one in eight run then.
func TestTrials(t *testing.T) {
	for _, workers := range []int{1, 10, 100} {
		model := Model{Name: "m", QoS: time.Millisecond}
		c, _ := pricedPool(t, PricedOptions{}, model, []law{{9 * time.Millisecond, 0}}, []int{workers}, []int{10})
		g := &c.models[0].groups[0]
		every := time.Second / time.Duration(workers)
		c.now = c.now.Add(every - 1)
		if c.trialDue(g) {
			t.Errorf("%d workers: a trial after %v", workers, every-1)
		}
		c.now++
		g.flying = workers / 8
		if !c.trialDue(g) {
			t.Errorf("%d workers: no trial after %v", workers, every)
		}
		if g.flying++; c.trialDue(g) {
			t.Errorf("%d workers: a trial while %d run", workers, g.flying)
		}
	}
}
