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
	"motley/internal/backend/backendtest"
	"motley/internal/dispatch"
	"motley/internal/gpu/device"
	"motley/internal/gpu/health"
	"motley/internal/pool"
)

// dial is telemetry that says what it is set to.
type dial struct {
	xid    atomic.Int64 // code; 0: none
	silent atomic.Bool
}

func (d *dial) Latest() (device.Device, device.Sample, bool, error) {
	if d.silent.Load() {
		return device.Device{ID: "g"}, device.Sample{}, false, errors.New("no answer")
	}
	s := device.Sample{Device: "g", Access: device.Reachable, Utilisation: device.Of(1), SMClockMHz: device.Of(1500)}
	if code := d.xid.Load(); code != 0 {
		s.XIDs = []device.XID{{Seq: 1, Code: int(code)}}
	}
	return device.Device{ID: "g", Name: "T4"}, s, true, nil
}

func (d *dial) String() string { return "dial" }

// A worker has a fatal error, is restarted, and comes back bit by bit; later its
// telemetry stops, which alarms and is no reason to stop. The log says all of it.
func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		a, b := &backendtest.Fake{}, &backendtest.Fake{}
		policy, err := dispatch.NewPolicy("least-load", 1)
		if err != nil {
			t.Fatal(err)
		}
		cfg := Config{
			Core: dispatch.Config{
				Models: []dispatch.Model{{Name: "m", QoS: time.Second}}, Types: []pool.InstanceType{{Name: "t"}}, Policy: policy,
			},
			Backends: []backend.Backend{a, b}, Probe: ProbeConfig{Interval: time.Second}, Log: slog.New(slog.NewTextHandler(&log, nil)),
		}
		for _, name := range []string{"w0", "w1"} {
			cfg.Core.Workers = append(cfg.Core.Workers, pool.Worker{Name: name, Concurrency: 1, Serves: []pool.Serve{{MaxBatch: 8}}})
		}
		d := &dial{}
		cfg.Health = &HealthConfig{Telemetry: []Telemetry{d}, Judge: health.Config{SlowStart: 10 * time.Second}}
		l, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		l.Watch()
		pass := func(d time.Duration) WorkerHealth {
			time.Sleep(d)
			synctest.Wait()
			return l.Health()[0]
		}
		if w := pass(time.Second); w.Health != "ok" || !w.Takes || w.Device == nil || w.Telemetry != "dial" || w.Used != (UsedHealth{1, 1, 1, true}) {
			t.Errorf("at first: %+v", w)
		}
		d.xid.Store(79)
		if w := pass(time.Second); w.Health != "unhealthy" || w.Used.Takes || w.Recommended != "restart" {
			t.Errorf("with an XID: %+v", w)
		}
		for range 20 {
			r := ask("x", 1)
			answered(t, r, l.Do(r))
			if r.Worker != 1 {
				t.Error("a worker that is out was asked")
			}
		}
		d.xid.Store(0)
		if w := pass(time.Minute); w.Health != "unhealthy" {
			t.Errorf("without a restart: %+v", w)
		}
		a.SetStatus("m", backend.Status{}, unreachable())
		pass(3 * time.Second)
		a.SetStatus("m", backend.Status{Ready: true}, nil)
		pass(time.Second)
		ramps := map[float64]bool{}
		w := pass(0)
		for range 60 {
			if w = pass(500 * time.Millisecond); w.Used.Takes {
				ramps[w.Used.Ramp] = true
			}
		}
		if w.Health != "ok" || w.Used.Ramp != 1 || len(ramps) < 5 {
			t.Errorf("after a restart: %+v; ramps %v", w, ramps)
		}
		d.silent.Store(true)
		if w := pass(time.Minute); !w.Stale || w.Used != (UsedHealth{1, 2, 1, true}) || w.Health != "ok" || w.TelemetryError != "no answer" || *w.SampleAgeS < 59 {
			t.Errorf("silent: %+v", w)
		}
		r := ask("y", 1)
		answered(t, r, l.Do(r))
		d.silent.Store(false)
		if w := pass(time.Second); w.Stale || w.Used != (UsedHealth{1, 1, 1, true}) {
			t.Errorf("back: %+v", w)
		}
		closed(t, l)
		text := log.String()
		for _, want := range []string{
			"msg=\"worker runs on\" worker=w0 device=g name=T4 telemetry=dial", "state=unhealthy was=ok", "recommended=restart", "XID 79", "state=suspect was=unhealthy", "it comes back",
			"state=ok was=suspect", "stale=true", "telemetry: no answer",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("the log lacks %q:\n%s", want, text)
			}
		}
	})
}

// Without a judge nobody is judged, and batches are not noted.
func TestNobodyJudges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := setup{fakes: fakes{{}}, state: pool.Up}.start(t)
		l.Watch()
		r := ask("x", 1)
		answered(t, r, l.Do(r))
		if l.Health() != nil {
			t.Error("somebody judges")
		}
		closed(t, l)
	})
}
