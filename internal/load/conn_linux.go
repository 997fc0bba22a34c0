package load

import (
	"net"
	"time"

	"golang.org/x/sys/unix"

	"motley/internal/http1"
	"motley/internal/mono"
)

// conn is a connection of a loop, always in exactly one of its lists.
type conn struct {
	fd         int   // −1: none
	index      int32 // among the loop's
	nth        int32 // of the descriptors it had; their numbers come again
	next, prev *conn
	on         *list

	since   mono.Time // idle: since when; down: when to try again
	fresh   bool      // nothing was sent over it
	rec     Record    // busy: the request
	bodies  *Bodies   // busy
	labels  []uint8   // busy
	out     message   // busy
	left    [][]byte  // busy: of out, what is to be written
	blocked bool      // waits to write
	in      []byte    // of the answer, what has come
	reply   http1.Reply
}

// list is a queue of connections that takes out of its middle.
type list struct {
	first, last *conn
	n           int
}

func (l *list) push(c *conn) {
	if c.on != nil {
		c.on.remove(c)
	}
	c.on, c.prev, c.next = l, l.last, nil
	if l.last != nil {
		l.last.next = c
	} else {
		l.first = c
	}
	l.last = c
	l.n++
}

func (l *list) remove(c *conn) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		l.last = c.prev
	}
	c.on, c.prev, c.next = nil, nil, nil
	l.n--
}

// dial begins a connection. It is there when its descriptor can be written to.
func dial(addr *net.TCPAddr) (fd int, err error) {
	family := unix.AF_INET6
	var to unix.Sockaddr
	if ip := addr.IP.To4(); ip != nil {
		family = unix.AF_INET
		to = &unix.SockaddrInet4{Port: addr.Port, Addr: [4]byte(ip)}
	} else {
		to = &unix.SockaddrInet6{Port: addr.Port, Addr: [16]byte(addr.IP.To16())}
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err == nil {
		if err = unix.Connect(fd, to); err == unix.EINPROGRESS {
			err = nil
		}
	}
	if err != nil {
		_ = unix.Close(fd) // the fault is told already
		return -1, err
	}
	return fd, nil
}

// dialed tells how the connection that was begun ended.
func dialed(fd int) error {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && n != 0 {
		err = unix.Errno(n)
	}
	return err
}

// write writes what is left; false with no error: the rest has to wait.
func (c *conn) write() (done bool, err error) {
	for len(c.left) > 0 {
		n := 0
		if len(c.left) == 1 {
			n, err = unix.Write(c.fd, c.left[0])
		} else {
			n, err = unix.Writev(c.fd, c.left)
		}
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return false, nil
		case err != nil:
			return false, err
		}
		for n > 0 && n >= len(c.left[0]) {
			n -= len(c.left[0])
			c.left = c.left[1:]
		}
		if n > 0 {
			// A copy: the parts are the message's.
			c.left = append([][]byte{c.left[0][n:]}, c.left[1:]...)
		}
	}
	return true, nil
}

// retryAfter is how long after a failed connection the next is tried.
const retryAfter = 10 * time.Millisecond
