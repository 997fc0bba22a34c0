package live

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"motley/internal/backend"
	"motley/internal/dispatch"
	"motley/internal/earlyexit"
	"motley/internal/oip"
	"motley/internal/pool"
)

const ms10 = 10 * time.Millisecond

// crowd sends requests, a microsecond apart, behind one that keeps the only
// worker busy, so that they make one batch; then it tells how each ended, by
// request: the error, and when after the batch began.
func crowd(t *testing.T, l *Loop, requests ...*Request) ([]error, []time.Duration) {
	t.Helper()
	errs, took := make([]error, len(requests)), make([]time.Duration, len(requests))
	var all sync.WaitGroup
	all.Go(func() {
		first := askRows(t, 0)
		first.Mode = earlyexit.Off
		if err := do(l, first); err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	start := time.Now()
	for i, r := range requests {
		time.Sleep(time.Microsecond)
		all.Go(func() {
			errs[i] = do(l, r)
			took[i] = time.Since(start)
		})
		synctest.Wait()
	}
	all.Wait()
	for i := range took {
		took[i] -= 3 * ms10
	}
	return errs, took
}

// TestLeavesEarly has a batch of rows that leave by the first ramp, by the
// second and by the end, in each mode of requests and model, and compares what
// each client got, and when, and what is learned.
func TestLeavesEarly(t *testing.T) {
	const off, latency, compute = earlyexit.Off, earlyexit.Latency, earlyexit.Compute
	for _, tc := range []struct {
		name     string
		mode     earlyexit.Mode // the model's
		audit    float64
		together bool
		told     bool // the backend tells of the last answers, too
		rows     [][]int
		modes    []earlyexit.Mode // of the requests; compute where there are none
		exits    []int
		after    []time.Duration
		lasts    time.Duration // the batch
		ran      []int         // rows by stage
		learned  int
		audited  int
	}{
		{
			name: "latency", mode: latency, rows: [][]int{{9}, {90}, {1}}, exits: []int{0, 1, 2},
			after: []time.Duration{ms10, 2 * ms10, 3 * ms10}, lasts: 3 * ms10, ran: []int{3, 3, 3}, learned: 3, audited: 3,
		},
		{
			name: "latency, told to the end", mode: latency, told: true, rows: [][]int{{9}, {90}, {1}}, exits: []int{0, 1, 2},
			after: []time.Duration{ms10, 2 * ms10, 3 * ms10}, lasts: 3 * ms10, ran: []int{3, 3, 3}, learned: 3, audited: 3,
		},
		{
			name: "compute", mode: compute, rows: [][]int{{9}, {90}, {1}}, exits: []int{0, 1, 2},
			after: []time.Duration{ms10, 2 * ms10, 3 * ms10}, lasts: 3 * ms10, ran: []int{3, 2, 1}, learned: 3, audited: 1,
		},
		{
			name: "compute, all leave", mode: compute, rows: [][]int{{9}, {19}, {29}}, exits: []int{0, 0, 0},
			after: []time.Duration{ms10, ms10, ms10}, lasts: ms10, ran: []int{3}, learned: 3,
		},
		{
			name: "compute with audits", mode: compute, audit: 1, rows: [][]int{{9}, {19}, {29}}, exits: []int{0, 0, 0},
			after: []time.Duration{ms10, ms10, ms10}, lasts: 3 * ms10, ran: []int{3, 3, 3}, learned: 3, audited: 3,
		},
		{
			name: "the request's mode", mode: compute, rows: [][]int{{9}, {19}, {29}}, modes: []earlyexit.Mode{off, latency, compute}, exits: []int{2, 0, 0},
			after: []time.Duration{3 * ms10, ms10, ms10}, lasts: 3 * ms10, ran: []int{3, 2, 2}, learned: 2, audited: 1,
		},
		{
			name: "nobody may", mode: compute, rows: [][]int{{9}, {19}}, modes: []earlyexit.Mode{off, off}, exits: []int{-1, -1},
			after: []time.Duration{3 * ms10, 3 * ms10}, lasts: 3 * ms10,
		},
		{
			name: "several rows", mode: latency, rows: [][]int{{9, 99, 90}, {1, 9}, {9, 9}}, exits: []int{1, 2, 0},
			after: []time.Duration{2 * ms10, 3 * ms10, ms10}, lasts: 3 * ms10, ran: []int{7, 7, 7}, learned: 7, audited: 7,
		},
		{
			name: "several rows, compute", mode: compute, rows: [][]int{{9, 99, 90}, {1, 9}, {9, 9}}, exits: []int{1, 2, 0},
			after: []time.Duration{2 * ms10, 3 * ms10, ms10}, lasts: 3 * ms10, ran: []int{7, 2, 1}, learned: 7, audited: 1,
		},
		{
			name: "together", mode: compute, together: true, rows: [][]int{{9, 99, 90}, {9, 1}, {99, 9}}, exits: []int{2, 2, 0},
			after: []time.Duration{3 * ms10, 3 * ms10, ms10}, lasts: 3 * ms10, ran: []int{7, 5, 5}, learned: 7, audited: 5,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &stagedFake{ramps: 2, stage: ms10, says: sure, together: tc.together, early: tc.told}
				c := newChooser(tc.mode, 2, tc.audit)
				l := stagedLoop(t, c, dispatch.Config{}, f)
				var stages []dispatch.Stage
				var ended time.Time
				l.cfg.Trace = func(ev dispatch.Event, _ []dispatch.Action) {
					if ev.Kind == dispatch.Finish {
						ended, stages = time.Now(), slices.Clone(ev.Stages)
					}
				}
				start := time.Now()
				var requests []*Request
				for i, rows := range tc.rows {
					r := askRows(t, rows...)
					if tc.modes != nil {
						r.Mode = tc.modes[i]
					}
					requests = append(requests, r)
				}
				errs, after := crowd(t, l, requests...)
				items := 0
				for i, r := range requests {
					items += len(tc.rows[i])
					if errs[i] != nil {
						t.Errorf("request %d: %v", i, errs[i])
						continue
					}
					rows, _, _ := parse(t, r)
					if !slices.Equal(rows, tc.rows[i]) || r.Exit != tc.exits[i] || after[i] != tc.after[i] || r.Ran != tc.after[i] || r.Worker != 0 || r.Parts != 1 {
						t.Errorf("request %d is answered %v by exit %d after %v (ran %v): %s; want exit %d after %v",
							i, rows, r.Exit, after[i], r.Ran, r.Call.Response.Body, tc.exits[i], tc.after[i])
					}
					if wantC := float32(1); r.Exit >= 0 && r.Confidence != wantC {
						t.Errorf("request %d: confidence %v", i, r.Confidence)
					}
				}
				closed(t, l)
				if took := ended.Sub(start) - 3*ms10; took != tc.lasts {
					t.Errorf("the batch took %v, want %v", took, tc.lasts)
				}
				if !slices.Equal(f.ran, tc.ran) {
					t.Errorf("rows by stage %v, want %v", f.ran, tc.ran)
				}
				var want []dispatch.Stage
				if len(tc.ran) > 0 && (len(tc.ran) < 3 || tc.ran[2] < items) {
					for k := range 3 {
						rows := 0
						if k < len(tc.ran) {
							rows = tc.ran[k]
						}
						want = append(want, dispatch.Stage{Rows: rows})
					}
				}
				sum := 0.0
				for i := range stages {
					sum += stages[i].Share
					stages[i].Share = 0
				}
				if !reflect.DeepEqual(stages, want) || want != nil && (sum < 0.999 || sum > 1.001) {
					t.Errorf("Finish says %v, shares of %v in all; want %v", stages, sum, want)
				}
				checkLearned(t, c, tc.learned, tc.audited, 0)
			})
		})
	}
}

// parse reads the rows of an answer of a stagedFake, and the exit of each.
func parse(t *testing.T, r *Request) (rows, exits []int, by string) {
	t.Helper()
	var resp oip.Response
	if err := resp.Parse(r.Call.Response.Body, r.Call.Response.HeadLength, nil); err != nil {
		t.Fatalf("%v in %q", err, r.Call.Response.Body)
	}
	for _, o := range resp.Outputs {
		got := rowsOfCall(&backend.Call{Request: &oip.Request{Inputs: []oip.Input{{JSON: o.JSON}}}})
		if string(o.Name) == "x" {
			rows = got
		} else {
			exits = got
		}
	}
	return rows, exits, string(resp.ModelVersion)
}

// checkLearned holds what was learned against what was asked.
func checkLearned(t *testing.T, c *chooser, rows, ran, lost int) {
	t.Helper()
	r, x := 0, 0
	for seq, o := range c.learned {
		row, ok := c.asked[seq]
		if !ok || len(o.Signals) != c.ramps {
			t.Errorf("learned of row %d, which was not asked about: %+v", seq, o)
			continue
		}
		if o.Ran {
			r++
			if o.Agree != 1<<c.ramps-1 || o.Class != row.Signals[0].Class {
				t.Errorf("row %d: %+v of %+v: every ramp says the same as the end", seq, o, row)
			}
		}
		if o.Lost {
			x++
		}
	}
	if len(c.learned) != rows || r != ran || x != lost || c.twice != 0 {
		t.Errorf("learned of %d rows, %d of them run to the end, %d lost, %d twice; want %d, %d, %d, 0", len(c.learned), r, x, c.twice, rows, ran, lost)
	}
}

// TestStream: a client that wants to see ramps sees them as they come, and its
// answer is the full model's.
func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &stagedFake{ramps: 2, stage: ms10, says: sure}
		c := newChooser(earlyexit.Compute, 2, 0)
		l := stagedLoop(t, c, dispatch.Config{}, f)
		for _, g := range []bool{true, false} { // with a controller and without
			if !g {
				l.model(0).Gate = nil
			}
			start := time.Now()
			var seen []time.Duration
			r := askRows(t, 9, 99)
			r.Ramps = 0b11
			r.Show = func(ramp int, m oip.Message) {
				if want := answerOf([]int{9, 99}, []int{ramp, ramp}); ramp != len(seen) || string(m.Body) != want {
					t.Errorf("shown ramp %d: %s", ramp, m.Body)
				}
				seen = append(seen, time.Since(start))
			}
			err := do(l, r)
			if err != nil || r.Exit != 2 || !slices.Equal(seen, []time.Duration{ms10, 2 * ms10}) || time.Since(start) != 3*ms10 {
				t.Errorf("%v, exit %d, shown %v, over after %v", err, r.Exit, seen, time.Since(start))
			}
		}
		closed(t, l)
		checkLearned(t, c, 0, 0, 0)
	})
}

// TestIdle: rows are told whether the pool idles: nothing waits, and another
// worker is free for what comes next.
func TestIdle(t *testing.T) {
	for _, tc := range []struct {
		workers, requests int
		want              []bool // by the order in which the rows are decided on
	}{
		{workers: 1, requests: 1, want: []bool{false}},
		{workers: 2, requests: 1, want: []bool{true}},
		{workers: 2, requests: 2, want: []bool{false, false}},
		{workers: 3, requests: 2, want: []bool{true, true}},
		{workers: 1, requests: 2, want: []bool{false, false}},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := newChooser(earlyexit.Latency, 2, 0)
			var workers []*stagedFake
			for range tc.workers {
				workers = append(workers, &stagedFake{ramps: 2, stage: ms10, says: sure})
			}
			l := stagedLoop(t, c, dispatch.Config{}, workers...)
			var all sync.WaitGroup
			for i := range tc.requests {
				all.Go(func() {
					if err := do(l, askRows(t, i)); err != nil {
						t.Error(err)
					}
				})
				synctest.Wait()
			}
			all.Wait()
			for i, want := range tc.want {
				if got := c.asked[uint64(i)].Idle; got != want {
					t.Errorf("%d workers, %d requests: row %d is told that the pool idles: %v", tc.workers, tc.requests, i, got)
				}
			}
			closed(t, l)
		})
	}
}

// TestBreaksMidway: who has an answer keeps it, the others are tried again, and
// what was to be audited is lost.
func TestBreaksMidway(t *testing.T) {
	own := &backend.Error{Class: backend.Server, Status: 500, Message: "told to fail"}
	for _, at := range []int{0, 1, 2} {
		synctest.Test(t, func(t *testing.T) {
			broken := false
			f := &stagedFake{ramps: 2, stage: ms10, says: sure}
			f.breaks = func(first, exit int) error {
				if first == 0 || broken || exit != at {
					return nil
				}
				broken = true
				return own
			}
			c := newChooser(earlyexit.Latency, 2, 0)
			l := stagedLoop(t, c, dispatch.Config{}, f)
			requests := []*Request{askRows(t, 9), askRows(t, 90), askRows(t, 1), askRows(t, 9, 1)}
			errs, _ := crowd(t, l, requests...)
			lost := 0
			for i, r := range requests {
				exit := []int{0, 1, 2, 2}[i]
				attempts := 1
				if exit >= at {
					attempts = 2
				} else {
					lost++
				}
				if errs[i] != nil || r.Exit != exit || r.Attempts != attempts {
					t.Errorf("broken before exit %d: request %d: %v, exit %d, %d attempts; want exit %d, %d", at, i, errs[i], r.Exit, r.Attempts, exit, attempts)
				}
			}
			closed(t, l)
			checkLearned(t, c, 5, 5-lost, lost)
		})
	}
}

// TestHungAfterAnswers: an execution that hangs is called off, even though some
// have their answers, and even though all have.
func TestHungAfterAnswers(t *testing.T) {
	for _, rows := range [][]int{{9}, {9, 1}} {
		synctest.Test(t, func(t *testing.T) {
			f, other := &stagedFake{ramps: 2, stage: ms10, says: sure}, &stagedFake{ramps: 2, stage: ms10, says: sure}
			f.breaks = func(first, exit int) error {
				if first != 0 && exit == 1 {
					time.Sleep(200 * time.Millisecond) // until long after it was told to stop
				}
				return nil
			}
			c := newChooser(earlyexit.Latency, 2, 0)
			l := stagedLoop(t, c, dispatch.Config{Hang: 50 * time.Millisecond}, f, other)
			l.SetState(1, pool.Draining)
			up := time.AfterFunc(4*ms10+ms10/2, func() { l.SetState(1, pool.Up) })
			defer up.Stop()
			var requests []*Request
			for _, row := range rows {
				requests = append(requests, askRows(t, row))
			}
			errs, _ := crowd(t, l, requests...)
			for i, r := range requests {
				if want := []int{0, 2}[i]; errs[i] != nil || r.Exit != want || r.Worker != pool.WorkerID(i) || r.Attempts != i+1 {
					t.Errorf("row %d: %v, exit %d of worker %d in attempt %d, want exit %d of worker %d", rows[i], errs[i], r.Exit, r.Worker, r.Attempts, want, i)
				}
			}
			closed(t, l)
			checkLearned(t, c, len(rows), len(rows)-1, 1)
			if w := l.Snapshot().Workers[0]; w.Failures != 1 {
				t.Errorf("the worker that hung: %+v", w)
			}
		})
	}
}

// TestCloseWhileAudited: Close waits for executions that nobody waits for, and
// stops them when its patience ends.
func TestCloseWhileAudited(t *testing.T) {
	for _, patience := range []time.Duration{time.Hour, ms10 / 2} {
		synctest.Test(t, func(t *testing.T) {
			f := &stagedFake{ramps: 2, stage: ms10, says: sure}
			c := newChooser(earlyexit.Latency, 2, 0)
			l := stagedLoop(t, c, dispatch.Config{}, f)
			start := time.Now()
			if err := do(l, askRows(t, 9)); err != nil || time.Since(start) != ms10 {
				t.Errorf("%v after %v", err, time.Since(start))
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := l.Close(ctx); err != nil {
				t.Error(err) // no request was left
			}
			lost, want := 0, 3*ms10
			if patience < want {
				lost, want = 1, ms10+patience
			}
			if time.Since(start) != want {
				t.Errorf("closed after %v, want %v", time.Since(start), want)
			}
			checkLearned(t, c, 1, 1-lost, lost)
		})
	}
}

// TestRampsElsewhere: a worker without ramps, or with another number of them,
// serves as a whole.
func TestRampsElsewhere(t *testing.T) {
	for _, ramps := range []int{0, 3} {
		synctest.Test(t, func(t *testing.T) {
			c := newChooser(earlyexit.Latency, 2, 0)
			l := stagedLoop(t, c, dispatch.Config{}, &stagedFake{ramps: ramps, stage: ms10, says: sure})
			r := askRows(t, 9)
			if err := do(l, r); err != nil || r.Exit != -1 || r.Ran != time.Duration(ramps+1)*ms10 {
				t.Errorf("%d ramps: %v, exit %d, ran %v", ramps, err, r.Exit, r.Ran)
			}
			closed(t, l)
			checkLearned(t, c, 0, 0, 0)
		})
	}
}

// TestClassesUnknown: where the end says no class, nothing is taken for
// agreement.
func TestClassesUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChooser(earlyexit.Latency, 2, 0)
		l := stagedLoop(t, c, dispatch.Config{}, &stagedFake{ramps: 2, says: func(row, exit int) earlyexit.Signal {
			g := sure(row, exit)
			g.Class = -1
			return g
		}})
		for _, row := range []int{9, 1} {
			if err := do(l, askRows(t, row)); err != nil {
				t.Error(err)
			}
		}
		closed(t, l)
		checkLearned(t, c, 2, 0, 1)
	})
}

func isCanceled(err error) bool {
	var e *backend.Error
	return errors.As(err, &e) && e.Class == backend.Canceled
}

// TestLongWait: where requests wait long, mode latency spends nothing on ramps,
// and mode compute, which makes the wait shorter, goes on.
func TestLongWait(t *testing.T) {
	for _, mode := range []earlyexit.Mode{earlyexit.Latency, earlyexit.Compute} {
		synctest.Test(t, func(t *testing.T) {
			c := newChooser(mode, 2, 0)
			l := stagedLoop(t, c, dispatch.Config{Models: []dispatch.Model{{Name: "m", QoS: time.Hour, MaxBatch: 1}}},
				&stagedFake{ramps: 2, stage: ms10, says: sure})
			for range 10 { // so that how long a run takes is known
				if err := do(l, askRows(t, 9)); err != nil {
					t.Fatal(err)
				}
			}
			const crowd = 40
			exits := make([]int, crowd)
			var all sync.WaitGroup
			for i := range crowd {
				all.Go(func() {
					r := askRows(t, 9)
					if err := do(l, r); err != nil {
						t.Error(err)
					}
					exits[i] = r.Exit
				})
				synctest.Wait()
			}
			all.Wait()
			early := 0
			for _, e := range exits {
				if e == 0 {
					early++
				}
			}
			// Only the last few have no long wait behind them.
			if mode == earlyexit.Compute && early != crowd || mode == earlyexit.Latency && (early < 2 || early > 6 || exits[crowd-1] != 0) {
				t.Errorf("mode %v: %d of %d left early: %v", mode, early, crowd, exits)
			}
			closed(t, l)
		})
	}
}
