package live

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"motley/internal/backend"
	"motley/internal/backend/backendtest"
	"motley/internal/dispatch"
	"motley/internal/pool"
)

// TestHedge hangs one of two workers: what it holds is answered by the other as soon as it
// is late, what the first one writes when it is told to stop reaches nobody, and nobody
// waits for more than that it stops. After three it gets no more.
func TestHedge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := pool.NewProfile([]pool.Point{{Batch: 1, Mean: 10 * time.Millisecond}, {Batch: 64, Mean: 20 * time.Millisecond}})
		if err != nil {
			t.Fatal(err)
		}
		other := &backendtest.Fake{Latency: takes(10 * time.Millisecond)}
		l := setup{
			fakes: fakes{{}, other}, state: pool.Up,
			core: dispatch.Config{Profiles: [][]*pool.Profile{{p}}, Failures: dispatch.Failures{Hedge: 1}},
		}.start(t)
		l.table.Load().workers[0].Backend = &slowToStop{}
		for i := range 10 {
			began := time.Now()
			r := ask("x", 1)
			err := do(l, r)
			answered(t, r, err)
			// Late after about 10 ms, the other's 10 ms, and 20 ms until the first has stopped.
			if took := time.Since(began); r.Worker != 1 || took > 60*time.Millisecond {
				t.Errorf("request %d is answered by %d after %v", i, r.Worker, took)
			}
		}
		s := l.Snapshot()
		if m := s.Models[0]; m.Hedges < 3 || m.Hedges != m.HedgesWon || s.Workers[0].Ejections != 1 {
			t.Errorf("%+v, %+v", m, s.Workers[0])
		}
		closed(t, l)
	})
}

// TestHedgedCrowd has hundreds of clients, some of which leave, on workers that pause: each
// is told once, with its own rows.
func TestHedgedCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := pool.NewProfile([]pool.Point{{Batch: 1, Mean: 2 * time.Millisecond}, {Batch: 64, Mean: 4 * time.Millisecond}})
		if err != nil {
			t.Fatal(err)
		}
		var list fakes
		for w := range 4 {
			n := 0
			list = append(list, &backendtest.Fake{Latency: func(string, int) time.Duration {
				if n++; n%50 == 10*w+9 {
					return 60 * time.Millisecond
				}
				return 2 * time.Millisecond
			}})
		}
		l := setup{fakes: list, state: pool.Up, core: dispatch.Config{
			Profiles: [][]*pool.Profile{{p}}, Failures: dispatch.Failures{Hedge: 1, HedgeBudget: 1},
		}}.start(t)
		var all sync.WaitGroup
		for i := range 600 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				r := ask(string(rune('a'+i%26)), 1)
				err := do(l, r)
				answered(t, r, err)
			})
		}
		all.Wait()
		if m := l.Snapshot().Models[0]; m.HedgesWon < 3 || m.InFlight != 0 {
			t.Errorf("%+v", m)
		}
		closed(t, l)
	})
}

// TestFaults says whom each kind of error is blamed on.
func TestFaults(t *testing.T) {
	for _, c := range []struct {
		err  backend.Error
		want dispatch.Fault
	}{
		{backend.Error{Class: backend.Server}, dispatch.WorkerFault},
		{backend.Error{Class: backend.Timeout}, dispatch.WorkerFault},
		{backend.Error{Class: backend.Protocol}, dispatch.WorkerFault},
		{backend.Error{Class: backend.Connect}, dispatch.Lost},
		{backend.Error{Class: backend.Connect, Unserved: true}, dispatch.Unserved},
		{backend.Error{Class: backend.Server, Unserved: true}, dispatch.Unserved},
		{backend.Error{Class: backend.Client}, dispatch.RequestFault},
		{backend.Error{Class: backend.Canceled}, dispatch.NoFault},
	} {
		if got := faultOf(&c.err); got != c.want {
			t.Errorf("%+v: %v, want %v", c.err, got, c.want)
		}
	}
}
