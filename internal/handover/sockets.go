// Package handover has a new process go on where a running one listens: the
// successor is started with the listening sockets, says when it is ready, and
// only then does the old one stop to accept. A socket that two processes have is one
// socket: what waits in its queue is accepted by either, and nothing is lost.
//
// Sockets that systemd has opened (socket activation) are taken in the same way, and
// systemd is told when the process is ready, stops, or is another one.
package handover

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
)

// variable is the environment variable by which a successor learns what it is given.
const variable = "MOTLEY_HANDOVER"

// firstFD is the first descriptor that a process is given, after the standard ones.
const firstFD = 3

// legacy is what a process hands to its successor, as JSON in variable: the pipe on which
// it waits for word is descriptor 3, the sockets are those from 4 on.
type legacy struct {
	Sockets []socket `json:"sockets"`
}

// socket is a listening socket's name, and the address that it was asked for by.
type socket struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	// Systems: systemd has opened it, by an address of its own, and keeps it.
	Systems bool `json:"systems,omitempty"`
}

// Sockets are a process's listening sockets, by name.
type Sockets struct {
	mu    sync.Mutex
	given []listener // by who started this process, and not asked for as yet
	open  []listener // in use
	ready *os.File   // where who started this process waits for word; nil: nobody does
}

type listener struct {
	socket
	*net.TCPListener
}

// Inherit takes what this process was given, and removes all trace of it from the
// environment. It must be called once, before any other descriptor is opened.
func Inherit() (*Sockets, error) {
	s := &Sockets{}
	text, fds, pid, names := os.Getenv(variable), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDNAMES")
	for _, v := range []string{variable, "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"} {
		_ = os.Unsetenv(v) // it fails for no name that there is
	}
	var err error
	switch {
	case text != "":
		err = s.inherit(text)
	case fds != "" && pid == strconv.Itoa(os.Getpid()):
		err = s.activated(fds, names)
	}
	if err != nil {
		s.closeGiven()
		return nil, fmt.Errorf("cannot take over the listening sockets: %w", err)
	}
	return s, nil
}

func (s *Sockets) inherit(text string) error {
	var l legacy
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		return fmt.Errorf("%s: %w", variable, err)
	}
	s.ready = os.NewFile(firstFD, "ready")
	if info, err := s.ready.Stat(); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		s.ready = nil // not closed: it is somebody else's
		return fmt.Errorf("%s: descriptor %d is no pipe: the variable is not meant for this process", variable, firstFD)
	}
	closeOnExec(firstFD)
	for i, sock := range l.Sockets {
		if err := s.take(firstFD+1+i, listener{socket: sock}); err != nil {
			return err
		}
	}
	return nil
}

// activated takes systemd's sockets: those of one name ("public", "admin") are that, the
// others are in the order in which Listen will ask.
func (s *Sockets) activated(fds, names string) error {
	n, err := strconv.Atoi(fds)
	if err != nil || n < 0 || n > 100 {
		return fmt.Errorf("LISTEN_FDS: %q", fds)
	}
	all := strings.Split(names, ":")
	for i := range n {
		l := listener{socket: socket{Systems: true}}
		if i < len(all) {
			l.Name = all[i]
		}
		if err := s.take(firstFD+i, l); err != nil {
			return err
		}
	}
	return nil
}

// take makes a listener of a descriptor.
func (s *Sockets) take(fd int, l listener) error {
	f := os.NewFile(uintptr(fd), "listener")
	ln, err := net.FileListener(f) // of a descriptor of its own, closed on exec
	_ = f.Close()
	if err != nil {
		return fmt.Errorf("descriptor %d: %w", fd, err)
	}
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return errors.Join(fmt.Errorf("descriptor %d: it listens on %s %s, and only TCP is served", fd, ln.Addr().Network(), ln.Addr()), ln.Close())
	}
	l.TCPListener = tcp
	s.given = append(s.given, l)
	return nil
}

// Listen is the socket of this name: one that the process was given, where it was opened by
// the same address, else a new one. It will be handed to a successor.
func (s *Sockets) Listen(name, address string) (net.Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := listener{socket: socket{Name: name, Address: address}}
	if i := s.find(l.socket); i >= 0 {
		l.TCPListener, l.Systems = s.given[i].TCPListener, s.given[i].Systems
		s.given = append(s.given[:i], s.given[i+1:]...)
	} else {
		ln, err := net.Listen("tcp", address)
		if err != nil {
			return nil, fmt.Errorf("cannot listen: %w", err)
		}
		l.TCPListener = ln.(*net.TCPListener)
	}
	s.open = append(s.open, l)
	return l.TCPListener, nil
}

// find is the place among those given of the one for want; −1: none.
func (s *Sockets) find(want socket) int {
	unnamed := -1
	for i, g := range s.given {
		switch {
		case g.Name == want.Name && (g.Systems || g.Address == want.Address):
			return i
		case g.Systems && g.Name != "public" && g.Name != "admin" && unnamed < 0:
			unnamed = i
		}
	}
	return unnamed
}

// Ready tells who waits for it, the process that this one succeeds or systemd, that requests
// are served. Sockets that were given and that nobody has asked for are closed.
func (s *Sockets) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeGiven()
	errs := []error{notify("READY=1")}
	if s.ready != nil {
		_, err := s.ready.WriteString(readyWord)
		errs = append(errs, err, s.ready.Close())
		s.ready = nil
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("cannot tell that requests are served: %w", err)
	}
	return nil
}

// Kept reports whether systemd has opened a listener's socket, and keeps it when this process
// ends.
func (s *Sockets) Kept(ln net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.open {
		if o.TCPListener == ln {
			return o.Systems
		}
	}
	return false
}

// readyWord is what a successor sends once it serves.
const readyWord = "ready\n"

func (s *Sockets) closeGiven() {
	for _, g := range s.given {
		_ = g.Close() // nothing was accepted from it
	}
	s.given = nil
}
