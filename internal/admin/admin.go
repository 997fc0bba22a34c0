// Package admin is the HTTP interface by which a router's pool is changed while it
// runs. Answers are JSON; every error is {"error": …}.
package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Router is what there is to change. Errors that are an *Error are told as they are, others
// as 500. It must be safe for concurrent use.
type Router interface {
	// Workers lists all that have a name at present, in the order of the configuration.
	Workers() []Worker
	// Add takes in a worker, in the form of an entry of the configuration's workers, and
	// returns those that it made.
	Add(entry []byte) ([]Worker, error)
	// Remove has a worker go within that time, and gives its name free.
	Remove(name string, within time.Duration) (Worker, error)
	// Drain has a worker go within that time; it keeps its name. Undrain takes that back,
	// whether it is gone by then or not.
	Drain(name string, within time.Duration) (Worker, error)
	Undrain(name string) (Worker, error)
	// Reload reads the configuration anew.
	Reload() error
	// Configuration is the one in effect, as JSON without secrets.
	Configuration() ([]byte, error)
	// DrainTimeout is the time to go in where nobody names one.
	DrainTimeout() time.Duration
}

// Worker is one worker.
type Worker struct {
	Name         string     `json:"name"`
	InstanceType string     `json:"instance_type"`
	Models       []string   `json:"models"`
	Backend      string     `json:"backend"`
	Origin       string     `json:"origin"` // file, api
	State        string     `json:"state"`  // starting, up, draining, down, gone
	Leaving      bool       `json:"leaving"`
	LeavesBy     *time.Time `json:"leaves_by"` // at the latest; null: it stays
	Breaker      string     `json:"breaker"`
	Batches      int        `json:"in_flight_batches"`
	BusyMS       float64    `json:"predicted_busy_ms"`
	Finished     uint64     `json:"finished_batches"`
	Failures     uint64     `json:"failed_batches"`
}

// Error is an error with its HTTP status.
type Error struct {
	Status     int         `json:"-"`
	Message    string      `json:"error"`
	Violations []Violation `json:"violations,omitempty"`
}

// Violation is one fault of what was sent.
type Violation struct {
	Field   string `json:"field"`
	Value   string `json:"value,omitempty"`
	Problem string `json:"problem"`
}

func (e *Error) Error() string { return e.Message }

// Errorf makes an Error.
func Errorf(status int, format string, args ...any) *Error {
	return &Error{Status: status, Message: fmt.Sprintf(format, args...)}
}

const (
	maxBody  = 1 << 20        // bytes of what is sent
	mostTime = 24 * time.Hour // that a worker may have to go in
)

// handler answers one method of one path.
type handler func(r *http.Request) (status int, answer any, err error)

type api struct{ router Router }

// New returns the handler of everything under /admin/.
func New(router Router) http.Handler {
	a := &api{router}
	mux := http.NewServeMux()
	for path, methods := range map[string]map[string]handler{
		"/admin/workers":                {"GET": a.workers, "POST": a.add},
		"/admin/workers/{name}":         {"GET": a.worker, "DELETE": a.remove},
		"/admin/workers/{name}/drain":   {"POST": a.drain},
		"/admin/workers/{name}/undrain": {"POST": a.undrain},
		"/admin/reload":                 {"POST": a.reload},
		"/admin/config":                 {"GET": a.config},
	} {
		mux.HandleFunc(path, serve(methods))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		write(w, 0, nil, Errorf(http.StatusNotFound, "there is no such page"))
	})
	return mux
}

// serve picks the handler by method.
func serve(methods map[string]handler) http.HandlerFunc {
	allowed := make([]string, 0, len(methods))
	for m := range methods {
		allowed = append(allowed, m)
	}
	slices.Sort(allowed)
	allow := strings.Join(allowed, ", ")
	return func(w http.ResponseWriter, r *http.Request) {
		h := methods[r.Method]
		if h == nil {
			w.Header().Set("Allow", allow)
			write(w, 0, nil, Errorf(http.StatusMethodNotAllowed, "%s is not for this: %s", cut(r.Method), allow))
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		status, answer, err := h(r)
		write(w, status, answer, err)
	}
}

// write answers.
func write(w http.ResponseWriter, status int, answer any, err error) {
	if err != nil {
		var e *Error
		if !errors.As(err, &e) {
			e = &Error{Status: http.StatusInternalServerError, Message: err.Error()}
		}
		status, answer = e.Status, e
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	_ = out.Encode(answer) // to a client that has left
}

func cut(s string) string { return s[:min(len(s), 128)] }

func body(r *http.Request) ([]byte, error) {
	data, err := io.ReadAll(r.Body)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, Errorf(http.StatusRequestEntityTooLarge, "at most %d bytes", maxBody)
	case err != nil:
		return nil, Errorf(http.StatusBadRequest, "cannot read the request: %v", err)
	}
	return data, nil
}

func (a *api) workers(*http.Request) (int, any, error) {
	return http.StatusOK, map[string]any{"workers": a.router.Workers()}, nil
}

func (a *api) worker(r *http.Request) (int, any, error) {
	for _, w := range a.router.Workers() {
		if w.Name == r.PathValue("name") {
			return http.StatusOK, w, nil
		}
	}
	return 0, nil, NoWorker(r.PathValue("name"))
}

// NoWorker is that there is no worker of the name.
func NoWorker(name string) *Error {
	return Errorf(http.StatusNotFound, "there is no worker %q", cut(name))
}

func (a *api) add(r *http.Request) (int, any, error) {
	data, err := body(r)
	if err != nil {
		return 0, nil, err
	}
	made, err := a.router.Add(data)
	return http.StatusCreated, map[string]any{"workers": made}, err
}

func (a *api) remove(r *http.Request) (int, any, error) {
	q := r.URL.Query()
	for name := range q {
		if name != "deadline" {
			return 0, nil, Errorf(http.StatusBadRequest, "unknown parameter %q: there is deadline", cut(name))
		}
	}
	within, err := a.within(q.Get("deadline"))
	if err != nil {
		return 0, nil, err
	}
	w, err := a.router.Remove(r.PathValue("name"), within)
	return http.StatusAccepted, w, err
}

func (a *api) drain(r *http.Request) (int, any, error) {
	data, err := body(r)
	if err != nil {
		return 0, nil, err
	}
	var form struct {
		Deadline string `json:"deadline"`
	}
	if len(bytes.TrimSpace(data)) > 0 {
		in := json.NewDecoder(bytes.NewReader(data))
		in.DisallowUnknownFields()
		if err := in.Decode(&form); err != nil {
			return 0, nil, Errorf(http.StatusBadRequest, `want {"deadline": "2m"}: %v`, err)
		}
		if in.More() {
			return 0, nil, Errorf(http.StatusBadRequest, `want {"deadline": "2m"} and nothing after it`)
		}
	}
	within, err := a.within(form.Deadline)
	if err != nil {
		return 0, nil, err
	}
	w, err := a.router.Drain(r.PathValue("name"), within)
	return http.StatusAccepted, w, err
}

// within reads a deadline: a duration from now or an instant.
func (a *api) within(text string) (time.Duration, error) {
	if text == "" {
		return a.router.DrainTimeout(), nil
	}
	d, err := time.ParseDuration(text)
	if at, e := time.Parse(time.RFC3339, text); e == nil {
		d, err = max(0, time.Until(at)), nil
	}
	if err != nil || d < 0 || d > mostTime {
		return 0, Errorf(http.StatusBadRequest, "deadline %q: must be a duration from 0 to %v, such as 2m, or an instant within that, such as 2026-01-02T15:04:05Z", cut(text), mostTime)
	}
	return d, nil
}

func (a *api) undrain(r *http.Request) (int, any, error) {
	w, err := a.router.Undrain(r.PathValue("name"))
	return http.StatusOK, w, err
}

func (a *api) reload(*http.Request) (int, any, error) {
	return http.StatusOK, map[string]string{"result": "ok"}, a.router.Reload()
}

func (a *api) config(*http.Request) (int, any, error) {
	data, err := a.router.Configuration()
	return http.StatusOK, json.RawMessage(data), err
}
