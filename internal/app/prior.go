package app

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"motley/internal/config"
	"motley/internal/engine"
	"motley/internal/pool"
	"motley/internal/roofline"
)

// addPriors lets priors stand in for what was never measured, where there are some.
func (p *parts) addPriors(cfg *config.Config, log *slog.Logger) error {
	for i := range cfg.Models {
		if err := addPriors(cfg, &cfg.Models[i], p.core.Profiles[i], log); err != nil {
			return err
		}
	}
	return nil
}

// addPriors does it for one model, of which row is what is known, by instance type.
func addPriors(cfg *config.Config, m *config.Model, row []*pool.Profile, log *slog.Logger) error {
	if m.Cascade != nil {
		return nil // its stages do the work
	}
	for t, prior := range priorsOf(cfg, m, row, merged(cfg, m)) {
		kind := &cfg.InstanceTypes[t]
		switch {
		case len(prior.Points) > 0:
			expected, err := pool.NewProfile(prior.Points)
			if err != nil {
				return fmt.Errorf("cannot use the prior of %s on %s: %w", m.Name, kind.Name, err)
			}
			row[t].Expect(expected)
			log.Info("never measured: a prior stands in", "model", m.Name, "instance_type", kind.Name, "prior", priorText(kind, &prior))
		case prior.Why != "" && kind.Hardware() != nil:
			log.Info("never measured, and no prior", "model", m.Name, "instance_type", kind.Name, "reason", prior.Why)
		}
	}
	return nil
}

// priorsOf are those of a model by instance type, of which row is what is known.
func priorsOf(cfg *config.Config, m *config.Model, row []*pool.Profile, largest int) []roofline.Prior {
	var types []roofline.Type
	wanted := false
	for t, known := range row {
		kind := &cfg.InstanceTypes[t]
		one := roofline.Type{Name: kind.Name, Device: kind.Hardware(), Count: kind.DeviceCount, Profile: known}
		wanted = wanted || one.Device != nil && (known == nil || !known.Known())
		types = append(types, one)
	}
	var cost roofline.Cost
	if wanted { // else no file need be read
		cost = costOf(cfg, m)
	}
	return roofline.Priors(cost, types, largest)
}

// costOf is what the configuration says, else what the graph does of a model that
// the built-in engine can read.
func costOf(cfg *config.Config, m *config.Model) roofline.Cost {
	if c := m.Cost.Roofline(); c.Known() {
		return c
	}
	for i := range cfg.Workers {
		w := &cfg.Workers[i]
		if w.Embedded == nil || !slices.Contains(cfg.Serves(w), m.Name) {
			continue
		}
		var loaded engine.Model
		var err error
		switch {
		case w.Embedded.Path == "":
			loaded, err = engine.Builtin(m.Name)
		case strings.HasSuffix(w.Embedded.Path, ".onnx"):
			var data []byte
			if data, err = os.ReadFile(w.Embedded.Path); err == nil {
				loaded, err = engine.LoadONNX(data)
			}
		}
		if err != nil || loaded == nil {
			continue // ONNX Runtime may load what the built-in engine cannot read
		}
		d, ok := engine.DemandOf(loaded)
		if ok {
			return roofline.Cost{
				FLOPs: 2 * float64(d.MultiplyAdds), Bytes: 4 * float64(d.Values), Fixed: 4 * float64(d.Weights),
				Precision: roofline.Precision(m.Cost.Precision),
			}
		}
	}
	return roofline.Cost{}
}

// priorText tells people what a prior is made of.
func priorText(kind *config.InstanceType, p *roofline.Prior) string {
	d, count := kind.Hardware(), max(kind.DeviceCount, 1)
	text := fmt.Sprintf("%d × %s", count, d.Name)
	switch {
	case len(p.From) == 0:
		return text + " by its peak rates alone, which tells types apart, not how long they take"
	case p.Error == 0:
		return text + ", scaled from " + p.From[0]
	}
	return text + fmt.Sprintf(", scaled from %s, where such priors are off by ×%.2f (the slowest other type by ×%.2f)", strings.Join(p.From, ", "), p.Error, p.Slowest)
}
