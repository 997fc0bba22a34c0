package live

import (
	"context"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"motley/internal/backend"
	"motley/internal/backend/backendtest"
	"motley/internal/dispatch"
	"motley/internal/oip"
	"motley/internal/pool"
)

func unreachable() error {
	return &backend.Error{Class: backend.Connect, Status: 502, Message: "no such host"}
}

// states lists the workers' states.
func states(l *Loop) (all []string) {
	for _, w := range l.Snapshot().Workers {
		all = append(all, w.State)
	}
	return all
}

func wantState(t *testing.T, l *Loop, w int, want string) {
	t.Helper()
	synctest.Wait()
	if got := states(l)[w]; got != want {
		t.Errorf("worker %d is %s, want %s", w, got, want)
	}
}

// TestWatch follows a worker that is there from the start, one that comes up
// later, and one that goes and comes back.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &backendtest.Fake{}, &backendtest.Fake{}
		b.SetStatus("m", backend.Status{}, unreachable())
		l := setup{fakes: fakes{a, b}, probe: ProbeConfig{Interval: time.Second, Failures: 3}}.start(t)
		if l.ModelReady(0) {
			t.Error("the model is ready before anybody was asked")
		}
		l.Watch()
		wantState(t, l, 0, "up")
		wantState(t, l, 1, "down") // one failure is enough at the start
		if !l.ModelReady(0) {
			t.Error("the model is not ready though a worker is up")
		}

		b.SetStatus("m", backend.Status{Ready: true}, nil)
		time.Sleep(time.Second)
		wantState(t, l, 1, "up")

		a.SetStatus("m", backend.Status{}, unreachable())
		for range 2 {
			time.Sleep(time.Second)
			wantState(t, l, 0, "up")
			r := ask("still served", 1)
			answered(t, r, do(l, r))
		}
		b.SetStatus("m", backend.Status{}, unreachable())
		time.Sleep(time.Second)
		wantState(t, l, 0, "down")
		wantState(t, l, 1, "up")
		r := ask("by the other one", 1)
		if answered(t, r, do(l, r)); r.Worker != 1 {
			t.Errorf("worker %d answered, want the one that is up", r.Worker)
		}
		time.Sleep(2 * time.Second)
		wantState(t, l, 1, "down")
		refusedFor(t, do(l, ask("nobody", 1)), NoWorker)
		if l.ModelReady(0) {
			t.Error("the model is ready on no worker")
		}

		a.SetStatus("m", backend.Status{Ready: true}, nil)
		time.Sleep(time.Second)
		wantState(t, l, 0, "up")
		r = ask("back again", 1)
		answered(t, r, do(l, r))
		closed(t, l)
	})
}

// TestProbesAreSpread has all workers probed at once at the start, and from then on one
// after the other, each once in an interval.
func TestProbesAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := setup{fakes: fakes{{}, {}, {}, {}}, probe: ProbeConfig{Interval: time.Second}}.start(t)
		probes := func() (all [4]int) {
			synctest.Wait()
			for w, m := range l.table.Load().workers {
				all[w] = m.Backend.(*backendtest.Fake).Probes()
			}
			return all
		}
		l.Watch()
		want := [4]int{1, 1, 1, 1}
		for step := range 13 {
			if got := probes(); got != want {
				t.Errorf("%d quarters of an interval after the first round: %v probes, want %v", step, got, want)
			}
			want[step%4]++
			time.Sleep(250 * time.Millisecond)
		}
		closed(t, l)
	})
}

// TestFailuresMustBeConsecutive answers every other probe.
func TestFailuresMustBeConsecutive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &backendtest.Fake{}
		l := setup{fakes: fakes{f}, probe: ProbeConfig{Interval: time.Second}}.start(t)
		l.Watch()
		for i := range 10 {
			var err error
			if i%2 == 0 {
				err = unreachable()
			}
			f.SetStatus("m", backend.Status{Ready: err == nil}, err)
			time.Sleep(time.Second)
			wantState(t, l, 0, "up")
			r := ask("served", 1)
			answered(t, r, do(l, r))
		}
		closed(t, l)
	})
}

// TestQueuedUntilUp lets a request wait for a worker that is starting.
func TestQueuedUntilUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &slowProbe{}
		l := setup{fakes: fakes{{}}, probe: ProbeConfig{Interval: -1}}.start(t)
		l.worker(pool.WorkerID(0)).Backend = f
		var all sync.WaitGroup
		all.Go(func() {
			r := ask("early", 1)
			answered(t, r, do(l, r))
			if r.Queued != time.Second {
				t.Errorf("waited %v, want 1s", r.Queued)
			}
		})
		l.Watch()
		all.Wait()
		time.Sleep(time.Minute)
		if f.Probes() != 1 {
			t.Errorf("%d probes, want one", f.Probes())
		}
		closed(t, l)
	})
}

type slowProbe struct{ backendtest.Fake }

func (b *slowProbe) Probe(ctx context.Context, model string) (backend.Status, error) {
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
	}
	return b.Fake.Probe(ctx, model)
}

// TestProbeTimesOut gives up on a worker that does not answer, without holding
// up the start for longer than the timeout.
func TestProbeTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := setup{fakes: fakes{{}, {}}, probe: ProbeConfig{Timeout: 400 * time.Millisecond}}.start(t)
		l.worker(pool.WorkerID(0)).Backend = &slowProbe{}
		start := time.Now()
		l.Watch()
		if took := time.Since(start); took != 400*time.Millisecond {
			t.Errorf("the first round took %v, want 400ms", took)
		}
		wantState(t, l, 0, "down")
		wantState(t, l, 1, "up")
		closed(t, l)
	})
}

// TestModelNotReady takes one of two models off a worker, and gives it back.
func TestModelNotReady(t *testing.T) {
	for _, tc := range []struct {
		name   string
		err    error
		rounds int // until it is noticed
	}{
		{"says so", nil, 1},
		{"does not answer for it", unreachable(), 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &backendtest.Fake{}
				l := setup{
					fakes: fakes{f}, probe: ProbeConfig{Interval: time.Second},
					core: dispatch.Config{Models: []dispatch.Model{{Name: "m"}, {Name: "n"}}},
				}.start(t)
				l.Watch()
				f.SetStatus("n", backend.Status{}, tc.err)
				for round := range tc.rounds {
					if !l.ModelReady(1) {
						t.Errorf("model n is off after %d rounds, want %d", round, tc.rounds)
					}
					time.Sleep(time.Second)
					synctest.Wait()
				}
				if !l.ModelReady(0) || l.ModelReady(1) {
					t.Errorf("models are ready: %v, %v; want true, false", l.ModelReady(0), l.ModelReady(1))
				}
				wantState(t, l, 0, "up")
				r := ask("n", 1)
				r.Model = 1
				refusedFor(t, do(l, r), NoWorker)
				r = ask("m", 1)
				answered(t, r, do(l, r))

				f.SetStatus("n", backend.Status{Ready: true}, nil)
				time.Sleep(time.Second)
				synctest.Wait()
				r = ask("n", 1)
				r.Model = 1
				answered(t, r, do(l, r))
				closed(t, l)
			})
		})
	}
}

// TestLearns takes limits and metadata from what workers tell.
func TestLearns(t *testing.T) {
	yes, no := true, false
	meta := func(first int64) *oip.ModelMetadata {
		side := []oip.TensorMetadata{{Name: "x", Shape: []int64{first, 3}}}
		return &oip.ModelMetadata{Name: "m", Inputs: side, Outputs: side}
	}
	own, declared := meta(-1), meta(-1)
	for _, tc := range []struct {
		name     string
		probe    ProbeConfig
		tells    []backend.Status // by worker
		metadata *oip.ModelMetadata
		batched  bool
		maxBatch int
		limits   []int
	}{
		{
			name: "a bound each", tells: []backend.Status{{MaxBatch: 8}, {MaxBatch: 32}},
			batched: true, maxBatch: 32, limits: []int{8, 32},
		},
		{
			name: "a free first dimension", tells: []backend.Status{{Metadata: own}},
			metadata: own, batched: true, limits: []int{math.MaxInt32},
		},
		{name: "a fixed first dimension", tells: []backend.Status{{Metadata: meta(1)}}, metadata: meta(1), limits: []int{1}},
		{name: "nothing", tells: []backend.Status{{}}, limits: []int{1}},
		{
			name: "configured to be batched", probe: ProbeConfig{Batched: []*bool{&yes}}, tells: []backend.Status{{}},
			batched: true, limits: []int{math.MaxInt32},
		},
		{
			name: "configured not to be", probe: ProbeConfig{Batched: []*bool{&no}}, tells: []backend.Status{{Metadata: own}},
			metadata: own, limits: []int{1},
		},
		{
			name: "declared metadata holds", probe: ProbeConfig{Metadata: []*oip.ModelMetadata{declared}},
			tells: []backend.Status{{}}, metadata: declared, batched: true, limits: []int{math.MaxInt32},
		},
		{
			name:  "the worker's own comes first",
			probe: ProbeConfig{Metadata: []*oip.ModelMetadata{declared}}, tells: []backend.Status{{Metadata: meta(7)}},
			metadata: meta(7), limits: []int{1},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := setup{probe: tc.probe}
				s.probe.Interval = -1
				for _, tell := range tc.tells {
					f := &backendtest.Fake{}
					tell.Ready = true
					f.SetStatus("m", tell, nil)
					s.fakes = append(s.fakes, f)
				}
				l := s.start(t)
				if info := l.Info(0); info.Metadata != nil || info.Batched || info.MaxBatch != 0 {
					t.Errorf("before anything is known: %+v", info)
				}
				l.Watch()
				info := l.Info(0)
				if info.Batched != tc.batched || info.MaxBatch != tc.maxBatch {
					t.Errorf("batched %v up to %d, want %v up to %d", info.Batched, info.MaxBatch, tc.batched, tc.maxBatch)
				}
				if (info.Metadata == nil) != (tc.metadata == nil) ||
					info.Metadata != nil && info.Metadata.Inputs[0].Shape[0] != tc.metadata.Inputs[0].Shape[0] {
					t.Errorf("metadata %+v, want %+v", info.Metadata, tc.metadata)
				}
				for w, want := range tc.limits {
					if got := l.mu.core.Limit(pool.WorkerID(w), 0); got != want {
						t.Errorf("worker %d takes %d items, want %d", w, got, want)
					}
				}
				closed(t, l)
			})
		})
	}
}

// TestCloseDuringProbes is no news of the workers.
func TestCloseDuringProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := setup{fakes: fakes{{}}, probe: ProbeConfig{Interval: time.Second, Timeout: time.Minute, Failures: 1}}.start(t)
		l.worker(pool.WorkerID(0)).Backend = &slowProbe{}
		l.Watch()
		time.Sleep(1500 * time.Millisecond) // into the second round
		closed(t, l)
		wantState(t, l, 0, "up")
	})
}
