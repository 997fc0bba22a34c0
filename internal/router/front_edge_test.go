package router

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
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
