package app

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"motley/internal/config"
	"motley/internal/dispatch"
	"motley/internal/gate"
	"motley/internal/live"
	"motley/internal/pool"
	"motley/internal/router"
)

// change is what is to become of a running router. Until commit nothing of it is in
// effect.
type change struct {
	cfg      *config.Config // of the file, and what was added to it
	ids      ids
	types    []newType
	models   []newModel
	set      []*config.Model // that are there already
	dropped  []string
	standing []*standing     // who is there afterwards
	joins    []*standing     // those of them that are new
	leaves   []*standing     // who is not
	added    map[string]bool // by name, who is there by the admin API, and not by the file
	read     []pool.Learned
}

type newType struct {
	pool.InstanceType
	profiles []*pool.Profile // by model
}

type newModel struct {
	cfg   *config.Model
	core  dispatch.Model
	setup live.ModelSetup
	exits *exitState
}

// plan makes what a configuration of the file adds to what there is, and changes nothing.
func (a *App) plan(file *config.Config) (c *change, err error) {
	cfg, added := a.members.merge(file, a.log)
	c = &change{cfg: cfg, added: added, ids: a.pool.ids.with(cfg), read: a.pool.memory.read}
	defer func() {
		if err != nil {
			a.discard(c)
		}
	}()
	if err := a.planModels(c); err != nil {
		return c, err
	}
	old := map[string]*standing{}
	for _, s := range a.members.list() {
		old[s.Name] = s
	}
	for _, w := range cfg.Expand(cpus()) {
		s := &standing{Worker: w, print: printOf(cfg, &w)}
		if was := old[w.Name]; was != nil {
			delete(old, w.Name)
			if reflect.DeepEqual(was.print, s.print) {
				c.standing = append(c.standing, was)
				continue
			}
			c.leaves = append(c.leaves, was)
		}
		if s.joined, err = a.pool.join(cfg, c.ids, &s.Worker, a.log); err != nil {
			return c, err
		}
		c.standing, c.joins = append(c.standing, s), append(c.joins, s)
	}
	for _, s := range a.members.list() {
		if old[s.Name] == s {
			c.leaves = append(c.leaves, s)
		}
	}
	return c, nil
}

// planModels does it for instance types and models.
func (a *App) planModels(c *change) error {
	p := a.pool
	p.learning.Lock()
	defer p.learning.Unlock()
	for _, t := range c.cfg.InstanceTypes {
		if !slices.Contains(p.ids.types, t.Name) {
			c.types = append(c.types, newType{coreType(&t), make([]*pool.Profile, len(p.ids.models))})
		}
	}
	for i := range c.cfg.Models {
		m := &c.cfg.Models[i]
		id, err := p.ids.model(m.Name)
		known := err == nil
		if m.Cascade != nil {
			continue // it is as it was
		}
		if known && !sameModel(a.members.configuration(), c.cfg, m) {
			c.set = append(c.set, m)
		}
		if known && len(c.types) == 0 {
			continue
		}
		row, err := p.profiles(c.cfg, m, a.known(c.cfg, m.Name))
		if err == nil {
			err = addPriors(c.cfg, m, row, a.log)
		}
		if err != nil {
			return err
		}
		byType := make([]*pool.Profile, len(c.ids.types))
		for t := range c.cfg.InstanceTypes {
			byType[slices.Index(c.ids.types, c.cfg.InstanceTypes[t].Name)] = row[t]
		}
		if known {
			for t := range c.types {
				c.types[t].profiles[id] = byType[len(p.ids.types)+t]
			}
			continue
		}
		g, state := newGate(c.cfg, m, uint64(len(c.ids.models)+len(c.models)), a.log)
		c.models = append(c.models, newModel{
			cfg: m, core: coreModel(c.cfg, m), exits: state,
			setup: live.ModelSetup{Batched: m.Batched, Metadata: declared(m), Gate: g, Profiles: byType},
		})
	}
	for _, name := range p.ids.models {
		if modelNamed(c.cfg, name) == nil {
			c.dropped = append(c.dropped, name)
		}
	}
	// The IDs of new models are given in the order of their names in ids.
	slices.SortStableFunc(c.models, func(x, y newModel) int {
		return slices.Index(c.ids.models, x.core.Name) - slices.Index(c.ids.models, y.core.Name)
	})
	return nil
}

// sameModel reports whether a model is to the loop what it was.
func sameModel(was, is *config.Config, m *config.Model) bool {
	old := modelNamed(was, m.Name)
	return old != nil && reflect.DeepEqual(coreModel(was, old), coreModel(is, m)) &&
		reflect.DeepEqual(old.Batched, m.Batched) && reflect.DeepEqual(declared(old), declared(m))
}

// known are copies of what is known by now of a model's latencies, by instance type of the
// configuration; nil where nothing is.
func (a *App) known(cfg *config.Config, model string) []*pool.Profile {
	row := make([]*pool.Profile, len(cfg.InstanceTypes))
	id, err := a.pool.ids.model(model)
	if err != nil {
		return nil
	}
	for i, t := range cfg.InstanceTypes {
		if typ, err := a.pool.ids.typ(t.Name); err == nil {
			row[i] = a.loop.Profile(id, typ)
		}
	}
	return row
}

// discard frees what a plan has made.
func (a *App) discard(c *change) {
	a.pool.learning.Lock()
	a.pool.memory.read = c.read
	a.pool.learning.Unlock()
	a.discardJoins(c.joins)
}

// discardJoins frees workers that do not join.
func (a *App) discardJoins(all []*standing) {
	for _, s := range all {
		if err := s.joined.Backend.Close(); err != nil {
			a.log.Warn("worker's connections do not close", "worker", s.Name, "error", err)
		}
		s.joined.Closed()
	}
}

// commit puts a plan into effect, but for what waits until those who join have answered.
func (a *App) commit(c *change) {
	for _, t := range c.types {
		a.loop.AddType(t.InstanceType, t.profiles)
	}
	for _, m := range c.models {
		a.loop.AddModel(m.core, m.setup)
	}
	a.pool.learning.Lock()
	a.pool.ids = c.ids
	for _, m := range c.models {
		a.pool.gates = append(a.pool.gates, m.setup.Gate)
		if m.exits != nil {
			a.pool.exits = append(a.pool.exits, m.exits)
		}
	}
	a.pool.learning.Unlock()
	for _, m := range c.set {
		if id, err := c.ids.model(m.Name); err == nil {
			a.loop.SetModel(id, coreModel(c.cfg, m), live.ModelSetup{Batched: m.Batched, Metadata: declared(m)})
		}
	}
	for _, name := range c.dropped {
		if id, err := c.ids.model(name); err == nil {
			a.loop.DropModel(id)
		}
	}
	for _, s := range c.joins {
		a.enter(s)
	}
	for _, s := range c.standing {
		s.setAdded(c.added[s.Name])
	}
	a.members.set(c.cfg, c.standing)
	a.publishModels()
}

// enter has a worker join.
func (a *App) enter(s *standing) {
	j := s.joined
	labels := router.WorkerLabels{Name: s.Name, InstanceType: s.Type}
	j.Placed = func(id pool.WorkerID) { a.metrics.SetWorker(id, labels) }
	m, err := a.loop.Join(j.Joining)
	if err != nil { // the router stops
		a.log.Info("a worker does not join any more", "worker", s.Name, "error", errors.Join(err, j.Backend.Close()))
		j.Closed()
	}
	s.member = m
	a.watchSpot(s)
}

// publishModels tells the front end what is offered.
func (a *App) publishModels() {
	if err := a.server.SetModels(a.models()); err != nil {
		panic(fmt.Sprintf("BUG: %v", err))
	}
}

// coreType is what the dispatcher knows of an instance type.
func coreType(t *config.InstanceType) pool.InstanceType {
	return pool.InstanceType{Name: t.Name, USDPerHour: t.USDPerHour, Accelerator: t.Accelerator}
}

// gate is the one of a model; nil: nobody is answered early.
func (p *parts) gate(id pool.ModelID) *gate.Gate {
	if int(id) < len(p.gates) {
		return p.gates[id]
	}
	return nil
}
