package live

import (
	"slices"
	"sync/atomic"
	"time"

	"motley/internal/backend"
	"motley/internal/gate"
	"motley/internal/oip"
	"motley/internal/pool"
)

// table is who and what there is, as far as the core need not know of it. A table
// does not change: whoever changes something publishes another one, under the
// loop's lock, and who has loaded one goes on with that.
type table struct {
	workers []*Member     // by WorkerID; who is gone stays until the ID is used again
	models  []*modelEntry // by ModelID
	types   []pool.InstanceType
}

// modelEntry is one model.
type modelEntry struct {
	ModelSetup
	dropped bool                  // it is not offered any more
	info    *atomic.Pointer[Info] // of one model, whatever entries it has
}

// ModelSetup is what a Loop is told of a model beside what the core is.
type ModelSetup struct {
	Name     string
	Batched  *bool              // whether the first dimension of its tensors is the batch; nil: what the workers tell
	Metadata *oip.ModelMetadata // until, and unless, a worker tells its own
	Gate     *gate.Gate         // decides who is answered early; nil: nobody
	// Profiles are by instance type what is known of its latencies; the core keeps and
	// teaches them.
	Profiles []*pool.Profile
}

// newTable makes the table that a loop starts with.
func newTable(l *Loop, cfg *Config) *table {
	t := &table{types: cfg.Core.Types}
	for i := range cfg.Core.Models {
		e := &modelEntry{ModelSetup: ModelSetup{Name: cfg.Core.Models[i].Name}, info: new(atomic.Pointer[Info])}
		if i < len(cfg.Probe.Batched) {
			e.Batched = cfg.Probe.Batched[i]
		}
		if i < len(cfg.Probe.Metadata) {
			e.Metadata = cfg.Probe.Metadata[i]
		}
		if i < len(cfg.Gates) {
			e.Gate = cfg.Gates[i]
		}
		if i < len(cfg.Core.Profiles) {
			e.Profiles = cfg.Core.Profiles[i]
		}
		t.models = append(t.models, e)
	}
	for i := range cfg.Core.Workers {
		m := newMember(l, Joining{Worker: cfg.Core.Workers[i], Backend: cfg.Backends[i]})
		m.id = pool.WorkerID(i)
		if h := cfg.Health; h != nil && i < len(h.Telemetry) {
			m.Telemetry = h.Telemetry[i]
		}
		t.workers = append(t.workers, m)
	}
	return t
}

// with is a copy to be changed and published.
func (t *table) with() *table {
	return &table{workers: slices.Clone(t.workers), models: slices.Clone(t.models), types: slices.Clone(t.types)}
}

// worker is the one with that ID.
func (l *Loop) worker(id pool.WorkerID) *Member { return l.table.Load().workers[id] }

// model is the one with that ID.
func (l *Loop) model(id pool.ModelID) *modelEntry { return l.table.Load().models[id] }

// profile is the one of the model on a type; nil where none was given.
func (e *modelEntry) profile(t pool.TypeID) *pool.Profile {
	if int(t) < len(e.Profiles) {
		return e.Profiles[t]
	}
	return nil
}

// Joining is a worker that is to join a loop.
type Joining struct {
	// Worker is how the core is to know it. A loop that watches its workers takes it
	// in as Starting, whatever State says.
	Worker  pool.Worker
	Backend backend.Backend // the loop closes it
	// Telemetry tells how its hardware does; nil: nobody does.
	Telemetry Telemetry
	// Every is the time between two probes of it; 0: the loop's.
	Every time.Duration
	// Placed is told the worker's ID before the worker gets work; it must not block. nil:
	// nobody is.
	Placed func(pool.WorkerID)
	// Closed is called once it is gone and its backend closed; nil: nobody is told. When
	// the loop is closed while the worker is there, it is not called.
	Closed func()
}
