package router

import (
	"errors"
	"fmt"
)

// modelTable is the models that are offered. It does not change: SetModels publishes
// another one.
type modelTable struct {
	byName map[string]*model
	order  []*model // as configured
}

// offered are the models as configured.
func (s *Server) offered() []*model { return s.models.Load().order }

// SetModels offers these models from now on, and no others. A request under way keeps the
// model that it was let in for. Series of models that are not offered any more are
// deleted.
func (s *Server) SetModels(models []Model) error {
	next := &modelTable{byName: make(map[string]*model, len(models))}
	for _, m := range models {
		switch {
		case m.Name == "":
			return errors.New("a model has no name")
		case next.byName[m.Name] != nil:
			return fmt.Errorf("model %q is there twice", m.Name)
		case m.Info == nil:
			return fmt.Errorf("model %q has no Info", m.Name)
		case m.ID < 0:
			return fmt.Errorf("model %q has id %d", m.Name, m.ID)
		}
		one := &model{Model: m}
		next.byName[m.Name] = one
		next.order = append(next.order, one)
	}
	old := s.models.Load()
	for _, m := range next.order {
		if m.metrics = s.metrics.model(m.ID); m.metrics.name != m.Name || old != nil && old.byName[m.Name] == nil {
			m.metrics = s.metrics.setModel(m.ID, m.Name)
		}
	}
	s.models.Store(next)
	s.metrics.exits.models.Store(&next.order)
	if old != nil {
		for _, m := range old.order {
			if next.byName[m.Name] == nil {
				m.metrics.dropped.Store(true)
				s.metrics.vectors.forget(m.Name)
			}
		}
	}
	return nil
}
