package backend

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"motley/internal/reactor"
)

// onReactor is what the tests of Remote run their batches on in the second of two
// rounds; nil: by Run.
var onReactor *reactor.Loop

func TestMain(m *testing.M) {
	code := m.Run()
	if l, err := reactor.New(); err == nil {
		onReactor = l
		code = max(code, m.Run())
		l.Close()
	}
	os.Exit(code)
}

// flying is an execution by Start, and who waits for it.
type flying struct {
	r     *Remote
	ctx   context.Context
	model string
	calls []*Call
	f     Flight
	done  chan error
}

func (x *flying) Run() {
	if !x.r.Start(x.ctx, onReactor, x.model, x.calls, &x.f) {
		go func() { x.done <- x.r.Run(x.ctx, x.model, x.calls) }()
	}
}

func (x *flying) Ended(_ *reactor.Loop, err error) { x.done <- err }

// run is Run, or comes to the same by Start.
func (r *Remote) run(ctx context.Context, model string, calls []*Call) error {
	if onReactor == nil {
		return r.Run(ctx, model, calls)
	}
	x := &flying{r: r, ctx: ctx, model: model, calls: calls, done: make(chan error, 1)}
	x.f.Done = x
	x.f.Reset()
	defer context.AfterFunc(ctx, x.f.Cancel)()
	onReactor.Post(x)
	return <-x.done
}

type task func()

func (t task) Run() { t() }

// idle is how many connections are kept for later.
func (r *Remote) idle() int {
	r.pool.mu.Lock()
	n := len(r.pool.mu.idle)
	r.pool.mu.Unlock()
	if onReactor == nil {
		return n
	}
	done := make(chan int)
	onReactor.Post(task(func() { done <- len(r.laneOn(onReactor).idle) }))
	return n + <-done
}

// TestStartAllocatesNothing counts what an execution by a reactor costs, from the request to
// its answer.
func TestStartAllocatesNothing(t *testing.T) {
	if onReactor == nil || raceEnabled {
		t.Skip("no reactor in this round, or allocations are not counted under the race detector")
	}
	reply := []byte(httpReply(200, goodAnswer))
	r := newRemote(t, RemoteConfig{URL: rawServer(t, func(_ int, c net.Conn, _ *bufio.Reader) {
		for b := make([]byte, 4<<10); ; {
			if _, err := c.Read(b); err != nil {
				return
			}
			if _, err := c.Write(reply); err != nil {
				return
			}
		}
	})})
	c := named(jsonCall(t, "a", "", [2]float32{1, 2}), "run-7", exampleTrace, "x=1")
	x := &flying{r: r, ctx: t.Context(), model: "double", calls: []*Call{c}, done: make(chan error, 1)}
	x.f.Done = x
	once := func() {
		x.f.Reset()
		onReactor.Post(x)
		if err := <-x.done; err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		once()
	}
	if n := testing.AllocsPerRun(2000, once); n > 0 {
		t.Errorf("%.2f allocations per execution", n)
	}
}

// TestStartSendsAll: a worker that begins its answer before it has read the request is sent
// the rest of it, whatever form the answer has.
func TestStartSendsAll(t *testing.T) {
	if onReactor == nil {
		t.Skip("no reactor in this round")
	}
	for _, head := range []string{"HTTP/1.0 200 OK\r\n\r\n", fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(goodAnswer))} {
		r := newRemote(t, RemoteConfig{Timeout: 5 * time.Second, URL: rawServer(t, func(_ int, c net.Conn, br *bufio.Reader) {
			if !readRequest(br) {
				return
			}
			_, _ = io.WriteString(c, httpReply(200, goodAnswer))
			q, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, head)
			if n, err := io.Copy(io.Discard, q.Body); n == q.ContentLength && err == nil {
				_, _ = io.WriteString(c, goodAnswer)
			}
		})})
		if _, err := runOne(t, t.Context(), r); err != nil {
			t.Fatal(err)
		}
		set := make(chan error)
		onReactor.Post(task(func() { // less room than loopback has
			set <- syscall.SetsockoptInt(r.laneOn(onReactor).idle[0].fd, syscall.SOL_SOCKET, syscall.SO_SNDBUF, 64<<10)
		}))
		if err := <-set; err != nil {
			t.Fatal(err)
		}
		c := jsonCall(t, "a", `,"parameters":{"pad":"`+strings.Repeat("x", maxFlight-1000)+`"}`, [2]float32{1, 2})
		if err := r.run(t.Context(), "double", []*Call{c}); err != nil {
			t.Errorf("%q: %v", head, err)
		}
	}
}
