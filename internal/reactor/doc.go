// Package reactor watches many sockets from one goroutine: what comes in is
// handled where it is noticed, so that a request costs no hand-over between
// goroutines, and no read that finds nothing. It is there for Linux; elsewhere
// New fails, and who would use it goes on with goroutines.
//
// A Loop's goroutine waits in the runtime's own poller, by an epoll descriptor
// inside of that one, and takes no thread for itself.
package reactor

import "errors"

// ErrUnsupported is the error of New where there is no reactor.
var ErrUnsupported = errors.New("no reactor on this system")

// Handler is told what happens to a socket, on the goroutine of its loop.
type Handler interface {
	// Ready is called when the socket became readable, writable, or was closed,
	// once for each change: what is there is there until it is read.
	Ready(Event)
	// Tick is called now and then, with the time on the loop's clock, in ns: the
	// place for timeouts.
	Tick(now int64)
}

// Task is something to do on a loop's goroutine.
type Task interface{ Run() }

// Event is a set of changes.
type Event uint8

// The changes.
const (
	Readable Event = 1 << iota // bytes came, or the peer's end
	Writable
	Ended // the peer sends no more: a read comes to io.EOF after what is left
	Gone  // both directions are closed
)
