package live

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"motley/internal/backend"
	"motley/internal/backend/backendtest"
	"motley/internal/dispatch"
	"motley/internal/earlyexit"
	"motley/internal/gate"
	"motley/internal/pool"
)

// TestClientLeaves: a request whose client leaves is given up wherever it is,
// and what nobody else waits for is stopped.
func TestClientLeaves(t *testing.T) {
	for _, tc := range []struct {
		name   string
		before bool          // there is a request ahead
		beside bool          // there is one behind it in the queue
		after  time.Duration // when the client leaves
		ends   time.Duration // when Do has returned
		batch  time.Duration // when the worker is free
	}{
		{name: "before it came", after: 0, ends: 0, batch: 0},
		{name: "while it runs alone", after: 3 * time.Millisecond, ends: 3 * time.Millisecond, batch: 3 * time.Millisecond},
		{name: "while it waits", before: true, after: 3 * time.Millisecond, ends: 3 * time.Millisecond, batch: 10 * time.Millisecond},
		// It carries the batch that the other one is in as well.
		{name: "while it runs with another", before: true, beside: true, after: 13 * time.Millisecond, ends: 20 * time.Millisecond, batch: 20 * time.Millisecond},
		{name: "afterwards", after: 11 * time.Millisecond, ends: 10 * time.Millisecond, batch: 10 * time.Millisecond},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &backendtest.Fake{Latency: takes(10 * time.Millisecond)}
				l := setup{fakes: fakes{f}, state: pool.Up}.start(t)
				start := time.Now()
				var all sync.WaitGroup
				other := func(body string) {
					all.Go(func() {
						r := ask(body, 1)
						answered(t, r, do(l, r))
					})
					synctest.Wait()
				}
				if tc.before {
					other("before")
				}
				ctx, cancel := context.WithCancelCause(t.Context())
				why := errors.New("the connection is closed")
				time.AfterFunc(tc.after, func() { cancel(why) })
				if tc.after == 0 {
					cancel(why)
				}
				all.Go(func() {
					r := ask("who leaves", 1)
					r.Exit = 7
					err := l.DoContext(ctx, r)
					if took := time.Since(start); took != tc.ends {
						t.Errorf("returned after %v, want %v", took, tc.ends)
					}
					if tc.after > tc.ends {
						answered(t, r, err)
					} else if !isCanceled(err) || !errors.Is(err, why) || r.Exit != -1 {
						t.Errorf("got %v, exit %d", err, r.Exit)
					}
				})
				synctest.Wait()
				if tc.beside {
					other("beside")
				}
				all.Wait()
				closed(t, l)
				if took := time.Since(start); took != tc.batch {
					t.Errorf("all was over after %v, want %v", took, tc.batch)
				}
				n := l.mu.core.Counts()
				if want := uint64(0); n.Arrived != n.Answered+n.Cancelled || n.Failed != want || (n.Cancelled == 1) != (tc.after > 0 && tc.after <= tc.ends) {
					t.Errorf("%+v", n)
				}
				time.Sleep(time.Second) // for what the test itself has set off
			})
		})
	}
}

// TestClientLeavesParts: all parts of the request are given up.
func TestClientLeavesParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &backendtest.Fake{Latency: takes(time.Hour), Answer: echoes("1", nil)}
		quick := &backendtest.Fake{Latency: takes(time.Millisecond), Answer: echoes("1", nil)}
		l := split(t, quick, slow)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond+1)
		defer cancel()
		r := numbers(t, 1000)
		r.Timeout = 10 * time.Hour
		start := time.Now()
		if err := l.DoContext(ctx, r); !isCanceled(err) || time.Since(start) > 6*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if n := len(quick.Batches()); n < 4 {
			t.Errorf("only %d parts had run", n)
		}
		closed(t, l)
		if now, _ := slow.Running(); now != 0 {
			t.Error("a part runs on")
		}
	})
}

// TestClientLeavesMidway: rows of a client that has left stop at the next ramp;
// whoever shares the batch is answered, and nothing is learned of what nobody
// was told.
func TestClientLeavesMidway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &stagedFake{ramps: 2, stage: ms10, says: sure}
		c := newChooser(earlyexit.Latency, 2, 0)
		l := stagedLoop(t, c, dispatch.Config{}, f)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		time.AfterFunc(3*ms10+ms10/2, cancel) // before the first exit
		var all sync.WaitGroup
		for i, row := range []int{0, 1, 9} {
			all.Go(func() {
				if i == 1 {
					if err := l.DoContext(ctx, askRows(t, row)); !isCanceled(err) {
						t.Error(err)
					}
				} else if err := do(l, askRows(t, row)); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		all.Wait()
		closed(t, l)
		if f.ran[0] != 3 || f.ran[1] != 2 || f.ran[2] != 2 {
			t.Errorf("rows by stage %v, want 3, 2, 2: that of the client that left stops", f.ran)
		}
		checkLearned(t, c, 2, 2, 0)
	})
}

// TestDoContextAllocates bounds what a client that may leave costs, and what
// an early answer does.
func TestDoContextAllocates(t *testing.T) {
	if raceDetector {
		t.Skip("sync.Pool drops at random under the race detector")
	}
	l := benchLoop(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, tc := range []struct {
		ctx context.Context
		max float64
	}{{context.Background(), 0}, {ctx, 6}} {
		r := ask("x", 1)
		n := testing.AllocsPerRun(2000, func() {
			if err := l.DoContext(tc.ctx, r); err != nil {
				t.Fatal(err)
			}
		})
		if n > tc.max {
			t.Errorf("%v allocations per request, want at most %v", n, tc.max)
		}
	}
	closed(t, l)
}

// quick is a staged worker that takes no time and allocates nothing: every row
// leaves by the first ramp and runs on.
type quick struct {
	backendtest.Fake
	exits backend.Exits
	sizes []int
	sight backend.Sight
}

func (q *quick) Exits(string) *backend.Exits { return &q.exits }

func (q *quick) RunStaged(_ context.Context, _ string, calls []*backend.Call, w backend.Watcher) error {
	w.Begin(q.sizes[:len(calls)])
	for q.sight.Exit = range q.exits.Ramps + 1 {
		q.sight.Leave[0], q.sight.Stop[0] = false, false
		w.At(&q.sight)
		if q.sight.Exit == 0 {
			w.Answered(0)
		}
	}
	return nil
}

// always lets every row go.
type always struct{ learned int }

func (*always) Active(int, float64) uint32 { return 3 }
func (*always) Decide(*earlyexit.Row, int) earlyexit.Verdict {
	return earlyexit.Verdict{Exit: true, Audit: 1}
}
func (a *always) Learn(*earlyexit.Outcome) { a.learned++ }
func (*always) Report() earlyexit.Report {
	return earlyexit.Report{Mode: earlyexit.Latency, Ramps: make([]earlyexit.RampReport, 2)}
}

// TestStagedAllocates holds what a staged request costs the heap in steady
// state, apart from what its backend does: its goroutine.
func TestStagedAllocates(t *testing.T) {
	if raceDetector {
		t.Skip("sync.Pool drops at random under the race detector")
	}
	l := setup{fakes: fakes{{}}, state: pool.Up, core: dispatch.Config{Models: []dispatch.Model{{Name: "m", QoS: time.Hour}}}}.start(t)
	seen := earlyexit.Signal{Class: 1, Confidence: 1}
	l.worker(pool.WorkerID(0)).Backend = &quick{
		exits: backend.Exits{Ramps: 2, Classes: 10, Depth: []float64{0.25, 0.5}}, sizes: []int{1},
		sight: backend.Sight{Rows: []int{0}, Signals: []earlyexit.Signal{seen}, Leave: make([]bool, 1), Stop: make([]bool, 1)},
	}
	c := &always{}
	l.model(0).Gate = gate.New(c, 1)
	r := ask("x", 1)
	r.Mode = earlyexit.Latency
	n := testing.AllocsPerRun(2000, func() {
		if err := l.Do(r); err != nil {
			t.Fatal(err)
		}
	})
	if n > 2 {
		t.Errorf("%v allocations per request, want at most 2", n)
	}
	closed(t, l)
	if c.learned != 2001 || r.Exit != -1 { // the backend says nothing of it
		t.Errorf("learned of %d rows, exit %d", c.learned, r.Exit)
	}
}
