package app

import (
	"errors"
	"fmt"
	"io"

	"motley/internal/config"
	"motley/internal/pool"
	"motley/internal/profiler"
)

// ProfilePriors writes what is expected of the instance types on which a model was
// never measured (profiles, learned.file), by the model's cost and the hardware's rates. No
// worker is asked.
func ProfilePriors(cfg *config.Config, opt ProfileOptions, w io.Writer) error {
	var results []profiler.Result
	learned := remember(cfg.Learned.File, opt.Log)
	for i := range cfg.Models {
		m := &cfg.Models[i]
		if m.Cascade != nil || opt.Model != "" && m.Name != opt.Model {
			continue
		}
		var row []*pool.Profile
		largest := m.MaxBatch
		for _, t := range cfg.InstanceTypes {
			points := cfg.Points(m.Name, t.Name)
			profile, err := pool.NewProfile(points)
			if err != nil {
				return fmt.Errorf("cannot use the profile of %s on %s: %w", m.Name, t.Name, err)
			}
			if known := learned.take(m.Name, t.Name, points); known != nil {
				profile = known
			}
			for _, pt := range points {
				if m.MaxBatch == 0 {
					largest = max(largest, pt.Batch)
				}
			}
			row = append(row, profile)
		}
		for t, prior := range priorsOf(cfg, m, row, largest) {
			kind := &cfg.InstanceTypes[t]
			if row[t].Known() || !wants(opt.Types, kind.Name) {
				continue
			}
			r := profiler.Told(m.Name, kind.Name, profiler.Estimated, "", nil)
			if len(prior.Points) > 0 {
				r = profiler.Told(m.Name, kind.Name, profiler.Estimated, priorText(kind, &prior), prior.Points)
			} else {
				r.Source = "there is none: " + prior.Why
			}
			results = append(results, r)
		}
	}
	if len(results) == 0 {
		return errors.New("cannot tell priors: every type was measured, or none is of the model and the types")
	}
	return write(results, results, opt, w)
}
