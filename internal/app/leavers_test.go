package app

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"motley/internal/config"
)

// TestLeaversFreeTheirWorker: a remote worker that takes a request and says nothing is given up as
// soon as the client leaves, and the next one has it; nothing is tried again for
// who is not there.
func TestLeaversFreeTheirWorker(t *testing.T) {
	asked := make(chan struct{}, 16)
	gone := make(chan struct{}, 16)
	silent := true
	worker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		switch {
		case !strings.HasSuffix(r.URL.Path, "/infer"):
			if r.URL.Path == "/v2/models/m" {
				_, _ = io.WriteString(w, `{"name":"m","inputs":[{"name":"x","datatype":"FP32","shape":[-1,1]}],"outputs":[{"name":"y","datatype":"FP32","shape":[-1,1]}]}`)
			}
		case silent:
			silent = false
			asked <- struct{}{}
			<-r.Context().Done()
			gone <- struct{}{}
		default:
			_, _ = io.WriteString(w, `{"model_name":"m","outputs":[{"name":"y","datatype":"FP32","shape":[1,1],"data":[2]}]}`)
		}
	}))
	defer worker.Close()
	cfg, err := config.Parse("silent", fmt.Appendf(nil, `
models: [{name: m, qos: {target: 20s}}]
instance_types: [{name: t}]
workers: [{name: w, type: t, models: [m], remote: {url: %q}}]
`, worker.URL))
	if err != nil {
		t.Fatal(err)
	}
	s := serveConfig(t, cfg, Options{})
	const body = `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[1]}]}`
	ask := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_, err = fmt.Fprintf(c, "POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := ask()
	<-asked
	start := time.Now()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	<-gone
	res, err := http.ReadResponse(bufio.NewReader(ask()), nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(res.Body); res.StatusCode != 200 || !bytes.Contains(b, []byte(`"data":[2]`)) {
		t.Errorf("status %d: %s", res.StatusCode, b)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("the worker was free after %v", took)
	}
	page := s.page(t, "/metrics")
	for _, want := range []string{`motley_requests_total{code="499",model="m"} 1`, `motley_requests_total{code="200",model="m"} 1`} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
}
