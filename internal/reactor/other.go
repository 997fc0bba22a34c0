//go:build !linux

package reactor

import (
	"errors"
	"net"
)

// ErrWouldBlock is the error of Read and Write where there is nothing to read
// or no room to write.
var ErrWouldBlock = errors.New("the socket would block")

// Loop watches sockets, on Linux.
type Loop struct{ Scratch []byte }

// New fails.
func New() (*Loop, error) { return nil, ErrUnsupported }

// The methods are those of Linux; nobody has a Loop to call them on.

func (l *Loop) Post(Task) bool                  { return false }
func (l *Loop) Later(Task)                      {}
func (l *Loop) Now() int64                      { return 0 }
func (l *Loop) Value(any) any                   { return nil }
func (l *Loop) Coarse() int64                   { return 0 }
func (l *Loop) SetValue(_, _ any)               {}
func (l *Loop) Add(int, Handler) (int32, error) { return 0, ErrUnsupported }
func (l *Loop) Remove(int, int32)               {}
func (l *Loop) Close()                          {}
func Read(int, []byte) (int, error)             { return 0, ErrUnsupported }
func Write(int, []byte, []byte) (int, error)    { return 0, ErrUnsupported }
func Detach(nc *net.TCPConn) (int, error)       { return -1, errors.Join(ErrUnsupported, nc.Close()) }
func Attach(int) (net.Conn, error)              { return nil, ErrUnsupported }
func CloseSocket(int)                           {}
func EndSending(int) error                      { return ErrUnsupported }
func Quiet(int) bool                            { return true }
