// Package router is the HTTP front end: it speaks the Open Inference Protocol
// v2 as Triton does (paths, error forms, statuses, the binary tensor
// extension), hands inference requests to the loop that owns the dispatch
// core, and answers with what comes back: once, or event by event. What operators
// ask for, metrics and /debug, is on another listener (Server.Mount).
//
// A request's body is read once into a buffer of the HTTP server and stays
// there until the answer is written; the answer's buffer is the one the worker
// wrote to. In steady state an inference request allocates nothing here.
package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"

	"motley/internal/accesslog"
	"motley/internal/dispatch"
	"motley/internal/earlyexit"
	"motley/internal/http1"
	"motley/internal/live"
	"motley/internal/oip"
	"motley/internal/pool"
	"motley/internal/reactor"
	"motley/internal/tracing"
)

// Loop is what the front end needs of live.Loop.
type Loop interface {
	// Do runs one request to its end, DoContext one of a client that may leave, and
	// Begin one that nobody waits for; see live.Loop.
	Do(*live.Request) error
	DoContext(context.Context, *live.Request) error
	Begin(*live.Request, live.Waiter) dispatch.RequestID
	// Leave gives up what Begin started.
	Leave(dispatch.RequestID, *reactor.Loop)
	Snapshot() live.Snapshot
	ModelReady(pool.ModelID) bool
	RetryAfter(pool.ModelID) time.Duration
}

var _ Loop = (*live.Loop)(nil)

// Model is a model that the front end serves.
type Model struct {
	Name       string        // as clients spell it in paths; required, without '/'
	ID         pool.ModelID  // its index in the loop and the metrics
	QoS        time.Duration // latency target, for error texts and /debug/state
	Percentile float64       // the share of requests that must make it, for /debug/state
	MaxQueue   int           // the limit of its queue in requests, for error texts; 0 = not told
	// Info returns what is known of the model now. It is called once per
	// request, from many goroutines, and must not block or allocate: an
	// atomic load.
	Info func() ModelInfo

	// Do runs a request in place of the loop, as a cascade does; nil: the loop does.
	Do func(context.Context, *live.Request) error
	// Exits says where the model's early exit stands; nil, or false: it has none.
	Exits func() (earlyexit.Report, bool)
	// Ramps returns how many ramps the model has in use, 0 while they are unknown,
	// and by ramp its depth, the share of a whole run that has passed there. It is
	// called as Info is; the slice is shared. nil: it has none.
	Ramps func() (ramps int, depth []float64)
}

// ModelInfo is what the workers told of a model.
type ModelInfo struct {
	Metadata *oip.ModelMetadata // nil while unknown
	Batched  bool               // the first dimension of all tensors is the batch
	MaxBatch int                // the most items one execution takes on any worker; 0 = unknown
	Splits   bool               // requests with more items are cut into parts where their rows can run apart
	Classes  int                // probabilities that an exit of the model gives a row; 0 = unknown, or no ramps
}

// Config configures a Server. Zero fields take the defaults.
type Config struct {
	Loop    Loop // required
	Models  []Model
	Metrics *Metrics // default: metrics that nobody gathers
	// Learned is what /debug/profiles tells; nil = it is not there.
	Learned func() []pool.Learned
	// Gatherer is what /metrics prints; nil = /metrics is not there.
	Gatherer prometheus.Gatherer
	// Health says how far every worker can be relied on, for /debug/pool; nil:
	// nobody knows.
	Health func() []live.WorkerHealth
	Log    *slog.Logger // default: discard
	// Access has a line for every request that it wants; nil: there is none.
	AccessLog *accesslog.Log
	// Tracer records inference requests; nil: nobody does.
	Tracer *tracing.Tracer

	Name    string // of the server, in GET /v2; default "motley"
	Version string // default "dev"

	MaxBody        int           // bytes of a request body, before and after decompression; default 64 MiB
	MaxHeader      int           // bytes of a request's head; default 8 KiB; it is also the read buffer of a connection
	MaxConnections int           // open at once; default 16384
	ReadTimeout    time.Duration // to read one whole request; default 60 s, negative = no limit
	WriteTimeout   time.Duration // to write one response; default 60 s, negative = no limit
	IdleTimeout    time.Duration // between requests of a connection; default 120 s, negative = no limit
	// Linger is how long a connection on which nothing is under way may still bring a request
	// once the server ends, which is answered with Connection: close; default none.
	Linger time.Duration
	// HeaderTimeout is how long a request's head may take from its first byte; default 10 s,
	// negative = no limit.
	HeaderTimeout time.Duration
	MaxHeaders    int // in a request's head, and trailers; default 100
	// MinBodyRate is how fast a body must come after the first 10 s, in bytes per second;
	// default 500, negative = at any rate.
	MinBodyRate int
	// MaxBuffered is the most bytes of request bodies that are held, of all connections together:
	// being read, waiting, with a worker. Default 1 GiB, or 4 * MaxBody if that is more.
	// Bodies over 128 KiB have three quarters of it.
	MaxBuffered int64
	// MaxUploads is the most requests that are read at once by goroutines of their own, as large and
	// unusual ones are; default 1024. It holds on reactors only.
	MaxUploads int
	MaxRatio   int // of a body's size over its compressed size, from 8 MiB on; default 200
	Limits     oip.Limits
	// Access is who may ask for what; nil: everybody may everything. See SetAccess.
	Access *Access
	// Kept reports whether another process keeps a listener's socket when this one ends, so
	// that its queue is none of the server's business; nil: none does.
	Kept func(net.Listener) bool
	// Loops answer inference requests without a goroutine for each connection; none:
	// the HTTP library answers everything.
	Loops []*reactor.Loop
}

// Server serves the HTTP API. Make one with New.
type Server struct {
	cfg      Config
	loop     Loop
	log      *slog.Logger
	metrics  *Metrics
	models   atomic.Pointer[modelTable]
	access   atomic.Pointer[Access]
	fast     fasthttp.Server
	heads    http1.Limits
	pace     pace
	budget   budget
	uploads  atomic.Int64
	turned   turnedAway
	open     atomic.Int64 // connections
	end      end
	started  time.Time
	stopping atomic.Bool // readiness is off
	pool     sync.Pool   // of *exchange
	warnings warnings
}

// model is a configured model and its series.
type model struct {
	Model
	metrics *modelMetrics
}

// New returns a server that is not listening yet.
func New(cfg Config) (*Server, error) {
	if cfg.Loop == nil {
		return nil, errors.New("cannot make router: no loop")
	}
	cfg = cfg.withDefaults()
	if cfg.Metrics == nil {
		var names []string
		for _, m := range cfg.Models {
			names = append(names, m.Name)
		}
		var err error
		if cfg.Metrics, err = NewMetrics(MetricsConfig{Registerer: prometheus.NewRegistry(), Models: names}); err != nil {
			return nil, fmt.Errorf("cannot make router: %w", err)
		}
	}
	s := &Server{
		cfg:     cfg,
		loop:    cfg.Loop,
		log:     cfg.Log,
		metrics: cfg.Metrics,
		started: time.Now(),
		pool:    sync.Pool{New: func() any { return new(exchange) }},
	}
	s.heads = http1.Limits{Head: cfg.MaxHeader, Fields: cfg.MaxHeaders, Body: cfg.MaxBody}
	s.pace, s.budget.most = cfg.pace(), cfg.MaxBuffered
	for _, m := range cfg.Models {
		if known := len(cfg.Metrics.table.Load().models); m.ID < 0 || int(m.ID) >= known {
			return nil, fmt.Errorf("cannot make router: model %q has id %d, and the metrics know %d models", m.Name, m.ID, known)
		}
	}
	if err := s.SetModels(cfg.Models); err != nil {
		return nil, fmt.Errorf("cannot make router: %w", err)
	}
	snapshot := cfg.Loop.Snapshot
	s.metrics.state.snapshot.Store(&snapshot)
	s.metrics.clients.server.Store(s)
	s.configureHTTP()
	s.SetLinger(cfg.Linger)
	s.SetAccess(cfg.Access)
	return s, nil
}

func (cfg Config) withDefaults() Config {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&cfg.ReadTimeout, time.Minute)
	set(&cfg.WriteTimeout, time.Minute)
	set(&cfg.IdleTimeout, 2*time.Minute)
	set(&cfg.HeaderTimeout, 10*time.Second)
	for _, n := range []struct {
		field *int
		value int
	}{{&cfg.MaxBody, 64 << 20}, {&cfg.MaxHeader, 8 << 10}, {&cfg.MaxConnections, 16384},
		{&cfg.MaxHeaders, 100}, {&cfg.MinBodyRate, 500}, {&cfg.MaxUploads, 1024}, {&cfg.MaxRatio, 200}} {
		if *n.field == 0 {
			*n.field = n.value
		}
	}
	if cfg.MaxBuffered == 0 {
		cfg.MaxBuffered = max(1<<30, 4*int64(cfg.MaxBody))
	}
	if cfg.Name == "" {
		cfg.Name = "motley"
	}
	if cfg.Version == "" {
		cfg.Version = "dev"
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// Observer is what the loop reports to: the server's metrics.
func (s *Server) Observer() live.Observer { return s.metrics }
