package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"motley/internal/config"
)

// logLines is a log that is read while it is written.
type logLines struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// operated is a router with its operators' pages.
type operated struct {
	*served
	t     *testing.T
	pages *httptest.Server
	text  string
}

func operate(t *testing.T, text string) *operated {
	o := &operated{t: t, text: text}
	read := func() (*config.Config, error) {
		cfg, err := config.Parse("test", []byte(o.text))
		if err == nil {
			cfg.Limits.Linger = 0 // as serveConfig has it
		}
		return cfg, err
	}
	o.served = serveConfig(t, parsed(t, text), Options{Load: read})
	o.pages = httptest.NewServer(o.app.AdminHandler())
	t.Cleanup(o.pages.Close)
	return o
}

// call returns the status and the answer, which must be JSON.
func (o *operated) call(method, path, body string) (int, map[string]any) {
	o.t.Helper()
	req, err := http.NewRequest(method, o.pages.URL+path, strings.NewReader(body))
	if err != nil {
		o.t.Fatal(err)
	}
	resp, err := o.pages.Client().Do(req)
	if err != nil {
		o.t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.Header.Get("Content-Type") != "application/json" {
		o.t.Fatalf("%s %s: %v, %v", method, path, err, resp.Header)
	}
	if _, failed := answer["error"]; failed != (resp.StatusCode >= 400) {
		o.t.Errorf("%s %s: %d with %v", method, path, resp.StatusCode, answer)
	}
	return resp.StatusCode, answer
}

// want makes a call and looks at its status, and at what the answer contains.
func (o *operated) want(status int, contains, method, path, body string) {
	o.t.Helper()
	got, answer := o.call(method, path, body)
	text, _ := json.Marshal(answer)
	if got != status || !strings.Contains(string(text), contains) {
		o.t.Errorf("%s %s %s: %d, %s; want %d, with %s", method, path, body, got, text, status, contains)
	}
}

// until waits for a worker's state; "" where there is no such worker.
func (o *operated) until(name, state string) {
	o.t.Helper()
	got := ""
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-time.After(time.Millisecond) {
		status, w := o.call("GET", "/admin/workers/"+name, "")
		got = ""
		if status == 200 {
			got = w["state"].(string)
		}
		if got == state {
			return
		}
	}
	o.t.Fatalf("worker %s is %q after 20 s, want %q", name, got, state)
}

func (o *operated) names() []string {
	var all []string
	for _, s := range o.app.members.list() {
		all = append(all, s.Name)
	}
	return all
}

func remoteWorker(name, url, more string) string {
	return fmt.Sprintf("  - {name: %s, type: t, remote: {url: %q, probe_interval: 20ms}%s}\n", name, url, more)
}

// TestOperators goes through all that operators can do.
func TestOperators(t *testing.T) {
	l := newLedger(t, 1)
	url := l.urls[0]
	o := operate(t, poolText("  - {name: m, qos: {target: 5s}}\n", []string{"t"}, []string{remoteWorker("a", url, "")}))
	ask := func() int {
		o.t.Helper()
		a, err := infer(o.client(1), "m", -1, []byte(`{"inputs":[{"name":"x","shape":[1,1],"datatype":"INT32","data":[1]}]}`))
		if err != nil {
			t.Fatal(err)
		}
		return a.status
	}
	o.until("a", "up")
	o.want(404, "there is no worker", "GET", "/admin/workers/b", "")
	o.want(404, "no such page", "GET", "/admin/nothing", "")
	o.want(405, "GET, POST", "PUT", "/admin/workers", "")

	added := func(name string) string {
		return fmt.Sprintf(`{"name":%q,"type":"t","remote":{"url":%q,"probe_interval":"20ms"}}`, name, url)
	}
	o.want(201, `"origin":"api"`, "POST", "/admin/workers", added("b"))
	o.until("b", "up")
	o.want(409, "already the name", "POST", "/admin/workers", added("b"))
	o.want(409, "already the name", "POST", "/admin/workers", added("a"))
	o.want(201, `"name":"y-1"`, "POST", "/admin/workers", "name: y\ntype: t\ncount: 2\nremote: {url: \""+url+"\"}\n")
	for body, text := range map[string]string{
		"":                      "must be a mapping",
		"[1]":                   "must be a mapping",
		"{":                     "neither YAML nor JSON",
		`{"name":"c"}`:          "must have one of embedded, remote and emulated",
		`{"name":"c","tpye":1}`: "did you mean type",
		`{"name":"c","type":"x","models":["z"],"remote":{"url":"ftp://h"}}`:                            `"field":"remote.url"`,
		"\t{\"name\":\"c\",\n\t\"type\":\"t\", \"concurrency\": 0, \"remote\":{\"url\":\"http://h\"}}": "must be from 1",
		`{"name":"c","type":"t","embedded":{"engine":"builtin"}}`:                                      "is not built in",
		`{"name":"c","type":"t","remote":{"url":"http://h"},"spot":{"form":"ibm","url":"http://h"}}`:   "must be one of aws, gcp, azure",
		strings.Repeat(" ", 1<<20) + `{"name":"c","type":"t","remote":{"url":"http://h"}}`:             "at most",
	} {
		status := 400
		if len(body) > 1<<20 {
			status = 413
		}
		o.want(status, text, "POST", "/admin/workers", body)
	}

	// Drained, it keeps its name, and may come back.
	for _, bad := range []string{`{"deadline":"soon"}`, `{"deadline":"-1s"}`, `{"deadline":"25h"}`, `{"dedline":"1s"}`, `{} {}`, `[]`} {
		o.want(400, "deadline", "POST", "/admin/workers/a/drain", bad)
	}
	o.want(202, `"leaving":true`, "POST", "/admin/workers/a/drain", `{"deadline":"2m"}`)
	o.want(200, `"leaves_by":null`, "POST", "/admin/workers/a/undrain", "")
	o.until("a", "up")
	o.want(202, `"leaves_by":"20`, "POST", "/admin/workers/a/drain", `{"deadline":"0s"}`)
	o.until("a", "gone")
	if got := ask(); got != 200 {
		t.Errorf("with the others there, a request is answered with %d", got)
	}
	o.want(200, `"result":"ok"`, "POST", "/admin/reload", "") // which does not bring it back
	o.until("a", "gone")
	o.want(200, `"leaves_by":null`, "POST", "/admin/workers/a/undrain", "")
	o.until("a", "up")
	o.want(200, `"leaves_by":null`, "POST", "/admin/workers/a/undrain", "")
	o.want(404, "there is no worker", "POST", "/admin/workers/none/undrain", "")
	o.want(404, "there is no worker", "POST", "/admin/workers/none/drain", "")

	// Removed, its name is free.
	o.want(404, "there is no worker", "DELETE", "/admin/workers/none", "")
	o.want(400, "unknown parameter", "DELETE", "/admin/workers/b?timeout=1s", "")
	o.want(202, `"name":"b"`, "DELETE", "/admin/workers/b?deadline=1s", "")
	o.until("b", "")
	o.want(201, `"name":"b"`, "POST", "/admin/workers", added("b"))
	for _, name := range []string{"b", "y-0", "y-1"} {
		o.want(202, "", "DELETE", "/admin/workers/"+name, "")
	}
	o.want(409, "no other worker serves m", "DELETE", "/admin/workers/a", "")

	o.want(200, `"drain_timeout":"5s"`, "GET", "/admin/config", "")
	o.text = "nonsense"
	o.want(400, "must be a mapping", "POST", "/admin/reload", "")
	o.text = "policy: fcfs\n" + poolText("  - {name: m}\n", []string{"t"}, []string{remoteWorker("a", url, "")})
	o.want(409, "policy cannot change", "POST", "/admin/reload", "")
	if got := ask(); got != 200 {
		t.Errorf("in the end a request is answered with %d", got)
	}
}

// What operators add stays over a reload, unless the file has another idea of it.
// Who did not change is not touched, and who did is replaced only once the new one works.
// TestUnchangeable has one change of each kind that a running router does not take.
// A preparer that refuses leaves everything as it was.
// A worker whose host is about to be taken away is drained by the time that is told.
func TestSpotNotice(t *testing.T) {
	l := newLedger(t, 1)
	cloud := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			fmt.Fprint(w, "token")
			return
		}
		fmt.Fprintf(w, `{"action":"terminate","time":%q}`, time.Now().Add(500*time.Millisecond).UTC().Format(time.RFC3339Nano))
	}))
	defer cloud.Close()
	o := operate(t, poolText("  - {name: m}\n", []string{"t"}, []string{
		remoteWorker("a", l.urls[0], ""), remoteWorker("spot", l.urls[0], fmt.Sprintf(", spot: {form: aws, url: %q, interval: 100ms}", cloud.URL)),
	}))
	if m := o.app.members.named("spot").member; m == nil {
		t.Fatal("no such worker")
	}
	o.until("spot", "gone")
	o.until("a", "up")
}

// Secrets are not told.
func TestSecretsAreRedacted(t *testing.T) {
	var tree any
	const text = `{"keys":[{"name":"n","key":"abc","hash":"h"}],"tls":{"key_file":"k.pem"},"a":"http://h/x?token=abc","b":"is it abc?","password":"","token":7,"headers":{"authorization":"Bearer abc"}}`
	if err := json.Unmarshal([]byte(text), &tree); err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(redacted(tree))
	const want = `{"a":"http://h/x?(secret)","b":"is it abc?","headers":{"authorization":"(secret)"},"keys":[{"hash":"h","key":"(secret)","name":"n"}],"password":"","tls":{"key_file":"k.pem"},"token":7}`
	if err != nil || string(got) != want {
		t.Errorf("%v\n got %s\nwant %s", err, got, want)
	}
}

// A type that is new gets, for the models there are, the latencies that were measured on it, and
// a model that is new those of the types there are.
// What the dispatcher knows still of a model or type that was dropped counts when it comes back.
// A model that is new is offered when it has a worker, and not before: until then the router
// is as ready as it was.
