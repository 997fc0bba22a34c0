package live

import (
	"sync/atomic"

	"motley/internal/dispatch"
	"motley/internal/pool"
)

// AddType takes in another instance type. profiles are by model what is known of the
// latencies of those that there are.
func (l *Loop) AddType(t pool.InstanceType, profiles []*pool.Profile) pool.TypeID {
	var id pool.TypeID
	l.change(func(next *table) dispatch.Event {
		id = pool.TypeID(len(next.types))
		next.types = append(next.types, t)
		for i, e := range next.models {
			row := make([]*pool.Profile, len(next.types))
			copy(row, e.Profiles)
			if i < len(profiles) {
				row[id] = profiles[i]
			}
			with := *e
			with.Profiles = row
			next.models[i] = &with
		}
		return dispatch.Event{Kind: dispatch.TypeAdd, Change: &dispatch.Change{Type: t, Profiles: profiles}}
	})
	return id
}

// AddModel takes in another model.
func (l *Loop) AddModel(core dispatch.Model, s ModelSetup) pool.ModelID {
	var id pool.ModelID
	s.Name = core.Name
	l.change(func(next *table) dispatch.Event {
		id = pool.ModelID(len(next.models))
		e := &modelEntry{ModelSetup: s, info: new(atomic.Pointer[Info])}
		e.publish(&Info{Metadata: s.Metadata})
		next.models = append(next.models, e)
		return dispatch.Event{Kind: dispatch.ModelSet, Model: id, Change: &dispatch.Change{Model: core, Profiles: s.Profiles}}
	})
	return id
}

// SetModel changes a model, or offers one again that was dropped. Of s, Batched and
// Metadata count; who is answered early, and what is known of latencies, stays. What
// waits keeps the deadline that it came with.
func (l *Loop) SetModel(id pool.ModelID, core dispatch.Model, s ModelSetup) {
	l.learning.Lock()
	defer l.learning.Unlock()
	var e modelEntry
	l.change(func(next *table) dispatch.Event {
		e = *next.models[id]
		again := e.dropped
		e.Batched, e.Metadata, e.dropped = s.Batched, s.Metadata, false
		if again {
			e.info = new(atomic.Pointer[Info])
		}
		next.models[id] = &e
		return dispatch.Event{Kind: dispatch.ModelSet, Model: id, Change: &dispatch.Change{Model: core}}
	})
	info := *l.Info(id)
	if info.Metadata == nil {
		info.Metadata = e.Metadata
	}
	l.mu.Lock()
	info.Splits = l.mu.core.Splits(id)
	l.mu.Unlock()
	e.publish(&info)
}

// DropModel stops to tell of a model. The core keeps it: what was let in is answered, and
// what was learned of it is there when SetModel offers it again.
func (l *Loop) DropModel(id pool.ModelID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := l.table.Load().with()
	e := *next.models[id]
	e.dropped = true
	next.models[id] = &e
	l.table.Store(next)
}

// change publishes another table and tells the core what is other about it.
func (l *Loop) change(edit func(next *table) dispatch.Event) {
	var wakes wakeList
	l.mu.Lock()
	next := l.table.Load().with()
	ev := edit(next)
	l.table.Store(next)
	ev.At = l.now()
	l.stepLocked(ev, &wakes)
	l.mu.Unlock()
	wakes.send(nil)
}

// SetTenants changes the weights by which tenants share; see dispatch.Config.Tenants.
func (l *Loop) SetTenants(weights []float64) {
	l.inject(dispatch.Event{Kind: dispatch.TenantsSet, Change: &dispatch.Change{Tenants: weights}})
}
