//go:build linux

package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// asRouter has a copy of this test program be the router.
const asRouter = "MOTLEY_TEST_AS_ROUTER"

func TestMain(m *testing.M) {
	if os.Getenv(asRouter) != "" {
		main()
		return
	}
	// Successors of routers that have ended become this process's children.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// routers are a router and its successors: real processes, of which the log goes to one file.
type routers struct {
	t       *testing.T
	program string // a link to the program that is run
	dir     string
	config  string
	addr    string
	admin   string // where its metrics are
	ended   map[int]unix.WaitStatus
}

// emulated is a router over two workers that take 2 ms for a request.
const emulated = `
listen: 127.0.0.1:0
admin: {listen: "127.0.0.1:0"}
policy: least-load
models: [{name: m, qos: {target: 10s}}, {name: slow, qos: {target: 100s}}]
instance_types: [{name: fast}]
profiles: [measured.csv]
learned: {file: learned, interval: 100ms}
limits: {drain_timeout: DRAIN, linger: 300ms, upgrade_timeout: 3s}
workers:
  - {name: w, type: fast, count: 2, concurrency: 8, models: [m], emulated: {profile_model: true-m}}
  - {name: s, type: fast, models: [slow], emulated: {profile_model: true-slow}}
`

// startRouters starts a router with a drain timeout.
func startRouters(t *testing.T, drain string) *routers {
	t.Helper()
	r := newRouters(t, drain)
	r.start("-listen", "127.0.0.1:0")
	return r
}

// newRouters makes all ready for a start.
func newRouters(t *testing.T, drain string) *routers {
	t.Helper()
	r := &routers{t: t, dir: t.TempDir(), config: strings.Replace(emulated, "DRAIN", drain, 1), ended: map[int]unix.WaitStatus{}}
	r.program = filepath.Join(r.dir, "router")
	r.put("measured.csv", "model,instance_type,batch,mean_ms,p99_ms\ntrue-m,fast,1,2,2\ntrue-m,fast,64,2,2\ntrue-slow,fast,1,60000,60000\n")
	r.put("router.yaml", r.config)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r.install(self)
	t.Cleanup(func() {
		for _, pid := range r.pids() {
			if r.alive(pid) {
				_ = unix.Kill(pid, unix.SIGKILL)
				r.wait(pid)
			}
		}
		if t.Failed() {
			t.Logf("the log:\n%s", r.log())
		}
	})
	return r
}

func (r *routers) put(name, content string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(content), 0o755); err != nil {
		r.t.Fatal(err)
	}
}

// install has the program's name lead to a file.
func (r *routers) install(file string) {
	r.t.Helper()
	next := r.program + ".next"
	if err := os.Symlink(file, next); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(next, r.program); err != nil {
		r.t.Fatal(err)
	}
}

// start starts a router and waits until it serves.
func (r *routers) start(args ...string) int {
	r.t.Helper()
	out, err := os.OpenFile(filepath.Join(r.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		r.t.Fatal(err)
	}
	defer out.Close()
	before := len(r.pids())
	cmd := exec.Command(r.program, append([]string{"-config", "router.yaml"}, args...)...)
	cmd.Dir, cmd.Env, cmd.Stderr = r.dir, append(os.Environ(), asRouter+"=1"), out
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.until("a router serves", func() bool { return len(r.pids()) > before || !r.alive(cmd.Process.Pid) })
	r.addr = string(regexp.MustCompile(`address=http://(\S+)`).FindSubmatch(r.log())[1])
	all := regexp.MustCompile(`admin=http://(\S+)`).FindAllSubmatch(r.log(), -1)
	r.admin = string(all[len(all)-1][1])
	return cmd.Process.Pid
}

func (r *routers) log() []byte {
	b, err := os.ReadFile(filepath.Join(r.dir, "log"))
	if err != nil && !os.IsNotExist(err) {
		r.t.Error(err)
	}
	return b
}

// pids are the processes that came to serve, in their order.
func (r *routers) pids() (all []int) {
	for _, m := range regexp.MustCompile(`serving the Open.* pid=(\d+)`).FindAllSubmatch(r.log(), -1) {
		pid, _ := strconv.Atoi(string(m[1])) // digits
		all = append(all, pid)
	}
	return all
}

func (r *routers) last() int { all := r.pids(); return all[len(all)-1] }

// alive reports whether a process runs, and notes how it ended where not.
func (r *routers) alive(pid int) bool {
	if _, ended := r.ended[pid]; ended {
		return false
	}
	var status unix.WaitStatus
	got, err := unix.Wait4(pid, &status, unix.WNOHANG, nil)
	if got == pid {
		r.ended[pid] = status
	}
	return got == 0 && err == nil || err == unix.ECHILD && unix.Kill(pid, 0) == nil // still its predecessor's child
}

// wait waits for a process's end and returns its status.
func (r *routers) wait(pid int) unix.WaitStatus {
	r.t.Helper()
	r.until(fmt.Sprintf("process %d ends", pid), func() bool { return !r.alive(pid) })
	return r.ended[pid]
}

// until waits for something to come true.
func (r *routers) until(what string, true func() bool) {
	r.t.Helper()
	late := time.After(20 * time.Second)
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	for !true() {
		select {
		case <-look.C:
		case <-late:
			r.t.Fatalf("in vain: %s", what)
		}
	}
}

func (r *routers) signal(pid int, s unix.Signal) {
	r.t.Helper()
	if err := unix.Kill(pid, s); err != nil {
		r.t.Fatal(err)
	}
}

// upgrade signals the router that serves and waits for its successor, and its end.
func (r *routers) upgrade() {
	r.t.Helper()
	n, old := len(r.pids()), r.last()
	r.signal(old, unix.SIGUSR2)
	r.until("a successor serves", func() bool { return len(r.pids()) > n })
	if status := r.wait(old); !status.Exited() || status.ExitStatus() != 0 {
		r.t.Errorf("the old router ended with %v", status)
	}
}

// says waits until the log has a text n times.
func (r *routers) says(text string, n int) {
	r.t.Helper()
	r.until("the log says "+text, func() bool { return bytes.Count(r.log(), []byte(text)) >= n })
}

// descriptors counts what a process has open.
func (r *routers) descriptors(pid int) int {
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		r.t.Fatal(err)
	}
	return len(list)
}

// metric is what the router that answers says of a metric.
func (r *routers) metric(name string) string {
	r.t.Helper()
	answer, err := exchange(r.dialTo(r.admin), "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	if err != nil {
		r.t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindSubmatch(answer)
	if m == nil {
		return ""
	}
	return string(m[1])
}

func (r *routers) dial() net.Conn { return r.dialTo(r.addr) }

func (r *routers) dialTo(addr string) net.Conn {
	r.t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// load sends requests from clients of several kinds until its end is called.
func (r *routers) load(more ...kind) *tally {
	result := &tally{stop: make(chan struct{})}
	kinds := append([]kind{{}, {}, {gap: 20 * time.Millisecond}, {gap: 120 * time.Millisecond}, {fresh: true}, {large: true}, {get: true}, {get: true, fresh: true}}, more...)
	for i, k := range kinds {
		result.clients.Go(func() { k.run(r.addr, i, result) })
	}
	return result
}

// more waits until so many more requests were answered.
func (r *routers) more(t *tally, n int) {
	r.t.Helper()
	before := t.soFar()
	r.until(fmt.Sprintf("%d more answers", n), func() bool { return t.soFar() >= before+n })
}
