package fleet

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"motley/internal/pool"
	"motley/internal/sim"
)

// fakeAgenda is an agenda in time that a test lets pass. It calls late, by up to
// late, as a real one does.
type fakeAgenda struct {
	now     time.Time
	entries entries
	late    time.Duration
	rng     *rand.Rand
}

func newFakeAgenda(late time.Duration) *fakeAgenda {
	return &fakeAgenda{now: time.Unix(1_700_000_000, 0), late: late, rng: rand.New(rand.NewPCG(1, 1))}
}

func (a *fakeAgenda) at(at time.Time, call func()) { heap.Push(&a.entries, entry{at, call}) }

// runTo lets time pass.
func (a *fakeAgenda) runTo(t time.Time) {
	for len(a.entries) > 0 && !a.entries[0].at.After(t) {
		at := a.entries[0].at
		if a.late > 0 {
			at = at.Add(time.Duration(a.rng.Int64N(int64(a.late))))
		}
		if at.After(a.now) {
			a.now = at
		}
		heap.Pop(&a.entries).(entry).call()
	}
	if t.After(a.now) {
		a.now = t
	}
}

func fakeQueue(a *fakeAgenda, cfg queueConfig) *queue {
	cfg.at, cfg.now = a.at, func() time.Time { return a.now }
	return newQueue(cfg)
}

// law is a truth of one model: log-normal at each batch size.
func law(t testing.TB, rows ...pool.Row) *sim.Truth {
	t.Helper()
	for i := range rows {
		rows[i].Model, rows[i].InstanceType = "m", "t"
	}
	truth, err := sim.TruthFromRows(rows, "m", "t")
	if err != nil {
		t.Fatal(err)
	}
	return truth
}

func row(batch int, mean, p99 time.Duration) pool.Row {
	return pool.Row{Point: pool.Point{Batch: batch, Mean: mean, P99: p99}}
}

const ms = time.Millisecond

// TestKieferWolfowitz holds every start against the recursion: first come, first
// served starts a request when it has come and the first of the slots is free.
// (With one slot it is Lindley's.) The agenda's being late must not show.
func TestKieferWolfowitz(t *testing.T) {
	for _, c := range []struct {
		slots int
		load  float64
		late  time.Duration
	}{{1, 0.5, 0}, {1, 0.9, 0}, {1, 0.9, ms}, {3, 0.8, 0}, {3, 0.9, ms}} {
		const n = 5000
		a := newFakeAgenda(c.late)
		q := fakeQueue(a, queueConfig{
			truth: []*sim.Truth{law(t, row(1, 10*ms, 40*ms))}, most: []int{1}, slots: c.slots, delay: noBatching, seed: 3,
		})
		rng := rand.New(rand.NewPCG(5, uint64(c.slots)))
		began, at := a.now, a.now
		jobs := make([]*job, n)
		for i := range jobs {
			at = at.Add(time.Duration(rng.ExpFloat64() * float64(10*ms) / c.load / float64(c.slots)))
			a.runTo(at)
			jobs[i] = &job{rows: 1, came: at, factor: 1, done: make(chan struct{}, 1)}
			if err := q.submit(jobs[i]); err != nil {
				t.Fatal(err)
			}
		}
		a.runTo(at.Add(time.Hour))
		free := slices.Repeat([]time.Time{began}, c.slots)
		waited := 0
		for i, j := range jobs {
			if len(j.done) != 1 {
				t.Fatalf("%+v: request %d was not executed", c, i)
			}
			first := 0
			for k := range free {
				if free[k].Before(free[first]) {
					first = k
				}
			}
			want := j.came
			if free[first].After(want) {
				want = free[first]
				waited++
			}
			if !j.start.Equal(want) {
				t.Fatalf("%+v: request %d starts %v after the recursion says", c, i, j.start.Sub(want))
			}
			free[first] = want.Add(j.end.Sub(j.start))
		}
		if share := float64(waited) / n; share < c.load-0.35 || share > c.load+0.1 {
			t.Errorf("%+v: %.2f of the requests wait", c, share)
		}
		if q.mu.tally[0].requests != n || len(q.mu.idle) != c.slots {
			t.Errorf("%+v: counted %d, %d slots idle", c, q.mu.tally[0].requests, len(q.mu.idle))
		}
	}
}

// executions runs n requests of so many rows one after the other and returns
// how long they took, in order of length.
func executions(t *testing.T, truth *sim.Truth, rows, n int) []float64 {
	t.Helper()
	a := newFakeAgenda(0)
	q := fakeQueue(a, queueConfig{truth: []*sim.Truth{truth}, most: []int{rows}, slots: 1, delay: noBatching, seed: 11})
	took := make([]float64, n)
	for i := range took {
		j := &job{rows: rows, came: a.now, factor: 1, done: make(chan struct{}, 1)}
		if err := q.submit(j); err != nil {
			t.Fatal(err)
		}
		a.runTo(a.now.Add(time.Hour))
		took[i] = float64(j.end.Sub(j.start))
	}
	slices.Sort(took)
	return took
}

// distance is Kolmogorov and Smirnov's: the largest between the shares of the
// sorted values and the law.
func distance(sorted []float64, law func(float64) float64) float64 {
	d, n := 0.0, float64(len(sorted))
	for i, v := range sorted {
		d = max(d, math.Abs(law(v)-float64(i)/n), math.Abs(law(v)-float64(i+1)/n))
	}
	return d
}

// TestLaw compares how long executions take with the law that was asked for.
func TestLaw(t *testing.T) {
	const n = 20_000
	const limit = 1.95 / 141.4 // of the distance: one in a thousand is over it by chance
	mean := func(sorted []float64) float64 {
		sum := 0.0
		for _, v := range sorted {
			sum += v
		}
		return sum / n
	}
	// Log-normal: σ² of the logarithm solves z·σ − σ²/2 = ln(p99/mean).
	took := executions(t, law(t, row(4, 10*ms, 30*ms)), 4, n)
	sigma := 2.3263478740408408 - math.Sqrt(2.3263478740408408*2.3263478740408408-2*math.Log(3))
	mu := math.Log(float64(10*ms)) - sigma*sigma/2
	lognormal := func(v float64) float64 { return math.Erfc(-(math.Log(v)-mu)/sigma/math.Sqrt2) / 2 }
	if d := distance(took, lognormal); d > limit {
		t.Errorf("log-normal: distance %.4f from the law", d)
	}
	if m := mean(took) / float64(10*ms); math.Abs(m-1) > 0.02 {
		t.Errorf("log-normal: mean %.4f of the one asked for", m)
	}
	if p := took[n*99/100] / float64(30*ms); math.Abs(p-1) > 0.05 {
		t.Errorf("log-normal: p99 %.4f of the one asked for", p)
	}
	// Samples: each as often as the other.
	samples := []time.Duration{ms, 2 * ms, 3 * ms, 5 * ms, 8 * ms}
	truth, err := sim.NewTruth([]sim.Cell{{Model: "m", InstanceType: "t", Batch: 4, Took: samples}}, "m", "t")
	if err != nil {
		t.Fatal(err)
	}
	took = executions(t, truth, 3, n) // conservative: the next larger batch that was measured
	for _, s := range samples {
		count := 0
		for _, v := range took {
			if v == float64(s) {
				count++
			}
		}
		if share := float64(count) / n; math.Abs(share-0.2) > 0.012 {
			t.Errorf("samples: %v is %.4f of all, want 0.2", s, share)
		}
	}
}

// TestSeed: the same seed gives the same durations, another gives others.
func TestSeed(t *testing.T) {
	run := func(seed uint64) (took []time.Duration) {
		a := newFakeAgenda(0)
		q := fakeQueue(a, queueConfig{truth: []*sim.Truth{law(t, row(1, ms, 3*ms))}, most: []int{1}, slots: 1, delay: noBatching, seed: seed})
		for range 20 {
			j := &job{rows: 1, came: a.now, factor: 1, done: make(chan struct{}, 1)}
			_ = q.submit(j)
			a.runTo(a.now.Add(time.Minute))
			took = append(took, j.end.Sub(j.start))
		}
		return took
	}
	if !slices.Equal(run(1), run(1)) || slices.Equal(run(1), run(2)) {
		t.Error("durations do not follow the seed")
	}
}

// TestBatching holds which requests are executed together, and when, of
// executions that take 10 ms and 4 rows at most.
func TestBatching(t *testing.T) {
	type request struct{ at, model, rows int } // at in ms
	const none = -1
	for _, c := range []struct {
		name  string
		delay int // ms; none: no batching
		in    []request
		start []int // ms, by request
		batch []int // rows of its execution
	}{
		{"alone", none, []request{{0, 0, 1}, {1, 0, 1}, {2, 0, 1}}, []int{0, 10, 20}, []int{1, 1, 1}},
		{"what waits is merged", 0, []request{{0, 0, 1}, {1, 0, 1}, {2, 0, 2}}, []int{0, 10, 10}, []int{1, 3, 3}},
		{"up to the largest batch", 0, []request{{0, 0, 1}, {1, 0, 2}, {2, 0, 1}, {3, 0, 2}}, []int{0, 10, 10, 20}, []int{1, 3, 3, 2}},
		{"in order", 0, []request{{0, 0, 1}, {1, 0, 3}, {2, 0, 2}, {3, 0, 1}}, []int{0, 10, 20, 20}, []int{1, 3, 3, 3}},
		{"of one model", 0, []request{{0, 0, 1}, {1, 0, 1}, {2, 1, 1}, {3, 0, 1}}, []int{0, 10, 20, 10}, []int{1, 2, 1, 2}},
		{"the first waits", 5, []request{{0, 0, 1}, {3, 0, 1}}, []int{5, 5}, []int{2, 2}},
		{"not for more than the delay", 5, []request{{0, 0, 1}, {6, 0, 1}}, []int{5, 15}, []int{1, 1}},
		{"not once it is full", 5, []request{{0, 0, 1}, {2, 0, 3}}, []int{2, 2}, []int{4, 4}},
		{"not once one more does not fit", 5, []request{{0, 0, 2}, {2, 0, 3}}, []int{2, 12}, []int{2, 3}},
		{"not when it has waited for a slot", 5, []request{{0, 0, 4}, {1, 0, 1}}, []int{0, 10}, []int{4, 1}},
		{"for the rest of the delay", 5, []request{{0, 0, 4}, {8, 0, 1}}, []int{0, 13}, []int{4, 1}},
	} {
		a := newFakeAgenda(0)
		delay := noBatching
		if c.delay != none {
			delay = time.Duration(c.delay) * ms
		}
		constant := law(t, row(1, 10*ms, 0), row(4, 10*ms, 0))
		q := fakeQueue(a, queueConfig{truth: []*sim.Truth{constant, constant}, most: []int{4, 4}, slots: 1, delay: delay})
		began := a.now
		var jobs []*job
		for _, r := range c.in {
			at := began.Add(time.Duration(r.at) * ms)
			a.runTo(at)
			j := &job{model: r.model, rows: r.rows, came: at, factor: 1, done: make(chan struct{}, 1)}
			jobs = append(jobs, j)
			if err := q.submit(j); err != nil {
				t.Fatal(err)
			}
		}
		a.runTo(began.Add(time.Hour))
		var start, batch []int
		for _, j := range jobs {
			start, batch = append(start, int(j.start.Sub(began)/ms)), append(batch, j.batch)
		}
		if !slices.Equal(start, c.start) || !slices.Equal(batch, c.batch) {
			t.Errorf("%s: starts %v with %v rows, want %v with %v", c.name, start, batch, c.start, c.batch)
		}
	}
}

// TestMaxQueue: what the queue has no room for is refused.
func TestMaxQueue(t *testing.T) {
	a := newFakeAgenda(0)
	q := fakeQueue(a, queueConfig{truth: []*sim.Truth{law(t, row(1, 10*ms, 0))}, most: []int{1}, slots: 1, delay: noBatching, maxQueue: 2})
	for i := range 5 {
		err := q.submit(&job{rows: 1, came: a.now, factor: 1, done: make(chan struct{}, 1)})
		if full := i > 2; (err != nil) != full {
			t.Errorf("request %d: %v", i, err)
		}
	}
	a.runTo(a.now.Add(11 * ms))
	if err := q.submit(&job{rows: 1, came: a.now, factor: 1, done: make(chan struct{}, 1)}); err != nil {
		t.Errorf("after one has begun: %v", err)
	}
}

// TestFactor: an execution takes as many times longer as the most delayed of
// its requests.
func TestFactor(t *testing.T) {
	for _, c := range []struct {
		factors []float64
		want    time.Duration
	}{{[]float64{1}, 10 * ms}, {[]float64{0.5}, 5 * ms}, {[]float64{1, 3, 2}, 30 * ms}, {[]float64{0}, 0}} {
		a := newFakeAgenda(0)
		q := fakeQueue(a, queueConfig{truth: []*sim.Truth{law(t, row(1, 10*ms, 0), row(4, 10*ms, 0))}, most: []int{len(c.factors)}, slots: 1, delay: time.Second})
		var last *job
		for _, f := range c.factors {
			last = &job{rows: 1, came: a.now, factor: f, done: make(chan struct{}, 1)}
			if err := q.submit(last); err != nil {
				t.Fatal(err)
			}
		}
		a.runTo(a.now.Add(time.Hour))
		if took := last.end.Sub(last.start); took != c.want || q.mu.busy != c.want {
			t.Errorf("%v: took %v, busy %v, want %v", c.factors, took, q.mu.busy, c.want)
		}
	}
}
