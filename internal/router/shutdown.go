package router

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"motley/internal/http1"
)

// end says how far a server has come towards its end. What is set is set for good.
type end struct {
	serving  atomic.Int64 // listeners from which may still be accepted
	parting  atomic.Bool  // answers say that their connection is closed, and it is
	parted   atomic.Int64 // since when, in ns since 1970
	idleOver atomic.Bool  // connections that have nothing under way are closed
	over     atomic.Bool  // requests that are not whole are refused
	linger   atomic.Int64 // Config.Linger, in ns

	sync.Mutex
	listeners []net.Listener
	shut      atomic.Bool         // they are closed; set under the lock
	direct    map[*clientConn]int // connections that are not on reactors; sweeps in which they were idle
}

// direct counts a connection that is not on a reactor, until it is closed.
func (s *Server) direct(c *clientConn) {
	s.open.Add(1)
	s.end.Lock()
	defer s.end.Unlock()
	if s.end.direct == nil {
		s.end.direct = map[*clientConn]int{}
	}
	s.end.direct[c] = 0
}

func (s *Server) closed(c *clientConn) {
	s.end.Lock()
	_, there := s.end.direct[c]
	delete(s.end.direct, c)
	s.end.Unlock()
	if there {
		s.open.Add(-1)
	}
}

// idleSweeps is after how many sweeps an idle connection is closed: what has come on it is read
// by then.
const idleSweeps = 4

// sweep does for connections that are not on reactors what client.Tick does for others: those
// that are idle, or in the end all, are not waited for any more.
func (s *Server) sweep() {
	s.end.Lock()
	defer s.end.Unlock()
	for c, n := range s.end.direct {
		switch { // either call fails where the connection is closed
		case !c.busy.Load() && n >= idleSweeps:
			_ = c.Conn.Close()
		case !c.busy.Load():
			s.end.direct[c]++
		case s.end.over.Load():
			_ = c.Conn.SetReadDeadline(past)
		default:
			s.end.direct[c] = 0
		}
	}
}

// errEnding is what a client is told of whose request not all has come in the end.
var errEnding = &http1.Fault{Status: http.StatusServiceUnavailable, Text: "the router is shutting down", Retry: true}

// opens reports whether ln may be served; Shutdown closes it, and waits until it is not
// any more.
func (s *Server) opens(ln net.Listener) bool {
	s.end.Lock()
	defer s.end.Unlock()
	if s.end.shut.Load() {
		return false
	}
	s.end.serving.Add(1)
	s.end.listeners = append(s.end.listeners, ln)
	return true
}

// Unready turns readiness off. Requests are served as before, but every answer tells its
// client that the connection is closed: it comes back by way of a load balancer
// that has noticed.
func (s *Server) Unready() {
	s.stopping.Store(true)
	s.part()
}

func (s *Server) part() {
	s.end.parted.CompareAndSwap(0, time.Now().UnixNano())
	s.end.parting.Store(true)
}

// SetLinger changes Config.Linger, for a Shutdown that begins later.
func (s *Server) SetLinger(d time.Duration) { s.end.linger.Store(int64(d)) }

// Shutdown turns readiness off, stops accepting connections, and returns when all
// requests in flight are answered or ctx is done, whichever is first; in the
// latter case with an error.
//
// A connection that has nothing under way is closed at the end of Linger, counted
// from Unready where that came before. Nobody can know that its client is not writing
// a request at that very moment; one that sends requests now and then has had an
// answer by then that told it to stop.
func (s *Server) Shutdown(ctx context.Context) error {
	s.Unready()
	return s.shutDown(ctx, time.Duration(s.end.linger.Load())-time.Since(time.Unix(0, s.end.parted.Load())), true)
}

// HandOver is Shutdown for a server of whose sockets another process accepts, too:
// connections that wait to be accepted are left to that, readiness is what it was, and
// connections that have nothing under way may bring a request until shortly
// before ctx is done.
func (s *Server) HandOver(ctx context.Context) error {
	s.part()
	linger := time.Duration(0)
	if due, ok := ctx.Deadline(); ok {
		linger = time.Until(due) * 7 / 8
	}
	return s.shutDown(ctx, linger, false)
}

func (s *Server) shutDown(ctx context.Context, linger time.Duration, empty bool) error {
	s.closeListeners(empty)
	if linger <= 0 {
		s.end.idleOver.Store(true)
	} else {
		defer time.AfterFunc(linger, func() { s.end.idleOver.Store(true) }).Stop()
	}
	if err := s.await(ctx); err != nil {
		return fmt.Errorf("cannot finish all requests before shutdown: %w", err)
	}
	return nil
}

// Finish is for what Shutdown has left, once the loop refuses what comes: requests of
// which not all has come are refused, answers that are being written are, until ctx
// is done. What is left then is cut, and the error says how many connections that are.
func (s *Server) Finish(ctx context.Context) error {
	s.part()
	s.closeListeners(false)
	s.end.idleOver.Store(true)
	s.end.over.Store(true)
	if s.await(ctx) != nil {
		return fmt.Errorf("%d connections were cut", s.open.Load())
	}
	return nil
}

// Layered is a listener over another one, as that of TLS is.
type Layered interface {
	// Beneath is the one whose connections it gives out.
	Beneath() net.Listener
}

// closeListeners ends accepting. What waits in their queues, of clients that take
// themselves for connected, is accepted first where empty says so.
func (s *Server) closeListeners(empty bool) {
	s.end.Lock()
	s.end.shut.Store(true)
	all := s.end.listeners
	s.end.listeners = nil
	s.end.Unlock() // who accepts takes the lock
	for _, ln := range all {
		beneath := ln
		if over, ok := ln.(Layered); ok {
			beneath = over.Beneath()
		}
		tcp, ok := beneath.(*net.TCPListener)
		if ok && empty && (s.cfg.Kept == nil || !s.cfg.Kept(beneath)) {
			emptyQueue(tcp)
		}
		_ = ln.Close() // it may be closed already
	}
}

// await waits until there are no connections.
func (s *Server) await(ctx context.Context) error {
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	for s.end.serving.Load() > 0 || s.open.Load() > 0 { // in this order: one that is accepted is open before
		if s.end.idleOver.Load() {
			s.sweep()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
	return s.fast.ShutdownWithContext(ctx) // it has none, either, and ends
}

// hurry has the HTTP library wait no longer for what is still to come of a request.
func (c *client) hurry() {
	c.mu.Lock()
	lent := c.mu.lent
	c.mu.Unlock()
	if lent != nil {
		_ = lent.Conn.SetReadDeadline(past) // it fails where the library has closed it
	}
}
