package backend

import (
	"crypto/tls"
	"net"
	"syscall"

	"motley/internal/reactor"
)

// quiet tells whether something has come on a connection that is idle. It allocates once
// only, when the connection is new.
type quiet struct {
	raw  syscall.RawConn
	look func(fd uintptr)
	is   bool
}

// on is called with a new connection. One that is no socket counts as quiet.
func (q *quiet) on(nc net.Conn) {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	s, ok := nc.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return
	}
	q.raw = raw
	q.look = func(fd uintptr) { q.is = reactor.Quiet(int(fd)) }
}

// still reports whether nothing has come, neither bytes nor an end.
func (q *quiet) still() bool {
	if q.raw == nil {
		return true
	}
	q.is = false
	return q.raw.Control(q.look) == nil && q.is
}
