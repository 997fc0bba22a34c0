package app

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"

	"motley/internal/config"
	"motley/internal/gpu"
	"motley/internal/gpu/health"
	"motley/internal/live"
)

// telemetry is what the workers' hardware is asked by: each source once, whoever
// runs on its devices.
type telemetry struct {
	cfg     *config.Health
	log     *slog.Logger
	pollers map[gpu.Options]*gpu.Poller
	order   []*gpu.Poller // in which they were named
	readers []live.Telemetry
	stop    context.CancelFunc
	done    sync.WaitGroup
}

// staleTimes is how old a sample may get, in terms of stale_after: from then on
// nothing can be said of it that is not said already.
const staleTimes = 6

// watchHardware opens what the workers' hardware is to be asked by; nil where
// nobody judges them.
func watchHardware(cfg *config.Config, workers []config.Worker, log *slog.Logger) (*telemetry, error) {
	if !cfg.Health.Enabled {
		return nil, nil
	}
	t := &telemetry{cfg: &cfg.Health, log: log, pollers: map[gpu.Options]*gpu.Poller{}}
	for i := range workers {
		if err := t.add(&workers[i]); err != nil {
			return nil, fmt.Errorf("cannot watch the hardware of worker %s: %w", workers[i].Name, err)
		}
	}
	return t, nil
}

func (t *telemetry) add(w *config.Worker) error {
	h := w.Hardware
	if h == nil && w.Embedded != nil {
		h = &config.Hardware{Local: "cpu"}
	}
	if h == nil || h.Local == "none" {
		t.readers = append(t.readers, nil)
		return nil
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
	p := t.pollers[opt]
	if p == nil {
		source, err := gpu.Open(opt)
		if err != nil {
			return err
		}
		p = &gpu.Poller{Source: source, Every: t.cfg.Interval, MaxAge: staleTimes * t.cfg.StaleAfter, Jitter: rand.Float64}
		t.pollers[opt] = p
		t.order = append(t.order, p)
	}
	r := gpu.NewReader(p, want, name)
	r.Standing = h.Metrics != ""
	t.readers = append(t.readers, r)
	return nil
}

// run polls until close.
func (t *telemetry) run() {
	if t == nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	t.stop = stop
	for _, p := range t.order {
		t.done.Go(func() { p.Run(ctx) })
	}
}

func (t *telemetry) close() {
	if t == nil || t.stop == nil {
		return
	}
	t.stop()
	t.done.Wait()
}

// config is what the loop is told.
func (t *telemetry) config() *live.HealthConfig {
	if t == nil {
		return nil
	}
	return &live.HealthConfig{
		Judge:     health.Config{StaleAfter: t.cfg.StaleAfter, SlowStart: t.cfg.SlowStart},
		Telemetry: t.readers,
	}
}
