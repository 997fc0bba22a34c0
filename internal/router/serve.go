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
		Handler:      s.Handler,
		ErrorHandler: s.malformed,
		Logger:       httpLog{s.log},
		Name:         s.cfg.Name,

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
		CloseOnShutdown:              true,
	}
}

// Serve accepts connections from ln until Shutdown and then returns nil, at
// once where Shutdown came before it. It closes ln.
func (s *Server) Serve(ln net.Listener) error {
	if s.stopping.Load() {
		_ = ln.Close() // it may be closed already
		return nil
	}
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
	s.fronts.Lock()
	s.fronts.all = append(s.fronts.all, f)
	s.fronts.Unlock()
	if s.closing.Load() { // Shutdown may not have seen it
		_ = f.ln.Close()
	}
	failed := make(chan error, 1)
	go func() { failed <- f.accept() }()
	if err := s.fast.Serve(f); err != nil {
		return err
	}
	_ = f.ln.Close() // it may be closed already
	return <-failed
}

// closeFronts ends accepting, and has connections closed after what is under way.
func (s *Server) closeFronts() {
	s.closing.Store(true)
	s.fronts.Lock()
	defer s.fronts.Unlock()
	for _, f := range s.fronts.all {
		_ = f.ln.Close() // it may be closed already
	}
}

// Shutdown turns readiness off, waits for the ShutdownDelay, stops accepting
// connections, and returns when all requests in flight are answered or ctx is
// done, whichever is first; in the latter case with an error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopping.Store(true)
	if s.cfg.ShutdownDelay > 0 {
		t := time.NewTimer(s.cfg.ShutdownDelay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	s.closeFronts()
	err := s.fast.ShutdownWithContext(ctx)
	if err == nil {
		err = s.drain(ctx)
	}
	if err != nil {
		return fmt.Errorf("cannot finish all requests before shutdown: %w", err)
	}
	return nil
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
		if err != nil {
			return nil, err
		}
		if cfg := &l.server.cfg; int(l.server.fast.GetOpenConnectionsCount()) < cfg.MaxConnections {
			return newClientConn(c, cfg.ReadTimeout, cfg.IdleTimeout, cfg.WriteTimeout), nil
		}
		l.server.turnAway(c)
	}
}

// turnAway answers 503 without reading and closes c. The answer fits a fresh
// socket's buffer, so it does not block; the deadline is for sockets that are
// stranger than that.
func (s *Server) turnAway(c net.Conn) {
	body := oip.AppendError(nil, fmt.Sprintf("the limit of %d connections is reached", s.cfg.MaxConnections))
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = fmt.Fprintf(c, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"+
		"Retry-After: 1\r\nX-Should-Retry: true\r\nConnection: close\r\n\r\n%s", len(body), body)
	_ = c.Close()
	s.log.Debug("connection turned away", "limit", s.cfg.MaxConnections)
}

// malformed answers a request that is not well-formed HTTP, is too large, or
// did not arrive in time. The connection is closed afterwards.
func (s *Server) malformed(ctx *fasthttp.RequestCtx, err error) {
	status, text := s.transportError(err)
	s.metrics.malformed.Inc()
	ctx.Response.Reset()
	id := appendRequestID(nil, nil)
	ctx.Response.Header.SetBytesV(headerRequestID, id)
	writeError(ctx, status, text)
	s.reportMalformed(ctx, id, status, text)
	s.log.LogAttrs(context.Background(), slog.LevelDebug, "malformed request",
		slog.Int("status", status), slog.String("error", err.Error()))
}

// transportError gives the status and text for an error of the HTTP server.
func (s *Server) transportError(err error) (int, string) {
	var (
		late   interface{ Timeout() bool }
		broken fasthttp.ErrBrokenChunk
		small  *fasthttp.ErrSmallBuffer
	)
	switch {
	case errors.As(err, &small), errors.Is(err, fasthttp.ErrSmallReadBuffer):
		return fasthttp.StatusRequestHeaderFieldsTooLarge,
			fmt.Sprintf("request head is over the limit of %d bytes", s.cfg.MaxHeader)
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		return fasthttp.StatusRequestEntityTooLarge, bodyTooLarge(s.cfg.MaxBody)
	case errors.As(err, &late) && late.Timeout():
		return fasthttp.StatusRequestTimeout, fmt.Sprintf("request did not arrive within %v", s.cfg.ReadTimeout)
	case errors.Is(err, fasthttp.ErrUnsupportedTransferEncoding):
		return fasthttp.StatusBadRequest, "malformed HTTP request: Transfer-Encoding must be chunked and occur once"
	case errors.Is(err, fasthttp.ErrDuplicateContentLength):
		return fasthttp.StatusBadRequest, "malformed HTTP request: conflicting Content-Length"
	case errors.As(err, &broken):
		return fasthttp.StatusBadRequest, "malformed HTTP request: broken chunked body"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fasthttp.StatusBadRequest, "malformed HTTP request: the body ended before its Content-Length"
	}
	return fasthttp.StatusBadRequest, "malformed HTTP request"
}

func bodyTooLarge(limit int) string {
	return fmt.Sprintf("request body is over the limit of %d bytes", limit)
}

// httpLog passes the HTTP server's own messages on: connections that broke.
type httpLog struct{ log *slog.Logger }

func (l httpLog) Printf(format string, args ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("http", "message", fmt.Sprintf(format, args...))
	}
}
