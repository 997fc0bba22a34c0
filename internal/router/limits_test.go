package router

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"motley/internal/live"
	"motley/internal/oip"
)

// TestLimits sends for every limit a request at it and one past it.
func TestLimits(t *testing.T) {
	f := newFixture(t, func(c *Config) {
		c.MaxHeader, c.MaxHeaders, c.MaxBody, c.MaxRatio = 1024, 12, 10<<20, 100
		c.Limits = oip.Limits{MaxTensors: 2, MaxDepth: 6, MaxDims: 3}
	})
	head := func(n int) string { // a request whose head has so many bytes
		request := post(validInfer, "X: ")
		at := strings.Index(request, "X: ") + 3
		have := strings.Index(request, "\r\n\r\n") + 4
		return request[:at] + strings.Repeat("a", n-have) + request[at:]
	}
	headers := func(n int) string { return post(validInfer, manyHeaders(n-2)...) }
	body := func(n int) string { return post(validInfer + strings.Repeat(" ", n-len(validInfer))) }
	chunked := func(n int) string {
		return fmt.Sprintf("%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s%s\r\n0\r\n\r\n", inferLine, n, validInfer, strings.Repeat(" ", n-len(validInfer)))
	}
	trailers := func(n int) string {
		return strings.TrimSuffix(chunked(len(validInfer)), "\r\n") + strings.Repeat("X: y\r\n", n) + "\r\n"
	}
	// 8 MiB and more may have no more than 100 times the compressed size.
	zipped := func(n int) string {
		text := gz(t, validInfer+strings.Repeat(" ", n-len(validInfer)))
		return post(text, "Content-Encoding: gzip")
	}
	outputs := func(n int) string {
		return post(strings.Replace(validInfer, `"id":"a"`, `"outputs":[`+strings.Repeat(`{"name":"sum"},`, n-1)+`{"name":"sum"}]`, 1))
	}
	for _, c := range []struct {
		name     string
		at, past string
		status   int
		text     string
		atStatus int // 0 = 200
	}{
		{"head", head(1024), head(1025), 431, "request head is over the limit of 1024 bytes", 0},
		{"headers", headers(12), headers(13), 431, "request head has more than the limit of 12 headers", 0},
		{"trailers", trailers(12), trailers(13), 431, "request head has more than the limit of 12 headers", 0},
		{"body", body(10 << 20), body(10<<20 + 1), 413, "request body is over the limit of 10485760 bytes", 0},
		{"chunks", chunked(10 << 20), chunked(10<<20 + 1), 413, "request body is over the limit of 10485760 bytes", 0},
		{"ratio", zipped(8 << 20), zipped(8<<20 + 1<<16), 413, "decompressed request body is over 100 times its compressed size of", 0},
		{"tensors", outputs(2), outputs(3), 413, "too many outputs: at most 2 are accepted", 400},
		{"depth", post(`{"skip":[[[[[]]]]],` + validInfer[1:]), post(`{"skip":[[[[[[]]]]]],` + validInfer[1:]), 400, "failed to parse the request JSON buffer: nesting depth exceeds the limit of 6 at 13", 0},
		{"dimensions", post(strings.Replace(validInfer, "[1,2]", "[1,2,1]", 1)), post(strings.Replace(validInfer, "[1,2]", "[1,2,1,1]", 1)), 400, "Unable to parse 'shape' of tensor 0: at most 3 dimensions are accepted", 400},
	} {
		want := 200
		if c.atStatus > 0 {
			want = c.atStatus // for another reason than the limit
		}
		if res := f.raw(c.at); res.status != want || strings.Contains(string(res.body), c.text) {
			t.Errorf("%s, at the limit: %d %s", c.name, res.status, res.body)
		}
		res := f.sendAll(c.past)
		if text := res.errorText(t); res.status != c.status || !strings.HasPrefix(text, c.text) {
			t.Errorf("%s, past the limit: %d %q; want %d %q", c.name, res.status, text, c.status, c.text)
		}
	}
}

// sendAll is raw for a request that may be answered before it is whole.
func (f *fixture) sendAll(request string) response {
	f.t.Helper()
	c := f.dial()
	go func() { _, _ = io.WriteString(c, request) }() // the server may have closed its side
	return f.read(c)
}

func manyHeaders(n int) (all []string) {
	for range n {
		all = append(all, "X: y")
	}
	return all
}

// held returns a loop's do that waits until the test lets go, and tells when it has begun.
func (f *fixture) held() (entered chan struct{}, release func()) {
	entered, until := make(chan struct{}, 100), make(chan struct{})
	f.loop.set(func(r *live.Request) error {
		entered <- struct{}{}
		<-until
		return answerWith(jsonAnswer, -1)(r)
	})
	return entered, func() { close(until) }
}

// TestBudget: bodies in the router's hands, of whatever kind, are held to MaxBuffered; large ones leave
// room for small ones, nothing is lost track of, and what is refused is told when to come back.
func TestBudget(t *testing.T) {
	const most = 4 << 20
	f := newFixture(t, func(c *Config) { c.MaxBody, c.MaxBuffered = most, most })
	entered, release := f.held()
	pad := func(n int) string { return validInfer + strings.Repeat(" ", n-len(validInfer)) }
	chunked := fmt.Sprintf("%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", inferLine, 1<<20, pad(1<<20))
	var conns []net.Conn
	for _, request := range []string{post(pad(1 << 20)), chunked, post(pad(100 << 10))} {
		c := f.dial()
		conns = append(conns, c)
		send(t, c, request)
		<-entered
	}
	if got, want := f.server.budget.held.Load(), int64(2<<20+100<<10); got != want {
		t.Errorf("%d bytes are held, want %d", got, want)
	}
	full := fmt.Sprintf("no room for the request: the bodies of others take up the limit of %d bytes", most)
	for name, request := range map[string]string{
		"large": post(pad(1 << 20)), "chunked": chunked, "compressed": post(gz(t, pad(most)), "Content-Encoding: gzip"),
		"announced": inferLine + fmt.Sprintf("Content-Length: %d\r\n\r\n", 1<<20),
	} {
		res := f.sendAll(request)
		if text := res.errorText(t); res.status != 503 || text != full || res.header.Get("Retry-After") != "1" || res.header.Get("X-Should-Retry") != "true" {
			t.Errorf("%s: %d %q %v", name, res.status, text, res.header)
		}
	}
	for range 9 { // small ones have the rest
		c := f.dial()
		conns = append(conns, c)
		send(t, c, post(pad(100<<10)))
		<-entered
	}
	for f.server.budget.held.Load()+maxInPlace <= most {
		c := f.dial()
		conns = append(conns, c)
		send(t, c, post(pad(maxInPlace)))
		<-entered
	}
	if res := f.sendAll(post(pad(maxInPlace))); res.status != 503 {
		t.Errorf("a small one that does not fit: %d %s", res.status, res.body)
	}
	release()
	for _, c := range conns {
		if res := f.read(c); res.status != 200 {
			t.Errorf("one that was held: %d %s", res.status, res.body)
		}
		send(t, c, post(validInfer))
		if res := f.read(c); res.status != 200 {
			t.Errorf("the next on its connection: %d %s", res.status, res.body)
		}
	}
	f.wantHeld(0)
}

// wantHeld waits until so many bytes are held: answers are there before they are let go of.
func (f *fixture) wantHeld(want int64) {
	f.t.Helper()
	for deadline := time.Now().Add(patience); f.server.budget.held.Load() != want; runtime.Gosched() {
		if time.Now().After(deadline) {
			f.t.Fatalf("%d bytes are held, want %d", f.server.budget.held.Load(), want)
		}
	}
}

// TestUploads: requests that are read by goroutines are bounded in number, those that are read
// otherwise go on, and so do whole ones.
func TestUploads(t *testing.T) {
	if !onReactors {
		t.Skip("no reactors in this round")
	}
	f := newFixture(t, func(c *Config) { c.MaxUploads = 2 })
	slow := inferLine + "Transfer-Encoding: chunked\r\n\r\n4f\r\n{"
	large := inferLine + fmt.Sprintf("Content-Length: %d\r\n\r\n{", maxInPlace+1)
	first, second := f.dial(), f.dial()
	send(t, first, slow)
	send(t, second, large)
	for deadline := time.Now().Add(patience); f.server.uploads.Load() != 2; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("they do not count")
		}
	}
	res := f.sendAll(slow)
	if text := res.errorText(t); res.status != 503 || text != "no room for the request: the limit of 2 requests is being read" || res.header.Get("Retry-After") != "1" {
		t.Errorf("one more: %d %q %v", res.status, text, res.header)
	}
	for _, request := range []string{post(validInfer), "GET /v2/health/live HTTP/1.0\r\n\r\n"} {
		if res := f.raw(request); res.status != 200 {
			t.Errorf("%.20q: %d %s", request, res.status, res.body)
		}
	}
	send(t, first, strings.TrimPrefix(validInfer, "{")+"\r\n0\r\n\r\n")
	if res := f.read(first); res.status != 200 {
		t.Errorf("the first: %d %s", res.status, res.body)
	}
	_ = second.Close()
	for deadline := time.Now().Add(patience); f.server.uploads.Load() != 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d uploads are left", f.server.uploads.Load())
		}
	}
}

// TestPace: when the next byte must be there, and what is said where it is not.
func TestPace(t *testing.T) {
	const s = int64(time.Second)
	p := pace{header: 10 * time.Second, read: 60 * time.Second, rate: 1000}
	for _, c := range []struct {
		name string
		p    pace
		came coming
		due  int64
		text string
	}{
		{"head", p, coming{began: s}, 11 * s, "request head did not arrive within 10s"},
		{"head, and no time for it alone", pace{read: 5 * time.Second}, coming{began: s}, 6 * s, "request did not arrive within 5s"},
		{"head, and little time for all", pace{header: 10 * time.Second, read: 5 * time.Second}, coming{began: s}, 6 * s, "request did not arrive within 5s"},
		{"body, nothing yet", p, coming{began: s, head: 3 * s}, 13 * s, "request body came slower than 1000 bytes per second"},
		{"body, so many bytes", p, coming{began: s, head: 3 * s, body: 2500}, 15*s + s/2, "request body came slower than 1000 bytes per second"},
		{"body, enough for all the time", p, coming{began: s, head: 3 * s, body: 1 << 20}, 61 * s, "request did not arrive within 1m0s"},
		{"body, no rate", pace{header: 1, read: 60 * time.Second}, coming{began: s, head: 3 * s}, 61 * s, "request did not arrive within 1m0s"},
		{"no limits", pace{}, coming{began: s, head: 3 * s}, 0, ""},
	} {
		if due := c.p.until(c.came); due != c.due {
			t.Errorf("%s: due at %d ms, want %d", c.name, due/1e6, c.due/1e6)
		}
		if f := c.p.tooSlow(c.came); c.due > 0 && (f.Text != c.text || f.Status != 408) {
			t.Errorf("%s: %q, want %q", c.name, f.Text, c.text)
		}
	}
}

// TestSlowHead: a head that trickles in is given up, however often another byte comes.
func TestSlowHead(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.HeaderTimeout = 100 * time.Millisecond })
	c := f.dial()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for tick := time.NewTicker(10 * time.Millisecond); ; {
			select {
			case <-tick.C:
			case <-stop:
				return
			}
			if _, err := io.WriteString(c, "G"); err != nil {
				return
			}
		}
	}()
	res := f.read(c)
	if text := res.errorText(t); res.status != 408 || text != "request head did not arrive within 100ms" {
		t.Errorf("%d %q", res.status, text)
	}
}

// TestSlowBody: what a body has taken that does not come in time is free again.
func TestSlowBody(t *testing.T) {
	for _, size := range []int{1000, maxInPlace + 1} {
		f := newFixture(t, func(c *Config) { c.ReadTimeout = 150 * time.Millisecond })
		c := f.dial()
		send(t, c, inferLine+fmt.Sprintf("Content-Length: %d\r\n\r\n{", size))
		if res := f.read(c); res.status != 408 || res.errorText(t) != "request did not arrive within 150ms" {
			t.Errorf("%d bytes: %d %s", size, res.status, res.body)
		}
		f.wantHeld(0)
		if n := f.server.uploads.Load(); n != 0 {
			t.Errorf("%d bytes: %d uploads are left", size, n)
		}
	}
}
