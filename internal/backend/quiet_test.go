package backend

import (
	"bufio"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// TestSecondAnswer: an answer that a worker sends without being asked is nobody's, also
// where it comes too late to be noticed before the connection is wanted again.
func TestSecondAnswer(t *testing.T) {
	more, wrote := make(chan struct{}), make(chan struct{})
	r := newRemote(t, RemoteConfig{URL: rawServer(t, func(n int, c net.Conn, br *bufio.Reader) {
		for i := 0; readRequest(br); i++ {
			_, _ = io.WriteString(c, httpReply(200, goodAnswer))
			if n == 0 && i == 0 {
				<-more
				_, _ = io.WriteString(c, httpReply(500, `{"error":"that of another request"}`))
				close(wrote)
			}
		}
	})})
	if _, err := runOne(t, t.Context(), r); err != nil {
		t.Fatal(err)
	}
	second := func() {
		close(more)
		<-wrote
	}
	c := jsonCall(t, "a", "", [2]float32{1, 2})
	if onReactor == nil {
		second()
		if err := r.Run(t.Context(), "double", []*Call{c}); err != nil {
			t.Error(err)
		}
		return
	}
	x := &flying{r: r, ctx: t.Context(), model: "double", calls: []*Call{c}, done: make(chan error, 1)}
	x.f.Done = x
	x.f.Reset()
	onReactor.Post(task(func() { // meanwhile the reactor hears nothing
		second()
		x.Run()
	}))
	if err := <-x.done; err != nil {
		t.Error(err)
	}
}

// TestCanceledDial: a connection that is made for an execution which was cancelled meanwhile
// sends nothing, and serves the next one.
func TestCanceledDial(t *testing.T) {
	if onReactor == nil {
		t.Skip("no reactor in this round")
	}
	var connections, requests atomic.Int32
	r := newRemote(t, RemoteConfig{URL: rawServer(t, func(_ int, c net.Conn, br *bufio.Reader) {
		connections.Add(1)
		for readRequest(br) {
			requests.Add(1)
			_, _ = io.WriteString(c, httpReply(200, goodAnswer))
		}
	})})
	x := &flying{r: r, ctx: t.Context(), model: "double", calls: []*Call{jsonCall(t, "a", "", [2]float32{1, 2})}, done: make(chan error, 1)}
	x.f.Done = x
	x.f.Reset()
	onReactor.Post(task(func() {
		x.Run()
		x.f.Cancel()
	}))
	wantClass(t, <-x.done, Canceled)
	if n := r.idle(); n != 1 {
		t.Errorf("%d idle connections, want that which was made", n)
	}
	if _, err := runOne(t, t.Context(), r); err != nil {
		t.Error(err)
	}
	if c, n := connections.Load(), requests.Load(); c != 1 || n != 1 {
		t.Errorf("%d connections, %d requests; want one of each", c, n)
	}
}

// TestOdd: a server whose answer Start could not read is asked in the old way for a while, not for
// ever.
func TestOdd(t *testing.T) {
	var o odd
	if o.now() {
		t.Error("odd before anything came")
	}
	if o.note(); !o.now() {
		t.Error("not odd after an odd answer")
	}
	if o.until.Store(time.Now().Add(-1).UnixNano()); o.now() || o.until.Load() != 0 {
		t.Error("odd after its time")
	}
}
