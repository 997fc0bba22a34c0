package router

import (
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"motley/internal/reactor"
)

// front watches a listener's connections on reactors. Plain inference requests are
// read, begun and answered there; whatever else comes is handed to the HTTP
// library, request by request, for which the front is a listener.
type front struct {
	server *Server
	ln     *net.TCPListener
	handed chan net.Conn
	ended  chan struct{} // closed when the library is to accept nothing any more
	once   sync.Once
	talks  sync.Pool // of *talk
	begin  atomic.Pointer[beginning]
}

func newFront(s *Server, ln *net.TCPListener) *front {
	f := &front{server: s, ln: ln, handed: make(chan net.Conn), ended: make(chan struct{})}
	f.talks.New = func() any { return newTalk(f) }
	return f
}

// accept takes the listener's connections until it is closed. While the system has no
// descriptor left for one, its client waits.
func (f *front) accept() error {
	defer f.Close() // the HTTP library ends, and with it Serve
	s := f.server
	for n := 0; ; n++ {
		nc, err := f.ln.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed), err != nil && s.end.shut.Load():
			return nil
		case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOBUFS), errors.Is(err, syscall.ENOMEM):
			s.log.Warn("clients wait: there are no descriptors left", "error", err)
			time.Sleep(50 * time.Millisecond)
			continue
		case err != nil:
			return err
		}
		over := int(s.open.Load()) - s.cfg.MaxConnections
		if over >= farewells {
			s.turnAway(nc)
			continue
		}
		peer := peerOf(nc.RemoteAddr())
		fd, err := reactor.Detach(nc)
		if err != nil {
			s.log.Warn("a client is turned away", "error", err)
			continue
		}
		s.open.Add(1)
		c := &client{front: f, loop: s.cfg.Loops[n%len(s.cfg.Loops)], fd: fd, extra: over >= 0, peer: peer}
		c.loop.Post(c)
	}
}

// farewells are as many connections beyond the limit as are told so, and waited for until they
// have heard; further ones may lose the answer to a reset.
const farewells = 64

// Accept gives the HTTP library the next connection that it is to serve a while.
func (f *front) Accept() (net.Conn, error) {
	select {
	case nc := <-f.handed:
		return nc, nil
	case <-f.ended:
		return nil, io.EOF
	}
}

// Close implements net.Listener: the library accepts nothing any more.
func (f *front) Close() error {
	f.once.Do(func() { close(f.ended) })
	return nil
}

// Addr implements net.Listener.
func (f *front) Addr() net.Addr { return f.ln.Addr() }

// hand hands a connection over; it must not wait. Where the library accepts no more,
// which is while the server shuts down, it is served all the same.
func (f *front) hand(nc net.Conn) {
	select {
	case f.handed <- nc:
		return
	default:
	}
	go func() {
		select {
		case f.handed <- nc:
		case <-f.ended:
			_ = f.server.fast.ServeConn(nc) // it logs its errors, and closes nc
		}
	}()
}

// beginning is how every good answer of one second begins.
type beginning struct {
	second int64
	text   []byte
}

// status is the beginning of a good answer.
func (f *front) status(now time.Time) []byte {
	b := f.begin.Load()
	if second := now.Unix(); b == nil || b.second != second {
		b = &beginning{second: second}
		b.text = append(b.text, "HTTP/1.1 200 OK\r\nServer: "+f.server.cfg.Name+"\r\nDate: "...)
		b.text = append(now.UTC().AppendFormat(b.text, http.TimeFormat), "\r\n"...)
		f.begin.Store(b)
	}
	return b.text
}
