package app

import (
	"fmt"
	"log/slog"

	"motley/internal/backend"
	"motley/internal/config"
	"motley/internal/engine"
	"motley/internal/oip"
	"motley/internal/pool"
)

// emulated makes the stand-in for an instance. index tells workers of one
// entry apart, so that they do not vary in step.
func emulated(cfg *config.Config, w *config.Worker, index int, served []string, l *lease, log *slog.Logger) (backend.Backend, error) {
	points := cfg.Points(w.Emulated.ProfileModel, w.Type)
	profile, err := pool.NewProfile(points)
	if err != nil {
		return nil, fmt.Errorf("cannot use the profile of %s on %s: %w", w.Emulated.ProfileModel, w.Type, err)
	}
	largest := 0
	for _, pt := range points {
		largest = max(largest, pt.Batch)
	}
	answers := map[string]engine.Model{}
	if w.Emulated.Answer == "embedded" {
		for _, name := range served {
			if answers[name], err = l.load(&config.Embedded{Engine: "builtin"}, name, log); err != nil {
				return nil, fmt.Errorf("cannot load model %s: %w", name, err)
			}
		}
	}
	metadata := map[string]*oip.ModelMetadata{}
	for i := range cfg.Models {
		metadata[cfg.Models[i].Name] = declared(&cfg.Models[i])
	}
	return backend.NewEmulated(backend.EmulatedConfig{
		Type: w.Type, Profile: profile, Seed: w.Emulated.Seed<<16 + uint64(index), Concurrency: w.Concurrency,
		MaxBatch: largest, Answers: answers, Metadata: metadata, Models: served,
	})
}
