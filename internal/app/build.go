package app

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"

	"motley/internal/backend"
	"motley/internal/cascade"
	"motley/internal/config"
	"motley/internal/dispatch"
	"motley/internal/engine"
	"motley/internal/engine/ort"
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
	engines   map[engineKey]engine.Model // loaded once, shared by workers
	telemetry *telemetry                 // health.go; nil: workers are not judged
}

// engineKey tells loaded models apart.
type engineKey struct {
	model string
	config.Embedded
}

func build(cfg *config.Config, log *slog.Logger) (p *parts, err error) {
	p = &parts{engines: map[engineKey]engine.Model{}, memory: remember(cfg.Learned.File, log)}
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
	workers := cfg.Expand(cpus())
	for i := range workers {
		if err := p.addWorker(cfg, &workers[i], i, log); err != nil {
			return p, fmt.Errorf("cannot set up worker %s: %w", workers[i].Name, err)
		}
	}
	p.probe.Interval = interval(workers)
	p.telemetry, err = watchHardware(cfg, workers, log)
	return p, err
}

func (p *parts) addModel(cfg *config.Config, m *config.Model) error {
	p.probe.Batched = append(p.probe.Batched, m.Batched)
	p.probe.Metadata = append(p.probe.Metadata, declared(m))
	var row []*pool.Profile
	largest := 0 // measured; as in plans, the most that is merged where the configuration does not say
	for _, t := range cfg.InstanceTypes {
		points := cfg.Points(m.Name, t.Name)
		for _, pt := range points {
			largest = max(largest, pt.Batch)
		}
		profile, err := pool.NewProfile(points)
		if err != nil {
			return fmt.Errorf("cannot use the profile of %s on %s: %w", m.Name, t.Name, err)
		}
		if learned := p.memory.take(m.Name, t.Name, points); learned != nil {
			profile = learned
		}
		row = append(row, profile)
	}
	merge := m.MaxBatch
	if merge == 0 {
		merge = largest
	}
	p.core.Models = append(p.core.Models, dispatch.Model{
		Name: m.Name, QoS: m.QoS.Target, Quantile: quantile(m.QoS.Percentile),
		MaxBatch: merge, MaxQueue: m.MaxQueue, MaxAttempts: m.MaxAttempts,
		NoSplit: m.Split != nil && !*m.Split,
	})
	// A type of which nothing is known is taken for the slowest that is: for
	// infinitely fast it would be given everything.
	slowest := pool.Slowest(row, max(merge, 1))
	for _, profile := range row {
		profile.Suppose(slowest)
	}
	p.core.Profiles = append(p.core.Profiles, row)
	return nil
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

func (p *parts) addWorker(cfg *config.Config, w *config.Worker, index int, log *slog.Logger) error {
	t, err := typeID(cfg, w.Type)
	if err != nil {
		return err
	}
	worker := pool.Worker{
		Name: w.Name, Type: t, Concurrency: w.Concurrency, State: pool.Starting,
		Breaker: pool.NewBreaker(pool.BreakerConfig{Failures: cfg.Breaker.Failures, Open: cfg.Breaker.Open, MaxOpen: cfg.Breaker.MaxOpen}),
	}
	served := cfg.Serves(w)
	for i, m := range cfg.Models {
		for _, name := range served {
			if m.Name == name {
				// What it really takes is learned by the first probe.
				worker.Serves = append(worker.Serves, pool.Serve{Model: pool.ModelID(i), MaxBatch: math.MaxInt32})
			}
		}
	}
	var b backend.Backend
	switch {
	case w.Embedded != nil:
		b, err = p.embedded(w.Embedded, served, log)
	case w.Remote != nil:
		b, err = backend.NewRemote(backend.RemoteConfig{
			URL: w.Remote.URL, Binary: w.Remote.Binary, Timeout: w.Remote.Timeout,
			Connections: max(w.Remote.Connections, w.Concurrency), ModelNames: w.Remote.ModelNames,
		})
	default:
		b, err = p.emulated(cfg, w, index, served, log)
	}
	if err != nil {
		return err
	}
	p.core.Workers = append(p.core.Workers, worker)
	p.backends = append(p.backends, b)
	return nil
}

func (p *parts) embedded(e *config.Embedded, served []string, log *slog.Logger) (backend.Backend, error) {
	models := map[string]engine.Model{}
	for _, name := range served {
		m, err := p.load(e, name, log)
		if err != nil {
			return nil, fmt.Errorf("cannot load model %s: %w", name, err)
		}
		models[name] = share(m)
	}
	return backend.NewEmbedded(models, e.Engine), nil
}

// load returns the model from the engine that e names, loading it once.
func (p *parts) load(e *config.Embedded, name string, log *slog.Logger) (engine.Model, error) {
	key := engineKey{model: name, Embedded: *e}
	if m := p.engines[key]; m != nil {
		return m, nil
	}
	var m engine.Model
	var err error
	switch {
	case e.Engine == "onnxruntime":
		m, err = ort.Load(e.Path, ort.Options{
			Name: name, Library: e.Library, Threads: e.Threads, DisableArena: !e.Arena, GPU: e.GPU,
		})
	case e.Path == "":
		m, err = engine.Builtin(name)
	default:
		var data []byte
		if data, err = os.ReadFile(e.Path); err == nil {
			m, err = engine.LoadONNX(data)
		}
	}
	if err != nil {
		return nil, err
	}
	for k, v := range m.Metadata().Properties {
		log.Info("model property", "model", name, k, v)
	}
	p.engines[key] = m
	return m, nil
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
	var errs []error
	for _, m := range p.engines {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}
