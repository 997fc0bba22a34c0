package fleet

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// server is one worker.
type server struct {
	fleet      *Fleet
	name, kind string
	addr       string
	models     []served
	binary     bool
	batching   bool
	slots      int
	queue      *queue
	faults     *faults
	downs      []Fault
	http       fasthttp.Server
	conns      conns
	ran        chan struct{} // closed when run has ended
	wake       chan struct{} // capacity 1: dead was set
	dead       atomic.Int64  // killed by a request until then, in ns since the start
	ln         net.Listener  // run's; nil while down
	serving    bool          // run's
	exchanges  sync.Pool     // of *exchange
}

// maxBody bounds a request's body.
const maxBody = 256 << 20

func newServer(f *Fleet, cfg *Config, models []served, w Worker, index uint64, ln net.Listener) *server {
	s := &server{
		fleet: f, name: w.Name, kind: w.Type, addr: ln.Addr().String(), models: models,
		binary: cfg.Binary, batching: cfg.Batching, slots: max(cfg.Concurrency, 1), ran: make(chan struct{}), wake: make(chan struct{}, 1),
	}
	s.ln = s.conns.listener(ln)
	seed := cfg.Seed<<20 + index // servers of a type are not to vary in step
	delay := noBatching
	if cfg.Batching {
		delay = cfg.Delay
	}
	s.queue = newQueue(queueConfig{
		truth: w.Truth, most: w.MaxBatch, slots: s.slots, delay: delay,
		maxQueue: cfg.MaxQueue, seed: seed, at: f.agenda.at, now: time.Now,
	})
	var drawn []Fault
	for _, fault := range cfg.Faults {
		switch {
		case !fault.of(w):
		case fault.Kind == "down":
			s.downs = append(s.downs, fault)
		default:
			drawn = append(drawn, fault)
		}
	}
	s.faults = newFaults(drawn, seed)
	s.http = fasthttp.Server{
		Handler: s.handle, Name: "motley-emulated", Logger: silent{},
		MaxRequestBodySize: maxBody, LazyRequestTime: true, NoDefaultContentType: true,
		DisablePreParseMultipartForm: true, CloseOnShutdown: true,
	}
	return s
}

// silent drops the HTTP server's messages: connections that broke, which
// faults are made of.
type silent struct{}

func (silent) Printf(string, ...any) {}

// run serves until the fleet stops. It is not there while one of its faults has
// it down: its connections are cut, and new ones refused.
func (s *server) run() {
	defer close(s.ran)
	for {
		at := time.Since(s.fleet.began)
		down, until := s.down(at)
		switch {
		case down:
			s.leave()
		case !s.back():
			until = at + 10*time.Millisecond // the port is taken: it may be free soon
		}
		if !s.pause(until - at) {
			return
		}
	}
}

// down tells whether one of the faults has the server down, and until when that
// is not going to change.
func (s *server) down(at time.Duration) (down bool, until time.Duration) {
	until = forever
	if dead := time.Duration(s.dead.Load()); at < dead {
		down, until = true, dead
	}
	for i := range s.downs {
		d, u := s.downs[i].down(at)
		down, until = down || d, min(until, u)
	}
	return down, until
}

// back sees to it that the server accepts; it reports whether it does.
func (s *server) back() bool {
	if s.serving {
		return true
	}
	if s.ln == nil {
		ln, err := net.Listen("tcp", s.addr)
		if err != nil {
			return false
		}
		s.ln = s.conns.listener(ln)
	}
	ln := s.ln
	s.fleet.ended.Go(func() { _ = s.http.Serve(ln) }) // it ends with the listener
	s.serving = true
	return true
}

// leave goes down as a process that is killed.
func (s *server) leave() {
	if s.ln != nil {
		_ = s.ln.Close() // nothing depends on it
		s.ln, s.serving = nil, false
		s.faults.note("down")
	}
	s.conns.cut()
}

func (s *server) shutdown(ctx context.Context) error {
	<-s.ran
	err := s.http.ShutdownWithContext(ctx)
	if s.ln != nil {
		_ = s.ln.Close() // it is closed already, unless it was never served
	}
	s.conns.cut()
	if err != nil {
		return fmt.Errorf("cannot finish the requests at %s: %w", s.name, err)
	}
	return nil
}

// die has the server away for so long, as if its process had been killed.
func (s *server) die(d time.Duration) {
	s.dead.Store(int64(time.Since(s.fleet.began) + d))
	select {
	case s.wake <- struct{}{}:
	default: // run is about to look
	}
}

// pause waits, without an end where d is, or until the server is to die. It
// reports false when the fleet stops.
func (s *server) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.wake:
		return true
	case <-s.fleet.stopped:
		return false
	}
}
