package live

import "motley/internal/pool"

// Learned returns a copy of every profile that has learned from a batch, by
// model and instance type. Each is of one instant; the lock is let go between
// them, since a copy takes some microseconds. It may be called after Close.
func (l *Loop) Learned() []pool.Learned {
	table := l.table.Load()
	var all []pool.Learned
	for m := range table.models {
		for t := range table.types {
			if p := l.copyProfile(pool.ModelID(m), pool.TypeID(t)); p != nil {
				all = append(all, pool.Learned{Model: table.models[m].Name, InstanceType: table.types[t].Name, Profile: p})
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
	if p := l.profileLocked(m, t); p != nil && p.Samples() > 0 {
		return p.Clone()
	}
	return nil
}

func (l *Loop) profileLocked(m pool.ModelID, t pool.TypeID) *pool.Profile {
	if p := l.mu.core.Profile(m, t); p != nil {
		return p
	}
	return l.model(m).profile(t) // no worker of the type serves the model now
}

// Profile returns a copy of what is known of a model's latencies on an instance type; nil
// where nothing ever was.
func (l *Loop) Profile(m pool.ModelID, t pool.TypeID) *pool.Profile {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.profileLocked(m, t); p != nil {
		return p.Clone()
	}
	return nil
}
