package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strings"
	"time"

	"motley/internal/access"
	"motley/internal/config"
)

// adminServer answers those who run the router, on a listener of its own. It goes on
// until the last request of a client is answered, so that a drain can be seen.
type adminServer struct {
	mux    *http.ServeMux // what is served; filled before start
	ln     net.Listener   // nil: nothing is
	tls    *serverTLS
	log    *slog.Logger
	server http.Server
}

// newAdmin takes over opt.Admin, or serves nothing where there is none.
func newAdmin(cfg *config.Config, opt Options) (*adminServer, error) {
	a := &adminServer{mux: http.NewServeMux(), ln: opt.Admin, log: opt.Log}
	if a.ln == nil {
		return a, nil
	}
	var err error
	if a.tls, err = newServerTLS(cfg.Admin.TLS); err != nil {
		return nil, fmt.Errorf("cannot serve admin: %w", err)
	}
	if cfg.Admin.PProf {
		a.mountPProf()
	}
	guarded := http.NewCrossOriginProtection().Handler(a.mux)
	if cfg.Admin.KeyHash != "" {
		hash, err := access.ParseHash(string(cfg.Admin.KeyHash))
		if err != nil {
			return nil, fmt.Errorf("cannot serve admin: key_hash %w", err)
		}
		guarded = keyed(hash, guarded)
	}
	local := loopback(a.ln.Addr())
	if local {
		guarded = namedLocally(guarded)
	} else if !cfg.Admin.TLS.Identifies() && cfg.Admin.KeyHash == "" {
		a.log.Warn("admin.listen is no loopback address, and everybody who reaches it is answered: set admin.tls.client_ca_file or admin.key_hash", "address", a.ln.Addr().String())
	}
	a.server = http.Server{
		Handler:           guarded,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      2 * time.Minute, // longer than a profile of pprof takes unless asked otherwise
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){}, // HTTP/1.1 alone
	}
	return a, nil
}

// mountPProf adds Go's profiles. The package's own mux has them as well, and is
// served nowhere.
func (a *adminServer) mountPProf() {
	a.mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	a.mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	a.mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	a.mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	a.mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}

func (a *adminServer) start() {
	if a.ln == nil {
		return
	}
	go func() {
		if err := a.server.Serve(a.tls.listen(a.ln)); !errors.Is(err, http.ErrServerClosed) {
			a.log.Error("admin is answered no more", "error", err)
		}
	}()
}

// close answers what is under way until ctx ends, at most a second, and closes
// the listener.
func (a *adminServer) close(ctx context.Context) error {
	if a == nil || a.ln == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if a.server.Shutdown(ctx) != nil {
		_ = a.server.Close() // whoever still reads is cut off
	}
	if err := a.ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) { // open where it was never served
		return fmt.Errorf("cannot close admin's listener: %w", err)
	}
	return nil
}

// address is where it answers, for the log.
func (a *adminServer) address() string {
	if a.ln == nil {
		return "off"
	}
	return a.tls.scheme() + reachable(a.ln.Addr())
}

// keyed answers requests with the key of a hash alone.
func keyed(hash access.Hash, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok {
			key = r.Header.Get("X-Api-Key")
		}
		if !hash.Matches([]byte(key)) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "a key is needed: Authorization: Bearer …, or x-api-key", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// loopback reports whether only this host reaches an address.
func loopback(addr net.Addr) bool {
	at, err := netip.ParseAddrPort(addr.String())
	return err == nil && at.Addr().IsLoopback()
}

// namedLocally answers requests for this host alone: a web page that has its
// own name point here may not read what is only for this host.
func namedLocally(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		host = strings.Trim(host, "[]")
		if _, err := netip.ParseAddr(host); err != nil && host != "localhost" && host != "" {
			http.Error(w, "this listener is for its own host: ask for localhost or an address", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}
