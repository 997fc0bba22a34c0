package live

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"motley/internal/backend"
	"motley/internal/backend/backendtest"
	"motley/internal/dispatch"
	"motley/internal/pool"
)

type fakes = []*backendtest.Fake

// TestEachGetsItsOwn lets requests pile up behind a busy worker, so that they
// are merged, and looks at every answer.
func TestEachGetsItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &backendtest.Fake{Latency: takes(10 * time.Millisecond)}
		l := setup{fakes: fakes{f}, state: pool.Up}.start(t)
		var all sync.WaitGroup
		for i := range 21 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * time.Microsecond)
				r := ask(fmt.Sprintf("body %d", i), 1+i%3)
				answered(t, r, do(l, r))
				batch, queued := 41, 10*time.Millisecond-time.Duration(i)*time.Microsecond
				if i == 0 {
					batch, queued = 1, 0
				}
				if r.Worker != 0 || r.Batch != batch || r.Attempts != 1 || r.Queued != queued || r.Ran != 10*time.Millisecond {
					t.Errorf("request %d: worker %d, batch of %d, attempt %d, queued %v, ran %v; want batch %d, queued %v",
						i, r.Worker, r.Batch, r.Attempts, r.Queued, r.Ran, batch, queued)
				}
			})
		}
		all.Wait()
		if sizes := f.Sizes(); len(sizes) != 2 || len(sizes[1]) != 20 {
			t.Errorf("batches %v, want the first request alone and the rest together", sizes)
		}
		closed(t, l)
	})
}

// TestRefusals lists the ways in which a request is turned away before it has
// run.
func TestRefusals(t *testing.T) {
	for _, tc := range []struct {
		name   string
		core   dispatch.Config
		state  pool.State
		ahead  int // requests that come first
		size   int
		limit  time.Duration
		want   Reason
		within time.Duration
		advice bool // when to try again
	}{
		{
			name: "queue full", core: dispatch.Config{
				Models:   []dispatch.Model{{Name: "m", QoS: time.Minute, MaxQueue: 3}},
				Profiles: [][]*pool.Profile{{profile(t, 10*time.Millisecond)}},
			},
			state: pool.Up, ahead: 4, size: 1, want: QueueFull, advice: true,
		},
		{
			name: "a deadline that cannot be kept",
			core: dispatch.Config{
				Models: []dispatch.Model{{Name: "m"}}, Profiles: [][]*pool.Profile{{profile(t, 10*time.Millisecond)}},
			},
			state: pool.Up, size: 1, limit: 5 * time.Millisecond, want: Deadline,
		},
		{
			name: "a deadline that an idle pool would keep",
			core: dispatch.Config{
				Models: []dispatch.Model{{Name: "m"}}, Profiles: [][]*pool.Profile{{profile(t, 10*time.Millisecond)}},
			},
			state: pool.Up, ahead: 1, size: 1, limit: 19 * time.Millisecond, want: Deadline, advice: true,
		},
		{
			name: "a deadline that passes in the queue", state: pool.Up, ahead: 1, size: 1,
			limit: 3 * time.Millisecond, want: Deadline, within: 3*time.Millisecond + 1,
		},
		{name: "no worker", state: pool.Down, size: 1, want: NoWorker, advice: true},
		{
			name: "no worker comes up in time", state: pool.Starting, size: 1,
			limit: 3 * time.Millisecond, want: NoWorker, within: 3*time.Millisecond + 1, advice: true,
		},
		{
			name: "too large", core: dispatch.Config{Workers: []pool.Worker{
				{Concurrency: 1, State: pool.Up, Serves: []pool.Serve{{Model: 0, MaxBatch: 8}}},
			}},
			size: 9, want: TooLarge,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &backendtest.Fake{Latency: takes(10 * time.Millisecond)}
				l := setup{fakes: fakes{f}, core: tc.core, state: tc.state}.start(t)
				var all sync.WaitGroup
				for range tc.ahead {
					all.Go(func() {
						r := ask("ahead", 1)
						answered(t, r, do(l, r))
					})
					synctest.Wait()
				}
				start := time.Now()
				r := ask("late", tc.size)
				r.Timeout = tc.limit
				none := refusedFor(t, do(l, r), tc.want)
				if took := time.Since(start); took != tc.within {
					t.Errorf("refused after %v, want %v", took, tc.within)
				}
				if r.Worker != -1 || r.Attempts != 0 {
					t.Errorf("refused on worker %d after %d attempts", r.Worker, r.Attempts)
				}
				if advice := none.RetryAfter; (advice > 0) != tc.advice {
					t.Errorf("told to try again after %v", advice)
				}
				all.Wait()
				closed(t, l)
			})
		})
	}
}

func profile(t *testing.T, d time.Duration) *pool.Profile {
	p, err := pool.NewProfile([]pool.Point{{Batch: 1, Mean: d}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestRefusedBatchIsTakenApart sends one bad request among good ones: the
// worker's 4xx for the batch reaches the bad one alone.
func TestRefusedBatchIsTakenApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &backendtest.Fake{Latency: takes(time.Millisecond)}
		f.Fail = func(_ string, calls []*backend.Call) error {
			for _, c := range calls {
				if string(c.Request.Body) == "bad" {
					return &backend.Error{Class: backend.Client, Status: 422, Message: "bad row"}
				}
			}
			return nil
		}
		l := setup{fakes: fakes{f}, state: pool.Up}.start(t)
		var all sync.WaitGroup
		for i, body := range []string{"first", "a", "bad", "b", "c"} {
			all.Go(func() {
				time.Sleep(time.Duration(i) * time.Microsecond)
				r := ask(body, 1)
				err := do(l, r)
				if body != "bad" {
					answered(t, r, err)
					return
				}
				var own *backend.Error
				if !errors.As(err, &own) || own.Status != 422 || r.Attempts != 3 {
					t.Errorf("the bad request got %v after %d attempts, want the worker's own 422 after 3", err, r.Attempts)
				}
			})
		}
		all.Wait()
		if got, want := f.Sizes(), [][]int{{1}, {1, 1, 1, 1}, {1, 1}, {1}, {1}, {1, 1}}; !reflect.DeepEqual(got, want) {
			t.Errorf("batches %v, want %v", got, want)
		}
		if w := l.Snapshot().Workers[0]; w.Failures != 0 || w.Breaker != "closed" {
			t.Errorf("the worker is blamed: %+v", w)
		}
		closed(t, l)
	})
}

// TestMemberError hands one member of a batch its own error and the others
// their answers.
func TestMemberError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := &backend.Error{Class: backend.Client, Status: 400, Message: "this row"}
		f := &backendtest.Fake{Latency: takes(time.Millisecond)}
		f.Fail = func(_ string, calls []*backend.Call) error {
			calls[len(calls)/2].Err = own
			return nil
		}
		l := setup{fakes: fakes{f}, state: pool.Up}.start(t)
		errs := make([]error, 6)
		var all sync.WaitGroup
		for i := range errs {
			all.Go(func() {
				time.Sleep(time.Duration(i) * time.Microsecond)
				r := ask(fmt.Sprint(i), 1)
				if errs[i] = do(l, r); errs[i] == nil {
					answered(t, r, nil)
				}
			})
		}
		all.Wait()
		if want := []error{own, nil, nil, own, nil, nil}; !reflect.DeepEqual(errs, want) {
			t.Errorf("got %v, want %v", errs, want)
		}
		f.Fail = nil
		for i := range 20 { // what is used again remembers nothing
			r := ask(fmt.Sprint("later ", i), 1)
			answered(t, r, do(l, r))
		}
		closed(t, l)
	})
}

// TestCloseDrains lets what has come end, and nothing more come.
func TestCloseDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &backendtest.Fake{Latency: takes(time.Second)}
		l := setup{fakes: fakes{f}, state: pool.Up}.start(t)
		var all sync.WaitGroup
		for i := range 3 {
			all.Go(func() {
				r := ask(fmt.Sprint(i), 1)
				answered(t, r, do(l, r))
			})
		}
		synctest.Wait()
		all.Go(func() {
			closed(t, l)
			if now, _ := f.Running(); now != 0 || !f.Closed() {
				t.Errorf("closed with %d batches running, backend closed: %v", now, f.Closed())
			}
		})
		synctest.Wait()
		refusedFor(t, do(l, ask("late", 1)), Stopping)
		all.Wait()
	})
}

// TestCloseInHaste ends the wait: everybody is told, nothing is left running
// when the backends are closed, and nothing is started anew.
func TestCloseInHaste(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &backendtest.Fake{Latency: takes(time.Hour)}
		l := setup{fakes: fakes{f, {}}, state: pool.Up, core: dispatch.Config{
			Models: []dispatch.Model{{Name: "m", QoS: 24 * time.Hour}},
		}}.start(t)
		stubborn := &slowToStop{}
		l.worker(pool.WorkerID(1)).Backend = stubborn
		var all sync.WaitGroup
		for i := range 7 {
			all.Go(func() { refusedFor(t, do(l, ask(fmt.Sprint(i), 1)), Stopping) })
			synctest.Wait()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		start := time.Now()
		err := l.Close(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "7 requests") {
			t.Errorf("Close: %v, want the deadline and the number of requests", err)
		}
		if took := time.Since(start); took != 50*time.Millisecond {
			t.Errorf("Close took %v, want 30ms of patience and 20ms until the last execution has stopped", took)
		}
		if now, _ := f.Running(); now != 0 || len(f.Batches()) != 1 || !f.Closed() || !stubborn.Closed() {
			t.Errorf("%d batches run, %d ran, backends closed: %v, %v", now, len(f.Batches()), f.Closed(), stubborn.Closed())
		}
		all.Wait()
	})
}

// TestCloseIdleWithExpiredContext has nothing to wait for.
func TestCloseIdleWithExpiredContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 20 { // the two reasons to go on are both there
			l := setup{fakes: fakes{{}}, state: pool.Up}.start(t)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := l.Close(ctx); err != nil {
				t.Fatal(err)
			}
		}
	})
}
