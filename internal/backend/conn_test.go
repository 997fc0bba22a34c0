package backend

import (
	"bufio"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// One stale connection condemns the others: a worker that was restarted has
// dropped them all.
func TestPoolDropsAllConnectionsWhenOneIsStale(t *testing.T) {
	checkGoroutines(t)
	const first = 3
	var connections atomic.Int32
	var arrived atomic.Int32
	restart := make(chan struct{})
	var dropped sync.WaitGroup
	dropped.Add(first)
	r := newRemote(t, RemoteConfig{URL: rawServer(t, func(n int, c net.Conn, br *bufio.Reader) {
		connections.Add(1)
		if n >= first {
			answerWith(httpReply(200, goodAnswer))(n, c, br)
			return
		}
		if !readRequest(br) {
			return
		}
		if arrived.Add(1) == first {
			close(restart)
		}
		<-restart // so that each execution has a connection of its own
		_, _ = io.WriteString(c, httpReply(200, goodAnswer))
		_ = c.Close()
		dropped.Done()
	})})
	var wg sync.WaitGroup
	for range first {
		c := jsonCall(t, "a", "", [2]float32{1, 2})
		wg.Go(func() {
			if err := r.run(t.Context(), "double", []*Call{c}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	dropped.Wait()
	for range 3 {
		c, err := runOne(t, t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		checkAnswer(t, c, "a", false, [2]float32{1, 2})
	}
	if n := connections.Load(); n != first+1 {
		t.Errorf("%d connections, want %d and one new", n, first)
	}
	if n := r.idle(); n != 1 {
		t.Errorf("%d idle connections, want only the new one", n)
	}
}

func TestPoolClosesWhatIsIdleForTooLong(t *testing.T) {
	gone := make(chan struct{}, 2)
	r := newRemote(t, RemoteConfig{IdleTimeout: time.Nanosecond, URL: rawServer(t, func(n int, c net.Conn, br *bufio.Reader) {
		answerWith(httpReply(200, goodAnswer))(n, c, br)
		gone <- struct{}{}
	})})
	for range 2 {
		if _, err := runOne(t, t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	<-gone // the first one, at the second execution
	if n := r.idle(); n != 1 {
		t.Errorf("%d idle connections, want 1", n)
	}
}

// What is in use when the backend is closed is closed when it comes back.
func TestPoolCloseDuringAnExecution(t *testing.T) {
	checkGoroutines(t)
	asked, answer, gone := make(chan struct{}), make(chan struct{}), make(chan struct{})
	r := newRemote(t, RemoteConfig{URL: rawServer(t, func(_ int, c net.Conn, br *bufio.Reader) {
		if readRequest(br) {
			asked <- struct{}{}
			<-answer
			_, _ = io.WriteString(c, httpReply(200, goodAnswer))
			_, _ = br.ReadByte()
			close(gone)
		}
	})})
	done := make(chan error)
	c := jsonCall(t, "a", "", [2]float32{1, 2})
	go func() { done <- r.run(t.Context(), "double", []*Call{c}) }()
	<-asked
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	close(answer)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	checkAnswer(t, c, "a", false, [2]float32{1, 2})
	<-gone
}

// The last used is used next, so the others grow old.
func TestPoolOrder(t *testing.T) {
	p := connPool{maxIdle: time.Hour, slots: make(chan struct{}, 3)}
	var conns []*conn
	for range 3 {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		conns = append(conns, newConn(ours))
		p.slots <- struct{}{}
	}
	for _, c := range conns {
		p.put(c, true)
	}
	if got := p.pop(false); got != conns[2] || !got.reused {
		t.Error("the youngest connection does not come first")
	}
	if got := p.pop(true); got != nil {
		t.Error("an old connection for an exchange that needs a fresh one")
	}
	if len(p.mu.idle) != 1 || p.mu.idle[0] != conns[1] {
		t.Error("room is not made by closing the oldest")
	}
	if _, err := conns[0].Write([]byte("x")); err != io.ErrClosedPipe {
		t.Errorf("the oldest is not closed: %v", err)
	}
	p.close()
	if _, err := conns[1].Write([]byte("x")); err != io.ErrClosedPipe {
		t.Errorf("close leaves an idle connection open: %v", err)
	}
}

func TestPoolWaitsUntilTheDeadlineAtMost(t *testing.T) {
	r := newRemote(t, RemoteConfig{URL: "http://127.0.0.1:1", Connections: 1, Timeout: 10 * time.Millisecond})
	r.pool.slots <- struct{}{} // in use
	_, err := runOne(t, t.Context(), r)
	if e := wantClass(t, err, Timeout); e.Status != 504 {
		t.Errorf("status %d", e.Status)
	}
	<-r.pool.slots
}
