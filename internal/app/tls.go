package app

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"sync"
	"sync/atomic"

	"motley/internal/config"
)

// serverTLS is what a listener speaks TLS by; it may be replaced while it is
// used. nil speaks plain HTTP.
type serverTLS struct{ now atomic.Pointer[tls.Config] }

func newServerTLS(cfg *config.ServerTLS) (*serverTLS, error) {
	if cfg == nil {
		return nil, nil
	}
	c, err := cfg.Config()
	if err != nil {
		return nil, err
	}
	t := &serverTLS{}
	t.now.Store(c)
	return t, nil
}

// prepare reads the files of cfg.
func (t *serverTLS) prepare(cfg *config.ServerTLS) (commit func(), err error) {
	switch {
	case (t == nil) != (cfg == nil):
		return nil, errors.New("cannot be switched on or off while the router runs")
	case t == nil:
		return func() {}, nil
	}
	c, err := cfg.Config()
	if err != nil {
		return nil, err
	}
	return func() { t.now.Store(c) }, nil
}

// listen returns ln with TLS. Every connection goes by what there is when it
// begins its handshake.
func (t *serverTLS) listen(ln net.Listener) net.Listener {
	if t == nil {
		return ln
	}
	return tls.NewListener(ln, &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return t.now.Load(), nil
	}})
}

func (t *serverTLS) scheme() string {
	if t == nil {
		return "http://"
	}
	return "https://"
}

// workerTLS is what workers are spoken to by, each form of it once.
type workerTLS struct {
	mu  sync.Mutex
	all map[config.RemoteTLS]*atomic.Pointer[tls.Config]
}

// of returns what new connections to a worker go by; nil: the backend's own
// ways. It is read anew for every connection.
func (w *workerTLS) of(cfg *config.RemoteTLS) (func() *tls.Config, error) {
	if cfg == nil {
		return nil, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.all[*cfg]
	if now == nil {
		c, err := cfg.Config()
		if err != nil {
			return nil, err
		}
		now = new(atomic.Pointer[tls.Config])
		now.Store(c)
		if w.all == nil {
			w.all = map[config.RemoteTLS]*atomic.Pointer[tls.Config]{}
		}
		w.all[*cfg] = now
	}
	return now.Load, nil
}

// prepare reads all files again.
func (w *workerTLS) prepare() (commit func(), err error) {
	w.mu.Lock()
	all := maps.Clone(w.all)
	w.mu.Unlock()
	read := make(map[*atomic.Pointer[tls.Config]]*tls.Config, len(all))
	for cfg, now := range all {
		if read[now], err = cfg.Config(); err != nil {
			return nil, err
		}
	}
	return func() {
		for now, c := range read {
			now.Store(c)
		}
	}, nil
}

// prepareTLS is the preparer of all certificates.
func (a *App) prepareTLS(cfg *config.Config) (commit func(), err error) {
	clients, err := a.tls.prepare(cfg.TLS)
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	operators := func() {}
	if a.admin.ln != nil {
		if operators, err = a.admin.tls.prepare(cfg.Admin.TLS); err != nil {
			return nil, fmt.Errorf("admin.tls: %w", err)
		}
	}
	workers, err := a.pool.tls.prepare()
	if err != nil {
		return nil, fmt.Errorf("workers[].remote.tls: %w", err)
	}
	return func() { clients(); operators(); workers() }, nil
}
