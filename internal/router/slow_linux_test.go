package router

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"motley/internal/reactor"
)

// bare connects without any memory of this process's heap.
func bare(t *testing.T, addr net.Addr) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	to := &syscall.SockaddrInet4{Port: addr.(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}
	if err := syscall.Connect(fd, to); err != nil {
		t.Fatal(err)
	}
	return fd
}

// ticker is a socket that waits for two ticks of its reactor.
type ticker struct {
	loop *reactor.Loop
	pair [2]int
	n    int
	done chan struct{}
}

func (k *ticker) Run()                { _, _ = k.loop.Add(k.pair[0], k) }
func (k *ticker) Ready(reactor.Event) {}
func (k *ticker) Tick(int64) {
	if k.n++; k.n == 2 {
		close(k.done)
	}
}

// ticks returns when every reactor has asked its sockets for what is overdue.
func (f *fixture) ticks(t *testing.T) {
	t.Helper()
	for _, l := range f.server.cfg.Loops {
		k := &ticker{loop: l, done: make(chan struct{})}
		var err error
		if k.pair, err = syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { // the reactor forgets the socket with its last descriptor
			_ = syscall.Close(k.pair[0])
			_ = syscall.Close(k.pair[1])
		})
		l.Post(k)
		<-k.done
	}
}

// TestSlowClients: connections that are idle, send slowly, or read slowly hold only what they have sent or
// are to be sent, on no goroutine, and others are served meanwhile.
func TestSlowClients(t *testing.T) {
	if !onReactors {
		t.Skip("no reactors in this round: each connection has a goroutine")
	}
	if raceEnabled {
		t.Skip("memory is not that of a program without the race detector")
	}
	const idle, slow = 2000, 200
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < 3*(idle+3*slow) {
		t.Skipf("%d descriptors are too few for 2000 idle and 600 slow clients", limit.Cur)
	}
	f := newFixture(t, func(c *Config) { c.Log, c.AccessLog = slog.New(slog.DiscardHandler), nil })
	request := post(validInfer)
	serve := func(n int) {
		t.Helper()
		c := f.dial()
		defer c.Close()
		answer := make([]byte, 4<<10)
		for range n {
			if _, err := c.Write([]byte(request)); err != nil {
				t.Fatal(err)
			}
			if n, err := c.Read(answer); err != nil || !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 200") {
				t.Fatalf("%q, %v", answer[:n], err)
			}
		}
	}
	use := func() int64 {
		runtime.GC()
		runtime.GC() // pools are empty after the second
		debug.FreeOSMemory()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc + m.StackInuse)
	}
	opened := func(n int) {
		t.Helper()
		for deadline := time.Now().Add(patience); int(f.server.open.Load()) < n; runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatalf("%d connections are open, want %d", f.server.open.Load(), n)
			}
		}
	}
	open := 0
	connect := func(n int, sent string) (all []int) {
		for range n {
			fd := bare(t, f.ln.Addr())
			t.Cleanup(func() { _ = syscall.Close(fd) })
			if sent != "" {
				if _, err := syscall.Write(fd, []byte(sent)); err != nil {
					t.Fatal(err)
				}
			}
			all = append(all, fd)
		}
		open += n
		opened(open)
		f.ticks(t)
		return all
	}
	serve(100)
	for _, c := range []struct {
		name string
		n    int
		sent string
		most int64 // bytes for each
	}{
		{"idle", idle, "", 1024},
		{"slow in the head", slow, request[:60], 2048},
		{"slow in the body", slow, request[:len(request)-5], 2048},
		{"slow in a body of 100 kB", slow, inferLine + fmt.Sprintf("Content-Length: 100000\r\n\r\n%s", strings.Repeat(" ", 1000)), 4096},
	} {
		goroutines := runtime.NumGoroutine()
		before := use()
		fds := connect(c.n, c.sent)
		each := (use() - before) / int64(c.n)
		t.Logf("%s: %d bytes for each", c.name, each)
		if each > c.most {
			t.Errorf("%s: %d bytes for each, want at most %d", c.name, each, c.most)
		}
		if more := runtime.NumGoroutine() - goroutines; more > 5 {
			t.Errorf("%s: %d goroutines more", c.name, more)
		}
		// Another byte from each, and the next.
		for range 3 {
			if c.sent == "" {
				break
			}
			for _, fd := range fds {
				if _, err := syscall.Write(fd, []byte(" ")); err != nil {
					t.Fatal(err)
				}
			}
		}
		serve(200)
		if each := (use() - before) / int64(c.n); each > c.most {
			t.Errorf("%s, with more bytes: %d bytes for each, want at most %d", c.name, each, c.most)
		}
	}
	if held := f.server.budget.held.Load(); held > 3*slow*2000 {
		t.Errorf("%d bytes count as held", held)
	}
}

// TestLentConnections: a connection that the HTTP library had for a request has one descriptor again
// when that is answered.
func TestLentConnections(t *testing.T) {
	if !onReactors {
		t.Skip("no reactors in this round")
	}
	count := func() int {
		d, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip("cannot count descriptors: ", err)
		}
		return len(d)
	}
	f := newFixture(t, func(c *Config) { c.AccessLog = nil })
	f.do("GET", "/v2/health/live", "")
	const n = 50
	before := count()
	for range n {
		c := f.dial() // until the test's end
		for _, request := range []string{"GET /v2/health/live HTTP/1.1\r\nHost: h\r\n\r\n", post(validInfer + strings.Repeat(" ", maxInPlace)), post(validInfer)} {
			send(t, c, request)
			if res := f.read(c); res.status != 200 {
				t.Fatalf("status %d", res.status)
			}
		}
	}
	if got := count() - before; got > 2*n+10 { // the client's, and the server's
		t.Errorf("%d connections have %d descriptors", n, got)
	}
}
