package live

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"motley/internal/backend"
	"motley/internal/earlyexit"
	"motley/internal/gate"
	"motley/internal/pool"
)

// TestGateOpens: the first probe that finds ramps makes the controller; a
// worker that comes up later with other ramps is told of once and serves as a
// whole.
func TestGateOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		workers := []*stagedFake{{ramps: 2, says: sure}, {ramps: 3, says: sure}, {says: sure}}
		l := setup{
			fakes: fakes{&workers[0].Fake, &workers[1].Fake, &workers[2].Fake},
			probe: ProbeConfig{Interval: time.Second},
		}.start(t)
		l.log = slog.New(slog.NewTextHandler(&log, nil))
		for i, f := range workers {
			l.worker(pool.WorkerID(i)).Backend = f
			f.SetStatus("m", backend.Status{}, unreachable())
		}
		c := newChooser(earlyexit.Latency, 2, 0)
		var broken, opened atomic.Int32 // the prober's goroutine looks
		broken.Store(1)
		g := gate.Later(earlyexit.Latency, 1, func(x gate.Exits) (earlyexit.Controller, error) {
			opened.Add(1)
			if x.Ramps != 2 || x.Classes != 10 {
				t.Errorf("opened with %+v", x)
			}
			if broken.Load() == 1 {
				return nil, errors.New("told to fail")
			}
			return c, nil
		})
		l.model(0).Gate = g
		l.Watch()
		if g.Fits(2) || l.Info(0).Exits != nil {
			t.Error("ramps are known of workers that do not answer")
		}
		ready := backend.Status{Ready: true, MaxBatch: 8}
		step := func(w int, wantExit int) {
			t.Helper()
			if w >= 0 {
				workers[w].SetStatus("m", ready, nil)
			}
			time.Sleep(3 * time.Second)
			r := askRows(t, 9)
			if err := do(l, r); err != nil || r.Exit != wantExit {
				t.Errorf("%v, exit %d, want %d", err, r.Exit, wantExit)
			}
		}
		step(2, -1) // no ramps
		step(0, -1) // the controller cannot be made
		l.SetState(2, pool.Draining)
		broken.Store(0)
		step(-1, 0)
		if x := l.Info(0).Exits; x == nil || x.Ramps != 2 {
			t.Errorf("known of the ramps: %+v", x)
		}
		l.SetState(0, pool.Draining)
		step(1, -1)
		time.Sleep(time.Minute)
		if n := strings.Count(log.String(), "no early exits on this worker"); n != 2 || opened.Load() < 2 {
			t.Errorf("told %d times, want once of each worker: %s", n, log.String())
		}
		closed(t, l)
	})
}
