package router

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"motley/internal/dispatch"
	"motley/internal/http1"
	"motley/internal/live"
)

// TestHeadersBothWays: the headers that the HTTP library reads, and those that are read in
// place, come to the same.
func TestHeadersBothWays(t *testing.T) {
	names := []string{
		"Inference-Header-Content-Length", "Accept-Encoding", "X-Request-Id", "Traceparent", "Tracestate", "Grpc-Timeout",
		"X-Envoy-Expected-Rq-Timeout-Ms", "X-Envoy-Upstream-Rq-Timeout-Ms", "X-Request-Timeout-Seconds",
		"X-Request-Timeout-Ms", "X-Stainless-Timeout", "X-Llm-D-Slo-Ttft-Ms", "User-Agent",
		"Authorization", "X-Api-Key",
	}
	if want := len(deadlineHeaders) + 8; len(names) != want {
		t.Fatalf("%d names, the front end reads %d of them", len(names), want)
	}
	heads := []string{""}
	for i, n := range names {
		heads = append(heads,
			fmt.Sprintf("%s: %d\r\n", n, i), fmt.Sprintf("%s:\r\n", strings.ToLower(n)),
			fmt.Sprintf("%s: %d\r\n%s: %d\r\n", n, i, strings.ToUpper(n), i+1), fmt.Sprintf("%s: 5\r\nX: y\r\n%s: 5\r\n", n, n))
	}
	for _, h := range heads {
		text := "POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n" + h + "\r\n"
		var library fasthttp.RequestHeader
		if err := library.Read(bufio.NewReader(strings.NewReader(text))); err != nil {
			t.Fatal(err)
		}
		var here http1.Request
		if here.Parse([]byte(text), &http1.Limits{}); !here.Plain {
			t.Fatalf("%q is not plain", h)
		}
		var a, b headers
		a.read(&library)
		b.take(here.Fields)
		// %q tells an empty header from an absent one only by nil.
		show := func(h *headers) string { return fmt.Sprintf("%#v", h) }
		if show(&a) != show(&b) {
			t.Errorf("%q:\n%s\n%s", h, show(&a), show(&b))
		}
	}
}

// TestFrontKeepsConnections: a connection goes to the HTTP library and comes back, in
// any order, also where requests come before the last is answered, in one piece
// or byte by byte.
func TestFrontKeepsConnections(t *testing.T) {
	if !onReactors {
		t.Skip("no reactors in this round")
	}
	f := newFixture(t, nil)
	get := "GET /v2/health/live HTTP/1.1\r\nHost: h\r\n\r\n"
	large := fmt.Sprintf("POST /v2/models/adder/infer HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s%s",
		len(validInfer)+maxInPlace, validInfer, strings.Repeat(" ", maxInPlace))
	chunked := fmt.Sprintf("POST /v2/models/adder/infer HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(validInfer), validInfer)
	for name, requests := range map[string][]string{
		"in turns":        {post(validInfer), get, post(validInfer), get, get, post(validInfer)},
		"large":           {post(validInfer), large, post(validInfer), large},
		"chunks for good": {post(validInfer), chunked, post(validInfer), get},
		"errors":          {post("{"), get, strings.Replace(post(validInfer), "adder", "nobody", 1), post(validInfer)},
		"not in order":    {strings.Replace(post(validInfer), "/v2/", "//v2/", 1), post(validInfer), get},
	} {
		for _, how := range []string{"one by one", "at once", "in pieces"} {
			conn := f.dial()
			r := bufio.NewReader(conn)
			want := func(i int) {
				res, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Fatalf("%s, %s: answer %d: %v", name, how, i, err)
				}
				body, err := io.ReadAll(res.Body)
				switch {
				case err != nil:
					t.Fatalf("%s, %s: answer %d: %v", name, how, i, err)
				case strings.Contains(requests[i], "nobody") && res.StatusCode != 404,
					strings.HasSuffix(requests[i], "\r\n\r\n{") && res.StatusCode != 400,
					strings.HasPrefix(requests[i], "GET") && (res.StatusCode != 200 || len(body) > 0),
					strings.Contains(requests[i], "1,2") && !strings.Contains(requests[i], "nobody") && string(body) != jsonAnswer:
					t.Errorf("%s, %s: answer %d: status %d: %s", name, how, i, res.StatusCode, body)
				}
			}
			switch how {
			case "one by one":
				for i, q := range requests {
					send(t, conn, q)
					want(i)
				}
			case "at once":
				go func() { _, _ = io.WriteString(conn, strings.Join(requests, "")) }()
				for i := range requests {
					want(i)
				}
			case "in pieces":
				go func() {
					all := strings.Join(requests, "")
					for len(all) > 0 {
						n := min(len(all), 1+len(all)/50)
						if _, err := io.WriteString(conn, all[:n]); err != nil {
							return
						}
						all = all[n:]
						runtime.Gosched()
					}
				}()
				for i := range requests {
					want(i)
				}
			}
		}
	}
}

// TestFrontSlowReader: an answer that the client does not take in waits, whole, and others
// are not kept waiting.
func TestFrontSlowReader(t *testing.T) {
	f := newFixture(t, nil)
	f.loop.set(answerWith(strings.Repeat("x", 8<<20), -1))
	slow := f.dial()
	send(t, slow, post(validInfer))
	f.loop.set(answerWith(jsonAnswer, -1)) // the fake answers at once: the first has its answer, or gets this one
	if res := f.raw(post(validInfer)); res.status != 200 {
		t.Errorf("beside a slow client: status %d", res.status)
	}
	res, err := http.ReadResponse(bufio.NewReader(slow), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil || len(body) != 8<<20 && string(body) != jsonAnswer {
		t.Errorf("the slow client got %d bytes, %v", len(body), err)
	}
}

// instant is a loop that answers at once.
type instant struct{ *fakeLoop }

func (l instant) Begin(r *live.Request, w live.Waiter) dispatch.RequestID {
	w.Answered(answerWith(jsonAnswer, -1)(r))
	return 0
}

// TestFrontAllocatesNothing counts what a request costs on a reactor from its first byte to
// the last of its answer.
func TestFrontAllocatesNothing(t *testing.T) {
	if !onReactors || raceEnabled {
		t.Skip("no reactors in this round, or allocations are not counted under the race detector")
	}
	tracer, _ := traced(t, 0)
	f := newFixture(t, func(cfg *Config) { // every request has a line, and is asked whether it is recorded
		cfg.Loop, cfg.Tracer = instant{cfg.Loop.(*fakeLoop)}, tracer
		cfg.Log = slog.New(slog.DiscardHandler)
	})
	conn := f.dial()
	request, answer := []byte(post(validInfer)), make([]byte, 4<<10)
	exchange := func() {
		if _, err := conn.Write(request); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(answer); err != nil || !strings.HasPrefix(string(answer[:12]), "HTTP/1.1 200") {
			t.Fatalf("%v: %s", err, answer[:n])
		}
	}
	for range 100 {
		exchange()
	}
	if n := testing.AllocsPerRun(2000, exchange); n > 0 {
		t.Errorf("%.2f allocations per request", n)
	}
	if err := tracer.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestFrontTimeouts: a request of which not all comes in time is answered with 408, an idle
// connection closed.
func TestFrontTimeouts(t *testing.T) {
	f := newFixture(t, func(cfg *Config) { cfg.ReadTimeout, cfg.IdleTimeout = 100e6, 150e6 })
	whole := post(validInfer)
	for name, c := range map[string]struct {
		sent   string
		status []int
	}{
		"half a head":       {whole[:30], []int{408}},
		"half a body":       {whole[:len(whole)-3], []int{408}},
		"idle":              {whole, []int{200}},
		"second half":       {whole + whole[:30], []int{200, 408}},
		"idle behind a get": {"GET /v2/health/live HTTP/1.1\r\nHost: h\r\n\r\n", []int{200}},
	} {
		conn := f.dial()
		send(t, conn, c.sent)
		r := bufio.NewReader(conn)
		for i, want := range c.status {
			res, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatalf("%s: answer %d: %v", name, i, err)
			}
			if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != want {
				t.Errorf("%s: answer %d: status %d, %v; want %d", name, i, res.StatusCode, err, want)
			}
		}
		if _, err := r.ReadByte(); err != io.EOF {
			t.Errorf("%s: after the answers: %v, want the connection's end", name, err)
		}
	}
}

// TestFrontNoticesLeavers: a client that leaves gives its request up, one that has its answer
// gives up nothing; a client that has sent all that it will send before it is heard is
// answered.
func TestFrontNoticesLeavers(t *testing.T) {
	if !onReactors {
		t.Skip("no reactors in this round")
	}
	entered, release := make(chan struct{}), make(chan struct{})
	f := newFixture(t, func(cfg *Config) {
		cfg.Models[1].Do = func(ctx context.Context, _ *live.Request) error { // as a cascade has
			entered <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		}
	})
	f.loop.set(func(r *live.Request) error {
		entered <- struct{}{}
		<-release
		return answerWith(jsonAnswer, -1)(r)
	})
	for name, leave := range map[string]func(net.Conn) error{
		"closes":      net.Conn.Close,
		"half closes": func(c net.Conn) error { return c.(*net.TCPConn).CloseWrite() },
		"resets": func(c net.Conn) error {
			return errors.Join(c.(*net.TCPConn).SetLinger(0), c.Close())
		},
	} {
		conn := f.dial()
		send(t, conn, post(validInfer))
		<-entered
		if err := leave(conn); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(5 * time.Second); f.loop.left.Load() != f.loop.begun.Load(); runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatalf("a client %s: nothing was given up", name)
			}
		}
		release <- struct{}{}
	}

	cascade := f.dial()
	send(t, cascade, strings.Replace(post(rawInfer, "x-request-id: of-a-cascade"), "/adder/", "/raw/", 1))
	<-entered
	if err := cascade.Close(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); !strings.Contains(string(f.admin("GET", "/metrics").body), `motley_requests_total{code="499",model="raw"} 1`); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("a client of a model with its own way has not left")
		}
	}

	gaveUp := f.loop.left.Load()
	conn := f.dial()
	send(t, conn, post(validInfer))
	<-entered
	release <- struct{}{}
	if res := f.read(conn); res.status != 200 {
		t.Errorf("status %d", res.status)
	}
	if f.loop.set(answerWith(jsonAnswer, -1)); f.loop.left.Load() != gaveUp {
		t.Error("a client that has its answer gave something up")
	}
	both := f.dial().(*net.TCPConn)
	send(t, both, post(validInfer)+post(validInfer))
	if err := both.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(both)
	if n := strings.Count(string(all), jsonAnswer); err != nil || n < 1 {
		t.Errorf("two requests and the end: %d answers, %v", n, err)
	}
}

// TestEmptyLineBetweenRequests: the empty line that some clients send behind a body is no request that
// comes slowly.
func TestEmptyLineBetweenRequests(t *testing.T) {
	onEither(t, func(t *testing.T, change func(*Config)) {
		f := newFixture(t, func(cfg *Config) {
			change(cfg)
			cfg.HeaderTimeout = 50 * time.Millisecond
		})
		for _, q := range []string{post(validInfer), alive} {
			c := f.dial()
			r := bufio.NewReader(c)
			if res := ask(t, c, r, q+"\r\n"); res.StatusCode != 200 {
				t.Fatalf("%.20q: status %d", q, res.StatusCode)
			}
			_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
			if b, err := r.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%.20q: after the header timeout: %q, %v", q, b, err)
			}
			if res := ask(t, c, r, q); res.StatusCode != 200 {
				t.Errorf("%.20q: then status %d", q, res.StatusCode)
			}
		}
	})
}
