package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/valyala/fasthttp"

	"motley/internal/oip"
)

func (s *Server) configureHTTP() {
	s.fast = fasthttp.Server{
		Handler:        s.Handler,
		ErrorHandler:   s.malformed,
		HeaderReceived: s.bodyLimit,
		Logger:         httpLog{s.log},
		Name:           s.cfg.Name,

		// The limit that counts is the listener's, which answers in OIP's form.
		Concurrency:        s.cfg.MaxConnections + 1,
		ReadBufferSize:     s.cfg.MaxHeader,
		MaxRequestBodySize: s.cfg.MaxBody,
		ReadTimeout:        s.cfg.ReadTimeout,
		WriteTimeout:       s.cfg.WriteTimeout,
		IdleTimeout:        s.cfg.IdleTimeout,
		LazyRequestTime:    true,

		NoDefaultContentType:         true,
		DisablePreParseMultipartForm: true,
		SecureErrorLogMessage:        true, // error texts without the client's bytes
	}
}

// Serve accepts connections from ln until Shutdown and then returns nil, at
// once where Shutdown came before it. It closes ln.
func (s *Server) Serve(ln net.Listener) error {
	if !s.opens(ln) {
		_ = ln.Close() // it may be closed already
		return nil
	}
	defer s.end.serving.Add(-1)
	var err error
	if tcp, ok := ln.(*net.TCPListener); ok && len(s.cfg.Loops) > 0 {
		err = s.serveFront(newFront(s, tcp))
	} else {
		err = s.fast.Serve(&limitListener{Listener: ln, server: s})
	}
	if err != nil {
		return fmt.Errorf("cannot serve on %s: %w", ln.Addr(), err)
	}
	return nil
}

func (s *Server) serveFront(f *front) error {
	failed := make(chan error, 1)
	go func() { failed <- f.accept() }()
	if err := s.fast.Serve(f); err != nil {
		return err
	}
	_ = f.ln.Close() // it may be closed already
	return <-failed
}

// limitListener turns connections away when MaxConnections are open.
type limitListener struct {
	net.Listener
	server *Server
}

// Accept returns the next connection that may be served.
func (l *limitListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil && l.server.end.shut.Load() {
			err = io.EOF // as the HTTP library wants it
		}
		if err != nil {
			return nil, err
		}
		if s := l.server; int(s.open.Load()) < s.cfg.MaxConnections {
			cc := newClientConn(c, s)
			s.direct(cc)
			return cc, nil
		}
		l.server.turnAway(c)
	}
}

// Close implements net.Listener. The HTTP library may close what Shutdown has closed.
func (l *limitListener) Close() error {
	_ = l.Listener.Close() // it may be closed already
	return nil
}

// connections is how many are open.
func (s *Server) connections() int {
	return int(s.open.Load())
}

// turnAway answers 503 without reading and closes c. The answer fits a fresh
// socket's buffer, so it does not block; the deadline is for sockets that are
// stranger than that.
func (s *Server) turnAway(c net.Conn) {
	body := oip.AppendError(nil, s.tooManyConnections().Text)
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = fmt.Fprintf(c, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"+
		"Retry-After: 1\r\nX-Should-Retry: true\r\nConnection: close\r\n\r\n%s", len(body), body)
	_ = c.Close()
	s.log.Debug("connection turned away", "limit", s.cfg.MaxConnections)
}

// httpLog passes the HTTP server's own messages on: connections that broke. Of what
// a client sent nothing is repeated: it may be a key.
type httpLog struct{ log *slog.Logger }

func (l httpLog) Printf(format string, args ...any) {
	if !l.log.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	for i, a := range args {
		var broken net.Error
		if err, ok := a.(error); ok && !errors.As(err, &broken) {
			args[i] = "a request that is not well-formed"
		}
	}
	l.log.Debug("http", "message", fmt.Sprintf(format, args...))
}
