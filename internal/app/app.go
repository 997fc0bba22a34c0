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
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"motley/internal/accesslog"
	"motley/internal/config"
	"motley/internal/dispatch"
	"motley/internal/gpu"
	"motley/internal/live"
	"motley/internal/reactor"
	"motley/internal/router"
	"motley/internal/tracing"
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
	admin  *adminServer
	tls    *serverTLS // of clients; nil: plain

	upgrades  *prometheus.CounterVec
	upgrading sync.Mutex   // held while a successor starts
	serving   func() error // told once requests are served
	accessLog *accesslog.Log
	level     *slog.LevelVar
	tracer    *tracing.Tracer // nil: nothing is traced

	metrics   *router.Metrics
	members   membership // membership.go
	reloads   *reloads   // reload.go
	preparers []preparer // what takes in a new configuration
	load      func() (*config.Config, error)
}

// Options are what is not part of a configuration.
type Options struct {
	Log *slog.Logger // nil: slog.Default()
	// Level is that of Log, which a reload may change; nil: it stays.
	Level   *slog.LevelVar
	Version string
	// Kept is router.Config.Kept.
	Kept func(net.Listener) bool
	// Ready is called once requests are served; nil: nobody wants to know.
	Ready func() error
	Admin net.Listener // where operators are answered: metrics, /debug, /admin; nil: nowhere. Closed with the App
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
	who, err := guard(&cfg.Access, nil)
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	measured := router.MetricsConfig{
		Registerer: registry, Models: p.modelNames(), Workers: p.workerLabels(), Version: opt.Version, Runtime: true,
	}
	if who != nil {
		measured.Tenants = who.Guard.Tenants()
	}
	metrics, err := router.NewMetrics(measured)
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	tracer, err := newTracer(&cfg.Tracing, opt.Version, registry, opt.Log)
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	p.telemetry.run()
	loop, err := live.New(live.Config{
		Core: p.core, Backends: p.backends, Observer: observer{metrics, tracer}, Traced: tracer != nil, Log: opt.Log, Trace: opt.Trace, Probe: p.probe,
		Gates: p.gates, Health: p.telemetry.config(p.joined),
	})
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	a := &App{
		cfg: cfg, log: opt.Log, loop: loop, pool: p, metrics: metrics, reloads: newReloads(registry), upgrades: countUpgrades(registry), serving: opt.Ready,
		accessLog: newAccessLog(registry, opt.Log), level: opt.Level, tracer: tracer,
	}
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
	p.cleanUp()
	a.keeper = keep(every, opt.Log, func() error {
		p.learning.Lock()
		defer p.learning.Unlock()
		return errors.Join(p.memory.save(loop.Learned()), p.saveExits())
	})
	if cfg.Learned.File != "" {
		a.keeper.register(registry)
	}
	if err := p.addCascades(cfg, loop, registry, opt.Log); err != nil {
		return nil, errors.Join(err, a.Close(context.Background()))
	}
	a.preparers = append(a.preparers, a.prepareLog, a.prepareTracing)
	access, err := a.prepareAccessLog(cfg)
	if err != nil {
		return nil, errors.Join(err, a.Close(context.Background()))
	}
	access()
	if a.loops, err = reactors(cpus()); err != nil {
		return nil, errors.Join(err, a.Close(context.Background()))
	}
	if a.tls, err = newServerTLS(cfg.TLS); err != nil {
		return nil, errors.Join(err, a.Close(context.Background()))
	}
	serve := router.Config{
		Loop: front{loop, p}, Models: a.models(), Metrics: metrics, Learned: loop.Learned, Health: loop.Health, Gatherer: registry, Log: opt.Log, Version: opt.Version,
		Loops: a.loops, Kept: opt.Kept, Access: who, AccessLog: a.accessLog, Tracer: tracer,
	}
	limit(&serve, &cfg.Limits)
	a.server, err = router.New(serve)
	if err != nil {
		return nil, errors.Join(err, a.Close(context.Background()))
	}
	if a.admin, err = newAdmin(cfg, opt); err != nil {
		return nil, errors.Join(err, a.Close(context.Background()))
	}
	a.server.Mount(a.admin.mux)
	a.admin.mux.Handle("/admin/", a.AdminHandler())
	a.preparers = append(a.preparers, a.prepareTLS, a.prepareAccess, a.prepareAccessLog) // it opens a file, and is the last
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

func (a *App) announce(addr net.Addr) {
	for _, w := range a.loop.Snapshot().Workers {
		a.log.Info("worker", "name", w.Name, "type", w.Type, "backend", w.Backend, "state", w.State)
	}
	a.log.Info("serving the Open Inference Protocol v2", "address", a.tls.scheme()+reachable(addr), "admin", a.admin.address(), "policy", a.cfg.Policy,
		"models", a.pool.modelNames(), "workers", len(a.pool.backends), "pid", os.Getpid())
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
