package backend

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"motley/internal/oip"
)

// pages is a server of documents by path; a path that is not there is a 404.
type pages struct {
	mu     sync.Mutex
	status map[string]int
	body   map[string]string
	asked  []string
}

func (p *pages) set(path string, status int, body string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status[path], p.body[path] = status, body
}

func (p *pages) drain() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	asked := p.asked
	p.asked = nil
	return asked
}

func (p *pages) serve(_ int, c net.Conn, br *bufio.Reader) {
	for {
		q, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		p.mu.Lock()
		p.asked = append(p.asked, q.URL.EscapedPath())
		status, body := p.status[q.URL.Path], p.body[q.URL.Path]
		p.mu.Unlock()
		if status == 0 {
			status = 404
		}
		if _, err := io.WriteString(c, httpReply(status, body)); err != nil {
			return
		}
	}
}

// newPages serves a whole server, less the paths that lack.
func newPages(t *testing.T, lack ...string) (*pages, string) {
	t.Helper()
	meta, err := json.Marshal(doublerMetadata)
	if err != nil {
		t.Fatal(err)
	}
	p := &pages{status: map[string]int{}, body: map[string]string{}}
	for path, body := range map[string]string{
		"/v2":                      `{"name":"triton","version":"2.60","extensions":["classification","binary_tensor_data"]}`,
		"/v2/models/double":        string(meta),
		"/v2/models/double/ready":  ``,
		"/v2/models/double/config": `{"name":"double","max_batch_size":16}`,
	} {
		if !slices.Contains(lack, path) {
			p.set(path, 200, body)
		}
	}
	return p, rawServer(t, p.serve)
}

func TestProbeOfServersThatLackEndpoints(t *testing.T) {
	whole := Status{Ready: true, Metadata: doublerMetadata, MaxBatch: 16, Binary: true, Platform: "triton 2.60"}
	with := func(change func(*Status)) Status { s := whole; change(&s); return s }
	for _, tc := range []struct {
		name string
		lack []string
		set  map[string]string // with status 200
		stat map[string]int
		want Status
	}{
		{"nothing", nil, nil, nil, whole},
		{"server metadata", []string{"/v2"}, nil, nil, with(func(s *Status) { s.Binary, s.Platform = false, "" })},
		{"configuration", []string{"/v2/models/double/config"}, nil, nil, with(func(s *Status) { s.MaxBatch = 0 })},
		{"model metadata", []string{"/v2/models/double"}, nil, nil, with(func(s *Status) { s.Metadata = nil })},
		{"readiness", []string{"/v2/models/double/ready"}, nil, nil, whole},
		{"readiness, method refused", nil, nil, map[string]int{"/v2/models/double/ready": 405}, whole},
		{"readiness and metadata", []string{"/v2/models/double/ready", "/v2/models/double"}, nil, nil, with(func(s *Status) { s.Metadata, s.Ready = nil, false })},
		{"all but readiness", []string{"/v2", "/v2/models/double", "/v2/models/double/config"}, nil, nil, Status{Ready: true}},
		{"everything", []string{"/v2", "/v2/models/double", "/v2/models/double/config", "/v2/models/double/ready"}, nil, nil, Status{}},
		{"extensions", nil, map[string]string{"/v2": `{"name":"mlserver","version":"1.7","extensions":[]}`}, nil, with(func(s *Status) { s.Binary, s.Platform = false, "mlserver 1.7" })},
		{"readiness in the body", nil, map[string]string{"/v2/models/double/ready": `{"name":"double","ready":true}`}, nil, whole},
		{"not ready in the body", nil, map[string]string{"/v2/models/double/ready": `{"ready":false}`}, nil, Status{}},
		{"not ready by status", nil, nil, map[string]int{"/v2/models/double/ready": 503}, Status{}},
		{"not ready by 400", nil, nil, map[string]int{"/v2/models/double/ready": 400}, Status{}},
		{"JSON", nil, map[string]string{"/v2": "hello", "/v2/models/double": "<html>", "/v2/models/double/config": "[]"}, nil, Status{Ready: true}},
		{"a batch size", nil, map[string]string{"/v2/models/double/config": `{"max_batch_size":0}`}, nil, with(func(s *Status) { s.MaxBatch = 0 })},
		{"a sane batch size", nil, map[string]string{"/v2/models/double/config": `{"max_batch_size":-1}`}, nil, with(func(s *Status) { s.MaxBatch = 0 })},
	} {
		t.Run(tc.name, func(t *testing.T) {
			checkGoroutines(t)
			p, url := newPages(t, tc.lack...)
			for path, body := range tc.set {
				p.set(path, 200, body)
			}
			for path, status := range tc.stat {
				p.set(path, status, "")
			}
			r := newRemote(t, RemoteConfig{URL: url})
			for range 2 { // the second from what the first has learned
				got, err := r.Probe(t.Context(), "double")
				if err != nil {
					t.Fatal(err)
				}
				if (got.Metadata == nil) != (tc.want.Metadata == nil) {
					t.Errorf("metadata %+v, want %+v", got.Metadata, tc.want.Metadata)
				} else if got.Metadata != nil && (got.Metadata.Name != "double" || len(got.Metadata.Inputs) != 1 || got.Metadata.Inputs[0].Datatype != oip.FP32) {
					t.Errorf("metadata %+v", got.Metadata)
				}
				got.Metadata = tc.want.Metadata
				if got != tc.want {
					t.Errorf("got %+v, want %+v", got, tc.want)
				}
			}
		})
	}
}

func TestProbeReadsOnlyWhatIsNew(t *testing.T) {
	p, url := newPages(t)
	r := newRemote(t, RemoteConfig{URL: url, ModelNames: map[string]string{"my/one": "double"}})
	probe := func() Status {
		t.Helper()
		s, err := r.Probe(t.Context(), "my/one")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	all := []string{"/v2/models/double/ready", "/v2", "/v2/models/double", "/v2/models/double/config"}
	if s := probe(); s.Metadata.Name != "my/one" {
		t.Errorf("metadata of %q, want the name here", s.Metadata.Name)
	}
	if got := p.drain(); !slices.Equal(got, all) {
		t.Errorf("first probe asked %v", got)
	}
	probe()
	if got := p.drain(); !slices.Equal(got, all[:1]) {
		t.Errorf("second probe asked %v, want only %v", got, all[:1])
	}
	p.set("/v2/models/double/ready", 503, "")
	if s := probe(); s.Ready || s.Platform != "triton 2.60" {
		t.Errorf("got %+v", s)
	}
	if !r.binary() {
		t.Error("the extension is forgotten while the model loads")
	}
	p.drain()
	// Back as another server.
	p.set("/v2/models/double/ready", 200, "")
	p.set("/v2", 200, `{"name":"other","version":"1"}`)
	p.set("/v2/models/double/config", 200, `{"max_batch_size":4}`)
	if s := probe(); !s.Ready || s.MaxBatch != 4 || s.Binary || s.Platform != "other 1" {
		t.Errorf("got %+v", s)
	}
	if got := p.drain(); !slices.Equal(got, all) {
		t.Errorf("after the outage the probe asked %v", got)
	}
}

// Where the metadata stand in for the readiness, they are asked each time.
func TestProbeWithoutReadinessNoticesThatTheModelIsGone(t *testing.T) {
	p, url := newPages(t, "/v2/models/double/ready")
	r := newRemote(t, RemoteConfig{URL: url})
	for _, want := range []bool{true, false, true} {
		status := 404
		if want {
			status = 200
		}
		p.set("/v2/models/double", status, `{"name":"double"}`)
		if s, err := r.Probe(t.Context(), "double"); err != nil || s.Ready != want {
			t.Errorf("metadata %d: %+v, %v", status, s, err)
		}
	}
}

func TestProbeEscapesTheModelsName(t *testing.T) {
	p, url := newPages(t)
	r := newRemote(t, RemoteConfig{URL: url + "/b%20c"})
	if _, err := r.Probe(t.Context(), "a/b c?d"); err != nil {
		t.Fatal(err)
	}
	if got, want := p.drain()[0], "/b%20c/v2/models/a%2Fb%20c%3Fd/ready"; got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
}

func TestProbeTimesOut(t *testing.T) {
	checkGoroutines(t)
	asked, gone := make(chan struct{}, 1), make(chan struct{}, 1)
	r := newRemote(t, RemoteConfig{URL: rawServer(t, silent(asked, gone)), ProbeTimeout: 30 * time.Millisecond})
	_, err := r.Probe(t.Context(), "double")
	var e *Error
	if !errors.As(err, &e) || e.Class != Timeout || !strings.Contains(err.Error(), "/v2/models/double/ready") {
		t.Errorf("got %v, want a timeout that names the path", err)
	}
	<-gone
}

func TestBinaryByConfiguration(t *testing.T) {
	p, url := newPages(t)
	p.set("/v2", 200, `{}`)
	for mode, want := range map[string]bool{"on": true, "off": false, "auto": false, "": false} {
		r := newRemote(t, RemoteConfig{URL: url, Binary: mode})
		if s, err := r.Probe(t.Context(), "double"); err != nil || s.Binary != want {
			t.Errorf("binary %q: %+v, %v; want %t", mode, s, err, want)
		}
	}
}
