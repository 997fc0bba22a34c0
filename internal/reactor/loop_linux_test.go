package reactor

import (
	"io"
	"net"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// echo sends back what comes.
type echo struct {
	loop  *Loop
	fd    int
	place int32
	ticks int
	ended chan<- error
}

func (e *echo) Ready(ev Event) {
	if ev&Readable == 0 {
		return
	}
	for {
		n, err := Read(e.fd, e.loop.Scratch)
		if err == ErrWouldBlock {
			return
		}
		if err == nil {
			_, err = Write(e.fd, e.loop.Scratch[:n/2], e.loop.Scratch[n/2:n])
		}
		if err != nil {
			e.loop.Remove(e.fd, e.place)
			CloseSocket(e.fd)
			e.ended <- err
			return
		}
		if n < len(e.loop.Scratch) {
			return
		}
	}
}

func (e *echo) Tick(int64) { e.ticks++ }

type task func()

func (t task) Run() { t() }

func start(t *testing.T) *Loop {
	t.Helper()
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// on runs f on the loop's goroutine and waits for it.
func on(l *Loop, f func()) {
	done := make(chan struct{})
	l.Post(task(func() { f(); close(done) }))
	<-done
}

// TestEcho serves many connections at once; each gets its own bytes back, and the loop
// notices that it is closed.
func TestEcho(t *testing.T) {
	l := start(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	const conns = 300 // more than one round's events
	ended := make(chan error, conns)
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			fd, err := Detach(nc.(*net.TCPConn))
			if err != nil {
				t.Error(err)
				return
			}
			l.Post(task(func() {
				e := &echo{loop: l, fd: fd, ended: ended}
				if e.place, err = l.Add(fd, e); err != nil {
					t.Error(err)
				}
			}))
		}
	}()
	var wg sync.WaitGroup
	for i := range conns {
		wg.Go(func() {
			nc, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer nc.Close()
			out, in := make([]byte, 100+i), make([]byte, 100+i)
			for round := range 20 {
				for k := range out {
					out[k] = byte(i + k + round)
				}
				if _, err := nc.Write(out); err != nil {
					t.Error(err)
					return
				}
				if _, err := io.ReadFull(nc, in); err != nil || string(in) != string(out) {
					t.Errorf("connection %d: round %d: %v, or other bytes", i, round, err)
					return
				}
			}
		})
	}
	wg.Wait()
	for range conns {
		if err := <-ended; err != io.EOF {
			t.Errorf("a connection ended with %v, want EOF", err)
		}
	}
	on(l, func() {
		if l.used != 0 || len(l.free) != len(l.slots) {
			t.Errorf("%d places in use, %d of %d free", l.used, len(l.free), len(l.slots))
		}
	})
}

// TestTasks posts from many goroutines; each task runs once, on one goroutine.
func TestTasks(t *testing.T) {
	l := start(t)
	var wg sync.WaitGroup
	ran, later := 0, 0 // without a lock: the race detector watches
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				l.Post(task(func() {
					ran++
					l.Later(task(func() { later++ }))
				}))
			}
		})
	}
	wg.Wait()
	for seen := 0; seen < 8000; {
		on(l, func() { seen = later })
	}
	on(l, func() {
		if ran != 8000 || later != 8000 {
			t.Errorf("%d tasks and %d put off, want 8000 of each", ran, later)
		}
	})
}

// TestTick: handlers are ticked while there are any, and an event of a socket
// that was removed reaches nobody.
func TestTick(t *testing.T) {
	l := start(t)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	e := &echo{loop: l, fd: pair[0], ended: make(chan error, 1)}
	on(l, func() {
		if e.place, err = l.Add(pair[0], e); err != nil {
			t.Error(err)
		}
	})
	for ticks := 0; ticks < 3; {
		on(l, func() { ticks = e.ticks })
	}
	on(l, func() {
		if _, err := unix.Write(pair[1], []byte("x")); err != nil {
			t.Error(err)
		}
		l.Remove(pair[0], e.place)
	})
	on(l, func() {})
	if n, err := Read(pair[0], l.Scratch); n != 1 || err != nil {
		t.Errorf("read %d bytes, %v: the byte went to a handler that was removed", n, err)
	}
}

func TestClose(t *testing.T) {
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	var again func()
	again = func() {
		if ran++; ran < 5 && !l.Post(task(again)) {
			t.Error("a task that runs before the end cannot post another")
		}
		if ran == 5 {
			l.Later(task(func() { ran++ }))
		}
	}
	l.Post(task(again))
	l.Close()
	if ran != 6 {
		t.Errorf("%d tasks of 6 ran before the end", ran)
	}
	if l.Post(task(func() {})) {
		t.Error("a closed loop takes tasks")
	}
}
