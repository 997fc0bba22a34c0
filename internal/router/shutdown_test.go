package router

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"motley/internal/live"
)

// ask sends a request on a connection and reads the answer.
func ask(t *testing.T, c net.Conn, r *bufio.Reader, request string) *http.Response {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	send(t, c, request)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatalf("%.40q: %v", request, err)
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}
	return res
}

const alive = "GET /v2/health/live HTTP/1.1\r\nHost: h\r\n\r\n"

// TestUnready: before the server stops to accept, it says that it is not ready, answers as
// ever, and tells clients to come back by another connection.
func TestUnready(t *testing.T) {
	f := newFixture(t, nil)
	requests := map[string]string{"infer": post(validInfer), "other": alive, "stream": streamed(validInfer)}
	kept := map[string]net.Conn{}
	for name, q := range requests {
		c := f.dial()
		if res := ask(t, c, bufio.NewReader(c), q); res.StatusCode != 200 || res.Close {
			t.Errorf("%s before: %+v", name, res)
		}
		kept[name] = c
	}
	f.server.Unready()
	for name, q := range requests {
		for what, c := range map[string]net.Conn{"kept": kept[name], "new": f.dial()} {
			r := bufio.NewReader(c)
			if res := ask(t, c, r, q); res.StatusCode != 200 || !res.Close {
				t.Errorf("%s, %s connection: %+v", name, what, res)
			}
			if _, err := r.ReadByte(); err != io.EOF {
				t.Errorf("%s, %s connection, after its answer: %v", name, what, err)
			}
		}
	}
	if res := f.do("GET", "/v2/health/ready", ""); res.status != 400 {
		t.Errorf("readiness: %d", res.status)
	}
}

// onEither runs a test over sockets, with reactors and without.
func onEither(t *testing.T, test func(t *testing.T, change func(*Config))) {
	if !onReactors {
		t.Skip("no sockets in this round")
	}
	t.Run("reactors", func(t *testing.T) { test(t, func(*Config) {}) })
	t.Run("library", func(t *testing.T) { test(t, func(cfg *Config) { cfg.Loops = nil }) })
}

// connections waits until the server has so many.
func (f *fixture) connections(n int) {
	for f.server.open.Load() < int64(n) {
		runtime.Gosched()
	}
}

// TestLinger: a connection that has nothing under way may bring one more request, whether it
// has brought any before, and is closed in the end; nothing is accepted.
func TestLinger(t *testing.T) {
	onEither(t, func(t *testing.T, change func(*Config)) {
		f := newFixture(t, func(cfg *Config) {
			change(cfg)
			cfg.Linger = 400 * time.Millisecond
		})
		var last []func()
		for _, first := range []string{post(validInfer), alive, ""} {
			for _, then := range []string{post(validInfer), alive} {
				c := f.dial()
				r := bufio.NewReader(c)
				if first != "" && ask(t, c, r, first).StatusCode != 200 {
					t.Error("no answer before")
				}
				last = append(last, func() {
					if res := ask(t, c, r, then); res.StatusCode != 200 || !res.Close {
						t.Errorf("first %.20q, then %.20q: %+v", first, then, res)
					}
				})
			}
		}
		idle := f.dial()
		f.connections(len(last) + 1)
		began := time.Now()
		done := make(chan error, 1)
		go func() { done <- f.server.Shutdown(context.Background()) }()
		if err := <-f.served; err != nil {
			t.Error(err)
		}
		for _, ask := range last {
			ask()
		}
		if c, err := f.connect(); err == nil {
			_ = c.Close()
			t.Error("a connection is accepted")
		}
		_ = idle.SetDeadline(time.Now().Add(10 * time.Second))
		n, err := idle.Read(make([]byte, 1))
		if took := time.Since(began); n > 0 || err != io.EOF || took < 300*time.Millisecond {
			t.Errorf("an idle connection after %v: %d bytes, %v", took, n, err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestHandOver: a server whose sockets another process has as well stays ready and gives
// idle connections all the time that there is.
func TestHandOver(t *testing.T) { onEither(t, testHandOver) }

func testHandOver(t *testing.T, change func(*Config)) {
	f := newFixture(t, change)
	c, idle := f.dial(), f.dial()
	r := bufio.NewReader(c)
	ask(t, c, r, post(validInfer))
	f.connections(2) // none is left in the queue, to nobody
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	began := time.Now()
	done := make(chan error, 1)
	go func() { done <- f.server.HandOver(ctx) }()
	if err := <-f.served; err != nil {
		t.Error(err)
	}
	if res := ask(t, c, r, "GET /v2/health/ready HTTP/1.1\r\nHost: h\r\n\r\n"); res.StatusCode != 200 || !res.Close {
		t.Errorf("readiness: %+v", res)
	}
	_ = idle.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := idle.Read(make([]byte, 1)); err != io.EOF || time.Since(began) < time.Second {
		t.Errorf("an idle connection after %v: %v", time.Since(began), err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestFinish: what is not whole when time is up is answered, and what cannot be is told.
func TestFinish(t *testing.T) { onEither(t, testFinish) }

func testFinish(t *testing.T, change func(*Config)) {
	f := newFixture(t, change)
	whole := post(validInfer)
	large := strings.Replace(whole, "Content-Length: ", "Content-Length: 9999", 1)
	var conns []net.Conn
	for _, part := range []string{whole[:30], whole[:len(whole)-3], large, alive[:20]} {
		c := f.dial()
		send(t, c, part)
		conns = append(conns, c)
	}
	entered := make(chan struct{})
	release := make(chan struct{})
	f.loop.set(func(*live.Request) error {
		close(entered)
		<-release
		return &live.Refusal{Reason: live.Stopping}
	})
	queued := f.dial()
	send(t, queued, whole)
	<-entered
	f.connections(len(conns) + 1)
	over, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := f.server.Shutdown(over); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Shutdown: %v", err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := f.server.Finish(short); err == nil || !strings.Contains(err.Error(), " connections were cut") {
		t.Errorf("Finish while a request is with a worker: %v", err)
	}
	for i, c := range append(conns, queued) {
		if c == queued {
			close(release)
		}
		res := f.read(c)
		if text := res.errorText(t); res.status != 503 || text != "the router is shutting down" || res.header.Get("X-Should-Retry") != "true" {
			t.Errorf("request %d: status %d, %q, %v", i, res.status, text, res.header)
		}
	}
	if err := f.server.Finish(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestQueueIsEmptied: a client that has connected before the end is answered, though nobody had
// accepted it.
func TestQueueIsEmptied(t *testing.T) {
	if !onReactors {
		t.Skip("no sockets in this round")
	}
	t.Run("reactors", func(t *testing.T) {
		testQueueIsEmptied(t, func(_ *fixture, ln net.Listener) net.Listener { return ln })
	})
	t.Run("a layer above", func(t *testing.T) {
		testQueueIsEmptied(t, func(f *fixture, ln net.Listener) net.Listener { return &layer{Listener: ln, f: f} })
	})
}

// layer is a listener over another one, which is slow: but for one connection it accepts what has
// come before the server's end only then.
type layer struct {
	net.Listener
	f   *fixture
	one bool
}

func (l *layer) Beneath() net.Listener { return l.Listener }

func (l *layer) Accept() (net.Conn, error) {
	for l.one && !l.f.server.end.shut.Load() {
		runtime.Gosched()
	}
	l.one = true
	return l.Listener.Accept()
}

func testQueueIsEmptied(t *testing.T, over func(*fixture, net.Listener) net.Listener) {
	f := newIdleFixture(t, func(cfg *Config) { cfg.Linger = 500 * time.Millisecond })
	var conns []net.Conn
	for range 20 {
		c := f.dial()
		send(t, c, post(validInfer))
		conns = append(conns, c)
	}
	go func() { f.served <- f.server.Serve(over(f, f.ln)) }()
	f.connections(1)
	done := make(chan error, 1)
	go func() { done <- f.server.Shutdown(context.Background()) }()
	for i, c := range conns {
		if res := f.read(c); res.status != 200 {
			t.Errorf("client %d: status %d", i, res.status)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
