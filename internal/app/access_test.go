package app

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"motley/internal/access"
	"motley/internal/config"
	"motley/internal/tlstest"
)

// writeAccess writes a configuration of the built-in model with more fields, and a
// file of keys, and loads it.
func writeAccess(t *testing.T, dir, more, keys string) *config.Config {
	t.Helper()
	path := filepath.Join(dir, "router.yaml")
	for name, text := range map[string]string{path: string(config.Default()) + more, filepath.Join(dir, "keys.yaml"): keys} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func keyLine(name, key, more string) string {
	return fmt.Sprintf("- {name: %s, hash: %q%s}\n", name, access.HashOf([]byte(key)), more)
}

// Keys are taken in while requests come: one that stays is never refused, one that is
// gone is refused at once, and what was used stays used.
func TestKeysReload(t *testing.T) {
	dir := t.TempDir()
	const more = "access: {keys_file: keys.yaml, tenants: [{name: gold, weight: 2}]}\n"
	stays := keyLine("stays", "k0", ", tenant: gold")
	used := keyLine("used", "k1", ", requests_per_second: 0.001")
	cfg := writeAccess(t, dir, more, stays+used)
	s := serveConfig(t, cfg, Options{})
	ask := func(key string) int {
		t.Helper()
		status, _ := get(t, "POST", "http://"+s.addr+"/v2/models/fashion/infer", "", "x-api-key: "+key)
		return status
	}
	if got := []int{ask("k1"), ask("k1"), ask("k2"), ask("k0")}; fmt.Sprint(got) != "[400 429 401 400]" { // an empty body is 400
		t.Errorf("statuses %v", got)
	}
	stop, refused := make(chan struct{}), atomic.Int64{}
	var clients sync.WaitGroup
	clients.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if got := ask("k0"); got != 400 {
					refused.Add(1)
				}
			}
		}
	})
	for i := range 30 {
		next := fmt.Sprintf("n%d", i)
		cfg := writeAccess(t, dir, more, stays+used+keyLine("next", next, ""))
		commit, err := s.app.prepareAccess(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if got := ask(next); got != 401 {
			t.Errorf("%s before it is known: %d", next, got)
		}
		commit()
		if got := []int{ask(next), ask("k1"), ask(fmt.Sprintf("n%d", i-1))}; fmt.Sprint(got) != "[400 429 401]" {
			t.Errorf("round %d: %v", i, got)
		}
	}
	close(stop)
	clients.Wait()
	if n := refused.Load(); n > 0 {
		t.Errorf("a key that stays was refused %d times", n)
	}
	other := writeAccess(t, dir, "access: {keys_file: keys.yaml, tenants: [{name: iron}]}\n", used)
	if _, err := s.app.prepareAccess(other); err == nil || !strings.Contains(err.Error(), "access.tenants") {
		t.Errorf("other tenants: %v", err)
	}
	page := s.page(t, "/metrics")
	if !strings.Contains(page, `motley_tenant_requests_total{outcome="mistaken",tenant="gold"}`) || strings.Contains(page, `tenant="iron"`) {
		t.Error("requests are not counted by tenant")
	}
}

// A client's certificate names its tenant, and stands for a key.
func TestTenantByCertificate(t *testing.T) {
	ours := tlstest.New(t)
	cert, key := ours.Issue("127.0.0.1")
	cfg := quickstart(t, "access: {anonymous: deny, tenants: [{name: gold, subjects: [client.example]}]}\n")
	cfg.TLS = &config.ServerTLS{CertFile: cert, KeyFile: key, ClientCAFile: ours.CA, ClientAuth: "optional", MinVersion: "1.2"}
	s := serveConfig(t, cfg, Options{})
	const request = "GET /v2/models/fashion HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
	for _, c := range []struct {
		client *tls.Config
		status string
	}{
		{ours.Client("client.example"), "200"}, {ours.Client("other.example"), "401"}, {ours.Client(""), "401"},
	} {
		if answer, _, err := overTLS(s.addr, c.client, request); err != nil || !strings.HasPrefix(answer, "HTTP/1.1 "+c.status) {
			t.Errorf("%v: %.200s, want %s", err, answer, c.status)
		}
	}
	post := strings.Replace(strings.Replace(request, "GET", "POST", 1), "fashion", "fashion/infer", 1)
	post = strings.Replace(post, "\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n", 1)
	if _, _, err := overTLS(s.addr, ours.Client("client.example"), post); err != nil {
		t.Error(err)
	}
	if page := s.page(t, "/metrics"); !strings.Contains(page, `motley_tenant_requests_total{outcome="mistaken",tenant="gold"} 1`) {
		t.Error("the request is not counted for its tenant")
	}
}

// The admin listener may ask for a key.
func TestAdminKey(t *testing.T) {
	cfg := quickstart(t, "admin: {key_hash: \""+access.HashOf([]byte("open")).String()+"\"}\n")
	s := serveConfig(t, cfg, Options{})
	for header, status := range map[string]int{
		"": 401, "Authorization: Bearer open": 200, "X-Api-Key: open": 200, "Authorization: Bearer shut": 401, "Authorization: open": 401, "X-Api-Key: ": 401,
	} {
		var headers []string
		if header != "" {
			headers = []string{header}
		}
		for _, path := range []string{"/metrics", "/debug/state", "/debug/exits"} {
			if got, _ := get(t, "GET", "http://"+s.admin+path, "", headers...); got != status {
				t.Errorf("%s with %q: %d, want %d", path, header, got, status)
			}
		}
	}
}

// Keys, and what is kept of them, are in no log line at any level, in no page for
// operators and in nothing that is made of the configuration.
func TestSecretsAreNotTold(t *testing.T) {
	const own, foreign = "motley-own-secret", "motley-foreign-secret"
	hash := access.HashOf([]byte(own)).String()
	dir := t.TempDir()
	requests := filepath.Join(dir, "requests")
	worker := newRecorder(t)
	text := fmt.Sprintf(`
log: {level: debug, access: {enabled: true, file: %q, sample: 1}}
admin: {key_hash: %q}
access: {keys: [{name: own, hash: %q, requests_per_second: 0.001, burst: 8}]}
models: [{name: m}]
instance_types: [{name: t}]
workers: [{name: w, type: t, remote: {url: %q}}]
`, requests, hash, hash, worker.url)
	cfg, err := config.Parse("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	log := &lines{}
	s := serveConfig(t, cfg, Options{Log: log.logger()})
	for _, key := range []string{own, foreign} {
		for _, header := range []string{"Authorization: Bearer " + key, "x-api-key: " + key, "Authorization: Basic " + key, "Cookie: " + key} {
			for _, path := range []string{"/v2/models/m/infer", "/v2/models/m", "/v2/models/m/infer_stream", "/nowhere", "/v2/models/nowhere/infer"} {
				get(t, "POST", "http://"+s.addr+path, "", header)
			}
			get(t, "GET", "http://"+s.admin+"/metrics", "", header)
		}
		for range 8 {
			req, err := http.NewRequest("POST", "http://"+s.addr+"/v2/models/m/infer", strings.NewReader(`{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[1]}]}`))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+key)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
		}
	}
	pages := ""
	for _, path := range []string{"/metrics", "/debug/state", "/debug/pool", "/debug/exits", "/debug/profiles"} {
		_, page := get(t, "GET", "http://"+s.admin+path, "", "x-api-key: "+own)
		pages += page
	}
	sent := worker.take()
	if len(sent) == 0 || !strings.Contains(pages, `motley_access_denied_total{reason="wrong_key"}`) {
		t.Fatalf("nothing was tried: %d requests at the worker", len(sent))
	}
	s.stop(t)
	told, err := os.ReadFile(requests)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(told), `"status":401`) || !strings.Contains(string(told), `"status":429`) {
		t.Fatalf("the log lacks requests:\n%s", told)
	}
	encoded, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"the log": log.String(), "the access log": string(told), "pages": pages, "the worker": strings.Join(sent, "\n"),
		"the configuration in JSON": string(encoded), "the configuration printed": fmt.Sprintf("%v %+v %#v", cfg, cfg, cfg.Access),
	} {
		for _, secret := range []string{own, foreign, hash[7:]} {
			for line := range strings.Lines(text) {
				if strings.Contains(line, secret) {
					t.Errorf("%s has %s: %.300s", name, secret, line)
				}
			}
		}
	}
	broken := writeBroken(t, dir, foreign)
	if _, err := config.Load(broken); err == nil || strings.Contains(err.Error(), foreign) || strings.Count(err.Error(), "\n") < 3 {
		t.Errorf("faults of a configuration with keys in place of hashes: %v", err)
	}
}

// writeBroken writes a configuration in which a key stands wherever a hash should, or
// nothing.
func writeBroken(t *testing.T, dir, key string) string {
	t.Helper()
	text := string(config.Default()) + fmt.Sprintf("admin: {key_hash: %s}\naccess:\n  keys_file: keys.txt\n  keys:\n  - {name: a, hash: %s}\n  - {name: b, hash: \"sha256:%s\"}\n", key, key, key)
	for name, content := range map[string]string{"broken.yaml": text, "keys.txt": key + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "broken.yaml")
}
