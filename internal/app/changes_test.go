package app

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"motley/internal/config"
)

func TestReloadKeepsWhatWasAdded(t *testing.T) {
	l := newLedger(t, 2)
	model := "  - {name: m}\n"
	o := operate(t, poolText(model, []string{"t", "u"}, []string{remoteWorker("a", l.urls[0], "")}))
	for _, body := range []string{`{"name":"kept","type":"t"%s}`, `{"name":"clash","type":"t"%s}`, `{"name":"lost","type":"u"%s}`} {
		o.want(201, "", "POST", "/admin/workers", fmt.Sprintf(body, fmt.Sprintf(`,"remote":{"url":%q}`, l.urls[0])))
	}
	kept := o.app.members.named("kept").member
	o.text = poolText(model, []string{"t"}, []string{remoteWorker("a", l.urls[0], ""), remoteWorker("clash", l.urls[1], "")})
	o.want(200, "", "POST", "/admin/reload", "")
	if got := o.names(); !slices.Equal(got, []string{"a", "clash", "kept"}) {
		t.Errorf("workers %v, want a, clash and kept", got)
	}
	if o.app.members.named("kept").member != kept {
		t.Error("the worker that was added was replaced")
	}
	o.want(200, `"origin":"file"`, "GET", "/admin/workers/clash", "")
	o.want(200, l.urls[1], "GET", "/admin/workers/clash", "")
	o.want(200, `"origin":"api"`, "GET", "/admin/workers/kept", "")
}

func TestReloadReplacesInTurn(t *testing.T) {
	l := newLedger(t, 2)
	models := "  - {name: m}\n"
	text := func(concurrency int, url string) string {
		return poolText(models, []string{"t"}, []string{
			remoteWorker("same", l.urls[0], ""), remoteWorker("other", url, fmt.Sprintf(", concurrency: %d", concurrency)),
		})
	}
	o := operate(t, text(1, l.urls[0]))
	same, other := o.app.members.named("same").member, o.app.members.named("other").member
	<-other.Up()
	o.app.members.patience = 50 * time.Millisecond
	dead := httptest.NewServer(nil)
	dead.Close()
	for i, c := range []struct {
		url string
		up  bool
	}{{l.urls[1], true}, {dead.URL, false}} {
		o.text = text(2+i, c.url)
		before := other
		o.want(200, "", "POST", "/admin/reload", "")
		other = o.app.members.named("other").member
		select {
		case <-other.Up():
			if !c.up {
				t.Error("a worker that is not there is up")
			}
		default:
			if c.up {
				t.Error("the old one leaves before the new one is up")
			}
		}
		if other == before || !before.Leaving() && !isDone(before.Gone()) {
			t.Errorf("change %d: it was not replaced", i)
		}
	}
	if o.app.members.named("same").member != same || same.Leaving() {
		t.Error("a worker that did not change was replaced")
	}
	state := o.app.loop.Snapshot()
	names := map[string]int{}
	for _, w := range state.Workers {
		if !w.Leaving {
			names[w.Name]++
		}
	}
	if len(names) != 2 || names["same"] != 1 || names["other"] != 1 {
		t.Errorf("workers that stay: %v", names)
	}
	if page := o.page(t, "/metrics"); strings.Count(page, "motley_worker_up{") != 2 {
		t.Errorf("metrics:\n%s", page)
	}
}

func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestUnchangeable(t *testing.T) {
	const text = `
listen: ":0"
models:
  - {name: fashion, qos: {target: 1s}}
  - {name: m}
instance_types: [{name: t, accelerator: T4}]
workers: [{name: w, type: t, remote: {url: "http://h"}}]
`
	old := parsed(t, text)
	change := func(from, to string) *config.Config {
		if !strings.Contains(text, from) {
			t.Fatalf("no %q", from)
		}
		return parsed(t, strings.Replace(text, from, to, 1))
	}
	for _, c := range []struct{ from, to, field string }{
		{`":0"`, `":1"`, "listen"},
		{"listen", "policy: p2c\nlisten", "policy"},
		{"listen", "limits: {max_body: 1MiB}\nlisten", "limits.max_body"},
		{"listen", "learned: {interval: 1s}\nlisten", "learned.interval"},
		{"listen", "health: {slow_start: 1s}\nlisten", "health.slow_start"},
		{"{name: m}", "{name: m, cost: {flops_per_item: 1}}", "models[1].cost.flops_per_item"},
		{"{name: m}", "{name: m, early_exit: {mode: latency}}", "models[1].early_exit.mode"},
		{"{name: m}", "{name: m}\n  - {name: c, cascade: {stages: [{model: m}, {model: fashion}]}}", "models[2].cascade"},
		{"T4", "L4", "instance_types[0].accelerator"},
		{"T4", "T4, device: T4", "instance_types[0].device"},
	} {
		err := unchangeable(old, change(c.from, c.to))
		if err == nil || !strings.HasPrefix(err.Error(), c.field+" ") {
			t.Errorf("%s: %v", c.field, err)
		}
	}
	for _, c := range []struct{ from, to string }{
		{"1s", "2s"}, {"{name: m}", "{name: m, max_queue: 7, max_batch: 3, split: false, max_attempts: 1}"}, {"  - {name: m}\n", ""},
		{"{name: m}", "{name: m}\n  - {name: n, early_exit: {mode: latency}}"}, {"T4", "T4, usd_per_hour: 3, limit: 2"},
		{"[{name: t,", "[{name: u}, {name: t,"}, {"listen", "breaker: {failures: 7}\nlisten"}, {"listen", "reload: {watch: true}\nlisten"},
		{"listen", "plan: {rate: 3}\nlisten"},
	} {
		if err := unchangeable(old, change(c.from, c.to)); err != nil {
			t.Errorf("%q for %q: %v", c.to, c.from, err)
		}
	}
}

func TestReloadIsAllOrNothing(t *testing.T) {
	l := newLedger(t, 1)
	o := operate(t, poolText("  - {name: m}\n", []string{"t"}, []string{remoteWorker("a", l.urls[0], "")}))
	committed := 0
	o.app.preparers = append(o.app.preparers,
		func(*config.Config) (func(), error) { return func() { committed++ }, nil },
		func(cfg *config.Config) (func(), error) {
			if len(cfg.Workers) == 3 {
				return nil, fmt.Errorf("three is a crowd")
			}
			return func() { committed++ }, nil
		})
	more := []string{remoteWorker("a", l.urls[0], ""), remoteWorker("b", l.urls[0], ""), remoteWorker("c", l.urls[0], "")}
	before := o.app.loop.Snapshot()
	o.text = poolText("  - {name: m}\n  - {name: n}\n", []string{"t", "u"}, more)
	o.want(409, "three is a crowd", "POST", "/admin/reload", "")
	if after := o.app.loop.Snapshot(); committed != 0 || len(after.Workers) != len(before.Workers) || len(after.Models) != len(before.Models) {
		t.Errorf("%d commits, %+v", committed, after)
	}
	o.text = poolText("  - {name: m}\n  - {name: n}\n", []string{"t", "u"}, more[:2])
	o.want(200, "", "POST", "/admin/reload", "")
	if after := o.app.loop.Snapshot(); committed != 2 || len(after.Models) != 2 {
		t.Errorf("%d commits, %+v", committed, after)
	}
}

func TestReloadBringsProfiles(t *testing.T) {
	const base = "models: [{name: m}%s]\ninstance_types: [{name: t}%s]\nprofiles: [profiles.csv]\nworkers:\n  - {name: a, type: t, emulated: {profile_model: m}}\n%s"
	old := loadText(t, fmt.Sprintf(base, "", "", ""), "m,t,1,2,2\n")
	a, err := New(old, Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := a.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	for range 2 { // the second time nothing is new
		err = a.Reload(loadText(t, fmt.Sprintf(base, ", {name: n}", ", {name: u}, {name: z}", "  - {name: b, type: u, emulated: {profile_model: m}}\n"),
			"m,t,1,2,2\nm,u,1,3,3\nn,t,1,4,4\nn,u,1,5,5\n"))
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		model, typ string
		want       time.Duration
		known      bool
	}{
		{"m", "t", 2 * time.Millisecond, true}, {"m", "u", 3 * time.Millisecond, true}, {"n", "t", 4 * time.Millisecond, true}, {"n", "u", 5 * time.Millisecond, true},
		{"m", "z", 3 * time.Millisecond, false}, {"n", "z", 5 * time.Millisecond, false}, // taken for the slowest
	} {
		m, err := a.pool.ids.model(c.model)
		typ, err2 := a.pool.ids.typ(c.typ)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		p := a.loop.Profile(m, typ)
		if p == nil || p.Known() != c.known || p.Mean(1) != c.want {
			t.Errorf("%s on %s: %+v, want %v", c.model, c.typ, p, c.want)
		}
	}
}

func TestDroppedModelsAreRemembered(t *testing.T) {
	const text = "models: [{name: m}%s]\ninstance_types: [{name: t}%s]\nworkers: [{name: w, type: t, models: [m]%s, remote: {url: \"http://h\"}}, {name: x, type: t, remote: {url: \"http://h\"}}]\n"
	a := parsed(t, fmt.Sprintf(text, ", {name: n, early_exit: {mode: latency}}", ", {name: u, accelerator: T4}", ""))
	b := parsed(t, fmt.Sprintf(text, "", "", ""))
	c := parsed(t, fmt.Sprintf(text, ", {name: n}", ", {name: u, accelerator: L4}", ""))
	past := remembering(remembering(nil, a), b)
	err := unchangeable(past, c)
	if err == nil || !strings.Contains(err.Error(), "models[1].early_exit.mode cannot change") || !strings.Contains(err.Error(), "instance_types[1].accelerator cannot change") {
		t.Errorf("got %v", err)
	}
	if err := unchangeable(past, a); err != nil {
		t.Error(err)
	}
}

func TestNewModelsAreOfferedWhenReady(t *testing.T) {
	l := newLedger(t, 1)
	late := httptest.NewUnstartedServer(l)
	t.Cleanup(late.Close)
	o := operate(t, poolText("  - {name: m}\n", []string{"t"}, []string{remoteWorker("a", l.urls[0], ", models: [m]")}))
	o.until("a", "up")
	o.app.members.patience = 20 * time.Millisecond
	o.text = poolText("  - {name: m}\n  - {name: n}\n", []string{"t"}, []string{
		remoteWorker("a", l.urls[0], ", models: [m]"), remoteWorker("b", "http://"+late.Listener.Addr().String(), ", models: [n]"),
	})
	c := o.client(1)
	status := func(path string) int {
		t.Helper()
		status, _, err := c.Get(nil, "http://router/v2/"+path)
		if err != nil {
			t.Fatal(err)
		}
		return status
	}
	o.want(200, "", "POST", "/admin/reload", "")
	if ready, model := status("health/ready"), status("models/n/ready"); ready != 200 || model != 404 {
		t.Errorf("without a worker: the router %d, the model %d", ready, model)
	}
	late.Start()
	for deadline := time.Now().Add(20 * time.Second); status("models/n/ready") != 200; <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it is not offered")
		}
	}
	if ready := status("health/ready"); ready != 200 {
		t.Errorf("with all workers up the router is %d", ready)
	}
}
