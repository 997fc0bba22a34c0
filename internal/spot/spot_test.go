package spot

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// service answers as a metadata service does: pages by "METHOD path", each with a status
// and a text. A header that a form demands and that is missing is a 401.
type service map[string]string

func (s service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	page := r.Method + " " + r.URL.RequestURI()
	demands := map[string][2]string{
		"PUT /latest/api/token":                                {"X-aws-ec2-metadata-token-ttl-seconds", "21600"},
		"GET /latest/meta-data/spot/instance-action":           {"X-aws-ec2-metadata-token", "the-token"},
		"GET /computeMetadata/v1/instance/preempted":           {"Metadata-Flavor", "Google"},
		"GET /metadata/scheduledevents?api-version=2020-07-01": {"Metadata", "true"},
	}
	if d := demands[page]; r.Header.Get(d[0]) != d[1] {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	text, ok := s[page]
	switch {
	case !ok:
		w.WriteHeader(http.StatusNotFound)
	case text == "500":
		w.WriteHeader(http.StatusInternalServerError)
	case text == "elsewhere":
		http.Redirect(w, r, "/", http.StatusFound)
	case text == "cut":
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "TR")
	default:
		fmt.Fprint(w, text)
	}
}

const (
	awsToken   = "PUT /latest/api/token"
	awsAction  = "GET /latest/meta-data/spot/instance-action"
	gcpPage    = "GET /computeMetadata/v1/instance/preempted"
	azurePage  = "GET /metadata/scheduledevents?api-version=2020-07-01"
	azureEvent = `{"EventId":"602d9444","EventType":"%s","ResourceType":"VirtualMachine","Resources":["%s"],"EventStatus":"Scheduled","NotBefore":"%s","Description":"","EventSource":"Platform"}`
)

func TestForms(t *testing.T) {
	soon := time.Now().Add(2 * time.Minute).UTC().Truncate(time.Second)
	action := func(what string) string {
		return fmt.Sprintf(`{"action":"%s","time":"%s"}`, what, soon.Format(time.RFC3339))
	}
	events := func(all ...string) string {
		return `{"DocumentIncarnation":1,"Events":[` + strings.Join(all, ",") + `]}`
	}
	event := func(kind, resource, at string) string { return fmt.Sprintf(azureEvent, kind, resource, at) }
	text := soon.Format(time.RFC1123)
	text = strings.Replace(text, "UTC", "GMT", 1) // as Azure writes it
	for _, c := range []struct {
		name     string
		form     Form
		pages    service
		resource string
		what     string        // of the notice; empty: none
		at       time.Time     // zero: within in
		in       time.Duration // from now, at most
		err      string
	}{
		{name: "aws stays", form: AWS, pages: service{awsToken: "the-token"}},
		{name: "aws goes", form: AWS, pages: service{awsToken: "the-token", awsAction: action("terminate")}, what: "terminate", at: soon},
		{name: "aws stops", form: AWS, pages: service{awsToken: "the-token", awsAction: action("stop")}, what: "stop", at: soon},
		{name: "aws without tokens", form: AWS, pages: service{awsAction: action("stop")}, err: "no token"},
		{name: "aws with an empty token", form: AWS, pages: service{awsToken: ""}, err: "the token is none"},
		{name: "aws with a token of two lines", form: AWS, pages: service{awsToken: "a\r\nX: y"}, err: "the token is none"},
		{name: "aws with another token", form: AWS, pages: service{awsToken: "stale", awsAction: action("stop")}, err: "401"},
		{name: "aws with another action", form: AWS, pages: service{awsToken: "the-token", awsAction: action("dance")}, err: "unknown action"},
		{name: "aws at no time", form: AWS, pages: service{awsToken: "the-token", awsAction: `{"action":"stop"}`}, err: "at no time"},
		{name: "aws with garbage", form: AWS, pages: service{awsToken: "the-token", awsAction: "<html>"}, err: "instance-action"},
		{name: "aws fails", form: AWS, pages: service{awsToken: "the-token", awsAction: "500"}, err: "500"},
		{name: "gcp stays", form: GCP, pages: service{gcpPage: "FALSE"}},
		{name: "gcp goes", form: GCP, pages: service{gcpPage: "TRUE\n"}, what: "preempted", in: gcpNotice},
		{name: "gcp with garbage", form: GCP, pages: service{gcpPage: "true?"}, err: "neither TRUE nor FALSE"},
		{name: "gcp without the page", form: GCP, pages: service{}, err: "404"},
		{name: "gcp sends elsewhere", form: GCP, pages: service{gcpPage: "elsewhere"}, err: "302"},
		{name: "gcp breaks off", form: GCP, pages: service{gcpPage: "cut"}, err: "EOF"},
		{name: "gcp without an end", form: GCP, pages: service{gcpPage: strings.Repeat("FALSE", maxAnswer)}, err: "more than"},
		{name: "azure stays", form: Azure, pages: service{azurePage: events()}},
		{name: "azure reboots", form: Azure, pages: service{azurePage: events(event("Reboot", "vm", text))}},
		{name: "azure goes", form: Azure, pages: service{azurePage: events(event("Preempt", "vm", text))}, what: "Preempt", at: soon},
		{name: "azure goes at once", form: Azure, pages: service{azurePage: events(event("Preempt", "vm", text), event("Preempt", "vm", ""))}, what: "Preempt", in: azureNotice},
		{name: "azure takes this one", form: Azure, resource: "vm", pages: service{azurePage: events(event("Preempt", "vm", text))}, what: "Preempt", at: soon},
		{name: "azure takes another one", form: Azure, resource: "mine", pages: service{azurePage: events(event("Preempt", "vm", text))}},
		{name: "azure with a bad time", form: Azure, pages: service{azurePage: events(event("Preempt", "vm", "soon"))}, err: "is no time"},
		{name: "azure with garbage", form: Azure, pages: service{azurePage: "[]"}, err: "scheduledevents"},
		{name: "azure without events", form: Azure, pages: service{azurePage: "{}"}, err: "lists no events"},
		{name: "no form", form: "soap", err: "BUG"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := httptest.NewServer(c.pages)
			defer s.Close()
			client := *s.Client()
			client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			w := Watcher{Form: c.form, URL: s.URL + "/", Resource: c.resource, Client: &client}
			n, err := w.Ask(t.Context())
			switch {
			case c.err != "":
				if err == nil || !strings.Contains(err.Error(), c.err) || n != nil {
					t.Errorf("got %v, %v, want an error with %q", n, err, c.err)
				}
			case err != nil:
				t.Error(err)
			case (n != nil) != (c.what != ""):
				t.Errorf("got %v", n)
			case n == nil:
			case n.What != c.what || !c.at.IsZero() && !n.At.Equal(c.at), c.at.IsZero() && (time.Until(n.At) > c.in || time.Until(n.At) < c.in-10*time.Second):
				t.Errorf("got %v, want %s at %v or in %v", n, c.what, c.at, c.in)
			}
		})
	}
}

// A token is asked for once, and again when it was refused.
func TestTokensAreKept(t *testing.T) {
	tokens, valid := 0, "token-1"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPut:
			tokens++
			fmt.Fprintf(w, "token-%d", tokens)
		case r.Header.Get("X-aws-ec2-metadata-token") != valid:
			w.WriteHeader(http.StatusUnauthorized)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer s.Close()
	w := Watcher{Form: AWS, URL: s.URL}
	for i := range 6 {
		if i == 3 {
			valid = "token-2"
		}
		if _, err := w.Ask(t.Context()); (err != nil) != (i == 3) {
			t.Errorf("question %d: %v", i, err)
		}
	}
	if tokens != 2 {
		t.Errorf("%d tokens were asked for, want 2", tokens)
	}
}

// Whoever waits is told of a failure once, gets the first notice, and stops with its context,
// however slow the service is.
func TestWait(t *testing.T) {
	asked := atomic.Int64{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch n := asked.Add(1); {
		case n <= 3:
			w.WriteHeader(http.StatusServiceUnavailable)
		case n < 6:
			fmt.Fprint(w, "FALSE")
		default:
			fmt.Fprint(w, "TRUE")
		}
	}))
	defer s.Close()
	var failures []error
	w := Watcher{Form: GCP, URL: s.URL, Every: time.Millisecond, Failed: func(err error) { failures = append(failures, err) }}
	if n, ok := w.Wait(t.Context()); !ok || n.What != "preempted" || len(failures) != 1 || asked.Load() != 6 {
		t.Errorf("got %v, %v after %d questions, failures: %v", n, ok, asked.Load(), failures)
	}
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer slow.Close()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, errors.New("enough"))
	defer cancel()
	w = Watcher{Form: GCP, URL: slow.URL, Every: time.Millisecond}
	if n, ok := w.Wait(ctx); ok {
		t.Errorf("a service that never answers gave %v", n)
	}
}

func FuzzAnswers(f *testing.F) {
	for _, text := range []string{"TRUE", `{"action":"stop","time":"2026-01-02T15:04:05Z"}`, `{"Events":[{"EventType":"Preempt","NotBefore":"Mon, 19 Sep 2016 18:29:47 GMT"}]}`, `{"Events":[]}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, form := range []Form{AWS, GCP, Azure} {
			w := Watcher{Form: form, URL: "http://h", Client: &http.Client{Transport: canned(text)}}
			if n, err := w.Ask(t.Context()); n != nil && (err != nil || n.At.IsZero() && form != AWS || n.What == "") {
				t.Errorf("%s: %v, %v", form, n, err)
			}
		}
	})
}

// canned answers every question with one text, and with a token.
type canned string

func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	if r.Method == http.MethodPut {
		rec.WriteString("the-token")
	} else {
		rec.WriteString(string(c))
	}
	return rec.Result(), nil
}
