package backend

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const goodAnswer = `{"model_name":"double","id":"a","outputs":[{"name":"y","datatype":"FP32","shape":[1,2],"data":[2,4]}]}`

func runOne(t *testing.T, ctx context.Context, r *Remote) (*Call, error) {
	t.Helper()
	c := jsonCall(t, "a", "", [2]float32{1, 2})
	return c, r.run(ctx, "double", []*Call{c})
}

func TestRemoteClassesOfStatuses(t *testing.T) {
	for _, tc := range []struct {
		status  int
		body    string
		class   Class
		want    int
		message string
	}{
		{400, `{"error":"unexpected shape"}`, Client, 400, "unexpected shape"},
		{422, `{"detail":"bad tensor"}`, Client, 422, "bad tensor"},
		{422, `{"detail":[{"loc":["body","inputs",0],"msg":"field required"},{"msg":"b"}]}`, Client, 422, "body.inputs.0: field required; b"},
		{400, `{"error":{"message":"nested"}}`, Client, 400, "nested"},
		{400, `{"message":"plain member"}`, Client, 400, "plain member"},
		{413, "too large\nsecond line", Client, 413, "too large"},
		{400, "a" + strings.Repeat("é", 2000), Client, 400, "a" + strings.Repeat("é", 1023) + "…"},
		{400, `<html>Bad`, Client, 400, "400 Bad Request"},
		{418, ``, Client, 418, "418 I'm a teapot"},
		{400, `{"error":"a` + strings.Repeat("é", 2000) + `"}`, Client, 400, "a" + strings.Repeat("é", 1023) + "…"},
		{500, `{"error":"CUDA out of memory"}`, Server, 502, "the worker failed (500): CUDA out of memory"},
		{502, "", Server, 502, "the worker failed (502): 502 Bad Gateway"},
		{503, `{"error":"queue full"}`, Server, 503, "queue full"},
		{429, `{"error":"slow down"}`, Server, 503, "slow down"},
		{504, ``, Server, 504, "gave up"},
		{408, ``, Server, 504, "gave up"},
		{404, `{"error":"Model double not found"}`, Server, 502, "Model double not found"},
		{401, `{"detail":"Not authenticated"}`, Server, 502, "refused the router (401)"},
		{204, "", Protocol, 502, "status 204"},
		{302, "", Protocol, 502, "status 302"},
	} {
		t.Run(fmt.Sprint(tc.status, tc.body[:min(12, len(tc.body))]), func(t *testing.T) {
			raw := httpReply(tc.status, tc.body)
			if tc.status == 204 {
				raw = "HTTP/1.1 204 X\r\n\r\n"
			}
			r := newRemote(t, RemoteConfig{URL: rawServer(t, answerWith(raw))})
			for range 2 { // the connection stays usable
				c, err := runOne(t, t.Context(), r)
				e := wantClass(t, err, tc.class)
				if e.Status != tc.want || !strings.Contains(e.Message, tc.message) || len(e.Message) > maxMessage+100 {
					t.Errorf("got %d %q, want %d %q", e.Status, e.Message, tc.want, tc.message)
				}
				if c.Err != nil {
					t.Errorf("the call has an error of its own: %v", c.Err)
				}
			}
			if n := r.idle(); n != 1 {
				t.Errorf("%d idle connections, want 1", n)
			}
		})
	}
}

func TestRemoteClassesOfBrokenAnswers(t *testing.T) {
	head := "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
	ok := func(body string) string { return httpReply(200, body) }
	good := "\r\n" + strings.SplitN(ok(goodAnswer), "\r\n", 2)[1]    // all but the status
	padded := goodAnswer + strings.Repeat(" ", 2001-len(goodAnswer)) // right but for its length
	for _, tc := range []struct {
		name  string
		raw   string
		class Class
	}{
		{"nothing", "", Connect},
		{"half a head", "HTTP/1.1 200 OK\r\nContent-Le", Connect},
		{"head without body", fmt.Sprintf(head, 10), Connect},
		{"half a body", fmt.Sprintf(head, 100) + "{", Connect},
		{"half a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{", Connect},
		{"no last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", Connect},
		{"not HTTP", "SSH-2.0-OpenSSH_9.6\r\n", Protocol},
		{"not a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{\r\n", Protocol},
		{"endless head", "HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", 64<<10) + "\r\n\r\n", Protocol},
		{"only interim answers", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 20), Protocol},
		{"switching protocols", "HTTP/1.1 101 Switching Protocols\r\n\r\n", Protocol},
		{"bad head length", "HTTP/1.1 200 OK\r\nInference-Header-Content-Length: -1" + good, Protocol},
		{"compressed", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip" + good, Protocol},
		{"over the bound", ok(padded), Protocol},
		{"over the bound, in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n" + padded[:1000] + "\r\n3e9\r\n" + padded[1000:] + "\r\n0\r\n\r\n", Protocol},
		{"over the bound, to the end", "HTTP/1.0 200 OK\r\n\r\n" + padded, Protocol},
		{"empty body", ok(""), Protocol},
		{"not JSON", ok("<html>"), Protocol},
		{"truncated JSON", ok(goodAnswer[:50]), Protocol},
		{"no outputs", ok(`{"model_name":"double"}`), Protocol},
		{"fewer elements than its shape", ok(strings.Replace(goodAnswer, "[1,2]", "[3,2]", 1)), Protocol},
	} {
		t.Run(tc.name, func(t *testing.T) {
			checkGoroutines(t)
			r := newRemote(t, RemoteConfig{MaxResponse: 2000, URL: rawServer(t, func(_ int, c net.Conn, br *bufio.Reader) {
				if readRequest(br) {
					_, _ = io.WriteString(c, tc.raw)
				}
			})})
			_, err := runOne(t, t.Context(), r)
			if e := wantClass(t, err, tc.class); e.Status != 502 || e.Message == "" {
				t.Errorf("got %d %q", e.Status, e.Message)
			}
			if n := len(r.pool.slots); n != 0 {
				t.Errorf("%d connections still in use", n)
			}
		})
	}
}

func TestRemoteAnswersThatAreUnusualButWhole(t *testing.T) {
	for _, tc := range []struct{ name, raw string }{
		{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("a\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", goodAnswer[:10], len(goodAnswer)-10, goodAnswer[10:])},
		{"to the end of the connection", "HTTP/1.0 200 OK\r\n\r\n" + goodAnswer},
		{"after interim answers", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + httpReply(200, goodAnswer)},
		{"connection closed behind it", strings.Replace(httpReply(200, goodAnswer), "\r\n", "\r\nConnection: close\r\n", 1)},
		{"something behind it", httpReply(200, goodAnswer) + "HTTP/1.1 408 Request Timeout\r\n\r\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var connections atomic.Int32
			r := newRemote(t, RemoteConfig{URL: rawServer(t, func(_ int, c net.Conn, br *bufio.Reader) {
				connections.Add(1)
				for readRequest(br) {
					_, _ = io.WriteString(c, tc.raw)
					if tc.name != "chunks" && !strings.HasPrefix(tc.name, "after") {
						return
					}
				}
			})})
			for range 3 {
				c, err := runOne(t, t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				checkAnswer(t, c, "a", false, [2]float32{1, 2})
			}
			want := int32(3)
			if tc.name == "chunks" || strings.HasPrefix(tc.name, "after") {
				want = 1
			}
			if n := connections.Load(); n != want {
				t.Errorf("%d connections, want %d", n, want)
			}
			if kept := r.idle(); (kept == 1) != (want == 1) {
				t.Errorf("%d connections kept", kept)
			}
		})
	}
}

func TestRemoteWrongNumberOfRows(t *testing.T) {
	r := newRemote(t, RemoteConfig{URL: rawServer(t, answerWith(httpReply(200, goodAnswer)))})
	calls := []*Call{jsonCall(t, "a", "", [2]float32{1, 2}), jsonCall(t, "b", "", [2]float32{3, 4})}
	e := wantClass(t, r.run(t.Context(), "double", calls), Protocol)
	if e.Status != 502 || !strings.Contains(e.Message, "batch of 2") {
		t.Errorf("got %d %q", e.Status, e.Message)
	}
	missing := newRemote(t, RemoteConfig{URL: rawServer(t, answerWith(httpReply(200, strings.NewReplacer("[1,2]", "[2,2]", "[2,4]", "[2,4,6,8]").Replace(goodAnswer))))})
	want := `,"outputs":[{"name":"sum"}]`
	calls = []*Call{jsonCall(t, "a", want, [2]float32{1, 2}), jsonCall(t, "b", want, [2]float32{3, 4})}
	wantClass(t, missing.run(t.Context(), "double", calls), Protocol)
}

func TestRemoteConnectionRefused(t *testing.T) {
	checkGoroutines(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	_ = l.Close()
	r := newRemote(t, RemoteConfig{URL: url})
	_, err = runOne(t, t.Context(), r)
	if e := wantClass(t, err, Connect); e.Status != 502 || e.Cause == nil {
		t.Errorf("got %+v", e)
	}
	_, err = r.Probe(t.Context(), "double")
	var e *Error
	if !errors.As(err, &e) || e.Class != Connect {
		t.Errorf("probe: %v, want class connect", err)
	}
	if len(r.pool.slots) != 0 {
		t.Error("a failed connection keeps its slot")
	}
}

func TestRemoteResetWithinTheBody(t *testing.T) {
	checkGoroutines(t)
	r := newRemote(t, RemoteConfig{URL: rawServer(t, func(_ int, c net.Conn, br *bufio.Reader) {
		if readRequest(br) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
			_ = c.(*net.TCPConn).SetLinger(0)
		}
	})})
	_, err := runOne(t, t.Context(), r)
	wantClass(t, err, Connect)
}

// silent reports each request on asked and the end of the connection on gone,
// and never answers.
func silent(asked, gone chan<- struct{}) func(int, net.Conn, *bufio.Reader) {
	return func(_ int, _ net.Conn, br *bufio.Reader) {
		if !readRequest(br) {
			return
		}
		asked <- struct{}{}
		_, _ = br.ReadByte()
		gone <- struct{}{}
	}
}

func TestRemoteCancel(t *testing.T) {
	checkGoroutines(t)
	asked, gone := make(chan struct{}, 1), make(chan struct{}, 1)
	r := newRemote(t, RemoteConfig{URL: rawServer(t, silent(asked, gone))})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	c := jsonCall(t, "a", "", [2]float32{1, 2})
	go func() { done <- r.run(ctx, "double", []*Call{c}) }()
	<-asked
	start := time.Now()
	cancel()
	wantClass(t, <-done, Canceled)
	if d := time.Since(start); d > time.Second {
		t.Errorf("Run returned %v after the cancel", d)
	}
	<-gone // the worker learns that nobody waits
	// A context that has ended starts nothing.
	_, err := runOne(t, ctx, r)
	wantClass(t, err, Canceled)
}

// A worker that takes no more bytes holds nobody up, over TLS either, where
// closing politely would mean writing once more.
func TestRemoteCancelWhileSending(t *testing.T) {
	checkGoroutines(t)
	release := make(chan struct{})
	for _, secure := range []bool{false, true} {
		begun, done := make(chan struct{}), make(chan struct{})
		url := rawServer(t, func(_ int, c net.Conn, _ *bufio.Reader) {
			defer close(done)
			if secure {
				if err := tls.Server(c, testTLS(t)).Handshake(); err != nil {
					t.Error(err)
				}
			}
			close(begun)
			<-release
		})
		cfg := RemoteConfig{URL: url}
		if secure {
			cfg.URL = "https" + strings.TrimPrefix(url, "http")
			cfg.TLS = func() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }
		}
		r := newRemote(t, cfg)
		c := jsonCall(t, "a", `,"parameters":{"pad":"`+strings.Repeat("x", 32<<20)+`"}`, [2]float32{1, 2})
		ctx, cancel := context.WithCancel(t.Context())
		var start time.Time
		go func() {
			<-begun
			start = time.Now()
			cancel()
		}()
		wantClass(t, r.run(ctx, "double", []*Call{c}), Canceled)
		if d := time.Since(start); d > 2*time.Second {
			t.Errorf("TLS %t: Run returned %v after its context had ended", secure, d)
		}
		defer func() { <-done }()
	}
	close(release)
}

func TestRemoteCancelWhileWaitingForAConnection(t *testing.T) {
	checkGoroutines(t)
	asked, gone := make(chan struct{}, 1), make(chan struct{}, 1)
	r := newRemote(t, RemoteConfig{URL: rawServer(t, silent(asked, gone)), Connections: 1})
	first, cancelFirst := context.WithCancel(t.Context())
	done := make(chan error)
	c := jsonCall(t, "a", "", [2]float32{1, 2})
	go func() { done <- r.run(first, "double", []*Call{c}) }()
	<-asked
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := runOne(t, ctx, r)
	wantClass(t, err, Timeout)
	cancelFirst()
	wantClass(t, <-done, Canceled)
	<-gone
}

func TestRemoteTimeouts(t *testing.T) {
	for _, tc := range []struct {
		name  string
		serve func(asked, gone chan<- struct{}) func(int, net.Conn, *bufio.Reader)
	}{
		{"no answer", silent},
		{"half an answer", func(_, gone chan<- struct{}) func(int, net.Conn, *bufio.Reader) {
			return func(_ int, c net.Conn, br *bufio.Reader) {
				if readRequest(br) {
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
					_, _ = br.ReadByte()
					gone <- struct{}{}
				}
			}
		}},
		{"half a head", func(_, gone chan<- struct{}) func(int, net.Conn, *bufio.Reader) {
			return func(_ int, c net.Conn, br *bufio.Reader) {
				if readRequest(br) {
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nConte")
					_, _ = br.ReadByte()
					gone <- struct{}{}
				}
			}
		}},
	} {
		for _, byContext := range []bool{false, true} {
			t.Run(fmt.Sprint(tc.name, " context=", byContext), func(t *testing.T) {
				checkGoroutines(t)
				asked, gone := make(chan struct{}, 1), make(chan struct{}, 1)
				cfg, ctx := RemoteConfig{URL: rawServer(t, tc.serve(asked, gone))}, t.Context()
				if byContext {
					var cancel func()
					ctx, cancel = context.WithTimeout(ctx, 30*time.Millisecond)
					defer cancel()
				} else {
					cfg.Timeout = 30 * time.Millisecond
				}
				_, err := runOne(t, ctx, newRemote(t, cfg))
				if e := wantClass(t, err, Timeout); e.Status != 504 {
					t.Errorf("status %d", e.Status)
				}
				<-gone
			})
		}
	}
}

// The time for a connection is part of the execution's.
func TestRemoteTimeoutWhileConnecting(t *testing.T) {
	checkGoroutines(t)
	secure := rawServer(t, func(_ int, _ net.Conn, br *bufio.Reader) { _, _ = br.WriteTo(io.Discard) }) // a handshake that never ends
	url := "https" + strings.TrimPrefix(secure, "http")
	_, err := runOne(t, t.Context(), newRemote(t, RemoteConfig{URL: url, Timeout: 30 * time.Millisecond, ConnectTimeout: time.Hour}))
	wantClass(t, err, Timeout)
	_, err = runOne(t, t.Context(), newRemote(t, RemoteConfig{URL: url, ConnectTimeout: 30 * time.Millisecond}))
	wantClass(t, err, Connect)
}

func TestRemoteStaleConnectionIsRetriedOnce(t *testing.T) {
	checkGoroutines(t)
	var connections, requests atomic.Int32
	closed := make(chan struct{}, 1)
	r := newRemote(t, RemoteConfig{URL: rawServer(t, func(n int, c net.Conn, br *bufio.Reader) {
		connections.Add(1)
		if !readRequest(br) {
			return
		}
		requests.Add(1)
		_, _ = io.WriteString(c, httpReply(200, goodAnswer))
		if n == 0 { // as a server that closes what is idle
			_ = c.Close()
			closed <- struct{}{}
			return
		}
		_ = readRequest(br)
	})})
	if _, err := runOne(t, t.Context(), r); err != nil {
		t.Fatal(err)
	}
	<-closed
	c, err := runOne(t, t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	checkAnswer(t, c, "a", false, [2]float32{1, 2})
	if connections.Load() != 2 || requests.Load() != 2 {
		t.Errorf("%d connections, %d requests; want 2 and 2", connections.Load(), requests.Load())
	}
}

// A server that closes every connection after it was used gets two tries, not
// more; a new connection that breaks gets none.
func TestRemoteRetriesNoFurther(t *testing.T) {
	checkGoroutines(t)
	var requests atomic.Int32
	r := newRemote(t, RemoteConfig{URL: rawServer(t, func(n int, c net.Conn, br *bufio.Reader) {
		for readRequest(br) {
			if requests.Add(1) > 1 {
				return
			}
			_, _ = io.WriteString(c, httpReply(200, goodAnswer))
		}
	})})
	if _, err := runOne(t, t.Context(), r); err != nil {
		t.Fatal(err)
	}
	_, err := runOne(t, t.Context(), r)
	wantClass(t, err, Connect)
	if n := requests.Load(); n != 3 {
		t.Errorf("%d requests, want 3: the first, the second and one repetition", n)
	}
	_, err = runOne(t, t.Context(), r)
	if e := wantClass(t, err, Connect); !strings.Contains(e.Message, "without an answer") {
		t.Errorf("message %q", e.Message)
	}
	if n := requests.Load(); n != 4 {
		t.Errorf("%d requests, want 4: a new connection is not repeated", n)
	}
}

// An answer that broke off is not asked for again, even on a connection that
// was idle before: the worker has done the work once.
func TestRemoteDoesNotRepeatAfterHalfAnAnswer(t *testing.T) {
	var requests atomic.Int32
	r := newRemote(t, RemoteConfig{URL: rawServer(t, func(_ int, c net.Conn, br *bufio.Reader) {
		for readRequest(br) {
			if requests.Add(1) > 1 {
				_, _ = io.WriteString(c, httpReply(200, goodAnswer)[:60])
				return
			}
			_, _ = io.WriteString(c, httpReply(200, goodAnswer))
		}
	})})
	if _, err := runOne(t, t.Context(), r); err != nil {
		t.Fatal(err)
	}
	_, err := runOne(t, t.Context(), r)
	if e := wantClass(t, err, Connect); !strings.Contains(e.Message, "within its answer") {
		t.Errorf("message %q", e.Message)
	}
	if n := requests.Load(); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
}

// A member of a sequence changes the worker's state: it must not be sent twice.
func TestRemoteNeverRepeatsASequence(t *testing.T) {
	var requests atomic.Int32
	r := newRemote(t, RemoteConfig{URL: rawServer(t, func(n int, c net.Conn, br *bufio.Reader) {
		for readRequest(br) {
			if requests.Add(1) > 1 {
				return
			}
			_, _ = io.WriteString(c, httpReply(200, goodAnswer))
		}
	})})
	if _, err := runOne(t, t.Context(), r); err != nil {
		t.Fatal(err)
	}
	c := jsonCall(t, "a", `,"parameters":{"sequence_id":7}`, [2]float32{1, 2})
	wantClass(t, r.run(t.Context(), "double", []*Call{c}), Connect)
	if n := requests.Load(); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
}

// A worker that refuses a body answers before it has read it.
func TestRemoteEarlyRefusalOfALargeBody(t *testing.T) {
	r := newRemote(t, RemoteConfig{URL: rawServer(t, func(_ int, c net.Conn, br *bufio.Reader) {
		if _, err := http.ReadRequest(br); err != nil {
			return
		}
		_, _ = io.WriteString(c, httpReply(413, `{"error":"at most 1 MB"}`))
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = io.CopyN(io.Discard, br, 1<<20)
	})})
	c := jsonCall(t, "a", `,"parameters":{"pad":"`+strings.Repeat("x", 1<<20)+`"}`, [2]float32{1, 2})
	if e := wantClass(t, r.run(t.Context(), "double", []*Call{c}), Client); e.Status != 413 || e.Message != "at most 1 MB" {
		t.Errorf("got %d %q", e.Status, e.Message)
	}
}

func TestRemoteCloseClosesIdleConnections(t *testing.T) {
	gone := make(chan struct{})
	r := newRemote(t, RemoteConfig{URL: rawServer(t, func(_ int, c net.Conn, br *bufio.Reader) {
		for readRequest(br) {
			_, _ = io.WriteString(c, httpReply(200, goodAnswer))
		}
		close(gone)
	})})
	if _, err := runOne(t, t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	<-gone
}
