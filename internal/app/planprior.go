package app

import (
	"errors"
	"fmt"

	"motley/internal/config"
	"motley/internal/pool"
)

var errUnmeasured = errors.New("no measured latencies")

// expected is the prior of a model on a type that was never measured, or fault with
// the reason why there is none.
func (s *study) expected(m *config.Model, instanceType string, learned []pool.Learned, fault error) (*pool.Profile, []pool.Point, error) {
	var row []*pool.Profile
	largest := m.MaxBatch
	for _, t := range s.cfg.InstanceTypes {
		profile, points, err := s.known(m.Name, t.Name, learned)
		if err != nil && !errors.Is(err, errUnmeasured) {
			return nil, nil, err
		}
		for _, pt := range points {
			if m.MaxBatch == 0 {
				largest = max(largest, pt.Batch)
			}
		}
		row = append(row, profile)
	}
	for t, prior := range priorsOf(s.cfg, m, row, largest) {
		kind := &s.cfg.InstanceTypes[t]
		if kind.Name != instanceType {
			continue
		}
		if len(prior.Points) == 0 {
			return nil, nil, fmt.Errorf("%w; nor is there a prior: %s", fault, prior.Why)
		}
		profile, err := pool.NewProfile(prior.Points)
		if err != nil {
			return nil, nil, fmt.Errorf("prior of %s on %s: %w", m.Name, instanceType, err)
		}
		s.priors = append(s.priors, fmt.Sprintf("%s on %s: %s", m.Name, instanceType, priorText(kind, &prior)))
		return profile, prior.Points, nil
	}
	return nil, nil, fault
}
