package router

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// mostQueued bounds the time in which a listener's queue is emptied.
const mostQueued = 200 * time.Millisecond

// emptyQueue waits until those who accept from a listener have accepted all that wait.
// From the start on at most one more connection gets into the queue at a time.
func emptyQueue(ln *net.TCPListener) {
	raw, err := ln.SyscallConn()
	if err != nil {
		return // it is closed
	}
	waits := func() (yes bool) {
		err := raw.Control(func(fd uintptr) {
			p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			n, err := unix.Poll(p, 0)
			yes = n > 0 && err == nil
		})
		return yes && err == nil
	}
	_ = raw.Control(func(fd uintptr) { _ = unix.Listen(int(fd), 0) }) // where it fails, the queue stays long
	for end := time.Now().Add(mostQueued); waits() && time.Now().Before(end); {
		time.Sleep(100 * time.Microsecond)
	}
}
