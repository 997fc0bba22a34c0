package app

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"motley/internal/config"
)

// TestRefusedReloadLeavesWorkers: a configuration that is refused changes nothing about a worker
// that operators have added, though the file names it, too.
func TestRefusedReloadLeavesWorkers(t *testing.T) {
	l := newLedger(t, 1)
	url := l.urls[0]
	models := "  - {name: m, qos: {target: 5s}}\n"
	a, b := remoteWorker("a", url, ""), remoteWorker("b", url, "")
	o := operate(t, poolText(models, []string{"t"}, []string{a}))
	o.want(201, `"b"`, "POST", "/admin/workers", strings.TrimPrefix(b, "  - "))
	o.text = poolText(models, []string{"t"}, []string{a, b}) + "log: {format: json}\n"
	o.want(409, "log.format", "POST", "/admin/reload", "")
	if w := o.app.members.named("b"); w == nil || (operator{o.app}).describe(w).Origin != "api" {
		t.Errorf("after a reload that was refused, b is %+v", w)
	}
	o.text = poolText(models, []string{"t"}, []string{a})
	o.want(200, "", "POST", "/admin/reload", "")
	if o.app.members.named("b") == nil {
		t.Error("b has left, though operators have added it")
	}
	o.text = poolText(models, []string{"t"}, []string{a, b})
	o.want(200, "", "POST", "/admin/reload", "")
	o.text = poolText(models, []string{"t"}, []string{a})
	o.want(200, "", "POST", "/admin/reload", "")
	if o.app.members.named("b") != nil {
		t.Error("b is still there, though it was the file's")
	}
}

// TestNotReadyWhereTold: a router that was told to stop while it started does not say that it is
// ready, which would end the one that it succeeds.
func TestNotReadyWhereTold(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(learner(t, ""), Options{Log: quiet(), Ready: func() error {
		t.Error("it says that it is ready")
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	end()
	if err := a.Serve(ctx, ln); err != nil {
		t.Error(err)
	}
}

// TestUndrainMeetsDrain: whichever is last counts, and a worker that leaves says so.
func TestUndrainMeetsDrain(t *testing.T) {
	l := newLedger(t, 1)
	o := operate(t, poolText("  - {name: m, qos: {target: 5s}}\n", []string{"t"}, []string{remoteWorker("a", l.urls[0], "")}))
	s := o.app.members.named("a")
	op := operator{o.app}
	for range 200 {
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = op.Drain("a", time.Hour)
		}()
		_, _ = op.Undrain("a")
		<-done
		if s.leavesBy().IsZero() == s.member.Leaving() {
			t.Fatalf("it leaves: %v, by %v", s.member.Leaving(), s.leavesBy())
		}
	}
}

// TestLatestFileCounts: a reload that waits for another change takes in what the file holds when
// its turn has come.
func TestLatestFileCounts(t *testing.T) {
	l := newLedger(t, 1)
	a, b := remoteWorker("a", l.urls[0], ""), remoteWorker("b", l.urls[0], "")
	pool := func(workers ...string) string {
		return poolText("  - {name: m, qos: {target: 5s}}\n", []string{"t"}, workers)
	}
	o := operate(t, pool(a))
	var text atomic.Pointer[string]
	put := func(s string) { text.Store(&s) }
	o.app.load = func() (*config.Config, error) { return config.Parse("test", []byte(*text.Load())) }
	put(pool(a, b))
	o.app.members.changing.Lock()
	done := make(chan error)
	go func() { done <- o.app.ReloadFile() }()
	<-time.After(20 * time.Millisecond) // it has had the time to read too early
	put(pool(b))
	o.app.members.changing.Unlock()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if names := o.names(); !slices.Equal(names, []string{"b"}) {
		t.Errorf("the workers are %v", names)
	}
}

// TestRefusedReloadOpensNoLog: a configuration that is refused leaves no file behind.
func TestRefusedReloadOpensNoLog(t *testing.T) {
	l := newLedger(t, 1)
	text := poolText("  - {name: m, qos: {target: 5s}}\n", []string{"t"}, []string{remoteWorker("a", l.urls[0], "")})
	o := operate(t, text)
	file := filepath.Join(t.TempDir(), "access")
	o.text = text + "log: {access: {enabled: true, file: " + file + "}}\ntracing: {endpoint: \"http://127.0.0.1:1\"}\n"
	o.want(409, "tracing", "POST", "/admin/reload", "")
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the access log of a refused configuration: %v", err)
	}
}
