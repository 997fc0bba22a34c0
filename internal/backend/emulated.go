package backend

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"motley/internal/engine"
	"motley/internal/oip"
	"motley/internal/pool"
)

// EmulatedConfig says whom a worker stands in for.
type EmulatedConfig struct {
	// Type is the instance type that is emulated: it stands in every answer,
	// as the response parameter "emulated".
	Type string
	// Profile gives mean and 99th percentile by batch size. The backend takes
	// it over; nobody else may use it.
	Profile *pool.Profile
	Seed    uint64 // of the variation in the pacing
	// Concurrency is how many batches it executes at once; others wait for
	// their turn, as at a real server. 0 means 1.
	Concurrency int
	MaxBatch    int                     // items; at least 1
	Answers     map[string]engine.Model // by model; models that are missing are echoed
	Metadata    map[string]*oip.ModelMetadata
	Models      []string // that it serves
}

// Emulated takes as long for a batch as a measured instance would have taken,
// and answers with a real model or with an echo of the inputs. The latency is
// drawn from a lognormal law with the mean and the 99th percentile that the
// profile gives for the batch size; waiting is as precise as the runtime's
// timers, which can be late by up to a millisecond on an idle machine.
type Emulated struct {
	cfg    EmulatedConfig
	models map[string]engine.Model
	slots  chan struct{}
	dead   atomic.Bool

	mu struct {
		sync.Mutex
		rng     *rand.Rand
		profile *pool.Profile
		down    chan struct{} // closed by Kill, made anew by Revive
	}
}

// NewEmulated returns an emulated worker.
func NewEmulated(cfg EmulatedConfig) (*Emulated, error) {
	if cfg.Profile == nil || !cfg.Profile.Known() {
		return nil, fmt.Errorf("cannot emulate %s: its profile is empty", cfg.Type)
	}
	e := &Emulated{cfg: cfg, models: map[string]engine.Model{}, slots: make(chan struct{}, max(cfg.Concurrency, 1))}
	e.mu.rng = rand.New(rand.NewPCG(cfg.Seed, 0x656d75))
	e.mu.profile = cfg.Profile
	e.mu.down = make(chan struct{})
	for _, name := range cfg.Models {
		if e.models[name] = cfg.Answers[name]; e.models[name] == nil {
			e.models[name] = newEcho(name, cfg.Metadata[name], cfg.MaxBatch)
		}
	}
	return e, nil
}

// z99 is the 99th percentile of the standard normal law.
const z99 = 2.3263478740408408

// lognormal draws from the lognormal law with the given mean and 99th
// percentile, normal being a draw from the standard normal law. With
// μ = ln mean − σ²/2 the percentile asks for z·σ − σ²/2 = ln(p99/mean); the
// smaller root is the law with the lighter tail. Ratios without a root are
// taken at the largest that has one, e^(z²/2) ≈ 15; a p99 not over the mean
// means no variation.
func lognormal(mean, p99 time.Duration, normal float64) time.Duration {
	if p99 <= mean || mean <= 0 {
		return mean
	}
	r := math.Log(float64(p99) / float64(mean))
	sigma := z99 - math.Sqrt(math.Max(0, z99*z99-2*r))
	return time.Duration(float64(mean) * math.Exp(sigma*normal-sigma*sigma/2))
}

func (e *Emulated) draw(items int) (time.Duration, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.mu.profile
	return lognormal(p.Mean(items), p.Bound(items, 0.99), e.mu.rng.NormFloat64()), e.mu.down
}

// Run implements Backend.
func (e *Emulated) Run(ctx context.Context, model string, calls []*Call) error {
	m := e.models[model]
	if m == nil {
		return &Error{Class: Server, Status: 502, Message: fmt.Sprintf("the emulated worker has no model %q", model)}
	}
	items := 0
	for _, c := range calls {
		items += c.Request.Size(m.MaxBatch() > 0)
	}
	took, down := e.draw(items)
	if e.dead.Load() {
		return errKilled
	}
	select {
	case e.slots <- struct{}{}:
		defer func() { <-e.slots }()
	case <-ctx.Done():
		return ContextError(ctx)
	case <-down:
		return errKilled
	}
	timer := time.NewTimer(took)
	defer timer.Stop()
	parameters := append([]byte(`{"emulated":`), strconv.Quote(e.cfg.Type)...)
	info := oip.ResponseInfo{Model: model, Version: version(m), Parameters: append(parameters, '}')}
	if err := runModel(ctx, m, info, calls); err != nil {
		return err
	}
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ContextError(ctx)
	case <-down:
		return errKilled
	}
}

var errKilled = &Error{Class: Connect, Status: 502, Message: "the emulated worker was killed", Cause: errors.New("connection refused")}

// Kill makes the worker fail as one that has died: what it runs breaks, what
// comes is refused, until Revive.
func (e *Emulated) Kill() {
	if !e.dead.CompareAndSwap(false, true) {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	close(e.mu.down)
}

// Revive ends what Kill began.
func (e *Emulated) Revive() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.dead.CompareAndSwap(true, false) {
		e.mu.down = make(chan struct{})
	}
}

// Probe implements Backend.
func (e *Emulated) Probe(_ context.Context, model string) (Status, error) {
	if e.dead.Load() {
		return Status{}, errKilled
	}
	m := e.models[model]
	if m == nil {
		return Status{Binary: true, Platform: e.Describe()}, nil
	}
	st := Status{Ready: true, Metadata: m.Metadata(), MaxBatch: m.MaxBatch(), Binary: true, Platform: e.Describe()}
	if e.cfg.MaxBatch > 0 {
		st.MaxBatch = min(st.MaxBatch, e.cfg.MaxBatch)
	}
	return st, nil
}

// Describe implements Backend.
func (e *Emulated) Describe() string {
	kind := "echo"
	if len(e.cfg.Answers) > 0 {
		kind = "embedded model"
	}
	return fmt.Sprintf("emulated %s (%s)", e.cfg.Type, kind)
}

// Close implements Backend. The models are the caller's.
func (e *Emulated) Close() error { return nil }
