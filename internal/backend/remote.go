package backend

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"sort"
	"strings"
	"sync"
	"time"

	"motley/internal/oip"
)

// RemoteConfig says how an OIP server is reached. Zero fields take the
// defaults.
type RemoteConfig struct {
	// URL is http://host[:port][/base] or https://…; OIP's paths (/v2/…)
	// follow the base.
	URL string
	// Binary says whether the server takes the binary tensor extension: "on",
	// "off", or "auto" (the default): what its metadata list, and off until a
	// probe has read them.
	Binary string
	// Timeout bounds one execution from the wait for a connection to the last
	// byte; default 60 s. An earlier deadline of the context holds as well.
	Timeout time.Duration
	// ConnectTimeout bounds setting up a connection, TLS included; default 2 s.
	ConnectTimeout time.Duration
	// ProbeTimeout bounds a whole probe; default 5 s.
	ProbeTimeout time.Duration
	// Connections is the most that are in use at once; further executions wait. Idle ones
	// are kept by each reactor, and for goroutines, apart. Default 64.
	Connections int
	// IdleTimeout closes a connection that was not used for so long; default
	// 4 s, under the 5 s after which uvicorn (MLServer, FastAPI) closes it.
	IdleTimeout time.Duration
	// MaxResponse is the largest response body, in bytes; default 1 GiB.
	MaxResponse int
	// ModelNames maps a model's name here to its name there. Names that are
	// not listed are the same.
	ModelNames map[string]string
	// ForwardTimeout sends the remaining time as OIP's parameters.timeout with
	// every batch. Without it only batches in which a client gave a timeout
	// carry one.
	ForwardTimeout bool
	// Headers are sent with every request, Authorization for instance.
	Headers map[string]string
	// TLS is what https goes by, asked for every new connection; nil = TLS 1.2 at
	// least, and the system's roots. The server's name is the URL's host where it
	// names none.
	TLS func() *tls.Config
	// Dial opens the connection; nil = TCP to addr (host:port). No timeout
	// holds for it, but for the TLS handshake that follows.
	Dial func(addr string) (net.Conn, error)
}

// Remote runs batches on an OIP server over HTTP/1.1.
type Remote struct {
	cfg           RemoteConfig
	addr          string
	basePath      string
	headers       string            // " HTTP/1.1\r\n" and the headers that every request has
	streamHeaders string            // likewise, for streams
	literals      map[string][]byte // the names of cfg.ModelNames as JSON strings
	pool          connPool
	scratch       sync.Pool // of *remoteScratch
	runs          sync.Pool // of *stagedRun
	odd           odd       // its answers are not of the form that Start reads
	mu            struct {
		sync.Mutex
		server *serverFacts
		models map[string]*modelFacts
		fits   map[string]*fit
		lanes  []*lane
	}
}

// remoteScratch is the memory of one Run.
type remoteScratch struct {
	merged oip.Message
	body   []byte // the worker's answer when it is not handed on as it is,
	asIs   bool   // that is
	resp   oip.Response
	members
	lead  *Call // the first of all: it names the batch
	dst   []*oip.Message
	sizes []int
}

// NewRemote returns the backend of one server. It does not connect.
func NewRemote(cfg RemoteConfig) (*Remote, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("cannot use worker URL %q: %w", cfg.URL, err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("cannot use worker URL %q: want http://host[:port] or https://host[:port]", cfg.URL)
	}
	if u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("cannot use worker URL %q: it must not have a query, a fragment or a user", cfg.URL)
	}
	switch cfg.Binary {
	case "":
		cfg.Binary = "auto"
	case "auto", "on", "off":
	default:
		return nil, fmt.Errorf("cannot use binary %q: want auto, on or off", cfg.Binary)
	}
	setDefault(&cfg.Timeout, 60*time.Second)
	setDefault(&cfg.ConnectTimeout, 2*time.Second)
	setDefault(&cfg.ProbeTimeout, 5*time.Second)
	setDefault(&cfg.Connections, 64)
	setDefault(&cfg.IdleTimeout, 4*time.Second)
	setDefault(&cfg.MaxResponse, 1<<30)
	if cfg.Timeout < 0 || cfg.ConnectTimeout < 0 || cfg.ProbeTimeout < 0 || cfg.Connections < 0 || cfg.IdleTimeout < 0 || cfg.MaxResponse < 0 {
		return nil, errors.New("cannot use negative timeouts, connections or bounds of a remote worker")
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	r := &Remote{cfg: cfg, addr: net.JoinHostPort(u.Hostname(), port), basePath: strings.TrimRight(u.EscapedPath(), "/")}
	if r.headers, err = fixedHeaders(u.Host, "application/json", cfg.Headers); err != nil {
		return nil, err
	}
	r.streamHeaders, _ = fixedHeaders(u.Host, "text/event-stream", cfg.Headers)
	switch {
	case u.Scheme != "https":
		r.cfg.TLS = nil
	case cfg.TLS == nil:
		r.cfg.TLS = func() *tls.Config { return &tls.Config{MinVersion: tls.VersionTLS12} }
	}
	r.pool.dial, r.pool.maxIdle, r.pool.slots = r.dial, cfg.IdleTimeout, make(chan struct{}, cfg.Connections)
	r.mu.models, r.mu.fits = map[string]*modelFacts{}, map[string]*fit{}
	r.cfg.ModelNames, r.literals = maps.Clone(cfg.ModelNames), map[string][]byte{}
	for name := range cfg.ModelNames {
		if r.literals[name], err = json.Marshal(name); err != nil {
			return nil, fmt.Errorf("cannot use model name %q: %w", name, err)
		}
	}
	return r, nil
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

func fixedHeaders(host, accept string, extra map[string]string) (string, error) {
	s := " HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: motley\r\nAccept: " + accept + "\r\n"
	names := make([]string, 0, len(extra))
	for k, v := range extra {
		if k == "" || strings.ContainsAny(k, " :\r\n\t") || strings.ContainsAny(v, "\r\n\x00") {
			return "", fmt.Errorf("cannot send header %q: the name or the value is not valid in HTTP", k)
		}
		names = append(names, k)
	}
	sort.Strings(names)
	for _, k := range names {
		s += k + ": " + extra[k] + "\r\n"
	}
	return s, nil
}

func (r *Remote) dial(ctx context.Context, deadline time.Time) (net.Conn, error) {
	if own := time.Now().Add(r.cfg.ConnectTimeout); own.Before(deadline) {
		deadline = own
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	var nc net.Conn
	var err error
	if r.cfg.Dial != nil {
		nc, err = r.cfg.Dial(r.addr)
	} else {
		var d net.Dialer
		nc, err = d.DialContext(ctx, "tcp", r.addr)
	}
	if err != nil || r.cfg.TLS == nil {
		return nc, err
	}
	own := r.cfg.TLS().Clone()
	own.NextProtos = []string{"http/1.1"}
	if own.ServerName == "" {
		own.ServerName, _, _ = net.SplitHostPort(r.addr)
	}
	tc := tls.Client(nc, own)
	if err := tc.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		return nil, err
	}
	return tc, nil
}

// Run implements Backend. A batch of one whose body needs no change goes to
// the worker as it stands, and the worker's answer straight into the call's
// response. When ctx ends, the connection is closed and Run returns at once.
//
// A worker that shows its ramps by infer_stream may let answers leave early of
// its own accord; it is told not to, since what it says here counts as the full
// model's.
func (r *Remote) Run(ctx context.Context, model string, calls []*Call) error {
	if len(calls) == 0 {
		return nil
	}
	x, _ := r.scratch.Get().(*remoteScratch)
	if x == nil {
		x = new(remoteScratch)
	}
	defer r.release(x)
	deadline := r.deadline(ctx)
	opt, err := r.options(ctx, deadline, calls)
	if err != nil {
		return err
	}
	exits := r.exits(model)
	opt.Full = exits != nil && exits.stream
	x.take(calls)
	x.lead = calls[0]
	msg, err := r.merge(ctx, x, opt)
	if err != nil {
		return err
	}
	if len(x.calls) == 0 {
		return nil // each has its own error
	}
	dst := x.target(msg, r.upstream(model) == model)
	q := r.inferQuery(model, msg, x.lead)
	q.fresh = x.reqs[0].Sequence
	rep, failed := r.do(ctx, deadline, q, *dst)
	*dst = rep.body
	if failed != nil {
		return failed
	}
	return r.conclude(x, model, rep)
}

// target is where the worker's answer is to go: straight into the call's response
// where it can be right as it is. Only an answer to a single request can: the
// id, the rows and the forms are its own then.
func (x *remoteScratch) target(msg *oip.Message, sameName bool) *[]byte {
	x.asIs = len(x.calls) == 1 && msg != &x.merged && sameName
	if x.asIs {
		return &x.calls[0].Response.Body
	}
	return &x.body
}

// conclude makes the calls' answers of the worker's, which lies in x.target.
func (r *Remote) conclude(x *remoteScratch, model string, rep reply) error {
	if rep.status != 200 {
		return statusError(rep.status, rep.body)
	}
	if e := x.resp.Parse(rep.body, rep.headLength, nil); e != nil {
		return protocolError(e)
	}
	if e := r.fits(model, &x.resp, x.reqs); e != nil {
		return protocolError(e)
	}
	if x.asIs {
		x.calls[0].Response.HeadLength = rep.headLength
		return nil
	}
	if r.upstream(model) != model {
		x.resp.ModelName = r.literals[model]
		x.resp.ID = noID
	}
	return r.split(x)
}

// deadline is when an execution that begins now ends at the latest.
func (r *Remote) deadline(ctx context.Context) time.Time {
	deadline := time.Now().Add(r.cfg.Timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	return deadline
}

// options says how the calls are to be merged. A deadline of zero is worked out
// where one is sent along.
func (r *Remote) options(ctx context.Context, deadline time.Time, calls []*Call) (oip.MergeOptions, error) {
	opt := oip.MergeOptions{Binary: r.binary()}
	forward := r.cfg.ForwardTimeout
	for _, c := range calls {
		forward = forward || c.Request.Timeout > 0
	}
	if forward {
		if deadline.IsZero() {
			deadline = r.deadline(ctx)
		}
		if opt.Timeout = time.Until(deadline); opt.Timeout <= 0 {
			if ctx.Err() != nil {
				return opt, ContextError(ctx)
			}
			return opt, &Error{Class: Timeout, Status: 504, Message: "the deadline passed before the request was sent"}
		}
	}
	return opt, nil
}

// merge chooses the members that can be sent and returns what to send: the
// request's own body, or x.merged. A call that cannot be sent gets its Err.
func (r *Remote) merge(ctx context.Context, x *remoteScratch, opt oip.MergeOptions) (*oip.Message, error) {
	for len(x.reqs) > 0 {
		if len(x.reqs) == 1 && oip.Passthrough(x.reqs[0], opt) {
			return &x.reqs[0].Message, nil
		}
		err := oip.Merge(&x.merged, x.reqs, opt)
		if err == nil {
			return &x.merged, nil
		}
		if some, ok := errors.AsType[*oip.BatchError](err); !ok || !x.fail(some) {
			return nil, asError(ctx, err)
		}
	}
	return nil, nil
}

func (r *Remote) split(x *remoteScratch) error {
	x.dst, x.sizes = x.dst[:0], x.sizes[:0]
	for _, c := range x.calls {
		x.dst = append(x.dst, &c.Response)
		x.sizes = append(x.sizes, c.Request.Size(true))
	}
	err := oip.Split(x.dst, &x.resp, x.reqs, x.sizes)
	if err == nil {
		return nil
	}
	if some, ok := errors.AsType[*oip.BatchError](err); ok {
		x.fail(some)
		return nil
	}
	return protocolError(err)
}

// release gives the scratch back, without what belongs to others.
func (r *Remote) release(x *remoteScratch) {
	const keep = 16 << 20 // a larger buffer would outlive its one large request
	// To their capacity: those that failed alone lie behind the end.
	x.lead = nil
	clear(x.calls[:cap(x.calls)])
	clear(x.reqs[:cap(x.reqs)])
	clear(x.dst[:cap(x.dst)])
	if len(x.resp.Body) > keep {
		x.resp = oip.Response{} // it points into the answer
	}
	if cap(x.body) > keep {
		x.body = nil
	}
	if cap(x.merged.Body) > keep {
		x.merged = oip.Message{}
	}
	r.scratch.Put(x)
}

// noID is the id of no request: Split does not hand an answer on as it stands
// then, which would have the worker's name for the model.
var noID = []byte("-")

func (r *Remote) upstream(model string) string {
	if name, ok := r.cfg.ModelNames[model]; ok {
		return name
	}
	return model
}

// Describe implements Backend.
func (r *Remote) Describe() string { return "remote " + r.cfg.URL }

// Close implements Backend. Executions under way end by themselves; their
// connections are closed then.
func (r *Remote) Close() error {
	r.pool.close()
	r.closeLanes()
	return nil
}
