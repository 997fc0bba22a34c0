package handover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Successor is the program that takes over.
type Successor struct {
	Path    string        // absolute
	Args    []string      // with the program's name
	Timeout time.Duration // until it serves
	Log     *slog.Logger
}

// Self is this program as it was started: the same path, which may lead to another file
// by the time that it is run, and the same arguments. The caller fills in the rest.
func Self() (Successor, error) {
	path, err := exec.LookPath(os.Args[0])
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		path, err = os.Executable()
	}
	if err != nil {
		return Successor{}, fmt.Errorf("cannot tell which program this is: %w", err)
	}
	return Successor{Path: path, Args: os.Args}, nil
}

// Upgrade starts the successor with the sockets, this process's environment, standard
// streams and directory, and returns once it serves. Where it ends before, or does not serve in
// time, or ctx ends, it is killed, and the error says which.
func (s *Sockets) Upgrade(ctx context.Context, next Successor) error {
	if os.Getpid() == 1 {
		return errors.New("cannot upgrade process 1: with it ends the container; start a new one instead")
	}
	if err := s.start(ctx, next); err != nil {
		return fmt.Errorf("cannot upgrade to %s: %w", next.Path, err)
	}
	return nil
}

func (s *Sockets) start(ctx context.Context, next Successor) error {
	word, say, err := os.Pipe()
	if err != nil {
		return err
	}
	defer word.Close()
	cmd := &exec.Cmd{Path: next.Path, Args: next.Args, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	err = s.bequeath(cmd, say)
	if err == nil {
		closeOnExecAll()
		err = cmd.Start()
	}
	for _, f := range cmd.ExtraFiles {
		_ = f.Close() // the successor has them, or nobody
	}
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in its state
		close(ended)
	}()
	if err := await(ctx, word, ended, next.Timeout); err != nil {
		_ = cmd.Process.Kill() // it fails where the process has ended
		<-ended
		if err == errEnded {
			err = fmt.Errorf("%w: %v", err, cmd.ProcessState)
		}
		return err
	}
	if err := ctx.Err(); err != nil { // the two have crossed
		_ = cmd.Process.Signal(unix.SIGTERM) // it fails where the process has ended
		return fmt.Errorf("called off: %w", context.Cause(ctx))
	}
	if err := notify(fmt.Sprintf("MAINPID=%d", cmd.Process.Pid)); err != nil {
		next.Log.Warn("systemd does not know the new process", "error", err)
	}
	return nil
}

// bequeath gives cmd the sockets, and say to speak by.
func (s *Sockets) bequeath(cmd *exec.Cmd, say *os.File) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	cmd.ExtraFiles = []*os.File{say}
	var l legacy
	for _, o := range s.open {
		f, err := duplicate(o)
		if err != nil {
			return fmt.Errorf("socket %s: %w", o.Name, err)
		}
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
		l.Sockets = append(l.Sockets, o.socket)
	}
	text, err := json.Marshal(l)
	cmd.Env = append(os.Environ(), variable+"="+string(text))
	return err
}

// duplicate is another descriptor of a listener's socket. That of its method File
// would make the socket a blocking one, for this process too.
func duplicate(l listener) (*os.File, error) {
	raw, err := l.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	if e := raw.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) }); e != nil {
		return nil, e
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), l.Name), nil
}

var errEnded = errors.New("it ended before it served")

// await waits for the successor's word.
func await(ctx context.Context, word *os.File, ended <-chan struct{}, most time.Duration) error {
	spoke := make(chan bool, 1)
	go func() {
		b := make([]byte, len(readyWord))
		_, err := io.ReadFull(word, b)
		spoke <- err == nil && string(b) == readyWord
	}()
	late := time.NewTimer(most)
	defer late.Stop()
	for {
		select {
		case ok := <-spoke:
			if ok {
				return nil
			}
			spoke = nil // it has ended, or will not say any more
		case <-ended:
			return errEnded
		case <-late.C:
			return fmt.Errorf("it did not serve within %v", most)
		case <-ctx.Done():
			return fmt.Errorf("called off: %w", context.Cause(ctx))
		}
	}
}

func closeOnExec(fd int) { unix.CloseOnExec(fd) }
