package app

import (
	"errors"
	"fmt"
	"log/slog"

	"motley/internal/config"
	"motley/internal/earlyexit"
	"motley/internal/engine"
	"motley/internal/gate"
)

// addGate adds the gate of a model, nil where early exit is off.
func (p *parts) addGate(cfg *config.Config, m *config.Model, log *slog.Logger) {
	g, state := newGate(cfg, m, uint64(len(p.gates)), log)
	p.gates = append(p.gates, g)
	if state != nil {
		p.exits = append(p.exits, state)
	}
}

// newGate makes the gate of a model, nil where early exit is off. Its controller is
// made when the first worker has told its exits: an embedded one once it was measured,
// a remote one when it answers.
func newGate(cfg *config.Config, m *config.Model, seed uint64, log *slog.Logger) (*gate.Gate, *exitState) {
	e := &m.EarlyExit
	if e.Parsed() == earlyexit.Off {
		return nil, nil
	}
	state := newExitState(cfg.Learned.Exits(m.Name), m.Name, log)
	state.gate = gate.Later(e.Parsed(), seed, func(x gate.Exits) (earlyexit.Controller, error) {
		c, err := controllerOf(e, x)
		if err != nil {
			return nil, err
		}
		if !state.load(c) {
			if err := warm(c, e); err != nil {
				return nil, err
			}
		}
		log.Info("early exit", "model", m.Name, "mode", e.Mode, "target", e.Target, "ramps", x.Ramps)
		return c, nil
	})
	return state.gate, state
}

// controllerOf makes the controller for a model's ramps.
func controllerOf(e *config.EarlyExit, x gate.Exits) (*earlyexit.Adaptive, error) {
	return earlyexit.New(earlyexit.Config{
		Mode: e.Parsed(), Ramps: x.Ramps, Target: e.Target, ClassTarget: e.ClassTarget,
		Costs: x.Costs, Budget: e.RampBudget, Audits: e.AuditShare,
	})
}

// warm has the controller learn from what was recorded, if anything was.
func warm(c *earlyexit.Adaptive, e *config.EarlyExit) error {
	if e.Recorded == nil {
		return nil
	}
	if err := c.Warm(e.Recorded.Rows); err != nil {
		return fmt.Errorf("%s: %w", e.Calibration, err)
	}
	return nil
}

// saveExits saves what the controllers have learned.
func (p *parts) saveExits() error {
	var errs []error
	for _, s := range p.exits {
		errs = append(errs, s.save())
	}
	return errors.Join(errs...)
}

// cleanUp removes what earlier runs that ended while they saved have left.
func (p *parts) cleanUp() {
	p.memory.file.cleanUp()
	for _, s := range p.exits {
		s.file.cleanUp()
	}
}

// reportOf says where a model's early exit stands; nil where it has none.
func reportOf(g *gate.Gate) func() (earlyexit.Report, bool) {
	if g == nil {
		return nil
	}
	return func() (earlyexit.Report, bool) { return g.Report(), true }
}

// share makes a model one that several workers run: it is closed with the
// parts.
func share(m engine.Model) engine.Model {
	if s, ok := m.(engine.Staged); ok {
		return sharedStaged{s}
	}
	return shared{m}
}

type shared struct{ engine.Model }

func (shared) Close() error { return nil }

type sharedStaged struct{ engine.Staged }

func (sharedStaged) Close() error { return nil }
