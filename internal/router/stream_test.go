package router

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"motley/internal/live"
	"motley/internal/oip"
)

// patience bounds what would wait for ever.
const patience = 20 * time.Second

// rampAnswer is what the fake loop shows for a ramp.
func rampAnswer(ramp int) oip.Message {
	return oip.Message{HeadLength: -1, Body: fmt.Appendf(nil,
		`{"model_name":"adder","parameters":{"ee_exit":%d,"ee_final":false,"ee_confidence":0.5},"outputs":[]}`, ramp)}
}

// showing shows ramps before do answers.
func showing(do func(*live.Request) error, ramps []string) func(context.Context, *live.Request) error {
	return func(_ context.Context, r *live.Request) error {
		for _, text := range ramps {
			ramp, err := strconv.Atoi(text)
			if err != nil {
				return err
			}
			if r.Show != nil {
				r.Show(ramp, rampAnswer(ramp))
			}
		}
		return do(r)
	}
}

// tcp serves f on a socket as well and returns a way to dial it.
func (f *fixture) tcp() func() *net.TCPConn {
	f.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- f.server.Serve(ln) }()
	f.t.Cleanup(func() {
		_ = ln.Close()
		<-served
	})
	return func() *net.TCPConn {
		f.t.Helper()
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			f.t.Fatal(err)
		}
		f.t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(patience))
		return c.(*net.TCPConn)
	}
}

// streamed is a request for a stream.
func streamed(body string, headers ...string) string {
	var more strings.Builder
	for _, h := range headers {
		more.WriteString(h + "\r\n")
	}
	return fmt.Sprintf("POST /v2/models/adder/infer_stream HTTP/1.1\r\nHost: motley\r\n%sContent-Length: %d\r\n\r\n%s", more.String(), len(body), body)
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatalf("cannot write: %v", err)
	}
}

// TestGoldenStreams plays transcripts of whole connections: what comes back is
// printed as it stands, a Go string per line.
func TestGoldenStreams(t *testing.T) {
	dials := map[*fixture]func() *net.TCPConn{}
	playFiles(t, "testdata/stream/*.txt", withRamps, func(f *fixture, text string) string {
		if dials[f] == nil {
			dials[f] = f.tcp()
		}
		head, body, _ := strings.Cut(strings.Join(f.prepare(text), "\n"), "\n\n")
		if strings.HasPrefix(body, `"`) {
			var err error
			if body, err = strconv.Unquote(body); err != nil {
				f.t.Fatal(err)
			}
		}
		c := dials[f]()
		send(t, c, fmt.Sprintf("%s\r\nHost: motley\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s",
			strings.ReplaceAll(head, "\n", "\r\n"), len(body), body))
		answer, err := io.ReadAll(c)
		if err != nil {
			f.t.Fatal(err)
		}
		var b strings.Builder
		for line := range strings.Lines(string(answer)) {
			if !strings.HasPrefix(line, "Date: ") && !strings.HasPrefix(line, "Server: ") {
				b.WriteString(strconv.Quote(line) + "\n")
			}
		}
		return b.String()
	})
}

// reader reads a stream's response event by event.
type reader struct {
	t   *testing.T
	b   *bufio.Reader
	res *http.Response
}

func readStream(t *testing.T, b *bufio.Reader) *reader {
	t.Helper()
	res, err := http.ReadResponse(b, nil)
	if err != nil {
		t.Fatalf("cannot read the response: %v", err)
	}
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream; charset=utf-8" {
		t.Fatalf("status %d, headers %v", res.StatusCode, res.Header)
	}
	return &reader{t: t, b: bufio.NewReader(res.Body), res: res}
}

// event returns the next event's kind and data, "" at the end.
func (r *reader) event() (kind, data string) {
	r.t.Helper()
	for {
		line, err := r.b.ReadString('\n')
		if err == io.EOF && line == "" && kind == "" {
			return "", ""
		}
		if err != nil {
			r.t.Fatalf("the stream broke off: %v", err)
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "":
			return kind, data
		case "event":
			kind = value
		case "data":
			data = value
		}
	}
}

// want holds the next events against kinds.
func (r *reader) want(kinds ...string) {
	r.t.Helper()
	for _, want := range kinds {
		if kind, data := r.event(); kind != want {
			r.t.Fatalf("event %q %s, want %q", kind, data, want)
		}
	}
}

// Each event is on the wire before the next one exists.
func TestStreamEventsComeAtOnce(t *testing.T) {
	f := newFixture(t, withRamps)
	step := make(chan int)
	f.loop.setContext(func(_ context.Context, r *live.Request) error {
		for ramp := range step {
			r.Show(ramp, rampAnswer(ramp))
		}
		return answerWith(jsonAnswer, -1)(r)
	})
	c := f.tcp()()
	send(t, c, streamed(validInfer))
	step <- 0
	r := readStream(t, bufio.NewReader(c))
	r.want("ramp")
	for ramp := 1; ramp < 3; ramp++ {
		step <- ramp
		if kind, data := r.event(); kind != "ramp" || data != string(rampAnswer(ramp).Body) {
			t.Errorf("event %s %s of ramp %d", kind, data, ramp)
		}
	}
	close(step)
	r.want("final", "")
	seen, body := f.loop.last()
	if !seen.Whole || seen.MergeKey == 0 || seen.Ramps != 7 || !seen.Call.Mark || string(body) != validInfer {
		t.Errorf("the loop was given whole %v, key %d, ramps %b, mark %v, %q", seen.Whole, seen.MergeKey, seen.Ramps, seen.Call.Mark, body)
	}
}

// A client that leaves ends its request at once, whatever the stream waits
// for, and is counted once.
func TestStreamClientLeaves(t *testing.T) {
	for _, c := range []struct {
		name  string
		shown int // ramps before the client leaves
		leave func(*net.TCPConn) error
	}{
		{"before the first ramp", 0, (*net.TCPConn).Close},
		{"at the first ramp", 1, (*net.TCPConn).Close},
		{"after two ramps", 2, (*net.TCPConn).Close},
		{"with a reset", 1, func(c *net.TCPConn) error {
			_ = c.SetLinger(0)
			return c.Close()
		}},
		{"by closing its side", 1, (*net.TCPConn).CloseWrite},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, withRamps)
			entered, gone, ended := make(chan struct{}), make(chan time.Time, 1), make(chan struct{})
			f.loop.setContext(func(ctx context.Context, r *live.Request) error {
				defer close(ended)
				for ramp := range c.shown {
					r.Show(ramp, rampAnswer(ramp))
				}
				close(entered)
				select {
				case <-ctx.Done():
					gone <- time.Now()
					return ctx.Err()
				case <-time.After(patience):
					return errors.New("nobody left")
				}
			})
			conn := f.tcp()()
			send(t, conn, streamed(validInfer, "x-request-id: leaver"))
			<-entered
			if c.shown > 0 {
				r := readStream(t, bufio.NewReader(conn))
				for range c.shown {
					r.want("ramp")
				}
			}
			left := time.Now()
			if err := c.leave(conn); err != nil {
				t.Fatal(err)
			}
			<-ended
			select {
			case at := <-gone:
				t.Logf("noticed after %v", at.Sub(left))
				if took := at.Sub(left); took > time.Second { // 0.1 s on a machine that is not busy
					t.Errorf("noticed after %v", took)
				}
			default:
				t.Fatal("the request was not cancelled")
			}
			if err := f.server.Shutdown(t.Context()); err != nil { // the stream is over then
				t.Fatal(err)
			}
			f.wantMetric(`motley_requests_total{code="499",model="adder"}`, 1)
			f.wantMetric(`motley_requests_total{code="200",model="adder"}`, 0)
			all := f.logged()
			all = slices.DeleteFunc(all, func(l map[string]any) bool { return l["id"] != "leaver" })
			if len(all) != 1 {
				t.Fatalf("the access log has %v", all)
			}
			if l := all[0]; l["outcome"] != "left" || l["status"] != 499.0 || l["path"] != "/v2/models/adder/infer_stream" ||
				l["model"] != "adder" || l["items"] != 1.0 || l["bytes_in"] != float64(len(validInfer)) {
				t.Errorf("the access log has %v", l)
			}
		})
	}
}

// A client that reads slowly, or not at all, holds up nobody but itself.
func TestStreamSlowReader(t *testing.T) {
	const size = 8 << 20 // more than the sockets' buffers hold
	big := oip.Message{HeadLength: -1, Body: []byte(`{"x":"` + strings.Repeat("a", size) + `"}`)}
	show := func(done chan struct{}) func(context.Context, *live.Request) error {
		return func(_ context.Context, r *live.Request) error {
			defer close(done)
			for ramp := range 3 {
				r.Show(ramp, big)
				r.Show(ramp, big)
			}
			return answerWith(jsonAnswer, -1)(r)
		}
	}
	t.Run("reads in the end", func(t *testing.T) {
		f := newFixture(t, withRamps)
		done := make(chan struct{})
		f.loop.setContext(show(done))
		c := f.tcp()()
		send(t, c, streamed(validInfer))
		<-done // though nothing was read
		r := readStream(t, bufio.NewReader(c))
		for range 3 {
			if kind, data := r.event(); kind != "ramp" || len(data) != len(big.Body) {
				t.Fatalf("event %q with %d bytes", kind, len(data))
			}
		}
		r.want("final", "")
	})
	t.Run("never reads", func(t *testing.T) {
		f := newFixture(t, func(cfg *Config) {
			withRamps(cfg)
			cfg.WriteTimeout = 100 * time.Millisecond
		})
		done := make(chan struct{})
		f.loop.setContext(show(done))
		send(t, f.tcp()(), streamed(validInfer))
		<-done
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := f.server.Shutdown(ctx); err != nil {
			t.Fatalf("the write timeout does not end the stream: %v", err)
		}
		f.wantMetric(`motley_requests_total{code="499",model="adder"}`, 1)
	})
}

// A client that leaves while an event is on its way to it.
func TestStreamClientLeavesInEvent(t *testing.T) {
	f := newFixture(t, withRamps)
	shown, ended := make(chan struct{}), make(chan error, 1)
	f.loop.setContext(func(ctx context.Context, r *live.Request) error {
		r.Show(0, oip.Message{HeadLength: -1, Body: make([]byte, 8<<20)})
		close(shown)
		select {
		case <-ctx.Done():
			ended <- nil
		case <-time.After(patience):
			ended <- errors.New("the request was not cancelled")
		}
		return ctx.Err()
	})
	conn := f.tcp()()
	send(t, conn, streamed(validInfer))
	<-shown
	if _, err := io.ReadFull(conn, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if err := f.server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.wantMetric(`motley_requests_total{code="499",model="adder"}`, 1)
}

// What a client sends on before its stream has ended is answered after it.
func TestStreamPipelined(t *testing.T) {
	long := fmt.Sprintf(`{"id":%q,%s`, strings.Repeat("b", 3*aheadSize), strings.TrimPrefix(validInfer, `{"id":"a",`))
	for _, c := range []struct{ name, with, during string }{
		{"with the request", post(validInfer), ""},
		{"during the stream", "", post(validInfer)},
		{"in two pieces", post(validInfer)[:30], post(validInfer)[30:]},
		{"more than the watch takes", "", post(long)},
		{"another stream", "", streamed(validInfer)},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, withRamps)
			first, release := make(chan struct{}), make(chan struct{})
			var once sync.Once
			f.loop.setContext(func(_ context.Context, r *live.Request) error {
				r.Show(0, rampAnswer(0))
				once.Do(func() { close(first) })
				<-release
				return answerWith(jsonAnswer, -1)(r)
			})
			conn := f.tcp()()
			send(t, conn, streamed(validInfer)+c.with)
			<-first
			b := bufio.NewReader(conn)
			r := readStream(t, b)
			r.want("ramp")
			sent := make(chan error, 1)
			go func() {
				_, err := io.WriteString(conn, c.during)
				sent <- err
			}()
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
			close(release)
			r.want("final", "")
			if strings.Contains(c.during, "infer_stream") {
				readStream(t, b).want("ramp", "final", "")
			} else {
				res, err := http.ReadResponse(b, nil)
				if err != nil {
					t.Fatal(err)
				}
				if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 200 || string(body) != jsonAnswer {
					t.Errorf("the next answer: status %d, %q, %v", res.StatusCode, body, err)
				}
			}
			// And the connection still works.
			send(t, conn, post(validInfer))
			if res, err := http.ReadResponse(b, nil); err != nil || res.StatusCode != 200 {
				t.Errorf("the request after the next: %v, %v", res, err)
			}
		})
	}
}

// A stream behind an answer that is not written yet keeps the order.
func TestStreamAfterPipelinedRequest(t *testing.T) {
	f := newFixture(t, withRamps)
	f.loop.setContext(showing(answerWith(jsonAnswer, -1), []string{"0"}))
	conn := f.tcp()()
	send(t, conn, post(validInfer)+streamed(validInfer))
	b := bufio.NewReader(conn)
	res, err := http.ReadResponse(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(res.Body); err != nil || string(body) != jsonAnswer {
		t.Errorf("the first answer is %q, %v", body, err)
	}
	readStream(t, b).want("ramp", "final", "")

	conn = f.tcp()()
	send(t, conn, post(validInfer)+strings.Replace(streamed(validInfer), "HTTP/1.1", "HTTP/1.0", 1))
	b = bufio.NewReader(conn)
	second := 505
	if onReactors {
		second = 200 // the answer before it is written first
	}
	for _, want := range []int{200, second} {
		res, err := http.ReadResponse(b, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != want {
			t.Errorf("status %d, %v; want %d", res.StatusCode, err, want)
		}
	}
}

func TestStreamsAtOnce(t *testing.T) {
	f := newFixture(t, withRamps)
	var all sync.WaitGroup
	all.Add(10)
	f.loop.setContext(func(_ context.Context, r *live.Request) error {
		all.Done()
		all.Wait() // all of them are under way
		for ramp := range 3 {
			r.Show(ramp, oip.Message{HeadLength: -1, Body: fmt.Appendf(nil, "[%s,%d]", r.Call.Request.ID, ramp)})
		}
		return answerWith(string(r.Call.Request.ID), -1)(r)
	})
	dial := f.tcp()
	var clients sync.WaitGroup
	for i := range 10 {
		conn := dial()
		clients.Go(func() {
			send(t, conn, streamed(strings.Replace(validInfer, `"a"`, fmt.Sprintf(`"%d"`, i), 1)))
			r := readStream(t, bufio.NewReader(conn))
			for ramp := range 3 {
				if kind, data := r.event(); kind != "ramp" || data != fmt.Sprintf(`["%d",%d]`, i, ramp) {
					t.Errorf("client %d, ramp %d: event %q %s", i, ramp, kind, data)
				}
			}
			if kind, data := r.event(); kind != "final" || data != fmt.Sprintf(`"%d"`, i) {
				t.Errorf("client %d: event %q %s", i, kind, data)
			}
			r.want("")
		})
	}
	clients.Wait()
}

// Streams are among what a shutdown waits for, and count as connections.
func TestStreamShutdown(t *testing.T) {
	f := newIdleFixture(t, func(cfg *Config) {
		withRamps(cfg)
		cfg.MaxConnections = 1
	})
	first, release := make(chan struct{}), make(chan error)
	f.loop.setContext(func(_ context.Context, r *live.Request) error {
		r.Show(0, rampAnswer(0))
		close(first)
		return <-release
	})
	dial := f.tcp()
	conn := dial()
	send(t, conn, streamed(validInfer))
	<-first
	r := readStream(t, bufio.NewReader(conn))
	r.want("ramp")
	if res := f.read(dial()); res.status != http.StatusServiceUnavailable {
		t.Errorf("a connection beside the stream, limit 1: status %d", res.status)
	}

	gaveUp, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.server.Shutdown(gaveUp); err == nil {
		t.Error("Shutdown with a stream under way and no time left did not fail")
	}
	stopped := make(chan error, 1)
	go func() { stopped <- f.server.Shutdown(t.Context()) }()
	release <- &live.Refusal{Reason: live.Stopping} // as the loop says when it is closed
	if kind, data := r.event(); kind != "error" || data != `{"error":"the router is shutting down"}` {
		t.Errorf("event %q %s", kind, data)
	}
	r.want("")
	if err := <-stopped; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	f.wantMetric(`motley_rejected_total{model="adder",reason="stopping"}`, 1)
	f.wantMetric(`motley_requests_total{code="503",model="adder"}`, 1)
}

// A stream that is not its connection's first request is answered to its end, also where the server
// is shut down meanwhile.
func TestStreamOutlivesShutdown(t *testing.T) {
	f := newFixture(t, withRamps)
	first, release := make(chan struct{}), make(chan struct{})
	f.loop.setContext(func(ctx context.Context, r *live.Request) error {
		r.Show(0, rampAnswer(0))
		close(first)
		select {
		case <-release:
			return answerWith(jsonAnswer, -1)(r)
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	conn := f.dial()
	_ = conn.SetDeadline(time.Now().Add(patience))
	b := bufio.NewReader(conn)
	for range 2 {
		send(t, conn, "GET /v2/health/live HTTP/1.1\r\nHost: h\r\n\r\n")
		if res, err := http.ReadResponse(b, nil); err != nil || res.StatusCode != 200 {
			t.Fatalf("%v, %v", res, err)
		}
	}
	send(t, conn, streamed(validInfer))
	<-first
	r := readStream(t, b)
	r.want("ramp")
	done := make(chan error, 1)
	go func() { done <- f.server.Shutdown(context.Background()) }()
	if err := <-f.served; err != nil {
		t.Fatal(err)
	}
	close(release)
	r.want("final", "")
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestStreamLeftAtOnce: a client of a stream that leaves before anybody watches it is noticed as
// well.
func TestStreamLeftAtOnce(t *testing.T) {
	f := newFixture(t, func(cfg *Config) { cfg.Models[0].Ramps = func() (int, []float64) { return 1, nil } })
	over := make(chan error)
	f.loop.setContext(func(ctx context.Context, _ *live.Request) error {
		select {
		case <-ctx.Done():
			over <- nil
		case <-time.After(5 * time.Second):
			over <- errors.New("the request was not cancelled")
		}
		return context.Canceled
	})
	for range 30 { // sometimes before, sometimes after
		c := f.dial()
		send(t, c, streamed(validInfer))
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-over; err != nil {
			t.Fatal(err)
		}
	}
}
