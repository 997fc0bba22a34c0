package live

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"motley/internal/backend"
	"motley/internal/backend/backendtest"
	"motley/internal/dispatch"
	"motley/internal/pool"
)

// joining is a worker for the tests' loops.
func joining(name string, f *backendtest.Fake) Joining {
	return Joining{Worker: pool.Worker{Name: name, Concurrency: 1, State: pool.Up, Serves: []pool.Serve{{MaxBatch: 8}}}, Backend: f}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestJoin(t *testing.T) {
	t.Run("it gets work once it has answered", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := setup{fakes: fakes{{Latency: takes(time.Hour)}}, probe: ProbeConfig{Interval: time.Second}}.start(t)
			l.Watch()
			busy, second := ask("busy", 1), ask("second", 1)
			busy.Timeout, second.Timeout = 2*time.Hour, time.Minute
			var all sync.WaitGroup
			all.Go(func() { answered(t, busy, l.Do(busy)) })
			synctest.Wait()
			all.Go(func() { answered(t, second, l.Do(second)) })
			synctest.Wait()
			b := &backendtest.Fake{}
			m, err := l.Join(joining("b", b))
			if err != nil {
				t.Fatal(err)
			}
			<-m.Up()
			synctest.Wait()
			if len(b.Batches()) != 1 || second.Worker != m.ID() || m.ID() != 1 {
				t.Errorf("the second request ran on worker %d in %v", second.Worker, b.Batches())
			}
			all.Wait()
			closed(t, l)
			if !b.Closed() {
				t.Error("its backend is left open")
			}
		})
	})
	t.Run("a loop that stops takes in nobody", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := setup{fakes: fakes{{}}, state: pool.Up}.start(t)
			closed(t, l)
			if _, err := l.Join(joining("b", &backendtest.Fake{})); !errors.Is(err, ErrStopping) {
				t.Errorf("got %v", err)
			}
			l.Member(0).Leave(0) // nor does it see anybody off
		})
	})
	t.Run("the ID of one that is gone is used again, but not at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := setup{fakes: fakes{{}, {}}, state: pool.Up}.start(t)
			first := l.Member(0)
			first.Leave(0)
			<-first.Gone()
			time.Sleep(reuse)
			m, err := l.Join(joining("again", &backendtest.Fake{}))
			if err != nil || m.ID() != 0 {
				t.Errorf("a minute later it joins as %d, %v", m.ID(), err)
			}
			next, err := l.Join(joining("next", &backendtest.Fake{}))
			if err != nil || next.ID() != 2 {
				t.Errorf("the next joins as %d, %v", next.ID(), err)
			}
			m.Leave(0)
			<-m.Gone()
			if soon, err := l.Join(joining("soon", &backendtest.Fake{})); err != nil || soon.ID() != 3 {
				t.Errorf("who comes soon after has ID %d, %v", soon.ID(), err)
			}
			closed(t, l)
		})
	})
}

func TestLeave(t *testing.T) {
	t.Run("it ends what it has begun", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a, b := &backendtest.Fake{Latency: takes(3 * time.Second)}, &backendtest.Fake{}
			l := setup{fakes: fakes{a, b}, state: pool.Up}.start(t)
			r := ask("first", 1)
			var all sync.WaitGroup
			all.Go(func() { answered(t, r, l.Do(r)) })
			synctest.Wait()
			m := l.Member(0)
			m.Leave(time.Minute)
			for range 5 { // it gets none of these, though it could run them side by side with the first
				next := ask("next", 1)
				answered(t, next, l.Do(next))
				if next.Worker != 1 {
					t.Errorf("a worker that leaves has got new work")
				}
			}
			time.Sleep(3*time.Second - 1)
			synctest.Wait()
			if isClosed(m.Gone()) {
				t.Error("it is gone before its batch has ended")
			}
			all.Wait()
			synctest.Wait()
			if !isClosed(m.Gone()) || !a.Closed() || r.Worker != 0 {
				t.Errorf("3 s later: gone %v, closed %v; the batch ended on %d", isClosed(m.Gone()), a.Closed(), r.Worker)
			}
			if n := len(l.Snapshot().Workers); n != 1 {
				t.Errorf("%d workers are told of, want 1", n)
			}
			closed(t, l)
		})
	})
	t.Run("at the deadline its work is done elsewhere", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			told := make(chan struct{})
			a := &backendtest.Fake{Latency: takes(time.Hour)}
			l := setup{fakes: fakes{a}, state: pool.Up}.start(t)
			r := ask("first", 1)
			var all sync.WaitGroup
			all.Go(func() { answered(t, r, l.Do(r)) })
			synctest.Wait()
			m := l.Member(0)
			m.Closed = func() { close(told) }
			if _, err := l.Join(joining("b", &backendtest.Fake{})); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			m.Leave(10 * time.Second)
			all.Wait()
			if took := time.Since(began); took != 10*time.Second || r.Worker != 1 || r.Attempts != 2 {
				t.Errorf("answered after %v by %d in %d attempts", took, r.Worker, r.Attempts)
			}
			<-m.Gone()
			<-told
			closed(t, l)
		})
	})
	t.Run("who alone can do it goes on until nothing waits", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := &backendtest.Fake{Latency: takes(3 * time.Second)}
			l := setup{fakes: fakes{a}, state: pool.Up, core: dispatch.Config{Models: []dispatch.Model{{Name: "m", QoS: time.Minute, MaxBatch: 1}}}}.start(t)
			l.Member(0).Leave(time.Hour)
			var all sync.WaitGroup
			for range 4 {
				r := ask("r", 1)
				all.Go(func() { answered(t, r, l.Do(r)) })
			}
			all.Wait()
			<-l.Member(0).Gone()
			r := ask("late", 1)
			refusedFor(t, l.Do(r), NoWorker)
			closed(t, l)
		})
	})
	t.Run("before the deadline it begins nothing that would not end in time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p, err := pool.NewProfile([]pool.Point{{Batch: 1, Mean: 4 * time.Second}})
			if err != nil {
				t.Fatal(err)
			}
			a := &backendtest.Fake{Latency: takes(4 * time.Second)}
			l := setup{fakes: fakes{a}, state: pool.Up, core: dispatch.Config{
				Models: []dispatch.Model{{Name: "m", QoS: time.Minute, MaxBatch: 1}}, Profiles: [][]*pool.Profile{{p}},
			}}.start(t)
			l.Member(0).Leave(10 * time.Second)
			var all sync.WaitGroup
			for range 4 {
				r := ask("r", 1)
				all.Go(func() { _ = l.Do(r) }) // who comes too late is refused
				synctest.Wait()
			}
			<-l.Member(0).Gone()
			if n := len(a.Batches()); n != 2 { // at 0 and at 4 s; at 8 s there are but 2 s left
				t.Errorf("%d batches were begun, want 2", n)
			}
			if _, err := l.Join(joining("b", &backendtest.Fake{})); err != nil {
				t.Fatal(err)
			}
			all.Wait()
			closed(t, l)
		})
	})
	t.Run("given more time it works again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p, err := pool.NewProfile([]pool.Point{{Batch: 1, Mean: 4 * time.Second}})
			if err != nil {
				t.Fatal(err)
			}
			l := setup{fakes: fakes{{Latency: takes(4 * time.Second)}}, state: pool.Up, core: dispatch.Config{
				Models: []dispatch.Model{{Name: "m", QoS: time.Minute, MaxBatch: 1}}, Profiles: [][]*pool.Profile{{p}},
			}}.start(t)
			m := l.Member(0)
			for _, again := range []func(){func() { m.Leave(time.Hour) }, func() { m.Stay() }} {
				r := ask("r", 1)
				var all sync.WaitGroup
				all.Go(func() { answered(t, r, l.Do(r)) }) // keeps it from being vacant
				synctest.Wait()
				m.Leave(6 * time.Second)
				time.Sleep(3500 * time.Millisecond)
				synctest.Wait()
				if s, _ := m.Report(); s.State != "draining" {
					t.Errorf("close to its deadline it is %s", s.State)
				}
				again()
				synctest.Wait()
				if s, _ := m.Report(); s.State != "up" {
					t.Errorf("with more time it is %s", s.State)
				}
				m.Stay()
				all.Wait()
			}
			closed(t, l)
		})
	})
	t.Run("it may stay after all, and leave again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := &backendtest.Fake{}
			l := setup{fakes: fakes{a}, state: pool.Up}.start(t)
			m := l.Member(0)
			for range 3 {
				m.Leave(time.Minute)
				if !m.Leaving() {
					t.Error("it does not leave")
				}
				if !m.Stay() || m.Leaving() {
					t.Error("it does not stay")
				}
			}
			time.Sleep(time.Hour)
			r := ask("r", 1)
			answered(t, r, l.Do(r))
			m.Leave(time.Minute)
			<-m.Gone()
			if m.Stay() {
				t.Error("it stays, though it is gone")
			}
			closed(t, l)
		})
	})
	t.Run("the loop closes meanwhile", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a, b := &backendtest.Fake{Latency: takes(2 * time.Second)}, &backendtest.Fake{Latency: takes(2 * time.Second)}
			l := setup{fakes: fakes{a, b}, state: pool.Up}.start(t)
			r := ask("r", 1)
			var all sync.WaitGroup
			all.Go(func() { answered(t, r, l.Do(r)) })
			synctest.Wait()
			l.Member(0).Leave(time.Minute)
			l.Member(1).Leave(time.Minute)
			closed(t, l)
			all.Wait()
			if !a.Closed() || !b.Closed() {
				t.Errorf("backends are left open: %v %v", a.Closed(), b.Closed())
			}
		})
	})
}

// TestModelsComeAndGo adds a type and a model with a worker, changes the model, drops it and
// offers it again.
func TestModelsComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := setup{fakes: fakes{{}}, probe: ProbeConfig{Interval: time.Second}}.start(t)
		l.Watch()
		p, err := pool.NewProfile([]pool.Point{{Batch: 1, Mean: time.Second}})
		if err != nil {
			t.Fatal(err)
		}
		typ := l.AddType(pool.InstanceType{Name: "fast"}, []*pool.Profile{p})
		yes := true
		id := l.AddModel(dispatch.Model{Name: "n", QoS: time.Minute, MaxBatch: 4}, ModelSetup{Batched: &yes})
		r := ask("r", 1)
		r.Model = id
		refusedFor(t, l.Do(r), NoWorker)
		b := &backendtest.Fake{}
		b.SetStatus("n", backend.Status{Ready: true, MaxBatch: 3}, nil)
		j := joining("b", b)
		j.Worker.Type, j.Worker.Serves = typ, []pool.Serve{{Model: 0, MaxBatch: 8}, {Model: id, MaxBatch: 8}}
		m, err := l.Join(j)
		if err != nil {
			t.Fatal(err)
		}
		<-m.Up()
		synctest.Wait()
		answered(t, r, l.Do(r))
		if i := l.Info(id); r.Worker != 1 || !i.Batched || i.MaxBatch != 3 {
			t.Errorf("answered by %d, known: %+v", r.Worker, i)
		}
		l.mu.Lock()
		if got := l.mu.core.Profile(0, typ); got != p {
			t.Errorf("the first model's profile on the new type is %p, want the given one", got)
		}
		l.mu.Unlock()
		before := len(l.Snapshot().Models)
		l.DropModel(id)
		if n := len(l.Snapshot().Models); n != before-1 {
			t.Errorf("%d models are told of after one of %d was dropped", n, before)
		}
		answered(t, r, l.Do(r)) // one that was let in before
		l.SetModel(id, dispatch.Model{Name: "n", QoS: time.Hour, MaxBatch: 1}, ModelSetup{})
		if n := len(l.Snapshot().Models); n != before {
			t.Errorf("%d models are told of, want %d again", n, before)
		}
		if i := l.Info(id); i.MaxBatch != 0 {
			t.Errorf("of a model that is offered again the old is known: %+v", i)
		}
		time.Sleep(2 * time.Second)
		if i := l.Info(id); i.MaxBatch != 3 {
			t.Errorf("after a probe is known: %+v", i)
		}
		closed(t, l)
	})
}
