package router

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"motley/internal/live"
)

// answers reads n answers, and fails where they do not come.
func answers(t *testing.T, what string, r *bufio.Reader, n int) {
	t.Helper()
	for i := range n {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("%s: answer %d of %d: %v", what, i, n, err)
		}
		if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 200 {
			t.Fatalf("%s: answer %d of %d: status %d: %s, %v", what, i, n, res.StatusCode, body, err)
		}
	}
}

// TestFrontReadsOn: requests that come before the last is answered are all answered,
// wherever the memory that they are read into is full.
func TestFrontReadsOn(t *testing.T) {
	f := newFixture(t, nil)
	const room = 4 << 10 // what a connection's first read takes
	for _, size := range []int{room / 8, room / 2, room - 1, room, room + 1, 2 * room} {
		pad := size - len(post(validInfer)) - 4
		for len(post(validInfer+strings.Repeat(" ", pad))) < size {
			pad++
		}
		request := post(validInfer + strings.Repeat(" ", pad))
		for _, n := range []int{2, 3, 9, 40} {
			conn := f.dial()
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			send(t, conn, strings.Repeat(request, n))
			answers(t, fmt.Sprintf("%d requests of %d bytes", n, len(request)), bufio.NewReader(conn), n)
			_ = conn.Close()
		}
	}
}

// TestFrontFinishesWhatItHandsOver: a request for the HTTP library that is not whole when the
// server is shut down is answered, too.
func TestFrontFinishesWhatItHandsOver(t *testing.T) {
	if !onReactors {
		t.Skip("no reactors in this round")
	}
	f := newFixture(t, nil)
	get := "GET /v2/health/live HTTP/1.1\r\nHost: h\r\n\r\n"
	conn := f.dial()
	send(t, conn, get)
	r := bufio.NewReader(conn)
	answers(t, "before", r, 1)
	send(t, conn, get[:20])
	whole := post(validInfer)
	plain := f.dial()
	send(t, plain, whole[:len(whole)-5])
	// Until the library has given the first connection back: it closes idle ones at once.
	for f.server.open.Load() < 2 || f.server.fast.GetCurrentConcurrency() > 0 {
		runtime.Gosched()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- f.server.Shutdown(ctx) }()
	if err := <-f.served; err != nil { // nothing is accepted any more
		t.Fatal(err)
	}
	send(t, conn, get[20:])
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	answers(t, "within the shutdown", r, 1)
	send(t, plain, whole[len(whole)-5:])
	answers(t, "within the shutdown", bufio.NewReader(plain), 1)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestFrontBodyOfGet: what a GET has for a body is not another request.
func TestFrontBodyOfGet(t *testing.T) {
	f := newFixture(t, nil)
	inner := post(validInfer, "Connection: close")
	conn := f.dial()
	send(t, conn, fmt.Sprintf("GET /v2/health/live HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(inner), inner))
	all, err := io.ReadAll(conn)
	if n := strings.Count(string(all), "HTTP/1.1 200"); n != 1 || err != nil {
		t.Errorf("%d answers to one request, %v: %s", n, err, all)
	}
}

// TestFrontTimesWhatHasBegun: a request of which the beginning came before the last was
// answered has no longer than another.
func TestFrontTimesWhatHasBegun(t *testing.T) {
	f := newFixture(t, func(cfg *Config) { cfg.ReadTimeout, cfg.IdleTimeout = 100e6, time.Minute })
	conn := f.dial()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	send(t, conn, post(validInfer)+post(validInfer)[:50])
	r := bufio.NewReader(conn)
	answers(t, "the first", r, 1)
	if res, err := http.ReadResponse(r, nil); err != nil || res.StatusCode != 408 {
		t.Errorf("half of the second: %v, %v; want 408", res, err)
	}
}

// TestFrontDate: an answer's date is that of the answer, not of the request.
func TestFrontDate(t *testing.T) {
	f := newFixture(t, nil)
	var at atomic.Int64 // in seconds
	f.loop.set(func(r *live.Request) error {
		<-time.After(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) // the next second
		at.Store(time.Now().Unix())
		return answerWith(jsonAnswer, -1)(r)
	})
	// The HTTP library's own is up to a second old.
	if got, err := http.ParseTime(f.raw(post(validInfer)).header.Get("Date")); err != nil || onReactors && got.Unix() < at.Load() {
		t.Errorf("Date %v, %v; the answer is of %v", got, err, time.Unix(at.Load(), 0))
	}
}
