package app

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"motley/internal/config"
)

// chain is a router that serves an echo, behind another that asks it, both with an access log of
// everything. more is put into the configuration of the one in front.
func chain(t *testing.T, more string) (front, back *served, frontLog, backLog string) {
	t.Helper()
	dir := t.TempDir()
	frontLog, backLog = filepath.Join(dir, "front.log"), filepath.Join(dir, "back.log")
	const text = `
models: [{name: m, qos: {target: 30s}%s}]
instance_types: [{name: cpu}]
profiles: [profiles.csv]
log: {access: {enabled: true, file: %s, sample: 1}}
`
	back = serveConfig(t, loadText(t, fmt.Sprintf(text+"workers: [{name: w, type: cpu, emulated: {profile_model: m}}]\n",
		", batched: true, inputs: [{name: x, datatype: INT32, shape: [-1, 2]}], outputs: [{name: x, datatype: INT32, shape: [-1, 2]}]", backLog),
		"m,cpu,1,5,5\nm,cpu,64,10,10\n"), Options{})
	front = serveConfig(t, loadText(t, fmt.Sprintf(text+"workers: [{name: far, type: cpu, remote: {url: http://%s}}]\n%s",
		"", frontLog, back.addr, more), "m,cpu,1,5,5\nm,cpu,64,10,10\n"), Options{})
	return front, back, frontLog, backLog
}

// accessLines reads an access log.
func accessLines(t *testing.T, path string) (all []map[string]any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for text := range strings.Lines(string(data)) {
		var one map[string]any
		if err := json.Unmarshal([]byte(text), &one); err != nil {
			t.Fatalf("%v: %q", err, text)
		}
		if path, _ := one["path"].(string); strings.HasSuffix(path, "/infer") {
			all = append(all, one)
		}
	}
	return all
}

const traced = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// postAll sends n requests at once, all of which are to be answered.
func (s *served) postAll(t *testing.T, n int) {
	t.Helper()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			q, err := http.NewRequest("POST", "http://"+s.addr+"/v2/models/m/infer", strings.NewReader(
				fmt.Sprintf(`{"inputs":[{"name":"x","shape":[1,2],"datatype":"INT32","data":[%d,2]}]}`, i)))
			if err != nil {
				t.Error(err)
				return
			}
			q.Header.Set("X-Request-Id", fmt.Sprint("request-", i))
			q.Header.Set("Traceparent", traced)
			q.Header.Set("Tracestate", "x=1")
			resp, err := http.DefaultClient.Do(q)
			if err != nil {
				t.Error(err)
				return
			}
			_ = resp.Body.Close()
			if resp.StatusCode != 200 {
				t.Errorf("request %d: status %d", i, resp.StatusCode)
			}
		})
	}
	all.Wait()
}

// TestAccessLogs: each request has one line in front, and what the router behind has is
// called as those say: as the request, or as its batch.
func TestAccessLogs(t *testing.T) {
	front, back, frontLog, backLog := chain(t, "")
	const n = 100
	front.postAll(t, n)
	front.stop(t)
	back.stop(t)
	behind := map[any]map[string]any{}
	for _, l := range accessLines(t, backLog) {
		behind[l["id"]] = l
	}
	seen := map[any]bool{}
	items := map[any]float64{}
	for _, l := range accessLines(t, frontLog) {
		seen[l["id"]] = true
		name := l["id"]
		if l["batch_id"] != nil {
			name = l["batch_id"]
		}
		items[name]++
		b := behind[name]
		if b == nil {
			t.Errorf("%v is %v, which the worker does not know", l["id"], name)
			continue
		}
		if single := l["batch_id"] == nil; single != (b["trace_id"] != nil) || single != (l["batch_items"] == 1.) || b["items"] != l["batch_items"] {
			t.Errorf("in front %v\nbehind %v", l, b)
		}
		if l["worker"] != "far" || l["outcome"] != "answered" || l["trace_id"] != "0af7651916cd43dd8448eb211c80319c" ||
			l["total_ms"].(float64) < l["queue_ms"].(float64)+l["service_ms"].(float64)-.01 || l["service_ms"].(float64) < 4 {
			t.Errorf("%v", l)
		}
	}
	if len(seen) != n || len(items) != len(behind) || len(behind) >= n {
		t.Errorf("%d lines of %d requests, in %d batches; the worker knows %d", len(seen), n, len(items), len(behind))
	}
	for name, k := range items {
		if behind[name]["items"] != k {
			t.Errorf("%v: %v items behind, %v requests in front", name, behind[name]["items"], k)
		}
	}
}

// TestAccessLogCannotBeOpened: it is an error at the start.
func TestAccessLogCannotBeOpened(t *testing.T) {
	cfg, err := config.Parse("test", config.Default())
	if err != nil {
		t.Fatal(err)
	}
	cfg.Log.Access.Enabled, cfg.Log.Access.File = true, t.TempDir()
	if _, err := New(cfg, Options{Log: quiet()}); err == nil || !strings.Contains(err.Error(), "access log") {
		t.Errorf("it starts: %v", err)
	}
}

// TestLogReload: the level may change, the form may not.
func TestLogReload(t *testing.T) {
	cfg, err := config.Parse("test", config.Default())
	if err != nil {
		t.Fatal(err)
	}
	var level slog.LevelVar
	a := &App{cfg: cfg, level: &level}
	next := *cfg
	next.Log.Level = "debug"
	commit, err := a.prepareLog(&next)
	if err != nil || level.Level() != slog.LevelInfo {
		t.Fatal(err, level.Level())
	}
	if commit(); level.Level() != slog.LevelDebug {
		t.Error(level.Level())
	}
	next.Log.Format = "json"
	if _, err := a.prepareLog(&next); err == nil || !strings.Contains(err.Error(), "log.format") {
		t.Errorf("another form: %v", err)
	}
}

// TestAccessLogReload: what a reload prepares holds from its commit on.
func TestAccessLogReload(t *testing.T) {
	front, _, path, _ := chain(t, "")
	front.postAll(t, 1)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	cfg := *front.app.cfg
	commit, err := front.app.prepareAccessLog(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	commit()
	front.postAll(t, 2)
	cfg.Log.Access.Enabled = false
	if commit, err = front.app.prepareAccessLog(&cfg); err != nil {
		t.Fatal(err)
	}
	commit()
	front.postAll(t, 4)
	front.stop(t)
	if before, after := len(accessLines(t, path+".1")), len(accessLines(t, path)); before+after != 3 || after < 2 {
		t.Errorf("%d lines before, %d after", before, after)
	}
}
