package app

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"motley/internal/config"
	"motley/internal/gpu"
	"motley/internal/gpu/health"
	"motley/internal/live"
)

// telemetry is what the workers' hardware is asked by: each source once, whoever
// runs on its devices.
type telemetry struct {
	cfg  *config.Health
	done sync.WaitGroup

	mu      sync.Mutex // guards what follows
	pollers map[gpu.Options]*polled
	order   []*gpu.Poller   // in which they were named
	ctx     context.Context // nil: nobody polls yet
	stop    context.CancelFunc
}

// staleTimes is how old a sample may get, in terms of stale_after: from then on
// nothing can be said of it that is not said already.
const staleTimes = 6

// watchHardware returns nil where nobody judges the workers.
func watchHardware(cfg *config.Config) *telemetry {
	if !cfg.Health.Enabled {
		return nil
	}
	return &telemetry{cfg: &cfg.Health, pollers: map[gpu.Options]*polled{}}
}

// polled is a poller, and how many workers it is asked for.
type polled struct {
	*gpu.Poller
	users int
	stop  context.CancelFunc // nil: it does not run yet
}

// reader returns what is heard of a worker's hardware, nil where nobody tells, and what
// gives that back.
func (t *telemetry) reader(w *config.Worker) (r live.Telemetry, release func(), err error) {
	if t == nil {
		return nil, nil, nil
	}
	h := w.Hardware
	if h == nil && w.Embedded != nil {
		h = &config.Hardware{Local: "cpu"}
	}
	if h == nil || h.Local == "none" {
		return nil, nil, nil
	}
	opt, want, name := gpu.Options{Agent: h.Agent, Exporter: h.Metrics, Recorded: h.Recorded, CAFile: h.CAFile}, h.Device, ""
	switch {
	case h.Agent != "":
		name = "agent " + h.Agent
	case h.Metrics != "":
		name = "metrics " + h.Metrics
	case h.Recorded != "":
		name = "recording " + h.Recorded
	default:
		want, name = h.Local, "this host"
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.pollers[opt]
	if p == nil {
		source, err := gpu.Open(opt)
		if err != nil {
			return nil, nil, fmt.Errorf("cannot watch the hardware of worker %s: %w", w.Name, err)
		}
		p = &polled{Poller: &gpu.Poller{Source: source, Every: t.cfg.Interval, MaxAge: staleTimes * t.cfg.StaleAfter, Jitter: rand.Float64}}
		t.pollers[opt] = p
		t.order = append(t.order, p.Poller)
		if t.ctx != nil {
			t.startLocked(p)
		}
	}
	p.users++
	reader := gpu.NewReader(p.Poller, want, name)
	reader.Standing = h.Metrics != ""
	return reader, func() { t.release(opt) }, nil
}

// release stops a poller that nobody has asked for any more.
func (t *telemetry) release(opt gpu.Options) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.pollers[opt]
	if p.users--; p.users > 0 {
		return
	}
	delete(t.pollers, opt)
	t.order = slices.DeleteFunc(slices.Clone(t.order), func(o *gpu.Poller) bool { return o == p.Poller })
	if p.stop != nil {
		p.stop()
	}
}

// all are the pollers there are, in the order in which they were named.
func (t *telemetry) all() []*gpu.Poller {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.order)
}

func (t *telemetry) startLocked(p *polled) {
	ctx, stop := context.WithCancel(t.ctx)
	p.stop = stop
	t.done.Go(func() { p.Run(ctx) })
}

// run polls until close.
func (t *telemetry) run() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ctx, t.stop = context.WithCancel(context.Background())
	for _, p := range t.pollers {
		t.startLocked(p)
	}
}

func (t *telemetry) close() {
	if t == nil || t.stop == nil {
		return
	}
	t.stop()
	t.done.Wait()
}

// config is what the loop is told, of these workers.
func (t *telemetry) config(workers []*joined) *live.HealthConfig {
	if t == nil {
		return nil
	}
	cfg := &live.HealthConfig{Judge: health.Config{StaleAfter: t.cfg.StaleAfter, SlowStart: t.cfg.SlowStart}}
	for _, j := range workers {
		cfg.Telemetry = append(cfg.Telemetry, j.Telemetry)
	}
	return cfg
}
