package router

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// mostQueued bounds the time in which a listener's queue is emptied.
const mostQueued = 200 * time.Millisecond

// emptyQueue waits until those who accept from a listener have accepted all that wait, and has
// the system refuse connections at the moment that none does. From the start on at most
// one more gets into the queue at a time. The socket must be nobody else's.
func emptyQueue(ln *net.TCPListener) {
	raw, err := ln.SyscallConn()
	if err != nil {
		return // it is closed
	}
	var empty bool
	look := func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if n, err := unix.Poll(p, 0); n == 0 && err == nil {
			_ = unix.Shutdown(int(fd), unix.SHUT_RDWR) // it fails where it has happened
			empty = true
		}
	}
	_ = raw.Control(func(fd uintptr) { _ = unix.Listen(int(fd), 0) }) // where it fails, the queue stays long
	for end := time.Now().Add(mostQueued); raw.Control(look) == nil && !empty && time.Now().Before(end); {
		time.Sleep(100 * time.Microsecond)
	}
}
