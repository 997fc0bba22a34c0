// Package app wires a configuration into a running router: models, workers
// and their backends, the loop, the HTTP front end. It is the only place that
// knows all of them.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"motley/internal/config"
	"motley/internal/dispatch"
	"motley/internal/gpu"
	"motley/internal/live"
	"motley/internal/oip"
	"motley/internal/reactor"
	"motley/internal/router"
)

// App is a router that is ready to serve. Make one with New, end it with
// Close or by the end of Serve's context.
type App struct {
	cfg    *config.Config
	log    *slog.Logger
	loop   *live.Loop
	server *router.Server
	pool   *parts
	keeper *keeper
	loops  []*reactor.Loop

	metrics   *router.Metrics
	members   membership // membership.go
	reloads   *reloads   // reload.go
	preparers []preparer // what takes in a new configuration
	load      func() (*config.Config, error)
}

// Options are what is not part of a configuration.
type Options struct {
	Log     *slog.Logger // nil: slog.Default()
	Version string
	// Trace is handed to the loop; see live.Config.
	Trace func(dispatch.Event, []dispatch.Action)
	// Load reads the configuration anew, as it was read for New; nil: that cannot be done,
	// and SIGHUP, reload.watch and POST /admin/reload are for nothing. File is where it
	// comes from, for reload.watch; empty: nowhere that can be watched.
	Load func() (*config.Config, error)
	File string
}

// New builds everything that cfg asks for and asks every worker once how it
// stands. Workers that cannot be reached are no error: they are taken in when
// they answer. A model that cannot be loaded is.
func New(cfg *config.Config, opt Options) (*App, error) {
	if opt.Log == nil {
		opt.Log = slog.Default()
	}
	p, err := build(cfg, opt.Log)
	if err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	metrics, err := router.NewMetrics(router.MetricsConfig{
		Registerer: registry, Models: p.modelNames(), Workers: p.workerLabels(), Version: opt.Version, Runtime: true,
	})
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	p.telemetry.run()
	loop, err := live.New(live.Config{
		Core: p.core, Backends: p.backends, Observer: metrics, Log: opt.Log, Trace: opt.Trace, Probe: p.probe,
		Gates: p.gates, Health: p.telemetry.config(p.joined),
	})
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	a := &App{cfg: cfg, log: opt.Log, loop: loop, pool: p, metrics: metrics, reloads: newReloads(registry)}
	a.members.begin(cfg, loop, p.joined)
	loop.Watch()
	for _, s := range a.members.list() {
		a.watchSpot(s)
	}
	if t := p.telemetry; t != nil {
		registry.MustRegister(router.NewHealthCollector(loop.Health), gpu.NewCollector(t.all))
	}
	every := cfg.Learned.Interval
	if cfg.Learned.File == "" {
		every = 0
	}
	a.keeper = keep(every, opt.Log, func() error {
		p.learning.Lock()
		defer p.learning.Unlock()
		return errors.Join(p.memory.save(loop.Learned()), p.saveExits())
	})
	if err := p.addCascades(cfg, loop, registry, opt.Log); err != nil {
		return nil, errors.Join(err, a.Close(context.Background()))
	}
	if a.loops, err = reactors(cpus()); err != nil {
		return nil, errors.Join(err, a.Close(context.Background()))
	}
	a.server, err = router.New(router.Config{
		Loop: front{loop, p}, Models: a.models(), Metrics: metrics, Learned: loop.Learned, Health: loop.Health, Gatherer: registry, Log: opt.Log, Version: opt.Version,
		MaxBody: int(cfg.Limits.MaxBody), MaxConnections: cfg.Limits.MaxConnections,
		ReadTimeout: cfg.Limits.ReadTimeout, IdleTimeout: cfg.Limits.IdleTimeout,
		Limits: oip.Limits{}, Loops: a.loops,
	})
	if err != nil {
		return nil, errors.Join(err, a.Close(context.Background()))
	}
	a.follow(opt)
	return a, nil
}

func (a *App) models() []router.Model {
	var all []router.Model
	for _, m := range a.members.offered() {
		id, err := a.pool.ids.model(m.Name)
		if err != nil {
			panic(fmt.Sprintf("BUG: %v", err))
		}
		info := func() *live.Info { return a.loop.Info(id) }
		one := router.Model{
			Name: m.Name, ID: id, QoS: m.QoS.Target, Percentile: m.QoS.Percentile, MaxQueue: m.MaxQueue,
			Exits: reportOf(a.pool.gate(id)),
			Ramps: func() (int, []float64) {
				if x := a.loop.Info(id).Exits; x != nil {
					return x.Ramps, x.Depth
				}
				return 0, nil
			},
		}
		if c := a.pool.cascade(id); c != nil {
			info = c.Info
			one.MaxQueue = 0 // it has none of its own
			one.Do, one.Exits = c.Do, reportOf(c.Gate())
			one.Ramps = func() (int, []float64) { return c.Ramps(), nil }
		}
		one.Info = func() router.ModelInfo {
			i := info()
			m := router.ModelInfo{Metadata: i.Metadata, Batched: i.Batched, MaxBatch: i.MaxBatch, Splits: i.Splits}
			if i.Exits != nil {
				m.Classes = i.Exits.Classes
			}
			return m
		}
		all = append(all, one)
	}
	return all
}

// Serve answers on ln until ctx ends, and then finishes what is under way
// within the configured drain timeout. It closes the App.
func (a *App) Serve(ctx context.Context, ln net.Listener) error {
	failed := make(chan error, 1)
	go func() { failed <- a.server.Serve(ln) }()
	a.announce(ln.Addr())
	select {
	case err := <-failed:
		return errors.Join(err, a.Close(context.Background()))
	case <-ctx.Done():
	}
	a.log.Info("stopping: finishing what is under way", "at_most", a.cfg.Limits.DrainTimeout)
	drain, cancel := context.WithTimeout(context.Background(), a.cfg.Limits.DrainTimeout)
	defer cancel()
	err := a.server.Shutdown(drain)
	if e := ln.Close(); !errors.Is(e, net.ErrClosed) { // left open when ctx ended before serving began
		err = errors.Join(err, e)
	}
	err = errors.Join(err, a.Close(drain))
	if e := <-failed; !errors.Is(e, net.ErrClosed) {
		err = errors.Join(err, e)
	}
	return err
}

func (a *App) announce(addr net.Addr) {
	for _, w := range a.loop.Snapshot().Workers {
		a.log.Info("worker", "name", w.Name, "type", w.Type, "backend", w.Backend, "state", w.State)
	}
	a.log.Info("serving the Open Inference Protocol v2", "address", "http://"+reachable(addr), "policy", a.cfg.Policy,
		"models", a.pool.modelNames(), "workers", len(a.pool.backends))
}

// reachable turns a listener's address into one that a client on this machine
// can use.
func reachable(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort("localhost", port)
	}
	return addr.String()
}

// Loop is the loop that the router hands requests to.
func (a *App) Loop() *live.Loop { return a.loop }

// Close waits for requests under way until ctx ends, saves what was learned
// and frees everything.
func (a *App) Close(ctx context.Context) error {
	a.members.close()
	err := errors.Join(a.pool.closeCascades(ctx), a.loop.Close(ctx), a.keeper.close(), a.pool.close())
	for _, l := range a.loops {
		l.Close()
	}
	return err
}

// reactors starts n of them, or none where the system has none.
func reactors(n int) (all []*reactor.Loop, err error) {
	for range n {
		l, err := reactor.New()
		if errors.Is(err, reactor.ErrUnsupported) {
			return nil, nil
		}
		if err != nil {
			for _, l := range all {
				l.Close()
			}
			return nil, fmt.Errorf("cannot serve: %w", err)
		}
		all = append(all, l)
	}
	return all, nil
}

// cpus is how many executions this process can run at once.
func cpus() int { return runtime.GOMAXPROCS(0) }

// quantile turns a percentile of the configuration into a share of 1.
func quantile(percentile float64) float64 { return percentile / 100 }

// interval is the shortest probe interval that any remote worker asks for.
func interval(workers []config.Worker) time.Duration {
	least := time.Duration(0)
	for _, w := range workers {
		if w.Remote != nil && (least == 0 || w.Remote.ProbeInterval < least) {
			least = w.Remote.ProbeInterval
		}
	}
	return least
}
