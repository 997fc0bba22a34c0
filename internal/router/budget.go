package router

import (
	"fmt"
	"sync/atomic"

	"motley/internal/http1"
)

// budget bounds the bytes of request bodies that are held over all connections: being
// read, waiting, or with a worker. Answers that clients are slow to take in count, too: they
// cannot be refused, but while there are many of them further requests are.
type budget struct {
	most int64
	held atomic.Int64
}

// largeShare is the share of the budget that bodies over maxInPlace may take
// together with all others, so that they leave room for small ones.
const largeShare = .75

// take takes n more bytes of a body that has size bytes as far as is known, and reports
// false where they do not fit.
func (b *budget) take(n, size int) bool {
	most := b.most
	if size > maxInPlace {
		most = int64(largeShare * float64(most))
	}
	if b.held.Add(int64(n)) > most {
		b.held.Add(-int64(n))
		return false
	}
	return true
}

// owe adds n bytes of an answer.
func (b *budget) owe(n int) { b.held.Add(int64(n)) }

// give gives back what was taken.
func (b *budget) give(n int) {
	if n != 0 {
		b.held.Add(-int64(n))
	}
}

// noRoom is what a client is told for whose body there is no room.
func (s *Server) noRoom() *http1.Fault {
	s.turned.bodies.Add(1)
	return full("no room for the request: those of others take up the limit of %d bytes", s.budget.most)
}

// tooManyUploads is what a client is told where as many requests as may are being read by the HTTP
// library.
func (s *Server) tooManyUploads() *http1.Fault {
	s.turned.uploads.Add(1)
	return full("no room for the request: the limit of %d requests is being read", int64(s.cfg.MaxUploads))
}

// tooManyConnections is what a client is told that is one too many.
func (s *Server) tooManyConnections() *http1.Fault {
	s.turned.connections.Add(1)
	return full("the limit of %d connections is reached", int64(s.cfg.MaxConnections))
}

func full(text string, limit int64) *http1.Fault {
	return &http1.Fault{Status: 503, Text: fmt.Sprintf(text, limit), Retry: true}
}
