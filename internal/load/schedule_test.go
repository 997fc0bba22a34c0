package load

import (
	"slices"
	"testing"
	"time"

	"motley/internal/mono"
	"motley/internal/workload"
)

func testPlan(t *testing.T, arrivals string) *Plan {
	t.Helper()
	a, err := workload.ParseArrivals(arrivals, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := workload.ParseSizes("kairos", nil)
	if err != nil {
		t.Fatal(err)
	}
	return &Plan{
		Models: []*Bodies{{Model: "a"}, {Model: "b"}}, Phases: []Phase{{Rate: 1000}, {Rate: 1000, Target: 1}, {Rate: 1000, Round: 1}},
		Arrivals: a, Sizes: s, Seed: 7, Warmup: 100 * time.Millisecond, Duration: time.Second, Timeout: time.Second, Connections: 8, Threads: 1,
	}
}

// shots is the whole schedule of a phase, loop by loop.
func shots(t *testing.T, p *Plan, phase int) (all [][]shot) {
	t.Helper()
	for share := range p.Threads {
		s, err := newSchedule(p, &p.Phases[phase], share)
		if err != nil {
			t.Fatal(err)
		}
		var mine []shot
		for x, ok := s.next(); ok; x, ok = s.next() {
			mine = append(mine, x)
		}
		all = append(all, mine)
	}
	return all
}

// TestSchedule: the instants are the law's, and the same ones at every target,
// however many loops share them; another round has others.
func TestSchedule(t *testing.T) {
	p := testPlan(t, "exponential")
	one := shots(t, p, 0)[0]
	source, err := p.Arrivals.Start(1000, workload.Stream(7, "arrivals"))
	if err != nil {
		t.Fatal(err)
	}
	models := map[int]int{}
	for i, x := range one {
		if want := source.Next(); x.at != want || x.warm != (want < mono.Time(p.Warmup)) {
			t.Fatalf("shot %d at %v (warm-up %v), want %v", i, x.at, x.warm, want)
		}
		models[x.model]++
	}
	if next := source.Next(); next < mono.Time(p.Warmup+p.Duration) {
		t.Errorf("the schedule ends before %v", next)
	}
	if n := len(one); n < 950 || n > 1250 || models[0] < n/3 || models[1] < n/3 {
		t.Errorf("%d shots at 1000/s for 1.1 s, by model %v", n, models)
	}
	if !slices.Equal(one, shots(t, p, 1)[0]) {
		t.Error("another target has another schedule")
	}
	if slices.Equal(one, shots(t, p, 2)[0]) {
		t.Error("another round has the same schedule")
	}
	p.Threads = 3
	var joined []shot
	for i, mine := range shots(t, p, 0) {
		if len(mine) < len(one)/3-1 {
			t.Errorf("loop %d has %d of %d", i, len(mine), len(one))
		}
		joined = append(joined, mine...)
	}
	slices.SortStableFunc(joined, func(a, b shot) int { return int(a.at - b.at) })
	if !slices.Equal(one, joined) {
		t.Error("three loops have another schedule than one")
	}
}

// TestScheduleByCount: so many after the warm-up, and no more.
func TestScheduleByCount(t *testing.T) {
	p := testPlan(t, "constant")
	p.Requests, p.Duration = 250, 0
	warm, measured := 0, 0
	for _, x := range shots(t, p, 0)[0] {
		if x.warm {
			warm++
		} else {
			measured++
		}
	}
	if warm < 98 || warm > 100 || measured != 250 {
		t.Errorf("%d in the warm-up, %d measured", warm, measured)
	}
}
