package profiler

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"motley/internal/oip"
	"motley/internal/pool"
)

// counted is a server's counters.
type counted struct {
	version    string
	executions uint64
	batches    map[uint64]oip.BatchStats
}

func newCounted(version string) *counted {
	return &counted{version: version, batches: map[uint64]oip.BatchStats{}}
}

func (c *counted) run(batch uint64, input, infer, output time.Duration) {
	c.executions++
	b := c.batches[batch]
	b.BatchSize = batch
	for _, s := range []struct {
		stat *oip.Stat
		took time.Duration
	}{{&b.ComputeInput, input}, {&b.ComputeInfer, infer}, {&b.ComputeOutput, output}} {
		s.stat.Count++
		s.stat.Ns += uint64(s.took)
	}
	c.batches[batch] = b
}

func (c *counted) stats() oip.ModelStats {
	s := oip.ModelStats{Version: c.version, ExecutionCount: c.executions}
	for n := uint64(1); n < 100; n++ {
		if b, ok := c.batches[n]; ok {
			s.BatchStats = append(s.BatchStats, b)
		}
	}
	return s
}

func resultOfWatch(w *Watch) Result { return w.Result(Target{Model: "m", Type: "t"}, "w", time.Minute) }

// Two servers, two versions, a restart: exactly what was executed between polls is
// counted, with all three parts of an execution.
func TestWatch(t *testing.T) {
	ms := time.Millisecond
	a, b, old := newCounted("2"), newCounted("2"), newCounted("1")
	w := NewWatch()
	poll := 0
	look := func() {
		w.Add("a", poll, []oip.ModelStats{old.stats(), a.stats()})
		w.Add("b", poll, []oip.ModelStats{b.stats()})
		poll++
	}
	a.run(4, 0, 900*ms, 0) // before the first look: not seen
	b.run(4, 0, 900*ms, 0)
	look()
	if r := resultOfWatch(w); r.Err == nil || !strings.Contains(r.Err.Error(), "nothing was executed") {
		t.Errorf("without traffic: %v", r.Err)
	}
	a.run(4, 1*ms, 9*ms, 2*ms)
	a.run(8, 1*ms, 18*ms, 1*ms)
	old.run(4, 0, 50*ms, 0)
	look()
	a = newCounted("2") // a restarts, and gets as far as one execution
	a.run(4, 0, 10*ms, 0)
	b.run(4, 0, 14*ms, 0)
	look()
	r := resultOfWatch(w)
	if r.Err != nil || len(r.Sizes) != 2 || r.Runs != 4 {
		t.Fatalf("%v, %d runs, %+v", r.Err, r.Runs, r.Sizes)
	}
	if s := r.Sizes[0]; s.Batch != 4 || s.Count != 3 || s.Mean != 12*ms || s.P99 != 0 || s.unknown() {
		t.Errorf("4 items: %+v", s)
	}
	if s := r.Sizes[1]; s.Batch != 8 || s.Count != 1 || s.Mean != 20*ms || !s.unknown() {
		t.Errorf("8 items: %+v", s)
	}
	notes := strings.Join(r.Notes, "; ")
	for _, want := range []string{"began anew 1 times", "of version 2, which was the busiest; left out: 1 (1 batches)", "means only"} {
		if !strings.Contains(notes, want) {
			t.Errorf("the notes do not say %q: %s", want, notes)
		}
	}
	var text, csv bytes.Buffer
	if err := Print(&text, []Result{r}); err != nil || !strings.Contains(text.String(), "m on t: passive, not measured: 5 batches that w counted in 1m0s") {
		t.Errorf("%v\n%s", err, &text)
	}
	if err := WriteCSV(&csv, []Result{r}, time.Unix(0, 0)); err != nil || !strings.HasPrefix(csv.String(), "# passive: ") {
		t.Errorf("%v\n%s", err, &csv)
	}
	rows, err := pool.ReadProfiles(&csv)
	if err != nil || len(rows) != 2 || rows[0].Mean != 12*ms || rows[0].P99 != 0 {
		t.Errorf("%v, %+v", err, rows)
	}
}

// A version that a known server loads later has run all that it counts since.
func TestWatchNewVersion(t *testing.T) {
	w := NewWatch()
	w.Add("a", 0, []oip.ModelStats{newCounted("1").stats()})
	c := newCounted("2")
	c.run(2, 0, time.Millisecond, 0)
	w.Add("a", 1, []oip.ModelStats{newCounted("1").stats(), c.stats()})
	if r := resultOfWatch(w); r.Runs != 1 {
		t.Errorf("%d runs, want 1", r.Runs)
	}
}

func TestWatchSilentServer(t *testing.T) {
	w := NewWatch()
	w.Add("a", 0, []oip.ModelStats{{Version: "1", ExecutionCount: 5}})
	w.Add("a", 1, []oip.ModelStats{{Version: "1", ExecutionCount: 9}})
	if r := resultOfWatch(w); r.Err == nil || !strings.Contains(r.Err.Error(), "counted 4 executions, but does not tell them by batch size") {
		t.Errorf("error %v", r.Err)
	}
}

// The interval of a mean, which knows only the means of intervals, holds the truth
// in about 95 of 100 cases.
func TestWatchInterval(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	held := 0
	const trials = 1000
	for range trials {
		w, c := NewWatch(), newCounted("1")
		for poll := range 7 {
			for range 20 + rng.IntN(200) {
				c.run(4, 0, time.Duration(1e6*math.Exp(0.3*rng.NormFloat64()-0.045)), 0)
			}
			w.Add("a", poll, []oip.ModelStats{c.stats()})
		}
		s := resultOfWatch(w).Sizes[0]
		if (s.Mean - time.Millisecond).Abs() <= s.Half {
			held++
		}
	}
	if held < 920 || held > 980 {
		t.Errorf("%d of %d intervals hold the mean, want about 950", held, trials)
	}
}

// Where clients send any size, those close together are told as one, on the line
// that they lie on.
func TestWatchManySizes(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	w, c := NewWatch(), newCounted("1")
	for poll := range 5 {
		for range 2000 {
			n := 1 + rng.IntN(90)
			c.run(uint64(n), 0, time.Duration((1e6+2e4*float64(n))*(1+0.1*rng.NormFloat64())), 0)
		}
		w.Add("a", poll, []oip.ModelStats{c.stats()})
	}
	r := resultOfWatch(w)
	if len(r.Sizes) > mostSizes || r.Largest != 90 || r.Sizes[0].Batch != 1 || !strings.Contains(strings.Join(r.Notes, " "), "90 batch sizes were run") {
		t.Errorf("%d sizes, the largest %d, notes %q", len(r.Sizes), r.Largest, r.Notes)
	}
	outside, runs := 0, 0
	for i, s := range r.Sizes {
		runs += s.Count
		truth := 1e6 + 2e4*float64(s.Batch)
		if i > 0 && s.Batch <= r.Sizes[i-1].Batch || math.Abs(float64(s.Mean)/truth-1) > 0.04 {
			t.Errorf("%+v, want a mean of %v", s, time.Duration(truth))
		}
		if (s.Mean - time.Duration(truth)).Abs() > s.Half+10*time.Microsecond { // half an item
			outside++
		}
	}
	if outside > 3 || runs != 8000 {
		t.Errorf("%d of %d intervals do not hold the truth; %d runs", outside, len(r.Sizes), runs)
	}
}

// Whatever servers say, what comes of it can be printed, and is made of positive means at
// sizes that rise.
func FuzzWatch(f *testing.F) {
	f.Add(`{"model_stats":[{"version":"1","execution_count":1,"batch_stats":[{"batch_size":1,"compute_infer":{"count":1,"ns":5}}]}]}`,
		`{"model_stats":[{"version":"1","execution_count":3,"batch_stats":[{"batch_size":1,"compute_infer":{"count":2,"ns":9}},{"batch_size":1,"compute_infer":{"count":3,"ns":4}}]}]}`,
		`{"model_stats":[{"version":"2","execution_count":3,"batch_stats":[{"batch_size":0,"compute_infer":{"count":2,"ns":9}},{"batch_size":7,"compute_infer":{"count":3,"ns":18446744073709551615}}]}]}`)
	f.Fuzz(func(t *testing.T, a, b, c string) {
		w := NewWatch()
		for poll, text := range []string{a, b, c} {
			var form oip.StatsResponse
			if json.Unmarshal([]byte(text), &form) != nil {
				return
			}
			w.Add("s", poll, form.ModelStats)
		}
		r := resultOfWatch(w)
		for i, s := range r.Sizes {
			if s.Mean < 1 || s.Count < 0 || s.Half < 0 || i > 0 && s.Batch <= r.Sizes[i-1].Batch {
				t.Errorf("%+v", s)
			}
		}
		if err := Print(io.Discard, []Result{r}); err != nil {
			t.Error(err)
		}
	})
}
