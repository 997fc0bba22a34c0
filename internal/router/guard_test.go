package router

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fasthttp"

	"motley/internal/http1"
)

// pieceConn is a connection on which the client sends text in pieces, and then its end.
type pieceConn struct {
	net.Conn
	text  []byte
	piece int
}

func (c *pieceConn) Read(p []byte) (int, error) {
	if len(c.text) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.piece)], c.text)
	c.text = c.text[n:]
	return n, nil
}
func (c *pieceConn) SetReadDeadline(time.Time) error  { return nil }
func (c *pieceConn) SetWriteDeadline(time.Time) error { return nil }
func (c *pieceConn) Close() error                     { return nil }

func guarded(text []byte, piece int) *clientConn {
	s := &Server{started: time.Now(), heads: http1.Limits{Head: 1000, Fields: 20, Body: 2000}}
	s.budget.most = 1 << 20
	return newClientConn(&pieceConn{text: text, piece: piece}, s)
}

// requests are what a guard gives on, one by one, and why it stops.
func requests(t testing.TB, text []byte, piece, room int) (all []string, end error) {
	c := guarded(text, piece)
	p := make([]byte, room)
	one := ""
	for {
		n, err := c.Read(p)
		if n == 0 && err == nil {
			t.Fatal("a read of nothing")
		}
		one += string(p[:n])
		if c.within && c.body.Done() && c.pass == 0 || err != nil {
			if one != "" {
				all = append(all, one)
			}
			one = ""
		}
		if err != nil {
			if held := c.server.budget.held.Load(); c.Close() != nil || held != c.held.Load() && c.server.budget.held.Load() != 0 {
				t.Fatalf("%d bytes are held at the end", held)
			}
			return all, err
		}
	}
}

// FuzzGuard: of what the guard lets through the HTTP library and the standard library see one request at a
// time, the same one, and it does not matter how it comes.
func FuzzGuard(f *testing.F) {
	text, err := os.ReadFile("testdata/hostile/framing.txt")
	if err != nil {
		f.Fatal(err)
	}
	for i, c := range strings.Split(string(text), "== ")[1:] {
		request, _, _ := strings.Cut(c, "\n--\n")
		if h := parseHostile(f, request); len(h.wire) < 500 {
			f.Add([]byte(h.wire), 1+i%40)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, piece int) {
		if piece < 1 {
			return
		}
		whole, end := requests(t, bytes.Clone(text), len(text)+1, 5000)
		pieces, end2 := requests(t, bytes.Clone(text), piece, max(piece/2, 1))
		if fmt.Sprint(end) != fmt.Sprint(end2) {
			t.Fatalf("%q: %v, in pieces of %d %v", text, end, piece, end2)
		}
		for i, one := range whole {
			broken := i == len(whole)-1 && end != io.EOF // it may be anything
			if broken {
				continue
			}
			if i >= len(pieces) || pieces[i] != one {
				t.Fatalf("%q: request %d is %q, in pieces of %d %q", text, i, one, piece, pieces)
			}
			var fast fasthttp.Request
			in := bufio.NewReader(strings.NewReader(one + "GET /behind HTTP/1.1\r\n"))
			err := fast.ReadLimitBody(in, 1<<20)
			if err == nil && fast.MayContinue() {
				err = fast.ContinueReadBody(in, 1<<20)
			}
			if err != nil {
				continue // the library refuses more
			}
			if rest, _ := io.ReadAll(in); string(rest) != "GET /behind HTTP/1.1\r\n" {
				t.Fatalf("%q: behind the request the library finds %q", one, rest)
			}
			std, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.TrimPrefix(one, "\r\n"))))
			if err != nil {
				continue // it is stricter about hosts and URLs
			}
			body, err := io.ReadAll(std.Body)
			if err != nil || std.Method != string(fast.Header.Method()) || std.RequestURI != string(fast.Header.RequestURI()) ||
				!bytes.Equal(body, fast.Body()) && !fast.Header.IsGet() && !fast.Header.IsHead() {
				t.Fatalf("%q: the libraries differ: %s %s %q, %s %s %q, %v", one, std.Method, std.RequestURI, body, fast.Header.Method(), fast.Header.RequestURI(), fast.Body(), err)
			}
		}
		var fault *http1.Fault
		if end != io.EOF && !errors.As(end, &fault) {
			t.Fatalf("%q: %v", text, end)
		}
	})
}

// TestGuardPace: a client is cut off when its next byte is late, whatever the library would wait for.
func TestGuardPace(t *testing.T) {
	for _, c := range []struct {
		name  string
		begin string
		rate  int // bytes that come each second
		after time.Duration
		text  string
	}{
		{"head", "GET / HTTP/1.1\r\nX: ", 7, 10 * time.Second, "request head did not arrive within 10s"},
		{"body that stops", inferLine + "Content-Length: 100000\r\n\r\n", 0, 10 * time.Second, "request body came slower than 500 bytes per second"},
		// After t seconds there are 100 t bytes, for which it has 10 s + t/5.
		{"body that is slow", inferLine + "Content-Length: 100000\r\n\r\n", 100, 12400 * time.Millisecond, "request body came slower than 500 bytes per second"},
		{"body that is not", inferLine + "Content-Length: 100000\r\n\r\n", 600, 60 * time.Second, "request did not arrive within 1m0s"},
		{"chunks", inferLine + "Transfer-Encoding: chunked\r\n\r\n8000\r\n", 0, 10*time.Second + 6*time.Second/500, "request body came slower than 500 bytes per second"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				defer client.Close()
				s := &Server{started: time.Now(), heads: http1.Limits{Head: 1000, Fields: 20, Body: 1 << 20}, cfg: Config{ReadTimeout: time.Minute, IdleTimeout: time.Minute}}
				s.pace = pace{header: 10 * time.Second, read: time.Minute, rate: 500}
				s.budget.most = 1 << 20
				conn := newClientConn(server, s)
				_ = conn.SetReadDeadline(time.Now().Add(time.Hour))
				began, sent := time.Now(), make(chan struct{})
				go func() {
					defer close(sent)
					_, err := io.WriteString(client, c.begin)
					for ; err == nil && c.rate > 0; _, err = client.Write(bytes.Repeat([]byte("x"), c.rate)) {
						time.Sleep(time.Second) // on synctest's clock
					}
				}()
				var err error
				for p := make([]byte, 100); err == nil; _, err = conn.Read(p) {
				}
				took := time.Since(began)
				if err.Error() != c.text || took > c.after+c.after/64 || took < c.after-time.Second {
					t.Errorf("%v after %v; want %s after %v", err, took, c.text, c.after)
				}
				_ = conn.Close()
				<-sent
			})
		})
	}
}
