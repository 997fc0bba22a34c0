package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"motley/internal/oip"
	"motley/internal/workload"
)

// server is a server that does what a test tells it, well or badly. All its
// connections are closed as the test ends.
type server struct {
	net.Listener
	wg sync.WaitGroup
	mu struct {
		sync.Mutex
		conns []net.Conn
	}
}

// serve answers each request with what answer writes to the connection; false:
// it is closed then.
func serve(t *testing.T, answer func(w io.Writer, body []byte) bool) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Listener: l}
	s.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.mu.conns = append(s.mu.conns, c)
			s.mu.Unlock()
			s.wg.Go(func() { s.one(t, c, answer) })
		}
	})
	t.Cleanup(func() {
		s.stop()
		s.wg.Wait()
	})
	return s
}

func (s *server) stop() {
	_ = s.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.mu.conns {
		_ = c.Close()
	}
}

func (s *server) one(t *testing.T, c net.Conn, answer func(io.Writer, []byte) bool) {
	defer c.Close()
	for in := bufio.NewReader(c); ; {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		if req.Method != "POST" || req.URL.Path != "/v2/models/m/infer" || req.Header.Get("X-Test") != "yes" {
			t.Errorf("%s %s with X-Test %q", req.Method, req.URL, req.Header.Get("X-Test"))
		}
		if !answer(c, body) {
			return
		}
	}
}

// inferred is the right answer to a request.
func inferred(body []byte) string {
	var r oip.Request
	if err := r.Parse(body, -1, nil); err != nil {
		return fmt.Sprintf(`{"error":%q}`, err)
	}
	return response("m", int(r.Inputs[0].Shape[0]))
}

func response(model string, rows int) string {
	data := bytes.Repeat([]byte("0,1,"), rows)
	return fmt.Sprintf(`{"model_name":%q,"outputs":[{"name":"y","datatype":"FP32","shape":[%d,2],"data":[%s]}]}`, model, rows, data[:max(0, len(data)-1)])
}

// with200 puts a head before a body.
func with200(body string) string {
	return "HTTP/1.1 200 OK\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
}

func answerWell(w io.Writer, body []byte) bool {
	_, err := io.WriteString(w, with200(inferred(body)))
	return err == nil
}

// planFor is a plan of one phase at the server: a model m with two values a
// row.
func planFor(t *testing.T, s *server, arrivals string, rate float64) *Plan {
	t.Helper()
	target, err := ParseTarget("http://" + s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	meta := &oip.ModelMetadata{Inputs: []oip.TensorMetadata{{Name: "x", Datatype: oip.FP32, Shape: []int64{-1, 2}}}}
	b, err := Random(meta, "m", 4, workload.Stream(1, "bodies"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := testPlan(t, arrivals)
	if p.Sizes, err = workload.ParseSizes("fixed:2", nil); err != nil {
		t.Fatal(err)
	}
	p.Targets, p.Models, p.Phases = []Target{target}, []*Bodies{b}, []Phase{{Rate: rate}}
	p.Warmup, p.Headers = 0, []string{"X-Test: yes"}
	return p
}

// results runs the plan's phase.
func results(t *testing.T, p *Plan) []Record {
	t.Helper()
	var all []Record
	if err := p.Run(context.Background(), 0, func(r []Record) bool {
		all = append(all, r...)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// wait waits in a server, where there is no way around it.
func wait(d time.Duration) { <-time.After(d) }

func TestParseTarget(t *testing.T) {
	for _, c := range []struct{ text, addr, host, path string }{
		{"http://127.0.0.1:8000", "127.0.0.1:8000", "127.0.0.1:8000", ""},
		{"http://127.0.0.1/", "127.0.0.1:80", "127.0.0.1", ""},
		{"http://[::1]:9/a/b/", "[::1]:9", "[::1]:9", "/a/b"},
	} {
		got, err := ParseTarget(c.text)
		if err != nil || got.addr.String() != c.addr || got.host != c.host || got.path != c.path {
			t.Errorf("%s: %+v, %v", c.text, got, err)
		}
	}
	for _, text := range []string{"", "127.0.0.1:8000", "https://127.0.0.1", "http://", "http://:8000", "http://127.0.0.1:x", "http://127.0.0.1?a=b", "http://u@127.0.0.1", "http://127.0.0.1:99999"} {
		if got, err := ParseTarget(text); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func TestParseHeader(t *testing.T) {
	if h, err := ParseHeader("x-request-timeout-ms:  25 "); h != "x-request-timeout-ms: 25" || err != nil {
		t.Errorf("%q, %v", h, err)
	}
	for _, text := range []string{"", "x", ": y", "a b: c", "x: a\r\ny: b", "Host: x", "content-length: 3"} {
		if h, err := ParseHeader(text); err == nil {
			t.Errorf("%q: %q", text, h)
		}
	}
}

func TestMetadata(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.EscapedPath() {
		case "/a/v2/models/m%2F1":
			_, _ = io.WriteString(w, `{"name":"m/1","inputs":[{"name":"x","datatype":"FP32","shape":[-1,2]}]}`)
		case "/a/v2/models/bad":
			_, _ = io.WriteString(w, `{"inputs":7}`)
		default:
			http.Error(w, "no such model", http.StatusNotFound)
		}
	})}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	defer func() {
		_ = s.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	target, err := ParseTarget("http://" + l.Addr().String() + "/a/")
	if err != nil {
		t.Fatal(err)
	}
	meta, err := target.Metadata(context.Background(), "m/1")
	if err != nil || len(meta.Inputs) != 1 || meta.Inputs[0].Name != "x" {
		t.Errorf("%+v, %v", meta, err)
	}
	for _, model := range []string{"bad", "none"} {
		if _, err := target.Metadata(context.Background(), model); err == nil {
			t.Errorf("%s: taken", model)
		}
	}
}
