package router

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"motley/internal/dispatch"
	"motley/internal/live"
)

func TestCompressedRequest(t *testing.T) {
	f := newFixture(t, nil)
	for _, c := range []struct{ encoding, body string }{
		{"gzip", gz(t, validInfer)}, {"x-gzip", gz(t, validInfer)}, {"GZIP", gz(t, validInfer)},
		{"deflate", zl(t, validInfer)}, {"identity", validInfer}, {"", validInfer},
	} {
		res := f.do("POST", "/v2/models/adder/infer", c.body, "Content-Encoding: "+c.encoding)
		if res.status != 200 {
			t.Errorf("%s: status %d %s", c.encoding, res.status, res.body)
			continue
		}
		if _, got := f.loop.last(); string(got) != validInfer {
			t.Errorf("%s: the loop was given %q", c.encoding, got)
		}
	}
}

func TestCompressedAnswer(t *testing.T) {
	f := newFixture(t, nil)
	long := `{"data":[` + strings.Repeat("1,", 2000) + `1]}`
	f.loop.set(answerWith(long, -1))
	for _, c := range []struct{ accept, want string }{
		{"gzip", "gzip"}, {"deflate", "deflate"}, {"gzip, deflate", "gzip"}, {"gzip;q=0.5, deflate", "deflate"},
		{"gzip;q=0", ""}, {"*", "gzip"}, {"br", ""}, {"identity, gzip;q=0.5", ""}, {"gzip;q=oops", ""},
	} {
		for range 2 { // the second time with buffers that were used
			res := f.do("POST", "/v2/models/adder/infer", gz(t, validInfer), "Content-Encoding: gzip", "Accept-Encoding: "+c.accept)
			if got := res.header.Get("Content-Encoding"); got != c.want {
				t.Fatalf("%s: Content-Encoding %q, want %q", c.accept, got, c.want)
			}
			if body := plain(t, c.want, res.body); body != long {
				t.Errorf("%s: the body came back as %.40q", c.accept, body)
			}
		}
	}
	f.loop.set(answerWith(jsonAnswer, -1))
	res := f.do("POST", "/v2/models/adder/infer", validInfer, "Accept-Encoding: gzip")
	if res.header.Get("Content-Encoding") != "" || string(res.body) != jsonAnswer {
		t.Errorf("a short answer was compressed: %q", res.body)
	}
}

func plain(t *testing.T, encoding string, body []byte) string {
	t.Helper()
	var r io.Reader = bytes.NewReader(body)
	var err error
	switch encoding {
	case "gzip":
		r, err = gzip.NewReader(r)
	case "deflate":
		r, err = zlib.NewReader(r)
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestDeadlineSources(t *testing.T) {
	f := newFixture(t, nil)
	withTimeout := strings.Replace(validInfer, `"id":"a"`, `"parameters":{"timeout":7000}`, 1)
	for _, c := range []struct {
		body    string
		headers []string
		want    time.Duration
	}{
		{validInfer, nil, 0},
		{withTimeout, []string{"grpc-timeout: 1S"}, 7 * time.Millisecond},
		{validInfer, []string{"x-llm-d-slo-ttft-ms: 1", "grpc-timeout: 2S"}, 2 * time.Second},
		{validInfer, []string{"x-envoy-upstream-rq-timeout-ms: 8", "x-envoy-expected-rq-timeout-ms: 9"}, 9 * time.Millisecond},
		{validInfer, []string{"x-envoy-expected-rq-timeout-ms: 0", "x-request-timeout-ms: 4"}, 4 * time.Millisecond},
		{validInfer, []string{"x-request-timeout-seconds: 0.25", "x-request-timeout-ms: 4"}, 250 * time.Millisecond},
		{validInfer, []string{"X-Stainless-Timeout: 600"}, 10 * time.Minute},
		{validInfer, []string{"x-llm-d-slo-ttft-ms: 1.5"}, 1500 * time.Microsecond},
		{validInfer, []string{"grpc-timeout: 99999999H"}, maxTimeout},
		{validInfer, []string{"x-request-timeout-seconds: 99999999999999999999999"}, maxTimeout},
		{validInfer, []string{"grpc-timeout: 0m"}, 0},
	} {
		if res := f.do("POST", "/v2/models/adder/infer", c.body, c.headers...); res.status != 200 {
			t.Errorf("%v: status %d %s", c.headers, res.status, res.body)
			continue
		}
		if got, _ := f.loop.last(); got.Timeout != c.want {
			t.Errorf("%v: timeout %v, want %v", c.headers, got.Timeout, c.want)
		}
	}
}

func TestRequestReachesLoop(t *testing.T) {
	f := newFixture(t, nil)
	body := `{"parameters":{"priority":2},"inputs":[{"name":"x","shape":[3,2],"datatype":"FP32","data":[1,2,3,4,5,6]}]}`
	if res := f.do("POST", "/v2/models/adder/infer", body); res.status != 200 {
		t.Fatalf("status %d %s", res.status, res.body)
	}
	got, data := f.loop.last()
	if got.Model != 0 || got.Size != 3 || got.Priority != 2 || got.MergeKey == 0 || string(data) != body {
		t.Errorf("the loop was given %+v with body %q", got, data)
	}
}

// handlerContext is a parsed inference request.
func handlerContext(body string) *fasthttp.RequestCtx {
	ctx := &fasthttp.RequestCtx{}
	ctx.Request.Header.SetMethod("POST")
	ctx.Request.SetRequestURI("/v2/models/adder/infer")
	ctx.Request.Header.Set("Content-Type", "application/json")
	ctx.Request.Header.Set("Grpc-Timeout", "1S")
	ctx.Request.SetBodyString(body)
	return ctx
}

func TestInferAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("allocations are not counted under the race detector")
	}
	f := newFixture(t, func(c *Config) { c.Log = nil })
	direct := answerWith(jsonAnswer, -1)
	f.server.loop = loopFunc{f.loop, direct}
	ctx := handlerContext(validInfer)
	const head = `{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}]}`
	binary := handlerContext(head + "01234567")
	binary.Request.Header.Set(headerLength, strconv.Itoa(len(head)))
	compressed := handlerContext(gz(t, validInfer))
	compressed.Request.Header.Set("Content-Encoding", "gzip")
	for name, ctx := range map[string]*fasthttp.RequestCtx{"JSON": ctx, "binary": binary, "gzip": compressed} {
		got := testing.AllocsPerRun(1000, func() {
			f.server.Handler(ctx)
			if ctx.Response.StatusCode() != 200 {
				t.Fatalf("%s: status %d %s", name, ctx.Response.StatusCode(), ctx.Response.Body())
			}
			ctx.Response.Reset()
		})
		if got > 0 {
			t.Errorf("%s: an inference request costs the handler %v allocations, want 0", name, got)
		}
	}
}

// loopFunc is a loop that does nothing but do.
type loopFunc struct {
	Loop
	do func(*live.Request) error
}

func (l loopFunc) Do(r *live.Request) error { return l.do(r) }

func (l loopFunc) Begin(r *live.Request, w live.Waiter) dispatch.RequestID {
	go func() { w.Answered(l.do(r)) }()
	return 0
}

// TestServedAllocations counts the allocations of whole requests, from the
// bytes of a connection to the bytes of a connection.
func TestServedAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("allocations are not counted under the race detector")
	}
	f := newFixture(t, func(c *Config) { c.Log = nil })
	f.server.loop = loopFunc{f.loop, answerWith(jsonAnswer, -1)}
	serve := func(n int) uint64 {
		c := &replayConn{request: []byte(post(validInfer)), left: n}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := f.server.fast.ServeConn(c); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if c.wrote < n*len(jsonAnswer) {
			t.Fatalf("%d bytes of answers to %d requests", c.wrote, n)
		}
		return after.Mallocs - before.Mallocs
	}
	serve(100)
	few, many := serve(1000), serve(11000)
	per := (float64(many) - float64(few)) / 10000
	t.Logf("%.3f allocations per served request", per)
	if per > .1 {
		t.Errorf("a served request costs %.2f allocations, want 0", per)
	}
}

func BenchmarkServed(b *testing.B) { benchmarkServed(b, func(c *Config) { c.AccessLog = nil }) }

func benchmarkServed(b *testing.B, change func(*Config)) {
	f := newFixture(b, func(c *Config) {
		c.Log = nil
		change(c)
	})
	f.server.loop = loopFunc{f.loop, answerWith(jsonAnswer, -1)}
	b.ReportAllocs()
	if err := f.server.fast.ServeConn(&replayConn{request: []byte(post(validInfer)), left: b.N}); err != nil {
		b.Fatal(err)
	}
}

var replayAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}

// replayConn is a connection on which a client sends one request many times,
// each when the answer to the one before was written.
type replayConn struct {
	request []byte
	left    int
	wrote   int
}

func (c *replayConn) Read(b []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	c.left--
	return copy(b, c.request), nil
}
func (c *replayConn) Write(b []byte) (int, error)      { c.wrote += len(b); return len(b), nil }
func (c *replayConn) Close() error                     { return nil }
func (c *replayConn) LocalAddr() net.Addr              { return replayAddr }
func (c *replayConn) RemoteAddr() net.Addr             { return replayAddr }
func (c *replayConn) SetDeadline(time.Time) error      { return nil }
func (c *replayConn) SetReadDeadline(time.Time) error  { return nil }
func (c *replayConn) SetWriteDeadline(time.Time) error { return nil }

func TestShutdownFinishesRequests(t *testing.T) {
	f := newFixture(t, nil)
	entered, release := make(chan struct{}), make(chan struct{})
	f.loop.set(func(r *live.Request) error {
		close(entered)
		<-release
		return answerWith(jsonAnswer, -1)(r)
	})
	answer := make(chan response, 1)
	c := f.dial()
	if _, err := io.WriteString(c, post(validInfer)); err != nil {
		t.Fatal(err)
	}
	go func() { answer <- f.read(c) }()
	<-entered

	stopped := make(chan error, 1)
	go func() { stopped <- f.server.Shutdown(context.Background()) }()
	for !f.server.stopping.Load() {
		runtime.Gosched()
	}
	ready := &fasthttp.RequestCtx{}
	ready.Request.SetRequestURI("/v2/health/ready")
	f.server.Handler(ready)
	if got := ready.Response.StatusCode(); got != 400 {
		t.Errorf("readiness while stopping: %d, want 400", got)
	}
	if err := <-f.served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	select {
	case err := <-stopped:
		t.Fatalf("Shutdown returned (%v) with a request in flight", err)
	default:
	}
	close(release)
	if res := <-answer; res.status != 200 || string(res.body) != jsonAnswer {
		t.Errorf("the request in flight got %d %q", res.status, res.body)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := f.server.Serve(f.ln); err != nil {
		t.Errorf("Serve after Shutdown: %v, want to end at once", err)
	}
}

func TestShutdownGivesUp(t *testing.T) {
	f := newFixture(t, nil)
	entered, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	f.loop.set(func(r *live.Request) error {
		close(entered)
		<-release
		return answerWith(jsonAnswer, -1)(r)
	})
	if _, err := io.WriteString(f.dial(), post(validInfer)); err != nil {
		t.Fatal(err)
	}
	<-entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := f.server.Shutdown(ctx); err == nil {
		t.Error("Shutdown with a request in flight and no time left did not fail")
	}
}

func TestConnectionLimit(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.MaxConnections = 1 })
	c := f.dial()
	if _, err := io.WriteString(c, "GET /v2 HTTP/1.1\r\nHost: motley\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if res := f.read(c); res.status != 200 {
		t.Fatalf("first connection: status %d", res.status)
	}
	res := f.read(f.dial())
	if res.status != http.StatusServiceUnavailable || res.header.Get("Retry-After") != "1" {
		t.Errorf("second connection: status %d, headers %v", res.status, res.header)
	}
	if n := f.server.turned.connections.Load(); n != 1 {
		t.Errorf("%d are counted", n)
	}
	if text := res.errorText(t); !strings.Contains(text, "limit of 1 connections") {
		t.Errorf("error %q does not name the limit", text)
	}
}
