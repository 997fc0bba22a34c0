package app

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"motley/internal/config"
)

// recorder is a worker that keeps what it is sent.
type recorder struct {
	mu   sync.Mutex
	seen []string
	url  string
}

func newRecorder(t *testing.T) *recorder {
	t.Helper()
	w := &recorder{}
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if !strings.HasSuffix(r.URL.Path, "/infer") {
			if r.URL.Path == "/v2/models/m" {
				_, _ = io.WriteString(rw, `{"name":"m","inputs":[{"name":"x","datatype":"FP32","shape":[-1,1]}],"outputs":[{"name":"y","datatype":"FP32","shape":[-1,1]}]}`)
			}
			return
		}
		for _, ours := range []string{"X-Request-Id", "Traceparent", "Tracestate"} { // of each request its own
			r.Header.Del(ours)
		}
		w.mu.Lock()
		w.seen = append(w.seen, fmt.Sprintf("%s %s %s %v %s", r.Method, r.RequestURI, r.Host, r.Header, body))
		w.mu.Unlock()
		_, _ = io.WriteString(rw, `{"model_name":"m","outputs":[{"name":"y","datatype":"FP32","shape":[1,1],"data":[2]}]}`)
	}))
	t.Cleanup(s.Close)
	w.url = s.URL
	return w
}

// take returns what came since.
func (w *recorder) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := w.seen
	w.seen = nil
	return seen
}

// trap counts who connects to an address that no configuration names.
func trap(t *testing.T) (address string, visits *atomic.Int64) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	visits = &atomic.Int64{}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			visits.Add(1)
			_ = c.Close()
		}
	}()
	return ln.Addr().String(), visits
}

// spoofed are headers by which clients of one router or another have chosen a
// backend, or passed for somebody; %s stands for an address.
var spoofed = []string{
	"x-gateway-destination-endpoint: %s", "x-gateway-destination-endpoint-subset: %s", "x-gateway-destination-endpoint-served: %s",
	"x-gateway-destination-endpoint-scores: %s", "x-gateway-inference-fairness-id: a", "x-llm-d-inference-fairness-id: a",
	"x-gateway-inference-objective: a", "x-llm-d-inference-objective: a", "x-gateway-model-name-rewrite: other", "x-llm-d-model-name-rewrite: other",
	"x-llm-d-slo-tpot-ms: 1", "x-slo-ttft-ms: 1", "x-slo-tpot-ms: 1",
	"x-prefiller-host-port: %s", "x-encoder-hosts-ports: %s", "x-data-parallel-host-port: %s", "x-data-parallel-rank: 1", "x-kv-cache-source-host-port: %s",
	"x-session-token: %s", "x-session-id: %s", "x-session-affinity: %s", "test-epp-endpoint-selection: %s", "x-conformance-test-served-endpoint: %s",
	"request-id: a", "routing-strategy: random", "external-filter: a=b", "config-profile: a", "x-aibrix-config-profile: a", "model: other", "target-pod: %s", "target-pod-ip: %s",
	"x-went-into-req-headers: true", "x-error-routing: true", "x-update-rpm: 1", "X-SMG-Target-Worker: http://%s", "X-SMG-Routing-Key: a",
	"x-dynamo-meta-policy-class: a", "X-Dynamo-Session-ID: a", "seldon-model: other", "x-seldon-route: %s", "x-litellm-timeout: 1",
	"Knative-Serving-Revision: other", "Knative-Serving-Namespace: other", "K-Network-Hash: a",
	"X-Forwarded-For: 127.0.0.1", "X-Forwarded-Host: %s", "X-Forwarded-Proto: https", "X-Forwarded-Port: 1", "Forwarded: for=127.0.0.1;host=\"%s\"", "X-Real-IP: 127.0.0.1",
	"X-Original-URL: http://%s/", "X-Rewrite-URL: http://%s/", "X-Host: %s", "X-Envoy-Original-Dst-Host: %s", "x-envoy-original-path: /", "X-HTTP-Method-Override: DELETE",
	"X-Accel-Redirect: http://%s/", "Via: 1.1 %s", "endpoint-load-metrics-format: json", "b3: a-b-1",
	"Keep-Alive: timeout=1", "Proxy-Connection: keep-alive", "Proxy-Authorization: Basic YTpi", "Proxy-Authenticate: Basic", "TE: trailers",
	"Authorization: Bearer motley-secret", "x-api-key: motley-secret", "Cookie: a=b", "User-Agent: a", "Accept: text/html", "Referer: http://%s/",
	"Content-Type: text/plain", "Max-Forwards: 0", "Range: bytes=0-1", "If-None-Match: a", "X-Tenant: gold",
}

// Whatever a client says in its headers or its request line, it reaches the workers of the
// configuration and nobody else, and they are told the same.
func TestClientsNameNoBackend(t *testing.T) {
	worker := newRecorder(t)
	elsewhere, visits := trap(t)
	cfg, err := config.Parse("test", fmt.Appendf(nil, `
models: [{name: m, qos: {target: 10s}}]
instance_types: [{name: t}]
workers: [{name: w, type: t, remote: {url: %q}}]
`, worker.url))
	if err != nil {
		t.Fatal(err)
	}
	s := serveConfig(t, cfg, Options{})
	const body = `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[1]}]}`
	ask := func(request string) int {
		t.Helper()
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("%q: %v", request, err)
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	length := fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
	chunks := fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	for name, way := range map[string]struct{ target, rest string }{
		"on a reactor": {"/v2/models/m/infer", length}, "by the library": {"/v2/models/m/infer", chunks}, "an odd path": {"/v2/models/./m/infer", length},
	} {
		plain := "POST " + way.target + " HTTP/1.1\r\nHost: h\r\n"
		if status := ask(plain + way.rest); status != 200 {
			t.Fatalf("%s: %d", name, status)
		}
		want := worker.take()
		if len(want) != 1 || strings.Contains(want[0], "Host: h") {
			t.Fatalf("%s: the worker was sent %q", name, want)
		}
		for _, h := range spoofed {
			if strings.Contains(h, "%s") {
				h = fmt.Sprintf(h, elsewhere)
			}
			if status := ask(plain + h + "\r\n" + way.rest); status != 200 {
				t.Errorf("%s, %s: %d", name, h, status)
			}
			if got := worker.take(); !reflect.DeepEqual(got, want) {
				t.Errorf("%s, %s: the worker was sent\n%q, without it\n%q", name, h, got, want)
			}
		}
		for _, line := range []string{
			"POST http://" + elsewhere + way.target + " HTTP/1.1\r\nHost: h\r\n",
			"POST http://" + elsewhere + way.target + " HTTP/1.1\r\nHost: " + elsewhere + "\r\n",
			"POST " + way.target + " HTTP/1.1\r\nHost: " + elsewhere + "\r\n",
			"POST " + way.target + "?host=" + elsewhere + " HTTP/1.1\r\nHost: h\r\n",
			"POST " + way.target + "#" + elsewhere + " HTTP/1.1\r\nHost: h\r\n",
			"POST //" + elsewhere + way.target + " HTTP/1.1\r\nHost: h\r\n",
			"POST /" + elsewhere + way.target + " HTTP/1.1\r\nHost: h\r\n",
			"POST /v2/models/m@" + elsewhere + "/infer HTTP/1.1\r\nHost: h\r\n",
			"CONNECT " + elsewhere + " HTTP/1.1\r\nHost: h\r\n",
		} {
			status := ask(line + way.rest)
			if got := worker.take(); status == 200 && !reflect.DeepEqual(got, want) || status != 200 && len(got) > 0 {
				t.Errorf("%s, %q: %d, the worker was sent\n%q, otherwise\n%q", name, line, status, got, want)
			}
		}
	}
	if n := visits.Load(); n > 0 {
		t.Errorf("%d visits to an address that a client named", n)
	}
}
