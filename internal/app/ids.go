package app

import (
	"fmt"
	"slices"

	"motley/internal/config"
	"motley/internal/pool"
)

// ids are the names of the instance types and models that the dispatcher knows, by ID.
// A type or model that the configuration drops keeps its ID.
type ids struct{ types, models []string }

// idsOf are those that a router has which starts with a configuration: in its order.
func idsOf(cfg *config.Config) (n ids) {
	for _, t := range cfg.InstanceTypes {
		n.types = append(n.types, t.Name)
	}
	for _, m := range cfg.Models {
		n.models = append(n.models, m.Name)
	}
	return n
}

// with are n and what a configuration has beside, with the next IDs.
func (n ids) with(cfg *config.Config) ids {
	more := ids{slices.Clone(n.types), slices.Clone(n.models)}
	for _, t := range cfg.InstanceTypes {
		if !slices.Contains(more.types, t.Name) {
			more.types = append(more.types, t.Name)
		}
	}
	for _, m := range cfg.Models {
		if !slices.Contains(more.models, m.Name) {
			more.models = append(more.models, m.Name)
		}
	}
	return more
}

func (n ids) typ(name string) (pool.TypeID, error) {
	if i := slices.Index(n.types, name); i >= 0 {
		return pool.TypeID(i), nil
	}
	return 0, fmt.Errorf("no instance type %q", name)
}

func (n ids) model(name string) (pool.ModelID, error) {
	if i := slices.Index(n.models, name); i >= 0 {
		return pool.ModelID(i), nil
	}
	return 0, fmt.Errorf("no model %q", name)
}
