package router

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// admin asks what is for operators.
func (f *fixture) admin(method, path string) response {
	f.t.Helper()
	mux := http.NewServeMux()
	f.server.Mount(mux)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return response{w.Code, w.Header(), w.Body.Bytes()}
}

// What is for operators is not where clients are, and answers GET alone.
func TestAdminPages(t *testing.T) {
	f := newFixture(t, nil)
	for path, status := range map[string]int{"/metrics": 200, "/debug/state": 200, "/debug/exits": 200, "/debug/pool": 200, "/debug/profiles": 404} {
		if res := f.admin("GET", path); res.status != status {
			t.Errorf("GET %s: %d, want %d", path, res.status, status)
		}
		if res := f.admin("POST", path); status == 200 && res.status != 405 {
			t.Errorf("POST %s: %d, want 405", path, res.status)
		}
		for _, public := range []string{path, "/" + path, path + "/", "/v2/.." + path, "/V2/../" + path} {
			if res := f.do("GET", public, ""); res.status != 404 {
				t.Errorf("GET %s where clients are: %d, want 404", public, res.status)
			}
		}
		if res := f.do("GET", "http://127.0.0.1:8002"+path, ""); res.status != 400 { // another host than it names
			t.Errorf("GET %s of another host where clients are: %d, want 400", path, res.status)
		}
	}
	if res := f.admin("GET", "/debug/exits"); string(res.body) != "[]" || res.header.Get("Content-Type") != "application/json" {
		t.Errorf("no model has early exit: %s", res.body)
	}
}
