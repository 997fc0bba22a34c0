package app

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"motley/internal/config"
	"motley/internal/live"
	"motley/internal/pool"
)

// standing is one worker that the router has by its name. One that it takes over from
// may be there beside it for a while, and has no name any more.
type standing struct {
	config.Worker // with a count of 1
	print         print
	joined        *joined      // what it was made of
	member        *live.Member // nil: it joined when the router stopped

	mu      sync.Mutex
	added   bool               // by the admin API, and not by the file
	until   time.Time          // when it goes at the latest; zero: it does not
	unwatch context.CancelFunc // of its spot notices; nil: it has none
}

// print tells whether a worker is still the same.
type print struct {
	worker  config.Worker
	serves  []string
	tensors []config.Tensor // that it answers with, where it is emulated
	breaker config.Breaker
	points  []pool.Point // by which it is paced
}

func printOf(cfg *config.Config, w *config.Worker) print {
	p := print{worker: *w, serves: cfg.Serves(w), breaker: cfg.Breaker}
	if w.Emulated != nil {
		p.points = cfg.Points(w.Emulated.ProfileModel, w.Type)
		for _, name := range p.serves {
			m := modelNamed(cfg, name)
			p.tensors = append(append(p.tensors, m.Inputs...), m.Outputs...)
		}
	}
	return p
}

// leave has it go within some time.
func (s *standing) leave(within time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unwatch != nil {
		s.unwatch()
		s.unwatch = nil
	}
	s.until = time.Now().Add(within)
	if s.member != nil {
		s.member.Leave(within)
	}
}

// leavesBy is when it goes at the latest; zero: it stays.
func (s *standing) leavesBy() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.until
}

// stay takes leave back, and reports whether that was in time.
func (s *standing) stay() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.member == nil || !s.member.Stay() {
		return false
	}
	s.until = time.Time{}
	return true
}

// wasAdded reports whether it is there by the admin API, and not by the file.
func (s *standing) wasAdded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.added
}

// setAdded says so.
func (s *standing) setAdded(added bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.added = added
}

// membership is which workers and models the router has at present.
type membership struct {
	changing sync.Mutex // one change at a time
	closed   bool       // no change begins any more; guarded by changing
	file     atomic.Pointer[config.Config]
	past     *config.Config // file, and what files before it had and it has not; see remembering
	patience time.Duration  // how long workers that join are waited for
	ctx      context.Context
	stop     context.CancelFunc
	done     sync.WaitGroup // what goes on in the background

	mu       sync.Mutex     // guards what follows
	whole    *config.Config // the file's, with the workers there are in place of its own
	standing []*standing    // in its order
	models   []config.Model // that are offered
}

// begin takes in what the router starts with.
func (m *membership) begin(cfg *config.Config, loop *live.Loop, workers []*joined) {
	m.ctx, m.stop = context.WithCancel(context.Background())
	m.patience = settleTime
	m.take(cfg)
	for i, j := range workers {
		s := &standing{Worker: *j.cfg, print: printOf(cfg, j.cfg), joined: j, member: loop.Member(pool.WorkerID(i))}
		s.member.Closed = j.Closed // nobody has been told to leave yet
		m.standing = append(m.standing, s)
	}
	m.models = cfg.Models
	m.set(cfg, m.standing)
}

// close ends what goes on in the background.
func (m *membership) close() {
	if m.stop == nil {
		return
	}
	m.stop()
	m.changing.Lock() // a change under way ends
	m.closed = true
	m.changing.Unlock()
	m.done.Wait()
}

// take notes which file is in effect.
func (m *membership) take(file *config.Config) {
	m.past = remembering(m.past, file)
	m.file.Store(file)
}

// remembering is a configuration with the models and instance types, and what was measured of
// them, that it has not and past had: the dispatcher knows them still.
func remembering(past, cfg *config.Config) *config.Config {
	if past == nil {
		return cfg
	}
	all := *cfg
	all.Models, all.InstanceTypes, all.Rows = slices.Clone(cfg.Models), slices.Clone(cfg.InstanceTypes), slices.Clone(cfg.Rows)
	for _, m := range past.Models {
		if modelNamed(cfg, m.Name) == nil {
			all.Models = append(all.Models, m)
		}
	}
	for _, t := range past.InstanceTypes {
		if typeNamed(cfg, t.Name) == nil {
			all.InstanceTypes = append(all.InstanceTypes, t)
		}
	}
	for _, r := range past.Rows {
		if modelNamed(cfg, r.Model) == nil || typeNamed(cfg, r.InstanceType) == nil {
			all.Rows = append(all.Rows, r)
		}
	}
	return &all
}

func (m *membership) list() []*standing {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.standing)
}

// named is the worker of that name; nil: there is none.
func (m *membership) named(name string) *standing {
	for _, s := range m.list() {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// set says who is there from now on. Models that are new are not offered yet, others that
// are not there any more are not offered from now on.
func (m *membership) set(whole *config.Config, all []*standing) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var models []config.Model
	for _, is := range whole.Models {
		if slices.ContainsFunc(m.models, func(was config.Model) bool { return was.Name == is.Name }) {
			models = append(models, is)
		}
	}
	with := *whole
	with.Workers = nil
	for _, s := range all {
		with.Workers = append(with.Workers, s.Worker)
	}
	m.whole, m.standing, m.models = &with, all, models
}

// offer adds those models to what is offered that are ready.
func (m *membership) offer(ready func(name string) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var models []config.Model
	for _, is := range m.whole.Models {
		if slices.ContainsFunc(m.models, func(was config.Model) bool { return was.Name == is.Name }) || ready(is.Name) {
			models = append(models, is)
		}
	}
	m.models = models
}

func (m *membership) offered() []config.Model {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.models
}

// configuration is the one in effect, with what was added to the file's.
func (m *membership) configuration() *config.Config {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.whole
}

// merge puts the workers that were added to those of a file, as far as they fit: where the
// file has another one of the name, or lacks what one needs, the file counts. It
// returns the names of those that are added, too.
func (m *membership) merge(file *config.Config, log *slog.Logger) (*config.Config, map[string]bool) {
	whole, added := file, map[string]bool{}
	for _, s := range m.list() {
		if !s.wasAdded() {
			continue
		}
		with, err := whole.WithWorker(s.Worker)
		if err != nil {
			log.Warn("a worker that was added leaves: it does not fit the configuration any more", "worker", s.Name, "error", err)
			continue
		}
		whole, added[s.Name] = with, true
	}
	return whole, added
}
