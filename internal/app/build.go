package app

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"

	"motley/internal/backend"
	"motley/internal/cascade"
	"motley/internal/config"
	"motley/internal/dispatch"
	"motley/internal/engine"
	"motley/internal/gate"
	"motley/internal/live"
	"motley/internal/oip"
	"motley/internal/pool"
	"motley/internal/router"
)

// parts is what a configuration turns into.
type parts struct {
	core      dispatch.Config
	gates     []*gate.Gate       // by model; nil: no early exit
	exits     []*exitState       // of the gates
	cascades  []*cascade.Cascade // by model; nil: workers serve it
	backends  []backend.Backend
	probe     live.ProbeConfig
	memory    *memory
	engines   engines
	tls       workerTLS
	telemetry *telemetry // health.go; nil: workers are not judged
	ids       ids
	joined    []*joined // by worker
	joins     int       // workers that were made so far

	learning sync.Mutex // guards memory and exits once the router runs
}

func build(cfg *config.Config, log *slog.Logger) (p *parts, err error) {
	p = &parts{memory: remember(cfg.Learned.File, log), ids: idsOf(cfg)}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	policy, err := dispatch.NewPolicy(cfg.Policy, 1)
	if err != nil {
		return p, err
	}
	p.core.Policy, p.core.Failures = policy, failures(&cfg.Failures)
	p.core.Tenants = weights(&cfg.Access)
	for _, t := range cfg.InstanceTypes {
		p.core.Types = append(p.core.Types, pool.InstanceType{Name: t.Name, USDPerHour: t.USDPerHour, Accelerator: t.Accelerator})
	}
	for i := range cfg.Models {
		if err := p.addModel(cfg, &cfg.Models[i]); err != nil {
			return p, err
		}
		p.addGate(cfg, &cfg.Models[i], log)
	}
	if err := p.addPriors(cfg, log); err != nil {
		return p, err
	}
	p.telemetry = watchHardware(cfg)
	workers := cfg.Expand(cpus())
	for i := range workers {
		j, err := p.join(cfg, p.ids, &workers[i], log)
		if err != nil {
			return p, err
		}
		p.joined = append(p.joined, j)
		p.core.Workers, p.backends = append(p.core.Workers, j.Worker), append(p.backends, j.Backend)
	}
	p.probe.Interval = interval(workers)
	return p, nil
}

func (p *parts) addModel(cfg *config.Config, m *config.Model) error {
	p.probe.Batched = append(p.probe.Batched, m.Batched)
	p.probe.Metadata = append(p.probe.Metadata, declared(m))
	row, err := p.profiles(cfg, m, nil)
	if err != nil {
		return err
	}
	p.core.Models = append(p.core.Models, coreModel(cfg, m))
	p.core.Profiles = append(p.core.Profiles, row)
	return nil
}

// coreModel is what the dispatcher knows of a model.
func coreModel(cfg *config.Config, m *config.Model) dispatch.Model {
	return dispatch.Model{
		Name: m.Name, QoS: m.QoS.Target, Quantile: quantile(m.QoS.Percentile),
		MaxBatch: merged(cfg, m), MaxQueue: m.MaxQueue, MaxAttempts: m.MaxAttempts,
		NoSplit: m.Split != nil && !*m.Split,
	}
}

// merged is the most items that requests of a model are merged up to: what the
// configuration says, else, as in plans, the most that was measured; 0 = neither.
func merged(cfg *config.Config, m *config.Model) int {
	most := m.MaxBatch
	if most == 0 {
		for _, t := range cfg.InstanceTypes {
			for _, pt := range cfg.Points(m.Name, t.Name) {
				most = max(most, pt.Batch)
			}
		}
	}
	return most
}

// profiles is what is known of a model's latencies, by instance type of the
// configuration. known, which may be nil or have nil entries, goes before.
func (p *parts) profiles(cfg *config.Config, m *config.Model, known []*pool.Profile) ([]*pool.Profile, error) {
	var row []*pool.Profile
	for i, t := range cfg.InstanceTypes {
		if i < len(known) && known[i] != nil {
			row = append(row, known[i])
			continue
		}
		points := cfg.Points(m.Name, t.Name)
		profile, err := pool.NewProfile(points)
		if err != nil {
			return nil, fmt.Errorf("cannot use the profile of %s on %s: %w", m.Name, t.Name, err)
		}
		if learned := p.memory.take(m.Name, t.Name, points); learned != nil {
			profile = learned
		}
		row = append(row, profile)
	}
	// A type of which nothing is known is taken for the slowest that is: for
	// infinitely fast it would be given everything.
	slowest := pool.Slowest(row, max(merged(cfg, m), 1))
	for _, profile := range row {
		profile.Suppose(slowest)
	}
	return row, nil
}

// declared is the metadata that the configuration gives a model; nil for none.
func declared(m *config.Model) *oip.ModelMetadata {
	if len(m.Inputs) == 0 {
		return nil
	}
	return &oip.ModelMetadata{
		Name: m.Name, Versions: []string{"1"}, Platform: "motley_emulated",
		Inputs: tensors(m.Inputs), Outputs: tensors(m.Outputs),
	}
}

func tensors(list []config.Tensor) []oip.TensorMetadata {
	var all []oip.TensorMetadata
	for _, t := range list {
		d, _ := oip.ParseDatatype([]byte(t.Datatype)) // the configuration was checked
		all = append(all, oip.TensorMetadata{Name: t.Name, Datatype: d, Shape: t.Shape})
	}
	return all
}

// joined is a worker that is ready to join.
type joined struct {
	live.Joining
	cfg     *config.Worker
	lease   *lease
	release func() // of its telemetry; nil: it has none of its own
}

// join makes a worker. Its IDs are those of names.
func (p *parts) join(cfg *config.Config, names ids, w *config.Worker, log *slog.Logger) (j *joined, err error) {
	j = &joined{cfg: w, lease: &lease{of: &p.engines}}
	j.Closed = func() {
		if err := j.lease.end(); err != nil {
			log.Warn("an engine does not close", "worker", w.Name, "error", err)
		}
		if j.release != nil {
			j.release()
		}
	}
	defer func() {
		if err != nil {
			j.Closed()
			err = fmt.Errorf("cannot set up worker %s: %w", w.Name, err)
		}
	}()
	if j.Telemetry, j.release, err = p.telemetry.reader(w); err != nil {
		return j, err
	}
	t, err := names.typ(w.Type)
	if err != nil {
		return j, err
	}
	j.Worker = pool.Worker{
		Name: w.Name, Type: t, Concurrency: w.Concurrency, State: pool.Starting,
		Breaker: pool.NewBreaker(pool.BreakerConfig{Failures: cfg.Breaker.Failures, Open: cfg.Breaker.Open, MaxOpen: cfg.Breaker.MaxOpen}),
	}
	served := cfg.Serves(w)
	for _, name := range served {
		id, err := names.model(name)
		if err != nil {
			return j, err
		}
		// What it really takes is learned by the first probe.
		j.Worker.Serves = append(j.Worker.Serves, pool.Serve{Model: id, MaxBatch: math.MaxInt32})
	}
	switch {
	case w.Embedded != nil:
		j.Backend, err = embedded(j.lease, w.Embedded, served, log)
	case w.Remote != nil:
		j.Every = w.Remote.ProbeInterval
		var https func() *tls.Config
		if https, err = p.tls.of(w.Remote.TLS); err != nil {
			return j, err
		}
		j.Backend, err = backend.NewRemote(backend.RemoteConfig{
			URL: w.Remote.URL, TLS: https, Binary: w.Remote.Binary, Timeout: w.Remote.Timeout,
			Connections: max(w.Remote.Connections, w.Concurrency), ModelNames: w.Remote.ModelNames,
			MaxResponse: int(cfg.Limits.MaxResponse),
		})
	default:
		j.Backend, err = emulated(cfg, w, p.joins, served, j.lease, log)
	}
	p.joins++
	return j, err
}

func embedded(l *lease, e *config.Embedded, served []string, log *slog.Logger) (backend.Backend, error) {
	models := map[string]engine.Model{}
	for _, name := range served {
		m, err := l.load(e, name, log)
		if err != nil {
			return nil, fmt.Errorf("cannot load model %s: %w", name, err)
		}
		models[name] = share(m)
	}
	return backend.NewEmbedded(models, e.Engine), nil
}

func (p *parts) modelNames() []string {
	var names []string
	for _, m := range p.core.Models {
		names = append(names, m.Name)
	}
	return names
}

func (p *parts) workerLabels() []router.WorkerLabels {
	var labels []router.WorkerLabels
	for _, w := range p.core.Workers {
		labels = append(labels, router.WorkerLabels{Name: w.Name, InstanceType: p.core.Types[w.Type].Name})
	}
	return labels
}

// close frees the engines. Backends are closed by the loop, which runs them.
func (p *parts) close() error {
	p.telemetry.close()
	return p.engines.close()
}
