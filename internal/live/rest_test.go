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

// TestUpWhileItRests: a worker that answers probes again while it rests, close to its
// deadline, works once it is to stay after all.
func TestUpWhileItRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := pool.NewProfile([]pool.Point{{Batch: 1, Mean: 8 * time.Second}})
		if err != nil {
			t.Fatal(err)
		}
		a := &backendtest.Fake{Latency: takes(8 * time.Second)}
		l := setup{fakes: fakes{a}, probe: ProbeConfig{Interval: time.Second, Failures: 1}, core: dispatch.Config{
			Models: []dispatch.Model{{Name: "m", QoS: time.Hour, MaxBatch: 1}}, Profiles: [][]*pool.Profile{{p}},
		}}.start(t)
		l.Watch()
		m := l.Member(0)
		r := ask("r", 1)
		var all sync.WaitGroup
		all.Go(func() { answered(t, r, l.Do(r)) })
		synctest.Wait()
		m.Leave(12 * time.Second) // it rests from 6 s on
		time.Sleep(6500 * time.Millisecond)
		a.SetStatus("m", backend.Status{}, errors.New("restarting"))
		time.Sleep(2 * time.Second)
		a.SetStatus("m", backend.Status{Ready: true, MaxBatch: 1}, nil)
		time.Sleep(2 * time.Second)
		if s, _ := m.Report(); s.State != "draining" {
			t.Errorf("it answers again, and rests: it is %s", s.State)
		}
		m.Stay()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if s, _ := m.Report(); s.State != "up" {
			t.Errorf("it is to stay, and answers: it is %s", s.State)
		}
		if t.Failed() { // nobody answers
			l.SetState(m.ID(), pool.Up)
		}
		all.Wait()
		closed(t, l)
	})
}
