package app

import (
	"fmt"
	"log/slog"

	"motley/internal/config"
	"motley/internal/earlyexit"
	"motley/internal/engine"
	"motley/internal/gate"
)

// gateOf returns the gate of a model, or nil where early exit is off. Its
// controller is made when the first worker has told its exits: an embedded one
// once it was measured, a remote one when it answers.
func gateOf(m *config.Model, seed uint64, log *slog.Logger) *gate.Gate {
	e := &m.EarlyExit
	if e.Parsed() == earlyexit.Off {
		return nil
	}
	return gate.Later(e.Parsed(), seed, func(x gate.Exits) (earlyexit.Controller, error) {
		c, err := controllerOf(e, x)
		if err != nil {
			return nil, err
		}
		log.Info("early exit", "model", m.Name, "mode", e.Mode, "target", e.Target, "ramps", x.Ramps, "recorded", rows(e))
		return c, nil
	})
}

func rows(e *config.EarlyExit) int {
	if e.Recorded == nil {
		return 0
	}
	return len(e.Recorded.Rows)
}

// controllerOf makes the controller for a model's ramps, which has learned from
// what was recorded.
func controllerOf(e *config.EarlyExit, x gate.Exits) (*earlyexit.Adaptive, error) {
	c, err := earlyexit.New(earlyexit.Config{
		Mode: e.Parsed(), Ramps: x.Ramps, Target: e.Target, ClassTarget: e.ClassTarget,
		Costs: x.Costs, Budget: e.RampBudget, Audits: e.AuditShare,
	})
	if err != nil || e.Recorded == nil {
		return c, err
	}
	if err := c.Warm(e.Recorded.Outcomes()); err != nil {
		return nil, fmt.Errorf("%s: %w", e.Calibration, err)
	}
	return c, nil
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
