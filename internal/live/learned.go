package live

import "motley/internal/pool"

// Learned returns a copy of every profile that has learned from a batch, by
// model and instance type. Each is of one instant; the lock is let go between
// them, since a copy takes some microseconds. It may be called after Close.
func (l *Loop) Learned() []pool.Learned {
	cfg := &l.cfg.Core
	var all []pool.Learned
	for m := range cfg.Models {
		for t := range cfg.Types {
			if p := l.copyProfile(pool.ModelID(m), pool.TypeID(t)); p != nil {
				all = append(all, pool.Learned{Model: cfg.Models[m].Name, InstanceType: cfg.Types[t].Name, Profile: p})
			}
		}
	}
	return all
}

// copyProfile copies the profile of a model on an instance type; nil where
// there is none or it has not learned anything.
func (l *Loop) copyProfile(m pool.ModelID, t pool.TypeID) *pool.Profile {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.mu.core.Profile(m, t)
	if given := l.cfg.Core.Profiles; p == nil && int(m) < len(given) && int(t) < len(given[m]) {
		p = given[m][t] // no worker of the type serves the model now
	}
	if p == nil || p.Samples() == 0 {
		return nil
	}
	return p.Clone()
}
