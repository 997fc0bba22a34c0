package app

import (
	"errors"
	"slices"

	"motley/internal/access"
	"motley/internal/config"
	"motley/internal/router"
)

// guard is who may ask for what; nil: everybody may everything. Of before, what
// keys have used is taken over.
func guard(cfg *config.Access, before *router.Access) (*router.Access, error) {
	if !cfg.On() {
		return nil, nil
	}
	var old *access.Guard
	if before != nil {
		old = before.Guard
	}
	g, err := access.New(cfg.Policy(), old)
	if err != nil {
		return nil, err
	}
	return &router.Access{Guard: g, TenantHeader: cfg.TenantHeader}, nil
}

// tenantNames are those of the tenants, by index.
func tenantNames(cfg *config.Access) []string {
	var names []string
	for _, t := range cfg.AllTenants() {
		names = append(names, t.Name)
	}
	return names
}

// weights are the tenants' shares, by index, as the core wants them; nil: there is one.
func weights(cfg *config.Access) []float64 {
	if len(cfg.Tenants) == 0 {
		return nil
	}
	var all []float64
	for _, t := range cfg.AllTenants() {
		all = append(all, t.Weight)
	}
	return all
}

// prepareAccess is the preparer of keys.
func (a *App) prepareAccess(cfg *config.Config) (commit func(), err error) {
	if !slices.Equal(tenantNames(&cfg.Access), tenantNames(&a.cfg.Access)) {
		return nil, errors.New("access.tenants: cannot come, go or change places while the router runs")
	}
	next, err := guard(&cfg.Access, a.server.Access())
	if err != nil {
		return nil, err
	}
	return func() {
		a.loop.SetTenants(weights(&cfg.Access))
		a.server.SetAccess(next)
	}, nil
}
