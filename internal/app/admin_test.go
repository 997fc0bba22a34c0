package app

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"motley/internal/config"
)

// lines is a log that is read while it is written.
type lines struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *lines) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

func quickstart(t testing.TB, more string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("test", append(config.Default(), more...))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// get is one request; host and headers ("Name: value") as they are given.
func get(t *testing.T, method, url, host string, headers ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// What is for operators is on its own listener and nowhere else, and Go's
// profiles only where they are switched on.
func TestAdminListener(t *testing.T) {
	for _, pprof := range []bool{false, true} {
		cfg := quickstart(t, "")
		cfg.Admin.PProf = pprof
		s := serveConfig(t, cfg, Options{})
		profiles := map[bool]int{false: 404, true: 200}[pprof]
		for path, status := range map[string]int{
			"/metrics": 200, "/debug/state": 200, "/debug/exits": 200, "/debug/pool": 200, "/debug/profiles": 200,
			"/debug/pprof/": profiles, "/debug/pprof/heap": profiles, "/debug/pprof/cmdline": profiles, "/debug/pprof/symbol": profiles,
			"/v2": 404, "/": 404, "/v2/health/ready": 404,
		} {
			if got, body := get(t, "GET", "http://"+s.admin+path, ""); got != status {
				t.Errorf("pprof %v: GET %s: %d, want %d: %.100s", pprof, path, got, status, body)
			}
			if path == "/v2" || path == "/v2/health/ready" {
				continue
			}
			if got, _ := get(t, "GET", "http://"+s.addr+path, ""); got != 404 {
				t.Errorf("pprof %v: GET %s where clients are: %d, want 404", pprof, path, got)
			}
		}
	}
}

// A web page that somebody on this host looks at can neither read what is here
// nor change anything.
func TestAdminRefusesWebPages(t *testing.T) {
	s := serveConfig(t, quickstart(t, ""), Options{})
	port := s.admin[strings.LastIndexByte(s.admin, ':'):]
	for _, c := range []struct {
		method, host string
		status       int
		headers      []string
	}{
		{"GET", "", 200, nil},
		{"GET", "localhost", 200, nil},
		{"GET", "localhost" + port, 200, nil},
		{"GET", "127.0.0.1", 200, nil},
		{"GET", "[::1]" + port, 200, nil},
		{"GET", "[::1]", 200, nil},
		{"GET", "evil.example", 421, nil},
		{"GET", "evil.example" + port, 421, nil},
		{"GET", "localhost.evil.example", 421, nil},
		{"POST", "", 405, nil}, // not from a web page
		{"POST", "", 403, []string{"Sec-Fetch-Site: cross-site"}},
		{"POST", "", 403, []string{"Origin: http://evil.example"}},
		{"PUT", "", 403, []string{"Origin: null"}},
		{"POST", "evil.example", 421, []string{"Origin: http://evil.example", "Sec-Fetch-Site: same-site"}},
	} {
		if got, body := get(t, c.method, "http://"+s.admin+"/metrics", c.host, c.headers...); got != c.status {
			t.Errorf("%s for host %q, %v: %d, want %d: %.100s", c.method, c.host, c.headers, got, c.status, body)
		}
	}
}

// Without a listener nothing is served, and nothing breaks. What is open to
// others than this host, and asks for no certificate, is warned of.
func TestAdminAddresses(t *testing.T) {
	log := &lines{}
	a, err := New(quickstart(t, ""), Options{Log: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	if got := a.admin.address(); got != "off" {
		t.Errorf("address %q, want off", got)
	}
	if err := a.Close(context.Background()); err != nil {
		t.Error(err)
	}
	for address, warns := range map[string]bool{"127.0.0.1:0": false, "[::1]:0": false, "0.0.0.0:0": true} {
		log := &lines{}
		ln, err := net.Listen("tcp", address)
		if err != nil {
			continue // a host without IPv6
		}
		a, err := New(quickstart(t, ""), Options{Log: log.logger(), Admin: ln})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if strings.Contains(log.String(), "admin.listen") != warns {
			t.Errorf("%s: the log says %q", address, log.String())
		}
	}
}
