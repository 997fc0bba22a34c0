package app

import (
	"motley/internal/config"
	"motley/internal/dispatch"
)

// failures turns the section of the configuration, in which 0 switches off, into the
// core's, where that is the default.
func failures(f *config.Failures) dispatch.Failures {
	d := dispatch.Failures{
		RetryBudget: f.RetryBudget, PoisonedAfter: f.PoisonedAfter, EjectRate: f.EjectRate, MaxEjected: f.MaxEjected,
		NoSlowStart: !f.SlowStart, Hedge: f.Hedge, HedgeBudget: f.HedgeBudget,
	}
	if d.PoisonedAfter == 0 {
		d.PoisonedAfter = -1
	}
	if d.EjectRate == 0 {
		d.EjectRate = -1
	}
	return d
}
