package live

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"motley/internal/backend"
	"motley/internal/backend/backendtest"
	"motley/internal/dispatch"
	"motley/internal/pool"
)

// TestRetryElsewhere kills a worker in the middle of its batch.
func TestRetryElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &backendtest.Fake{Latency: takes(10 * time.Millisecond)}, &backendtest.Fake{Latency: takes(10 * time.Millisecond)}
		seen := &observed{}
		l := setup{fakes: fakes{a, b}, state: pool.Up}.start(t)
		l.cfg.Observer = seen
		var all sync.WaitGroup
		for i := range 12 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * time.Microsecond)
				r := ask(fmt.Sprint("request ", i), 1)
				answered(t, r, do(l, r))
				if r.Worker != 1 {
					t.Errorf("request %d was answered by worker %d", i, r.Worker)
				}
				if want := 1 + (i+1)%2; i < 2 && r.Attempts != want {
					t.Errorf("request %d took %d attempts, want %d", i, r.Attempts, want)
				}
			})
		}
		time.Sleep(time.Millisecond)
		a.Kill()
		all.Wait()
		if seen.retried == 0 || seen.failed == 0 || seen.done == 0 {
			t.Errorf("the observer was told of %+v", seen)
		}
		closed(t, l)
	})
}

// TestStepped has the observer told of one step in so many.
func TestStepped(t *testing.T) {
	seen := &observed{}
	steps := 0
	l := setup{fakes: fakes{{}}, state: pool.Up}.start(t)
	l.cfg.Observer = seen
	l.cfg.Trace = func(dispatch.Event, []dispatch.Action) { steps++ }
	for range 10 * StepsPerReport {
		r := ask("x", 1)
		answered(t, r, do(l, r))
	}
	closed(t, l)
	if seen.stepped != steps/StepsPerReport || seen.stepped < 20 {
		t.Errorf("told of %d steps of %d", seen.stepped, steps)
	}
	if seen.took <= 0 {
		t.Errorf("they took %v", seen.took)
	}
}

type observed struct {
	sync.Mutex
	retried, failed, done, stepped int
	took                           time.Duration // by the steps
}

func (o *observed) BatchDone(r BatchReport) {
	o.Lock()
	defer o.Unlock()
	o.done++
	if r.Err != nil {
		o.failed++
	}
}

func (o *observed) Stepped(took time.Duration) {
	o.Lock()
	defer o.Unlock()
	o.stepped++
	o.took += took
}

func (o *observed) Retried(pool.ModelID) {
	o.Lock()
	defer o.Unlock()
	o.retried++
}

// TestFailed exhausts the attempts and hands on what the last worker said.
func TestFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := &backendtest.Fake{Fail: failing(backend.Server, 502)}
		l := setup{fakes: fakes{broken, {Fail: failing(backend.Protocol, 502)}}, state: pool.Up}.start(t)
		r := ask("x", 1)
		none := refusedFor(t, do(l, r), Failed)
		var own *backend.Error
		if !errors.As(none.Cause, &own) || own.Message != "told to fail" || r.Attempts != 3 {
			t.Errorf("cause %v after %d attempts, want the worker's after 3", none.Cause, r.Attempts)
		}
		closed(t, l)
	})
}

// slowToStop writes a wrong answer after it was told to stop, and returns only
// after a while, as an engine between two stages does.
type slowToStop struct{ backendtest.Fake }

func (b *slowToStop) Run(ctx context.Context, _ string, calls []*backend.Call) error {
	<-ctx.Done()
	time.Sleep(20 * time.Millisecond)
	for _, c := range calls {
		c.Response.Body = append(c.Response.Body[:0], "too late"...)
	}
	return backend.ContextError(ctx)
}

// TestHung hangs a worker: the core gives its batch up, another worker answers
// its members, and what the first one writes late reaches nobody.
func TestHung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := setup{
			fakes: fakes{{}, {Latency: takes(time.Millisecond)}}, state: pool.Up,
			core: dispatch.Config{Hang: 50 * time.Millisecond},
		}.start(t)
		l.worker(pool.WorkerID(0)).Backend = &slowToStop{}
		var all sync.WaitGroup
		for i := range 40 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Microsecond)
				r := ask(fmt.Sprint("request ", i), 1)
				answered(t, r, do(l, r))
				if r.Worker != 1 {
					t.Errorf("request %d was answered by worker %d", i, r.Worker)
				}
				if i == 0 && r.Attempts != 2 {
					t.Errorf("the hung request took %d attempts, want 2", r.Attempts)
				}
			})
		}
		all.Wait()
		if w := l.Snapshot().Workers[0]; w.Failures == 0 {
			t.Error("the hung worker is not blamed")
		}
		closed(t, l)
	})
}

// TestHungEverywhere tells the client that workers did not answer, and not
// that its request was cancelled, which is the loop's own doing.
func TestHungEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := setup{
			fakes: fakes{{}, {}}, state: pool.Up,
			core: dispatch.Config{Hang: 50 * time.Millisecond},
		}.start(t)
		l.worker(pool.WorkerID(0)).Backend, l.worker(pool.WorkerID(1)).Backend = &slowToStop{}, &slowToStop{}
		none := refusedFor(t, do(l, ask("x", 1)), Failed)
		var own *backend.Error
		if !errors.As(none.Cause, &own) || own.Class != backend.Timeout || own.Status != 504 {
			t.Errorf("cause %v, want a timeout with status 504", none.Cause)
		}
		closed(t, l)
	})
}

// TestHungThenRefused keeps to the cause when the cancelled execution returns
// while its member waits for another worker in vain.
func TestHungThenRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := setup{fakes: fakes{{}}, state: pool.Up, core: dispatch.Config{Hang: 50 * time.Millisecond}}.start(t)
		l.worker(pool.WorkerID(0)).Backend = &slowToStop{}
		var all sync.WaitGroup
		all.Go(func() {
			r := ask("x", 1)
			r.Timeout = 200 * time.Millisecond
			if none := refusedFor(t, do(l, r), NoWorker); none.Cause != errHung {
				t.Errorf("cause %v, want the hanging", none.Cause)
			}
		})
		time.Sleep(60 * time.Millisecond) // the core has given up, Run has not returned
		l.SetState(0, pool.Draining)
		all.Wait()
		closed(t, l)
	})
}

// TestWorkerGoesDown moves a running batch to another worker.
func TestWorkerGoesDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &backendtest.Fake{Latency: takes(time.Hour)}
		l := setup{fakes: fakes{f, {}}, state: pool.Up}.start(t)
		l.SetState(1, pool.Draining)
		done := make(chan struct{})
		r := ask("moved", 1)
		go func() {
			answered(t, r, do(l, r))
			close(done)
		}()
		synctest.Wait()
		l.SetState(1, pool.Up)
		l.SetState(0, pool.Down)
		<-done
		if b := f.Batches()[0]; r.Worker != 1 || r.Attempts != 2 || b.Err == nil || b.End.Sub(b.Start) != 0 {
			t.Errorf("answered by worker %d after %d attempts; the first execution: %+v", r.Worker, r.Attempts, b)
		}
		closed(t, l)
	})
}
