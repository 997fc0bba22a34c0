package dispatch

import (
	"fmt"

	"motley/internal/pool"
)

// Change is what a TypeAdd, ModelSet or WorkerJoin brings. The core keeps what
// it points to.
type Change struct {
	Type     pool.InstanceType // TypeAdd
	Model    Model             // ModelSet; zero fields take the defaults
	Profiles []*pool.Profile   // ModelSet of a new model, by type; TypeAdd, by model: see Config.Profiles
	Worker   pool.Worker       // WorkerJoin
	Tenants  []float64         // TenantsSet: see Config.Tenants
}

// String names what comes, as transcripts do.
func (c *Change) String() string {
	switch {
	case c == nil:
		return "nothing"
	case c.Worker.Name != "":
		return fmt.Sprintf("%s type=%d %v", c.Worker.Name, c.Worker.Type, c.Worker.State)
	case c.Tenants != nil:
		return fmt.Sprint(c.Tenants)
	case c.Model.Name != "":
		return fmt.Sprintf("%s qos=%v max_batch=%d", c.Model.Name, c.Model.QoS, c.Model.MaxBatch)
	}
	return c.Type.Name
}

// addType takes in another instance type. Its ID is the next.
func (c *Core) addType(t pool.InstanceType, profiles []*pool.Profile) {
	c.cfg.Types = append(c.cfg.Types, t)
	for m, p := range profiles {
		if p != nil {
			c.profileOf(pool.ModelID(m), pool.TypeID(len(c.cfg.Types)-1))
			c.profiles[m][len(c.cfg.Types)-1] = p
		}
	}
	c.regroup()
}

// setModel changes a model, or takes in another one with the next ID. What
// waits keeps the deadline that it came with.
func (c *Core) setModel(id pool.ModelID, ch *Change) {
	m := ch.Model
	m.setDefaults()
	switch {
	case int(id) < len(c.models):
		c.models[id].Model = m
		for i := len(c.models[id].profiles); i < len(c.models[id].groups); i++ {
			c.models[id].groups[i].profile = nil // made anew, for the new target
		}
	case int(id) == len(c.models):
		for len(c.profiles) <= int(id) {
			c.profiles = append(c.profiles, nil)
		}
		c.profiles[id] = append([]*pool.Profile(nil), ch.Profiles...)
		c.models = append(c.models, model{Model: m, id: id, cut: demandBins})
	default:
		panic(fmt.Sprintf("BUG: model %d is set, of %d", id, len(c.models)))
	}
	c.regroup()
	c.dropLarge(&c.models[id])
}

// join takes in a worker, as the next or in the place of one that is gone.
func (c *Core) join(id pool.WorkerID, w pool.Worker) {
	switch {
	case int(id) == len(c.workers):
		c.workers = append(c.workers, worker{timer: -1})
	case int(id) > len(c.workers) || c.Present(id):
		panic(fmt.Sprintf("BUG: worker %d joins, of %d", id, len(c.workers)))
	}
	if int(w.Type) < 0 || int(w.Type) >= len(c.cfg.Types) || w.Concurrency < 1 {
		panic(fmt.Sprintf("BUG: worker %d (%s) joins with type %d of %d, concurrency %d", id, w.Name, w.Type, len(c.cfg.Types), w.Concurrency))
	}
	c.workers[id] = c.newWorker(w, c.workers[id].timer)
	c.regroup()
}

// newWorker is a worker that is as well as any; timer is the one of its slot.
func (c *Core) newWorker(w pool.Worker, timer int32) worker {
	w.Serves = append([]pool.Serve(nil), w.Serves...)
	for _, s := range w.Serves {
		if int(s.Model) < 0 || int(s.Model) >= len(c.models) {
			panic(fmt.Sprintf("BUG: worker %s serves model %d, of %d", w.Name, s.Model, len(c.models)))
		}
	}
	return worker{Worker: w, present: true, timer: timer, class: int32(w.Type), vital: &vital{health: Healthy}}
}

// depart keeps new work from a worker that is to go, as long as another one can do
// it; back takes that back.
func (c *Core) depart(id pool.WorkerID, leaving bool) {
	w := &c.workers[id]
	if !w.present || w.removed || w.vital.leaving == leaving {
		return
	}
	w.vital.leaving = leaving
	c.resettle()
}

// remove takes a worker away. What it runs is tried elsewhere; the worker's
// place is free once the driver has reported the ends of that.
func (c *Core) remove(id pool.WorkerID) {
	w := &c.workers[id]
	if !w.present || w.removed {
		return
	}
	w.removed = true
	if w.State == pool.Down {
		w.State = pool.Draining // whatever it still runs was taken away before; nothing is lost
	}
	serves := w.Serves
	c.setState(id, pool.Down)
	c.vacate(id)
	for _, s := range serves {
		c.dropLarge(&c.models[s.Model]) // nobody else may take it, and this one does not come back
	}
}

// vacate forgets a worker that was removed, once it runs nothing.
func (c *Core) vacate(id pool.WorkerID) {
	w := &c.workers[id]
	if !w.removed || len(w.running) > 0 {
		return
	}
	if w.timer >= 0 {
		c.timers.removeAt(w.timer)
	}
	*w = worker{timer: -1, vital: &vital{health: Healthy}}
	w.State = pool.Down
	c.regroup()
}

// Present reports whether there is such a worker: one that has not joined yet,
// or is gone and runs nothing any more, is not there.
func (c *Core) Present(id pool.WorkerID) bool {
	return int(id) < len(c.workers) && c.workers[id].present
}

// Vacant reports whether a worker can go without anybody's loss: it runs
// nothing, and nothing waits that no other worker which is up could do.
func (c *Core) Vacant(id pool.WorkerID) bool {
	w := &c.workers[id]
	if len(w.running) > 0 {
		return false
	}
	for _, s := range w.Serves {
		if c.models[s.Model].queue.len() > 0 && c.soleServer(id, s.Model) {
			return false
		}
	}
	return true
}

// soleServer reports whether no other worker that is up and stays serves the model, or all
// that do are shut.
func (c *Core) soleServer(id pool.WorkerID, m pool.ModelID) bool {
	for i := range c.workers {
		if w := &c.workers[i]; pool.WorkerID(i) != id && w.State == pool.Up && !w.vital.leaving && w.limit(m) > 0 && !w.Breaker.Tripped() {
			return false
		}
	}
	return true
}

// regroup derives classes and groups anew from the types, the models and the
// workers there are. What is known of a group that was there before is kept.
func (c *Core) regroup() {
	before := c.classes
	c.classes = nil
	for t := range c.cfg.Types {
		c.classes = append(c.classes, class{typ: pool.TypeID(t), slow: 1, wide: 1})
	}
	for i := range c.workers {
		if w := &c.workers[i]; w.present {
			w.class = c.classLike(w.Type, w.vital.health)
			c.classes[w.class].workers++
		}
	}
	for i := range c.models {
		c.models[i].old = c.models[i].groups
		c.open(&c.models[i], before)
	}
	for i := range c.workers {
		w := &c.workers[i]
		for _, s := range w.Serves {
			g := c.models[s.Model].groupOf(w)
			g.workers = append(g.workers, pool.WorkerID(i))
		}
	}
	for i := range c.models {
		c.models[i].settle()
	}
	for i := range c.batches {
		if b := &c.batches[i]; b.live {
			c.models[b.model].groupOf(&c.workers[b.worker]).flying++
		}
	}
	c.resettle()
}

// classLike is the class of a type's workers with such a health, made where there
// is none.
func (c *Core) classLike(t pool.TypeID, h Health) int32 {
	for i := range c.classes {
		if k := &c.classes[i]; k.typ == t && k.slow == h.Slowdown && k.wide == h.Uncertainty {
			return int32(i)
		}
	}
	c.classes = append(c.classes, class{typ: t, slow: h.Slowdown, wide: h.Uncertainty})
	return int32(len(c.classes) - 1)
}

// open makes the model's groups, without workers: first those of the types that
// have, or had, workers which serve it, whoever is derated left out, then those
// of the derated ones.
func (c *Core) open(m *model, before []class) {
	serving := make([]bool, len(c.classes))
	for i := range c.workers {
		if w := &c.workers[i]; w.lists(m.id) {
			serving[w.class], serving[w.Type] = true, true // a derated worker's profile is made of its type's
		}
	}
	m.groups, m.profiles, m.byClass = nil, nil, nil
	m.meets = make([]bool, len(c.models))
	for k, kind := range c.classes {
		m.byClass = append(m.byClass, -1)
		o := m.was(kind, before)
		base := k < len(c.cfg.Types)
		if !serving[k] && (o == nil || !base) {
			continue
		}
		g := group{class: int32(k), typ: kind.typ}
		if o != nil {
			g.profile, g.tried, g.busy, g.batch, g.most, g.cursor = o.profile, o.tried, o.busy, o.batch, o.most, o.cursor
		} else if !base {
			t := m.group(int32(kind.typ))
			g.tried, g.busy, g.batch = t.tried, t.busy, t.batch
		}
		switch {
		case base:
			g.profile = c.profileOf(m.id, kind.typ)
			m.profiles = append(m.profiles, g.profile)
		case g.profile == nil:
			g.profile = m.group(int32(kind.typ)).profile.Derated(kind.slow, kind.wide, m.QoS)
		}
		m.byClass[k] = int32(len(m.groups))
		m.groups = append(m.groups, g)
	}
}

// was is the model's group of such workers before; nil without one.
func (m *model) was(kind class, before []class) *group {
	for i := range m.old {
		if o := &before[m.old[i].class]; o.typ == kind.typ && o.slow == kind.slow && o.wide == kind.wide {
			return &m.old[i]
		}
	}
	return nil
}

// settle ends what open has begun, once the groups have their workers.
func (m *model) settle() {
	m.old, m.first = nil, 0
	first := pool.WorkerID(-1)
	for i := range m.groups {
		g := &m.groups[i]
		if len(g.workers) == 0 {
			g.cursor = 0
			continue
		}
		g.cursor %= len(g.workers)
		if first < 0 || g.workers[0] < first {
			first, m.first = g.workers[0], m.byClass[g.typ]
		}
	}
}

// profileOf is the profile of a model on a type, made where none was given.
func (c *Core) profileOf(m pool.ModelID, t pool.TypeID) *pool.Profile {
	for len(c.profiles) <= int(m) {
		c.profiles = append(c.profiles, nil)
	}
	for len(c.profiles[m]) <= int(t) {
		c.profiles[m] = append(c.profiles[m], nil)
	}
	p := &c.profiles[m][t]
	if *p == nil {
		*p, _ = pool.NewProfile(nil)
	}
	return *p
}

// lists reports whether the worker has the model among those that it serves,
// be it with no items at present.
func (w *worker) lists(m pool.ModelID) bool {
	for _, s := range w.Serves {
		if s.Model == m {
			return true
		}
	}
	return false
}
