package reactor

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrWouldBlock is the error of Read and Write where there is nothing to read
// or no room to write.
var ErrWouldBlock = errors.New("the socket would block")

// Read reads what there is, without waiting: io.EOF at the peer's end. A read of
// fewer bytes than b takes has emptied the socket.
func Read(fd int, b []byte) (int, error) {
	for {
		// Not a call that may block, so the scheduler need not know of it.
		n, _, e := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT, 0, 0)
		switch e {
		case 0:
			if n == 0 && len(b) > 0 {
				return 0, io.EOF
			}
			return int(n), nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, ErrWouldBlock
		default:
			return 0, e
		}
	}
}

// Write writes as much of a, and then b, as there is room for, without waiting;
// ErrWouldBlock where that is not all.
func Write(fd int, a, b []byte) (int, error) {
	for {
		var n uintptr
		var e syscall.Errno
		if len(b) == 0 {
			n, _, e = syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(a))), uintptr(len(a)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		} else {
			n, e = sendTwo(fd, a, b)
		}
		switch e {
		case 0:
			if int(n) < len(a)+len(b) {
				return int(n), ErrWouldBlock
			}
			return int(n), nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, ErrWouldBlock
		default:
			return 0, e
		}
	}
}

func sendTwo(fd int, a, b []byte) (uintptr, syscall.Errno) {
	var iov [2]unix.Iovec
	k := 0
	if len(a) > 0 {
		iov[0].Base = unsafe.SliceData(a)
		iov[0].SetLen(len(a))
		k++
	}
	iov[k].Base = unsafe.SliceData(b)
	iov[k].SetLen(len(b))
	k++
	msg := unix.Msghdr{Iov: &iov[0]}
	msg.SetIovlen(k)
	n, _, e := syscall.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&msg)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	return n, e
}

// Detach is a descriptor of the connection's socket that does not block; nc, which is
// closed, has no part in it any more.
func Detach(nc *net.TCPConn) (fd int, err error) {
	f, err := nc.File()
	if err != nil {
		_ = nc.Close()
		return -1, err
	}
	_ = nc.Close() // the other descriptor
	fd, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	_ = f.Close()
	if err != nil {
		return -1, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// Attach is a connection over a socket. The descriptor itself stays as it is.
func Attach(fd int) (net.Conn, error) {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(own), "socket")
	defer f.Close() // FileConn has one of its own
	return net.FileConn(f)
}

// CloseSocket closes a descriptor.
func CloseSocket(fd int) { _ = unix.Close(fd) }

// EndSending tells the peer that nothing more is sent.
func EndSending(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) }

// Quiet reports whether there is nothing to read on a socket, neither bytes nor an end.
func Quiet(fd int) bool {
	var b [1]byte
	_, _, e := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b)), 1, unix.MSG_DONTWAIT|unix.MSG_PEEK, 0, 0)
	return e == unix.EAGAIN
}
