package router

import (
	"fmt"
	"sync/atomic"

	"motley/internal/http1"
)

// budget bounds the bytes of request bodies that are held over all connections: being
// read, waiting, or with a worker.
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

// give gives back what was taken.
func (b *budget) give(n int) {
	if n != 0 {
		b.held.Add(-int64(n))
	}
}

// full is what a client is told for whose body there is no room.
func (b *budget) full() *http1.Fault {
	return &http1.Fault{Status: 503, Text: fmt.Sprintf("no room for the request: the bodies of others take up the limit of %d bytes", b.most), Retry: true}
}

// tooManyUploads is what a client is told where as many requests as may are being read by the HTTP
// library.
func tooManyUploads(limit int) *http1.Fault {
	return &http1.Fault{Status: 503, Text: fmt.Sprintf("no room for the request: the limit of %d requests is being read", limit), Retry: true}
}
