package admin

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// fake is a router that writes down what it was told.
type fake struct {
	told   string
	within time.Duration
	err    error
}

func (f *fake) Workers() []Worker { return []Worker{{Name: "a"}} }

func (f *fake) Add(entry []byte) ([]Worker, error) {
	f.told = "add " + string(entry)
	return []Worker{{Name: "b"}}, f.err
}

func (f *fake) note(what, name string, within time.Duration) (Worker, error) {
	f.told, f.within = what+" "+name, within
	return Worker{Name: name}, f.err
}

func (f *fake) Remove(name string, within time.Duration) (Worker, error) {
	return f.note("remove", name, within)
}

func (f *fake) Drain(name string, within time.Duration) (Worker, error) {
	return f.note("drain", name, within)
}
func (f *fake) Undrain(name string) (Worker, error) { return f.note("undrain", name, -1) }

func (f *fake) Reload() error {
	f.told = "reload"
	return f.err
}
func (f *fake) Configuration() ([]byte, error) { return []byte(`{"listen":":1"}`), f.err }
func (f *fake) DrainTimeout() time.Duration    { return 7 * time.Second }

func TestPages(t *testing.T) {
	soon := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	for _, c := range []struct {
		method, path, body string
		status             int
		told               string
		within             time.Duration // 0: not looked at
		answer             string        // part of it
	}{
		{"GET", "/admin/workers", "", 200, "", 0, `{"workers":[{"name":"a"`},
		{"GET", "/admin/workers/a", "", 200, "", 0, `{"name":"a"`},
		{"GET", "/admin/workers/b", "", 404, "", 0, `no worker \"b\"`},
		{"HEAD", "/admin/workers", "", 405, "", 0, ""},
		{"POST", "/admin/workers", "x", 201, "add x", 0, `{"workers":[{"name":"b"`},
		{"DELETE", "/admin/workers/a", "", 202, "remove a", 7 * time.Second, `{"name":"a"`},
		{"DELETE", "/admin/workers/a?deadline=1m", "", 202, "remove a", time.Minute, ""},
		{"DELETE", "/admin/workers/a?deadline=1", "", 400, "", 0, "must be a duration"},
		{"DELETE", "/admin/workers/a?dead=1", "", 400, "", 0, "unknown parameter"},
		{"POST", "/admin/workers/a%2Fb/drain", "", 202, "drain a/b", 7 * time.Second, ""},
		{"POST", "/admin/workers/a/drain", " \n", 202, "drain a", 7 * time.Second, ""},
		{"POST", "/admin/workers/a/drain", `{"deadline":"90s"}`, 202, "drain a", 90 * time.Second, ""},
		{"POST", "/admin/workers/a/drain", `{"deadline":"` + soon + `"}`, 202, "drain a", time.Hour, ""},
		{"POST", "/admin/workers/a/drain", `{"deadline":"2001-01-01T00:00:00Z"}`, 202, "drain a", 0, ""},
		{"POST", "/admin/workers/a/drain", `{"deadline":"2999-01-01T00:00:00Z"}`, 400, "", 0, "must be a duration"},
		{"POST", "/admin/workers/a/drain", `{"deadline":5}`, 400, "", 0, "want"},
		{"POST", "/admin/workers/a/undrain", "", 200, "undrain a", 0, ""},
		{"POST", "/admin/reload", "", 200, "reload", 0, `{"result":"ok"}`},
		{"GET", "/admin/reload", "", 405, "", 0, "POST"},
		{"GET", "/admin/config", "", 200, "", 0, `{"listen":":1"}`},
		{"GET", "/admin/", "", 404, "", 0, "no such page"},
		{"GET", "/other", "", 404, "", 0, "no such page"},
	} {
		f := &fake{}
		rec := httptest.NewRecorder()
		New(f).ServeHTTP(rec, httptest.NewRequest(c.method, c.path, strings.NewReader(c.body)))
		text := rec.Body.String()
		if rec.Code != c.status || f.told != c.told || !strings.Contains(text, c.answer) || !json.Valid([]byte(text)) {
			t.Errorf("%s %s %s: %d, %q, %s; want %d, %q, …%s…", c.method, c.path, c.body, rec.Code, f.told, text, c.status, c.told, c.answer)
		}
		if off := f.within - c.within; c.within != 0 && (off > 0 || off < -time.Minute) {
			t.Errorf("%s %s %s: within %v, want %v", c.method, c.path, c.body, f.within, c.within)
		}
		if (rec.Code == 405) != (rec.Header().Get("Allow") != "") {
			t.Errorf("%s %s: %d with Allow %q", c.method, c.path, rec.Code, rec.Header().Get("Allow"))
		}
	}
}

// What goes wrong is told as it is meant, and everything else as 500.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		answer string
	}{
		{&Error{Status: 409, Message: "taken", Violations: []Violation{{"name", `"a"`, "is <taken>"}}}, 409,
			`{"error":"taken","violations":[{"field":"name","value":"\"a\"","problem":"is <taken>"}]}` + "\n"},
		{errors.New("oh"), 500, `{"error":"oh"}` + "\n"},
	} {
		for _, page := range []string{"POST /admin/workers", "DELETE /admin/workers/a", "POST /admin/workers/a/drain", "POST /admin/workers/a/undrain", "POST /admin/reload", "GET /admin/config"} {
			method, path, _ := strings.Cut(page, " ")
			rec := httptest.NewRecorder()
			New(&fake{err: c.err}).ServeHTTP(rec, httptest.NewRequest(method, path, http.NoBody))
			if rec.Code != c.status || rec.Body.String() != c.answer {
				t.Errorf("%s: %d %s, want %d %s", page, rec.Code, rec.Body, c.status, c.answer)
			}
		}
	}
}
