package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"motley/internal/cascade"
	"motley/internal/config"
	"motley/internal/earlyexit"
	"motley/internal/gate"
	"motley/internal/live"
	"motley/internal/pool"
)

// addCascades makes the cascades of the configuration over a loop that serves
// their stages. Those of them whose early exit is not off have a gate already,
// which is opened here.
func (p *parts) addCascades(cfg *config.Config, loop *live.Loop, metrics prometheus.Registerer, log *slog.Logger) error {
	p.cascades = make([]*cascade.Cascade, len(cfg.Models))
	for i := range cfg.Models {
		m := &cfg.Models[i]
		if m.Cascade == nil {
			continue
		}
		g, err := cascadeGate(p.gates[i], len(m.Cascade.Stages)-1)
		if err == nil {
			p.cascades[i], err = newCascade(cfg, m, loop, g, log)
		}
		if err == nil {
			var stages []string
			for _, s := range m.Cascade.Stages {
				stages = append(stages, s.Model)
			}
			err = registerCascade(metrics, m.Name, stages, p.cascades[i])
		}
		if err != nil {
			return fmt.Errorf("cannot set up cascade %s: %w", m.Name, err)
		}
	}
	return nil
}

// cascadeGate opens a cascade's gate; where there is none, it makes one that
// lets nothing pass.
func cascadeGate(g *gate.Gate, ramps int) (*gate.Gate, error) {
	if g != nil {
		// Without costs: every small stage is asked. What it costs is the
		// operator's choice, and no part of a ramp budget.
		return g, g.Open(gate.Exits{Ramps: ramps})
	}
	off, err := earlyexit.New(earlyexit.Config{Mode: earlyexit.Off, Ramps: ramps})
	if err != nil {
		return nil, err
	}
	return gate.New(off, 1), nil
}

func newCascade(cfg *config.Config, m *config.Model, loop *live.Loop, g *gate.Gate, log *slog.Logger) (*cascade.Cascade, error) {
	k := m.Cascade
	c := cascade.Config{
		Name: m.Name, Loop: loop, Gate: g, QoS: m.QoS.Target, Log: log,
		Audits: cascade.Audits{Most: k.AuditsAtOnce, Queue: k.AuditQueue, Timeout: k.AuditTimeout},
	}
	for i, s := range k.Stages {
		score, err := cascade.ParseScore(s.Score)
		if err != nil {
			return nil, err
		}
		id, err := modelID(cfg, s.Model)
		if err != nil {
			return nil, err
		}
		c.Stages = append(c.Stages, cascade.Stage{
			Model: id, Name: s.Model, Output: s.Output, Label: k.LabelOf(i),
			Reading: cascade.Reading{Score: score, Logits: s.Logits, Temperature: s.Temperature},
			Classes: s.Classes,
		})
	}
	return cascade.New(c)
}

func modelID(cfg *config.Config, name string) (pool.ModelID, error) {
	for i := range cfg.Models {
		if cfg.Models[i].Name == name {
			return pool.ModelID(i), nil
		}
	}
	return 0, fmt.Errorf("no model %q", name)
}

// front is the loop as the HTTP front end sees it: a cascade, which has no
// workers, is as ready as its reference.
type front struct {
	*live.Loop
	parts *parts
}

// cascade is the one that answers for a model; nil: workers serve it.
func (p *parts) cascade(m pool.ModelID) *cascade.Cascade {
	if int(m) < len(p.cascades) {
		return p.cascades[m]
	}
	return nil // it came later
}

func (f front) stands(m pool.ModelID) pool.ModelID {
	if c := f.parts.cascade(m); c != nil {
		return c.Reference()
	}
	return m
}

// ModelReady implements router.Loop.
func (f front) ModelReady(m pool.ModelID) bool { return f.Loop.ModelReady(f.stands(m)) }

// RetryAfter implements router.Loop.
func (f front) RetryAfter(m pool.ModelID) time.Duration { return f.Loop.RetryAfter(f.stands(m)) }

// closeCascades ends the audits under way.
func (p *parts) closeCascades(ctx context.Context) error {
	var errs []error
	for _, c := range p.cascades {
		if c != nil {
			errs = append(errs, c.Close(ctx))
		}
	}
	return errors.Join(errs...)
}
