package app

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"motley/internal/cascade"
)

// registerCascade makes the counts of a cascade metrics.
func registerCascade(r prometheus.Registerer, model string, stages []string, c *cascade.Cascade) error {
	count := func(name, help string, labels prometheus.Labels, of func(cascade.Counts) uint64) error {
		labels["model"] = model
		return r.Register(prometheus.NewCounterFunc(
			prometheus.CounterOpts{Name: "motley_cascade_" + name + "_total", Help: help, ConstLabels: labels},
			func() float64 { return float64(of(c.Counts())) }))
	}
	errs := []error{
		count("direct", "Requests that went to the reference at once, for want of time.", prometheus.Labels{},
			func(n cascade.Counts) uint64 { return n.Direct }),
		count("dropped_audits", "Requests whose check found no room.", prometheus.Labels{},
			func(n cascade.Counts) uint64 { return n.Dropped }),
	}
	for i, stage := range stages {
		errs = append(errs,
			count("asked", "Requests that a stage was asked for, audits apart.", prometheus.Labels{"stage": stage},
				func(n cascade.Counts) uint64 { return n.Asked[i] }),
			count("failed", "Of those: refused, failed, late, or answered with what does not fit.", prometheus.Labels{"stage": stage},
				func(n cascade.Counts) uint64 { return n.Failed[i] }))
	}
	return errors.Join(errs...)
}
