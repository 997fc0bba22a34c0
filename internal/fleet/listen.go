package fleet

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// listen opens n ports that follow each other, from the address on. With a + at
// its end it passes over those that are taken. Port 0 is any free one, each time.
func listen(address string, n int) ([]net.Listener, error) {
	address, pass := strings.CutSuffix(address, "+")
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %q: %w", address, err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %q: the port must be a number up to 65535", address)
	}
	var all []net.Listener
	for next := port; len(all) < n; {
		var l net.Listener
		if next > 65535 {
			err = fmt.Errorf("cannot listen on %d ports from %s on: there are no more", n, address)
		} else if l, err = net.Listen("tcp", net.JoinHostPort(host, strconv.FormatUint(next, 10))); err == nil {
			all = append(all, l)
		}
		if err != nil && !(pass && errors.Is(err, syscall.EADDRINUSE)) {
			for _, l := range all {
				_ = l.Close() // the first error is the one to tell
			}
			return nil, err
		}
		if port > 0 {
			next++
		}
	}
	return all, nil
}

// conns are a server's open connections.
type conns struct {
	mu struct {
		sync.Mutex
		open map[*conn]struct{}
	}
}

// conn is a connection that its server can cut.
type conn struct {
	net.Conn
	of *conns
}

// Close closes the connection.
func (c *conn) Close() error {
	c.of.mu.Lock()
	delete(c.of.mu.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// cut closes the connection so that the other side gets a reset.
func (c *conn) cut() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // if it is closed already, so much the better
	}
	_ = c.Conn.Close()
}

func (s *conns) add(nc net.Conn) *conn {
	c := &conn{Conn: nc, of: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.open == nil {
		s.mu.open = map[*conn]struct{}{}
	}
	s.mu.open[c] = struct{}{}
	return c
}

// cut cuts all of them.
func (s *conns) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.mu.open {
		c.cut()
	}
	clear(s.mu.open)
}

// listener notes the connections that it accepts.
type listener struct {
	net.Listener
	conns *conns
	once  sync.Once
}

func (s *conns) listener(l net.Listener) *listener { return &listener{Listener: l, conns: s} }

// Accept returns the next connection.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.conns.add(c), nil
}

// Close closes the listener. To do so again is no error.
func (l *listener) Close() (err error) {
	l.once.Do(func() { err = l.Listener.Close() })
	return err
}
