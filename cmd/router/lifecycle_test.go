//go:build linux

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestTermLosesNothing: clients that send without pause, and others, see whole answers
// or a connection that was not accepted, when the router is told to stop.
func TestTermLosesNothing(t *testing.T) {
	rounds := 3
	if testing.Short() {
		rounds = 1
	}
	for range rounds {
		r := startRouters(t, "10s")
		result := r.load(kind{}, kind{}, kind{fresh: true})
		r.more(result, 200)
		r.signal(r.last(), unix.SIGTERM)
		if status := r.wait(r.last()); status.ExitStatus() != 0 {
			t.Errorf("ended with %v", status)
		}
		result.end()
		t.Logf("%d answers, %d that told of the end, %d connections refused, %d reset unheard", result.answered, result.closed, result.refused, result.unheard)
		if len(result.faults) > 0 || result.answered < 20 || result.closed < 5 {
			t.Errorf("%d answers, %d told of the end; faults:\n%s", result.answered, result.closed, strings.Join(result.faults, "\n"))
		}
	}
}

// TestUpgrades: one upgrade after the other under load, and not a request is lost.
func TestUpgrades(t *testing.T) {
	r := startRouters(t, "2s")
	before := r.descriptors(r.last())
	result := r.load()
	rounds := 5
	if testing.Short() {
		rounds = 2
	}
	for range rounds {
		r.more(result, 100)
		r.upgrade()
	}
	result.end()
	t.Logf("%d answers, %d that told of the end", result.answered, result.closed)
	if len(result.faults)+result.refused+result.unheard > 0 || result.answered < 100 {
		t.Errorf("%d answers, %d refused, %d reset; faults:\n%s", result.answered, result.refused, result.unheard, strings.Join(result.faults, "\n"))
	}
	if n := len(r.pids()); n != rounds+1 {
		t.Errorf("%d processes have served, want %d", n, rounds+1)
	}
	r.until("no descriptor is left behind", func() bool { return r.descriptors(r.last()) <= before })
	if n := strings.Count(string(r.log()), `"profile learned by earlier runs" model=m `); n != rounds {
		t.Errorf("%d of %d successors know what was learned", n, rounds)
	}
	if got := r.metric("motley_state_save_failures_total"); got != "0" {
		t.Errorf("state was not saved %s times", got)
	}
	r.signal(r.last(), unix.SIGTERM)
	r.wait(r.last())
	list, err := os.ReadDir(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if strings.Contains(e.Name(), ".new") || strings.Contains(e.Name(), "damaged") {
			t.Errorf("left behind: %s", e.Name())
		}
	}
}

// TestUpgradesThatFail: whatever is wrong with the successor, the old router serves on.
func TestUpgradesThatFail(t *testing.T) {
	r := startRouters(t, "2s")
	self, err := os.Readlink(r.program)
	if err != nil {
		t.Fatal(err)
	}
	pid := r.last()
	good := r.config
	result := r.load()
	r.put("fails", "#!/bin/sh\nexit 3\n")
	r.put("hangs", "#!/bin/sh\nexec sleep 1000\n")
	r.put("silent", "#!/bin/sh\nexec 3>&-\nexec sleep 1000\n")
	for i, c := range []struct{ program, config, says string }{
		{"fails", good, "it ended before it served: exit status 3"},
		{"hangs", good, "it did not serve within 3s"},
		{"silent", good, "it did not serve within 3s"},
		{"gone", good, "no such file or directory"},
		{self, "policy: fastest\n", "it ended before it served: exit status 1"},
	} {
		if r.put("router.yaml", c.config); c.program != self {
			c.program = r.dir + "/" + c.program
		}
		r.install(c.program)
		r.signal(pid, unix.SIGUSR2)
		r.says("upgrade failed: serving on", i+1)
		if !strings.Contains(string(r.log()), c.says) {
			t.Errorf("%s: the log does not say %q", c.program, c.says)
		}
	}
	if got := r.metric(`motley_upgrades_total{result="failed"}`); got != "5" {
		t.Errorf("%s upgrades have failed", got)
	}
	r.put("router.yaml", good)
	r.upgrade() // all is well again
	result.end()
	if len(result.faults)+result.refused+result.unheard > 0 || result.answered < 100 {
		t.Errorf("%d answers, %d refused; faults:\n%s", result.answered, result.refused, strings.Join(result.faults, "\n"))
	}
}

// TestTermCallsUpgradeOff: a router that is told to stop while its successor starts does, and
// takes the successor with it.
func TestTermCallsUpgradeOff(t *testing.T) {
	r := startRouters(t, "2s")
	r.put("hangs", "#!/bin/sh\necho $$ >pid\nexec sleep 1000\n")
	r.install(filepath.Join(r.dir, "hangs"))
	r.signal(r.last(), unix.SIGUSR2)
	var successor int
	r.until("the successor runs", func() bool {
		b, err := os.ReadFile(filepath.Join(r.dir, "pid"))
		if err == nil {
			successor, _ = strconv.Atoi(strings.TrimSpace(string(b))) // 0 until it is written
		}
		return successor > 0
	})
	r.signal(r.last(), unix.SIGTERM)
	if status := r.wait(r.last()); status.ExitStatus() != 0 {
		t.Errorf("ended with %v", status)
	}
	r.says("called off: terminated", 1)
	if r.alive(successor) {
		t.Error("the successor is still there")
	}
}

// TestTwoSignals: a second signal does not wait for what is under way.
func TestTwoSignals(t *testing.T) {
	r := startRouters(t, "1h")
	c := r.dial()
	defer c.Close()
	if _, err := c.Write([]byte("POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	r.signal(r.last(), unix.SIGTERM)
	r.says("stopping: finishing", 1)
	r.signal(r.last(), unix.SIGINT)
	if status := r.wait(r.last()); status.ExitStatus() != 130 {
		t.Errorf("ended with %v, want status 130", status)
	}
}

// TestDrainTimeout: when time is up, requests that wait, run or are not whole are answered,
// and the router ends well.
func TestDrainTimeout(t *testing.T) {
	r := startRouters(t, "500ms")
	slow := strings.Replace(kind{}.request("a"), "/m/", "/slow/", 1)
	conns := []string{
		slow, slow, // one with the worker, one that waits
		"POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{",
		"POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n{",
		"POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n",
		"GET /v2/health/li",
	}
	answers := make(chan error, len(conns))
	for _, request := range conns {
		c := r.dial()
		go func() {
			_, err := exchange(c, request)
			answers <- err
		}()
	}
	r.signal(r.last(), unix.SIGTERM)
	for range conns {
		if err := <-answers; err == nil || !strings.Contains(err.Error(), `status 503: {"error":"the router is shutting down"}`) {
			t.Errorf("a request is answered with %v", err)
		}
	}
	if status := r.wait(r.last()); status.ExitStatus() != 0 {
		t.Errorf("ended with %v", status)
	}
}

// TestDiskFull: while the state's disk is full, requests are answered, the failure is logged once
// and counted each time, and the last state stays; once there is room, it is saved again.
func TestDiskFull(t *testing.T) {
	r := newRouters(t, "1s")
	disk := filepath.Join(r.dir, "disk")
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("NOT TESTED: a full disk: cannot mount a small file system: %v", err)
	}
	defer func() {
		if err := unix.Unmount(disk, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	r.put("router.yaml", strings.Replace(r.config, "file: learned", "file: disk/learned", 1))
	r.start()
	result := r.load()
	r.until("state is saved", func() bool { return r.metric("motley_state_last_save_timestamp_seconds") != "0" })
	ballast := filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 64<<10), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	r.until("saving fails", func() bool { n, _ := strconv.Atoi(r.metric("motley_state_save_failures_total")); return n >= 5 })
	r.more(result, 100)
	if n := strings.Count(string(r.log()), "what was learned is not saved"); n != 1 {
		t.Errorf("that is logged %d times", n)
	}
	if b, err := os.ReadFile(filepath.Join(disk, "learned")); err != nil || !strings.HasPrefix(string(b), "motley-state 1 profiles 1 ") {
		t.Errorf("the last state: %.40q, %v", b, err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	r.says("what is learned is saved again", 1)
	result.end()
	if len(result.faults) > 0 {
		t.Errorf("faults:\n%s", strings.Join(result.faults, "\n"))
	}
	r.signal(r.last(), unix.SIGTERM)
	if status := r.wait(r.last()); status.ExitStatus() != 0 {
		t.Errorf("ended with %v", status)
	}
}

// TestKillAndRestart: after SIGKILL in the middle of things the state is whole, and the
// port can be used at once.
func TestKillAndRestart(t *testing.T) {
	r := startRouters(t, "1s")
	for range 3 {
		result := r.load()
		r.more(result, 200)
		saved := r.metric("motley_state_last_save_timestamp_seconds")
		r.until("state is saved", func() bool { return r.metric("motley_state_last_save_timestamp_seconds") != saved })
		r.signal(r.last(), unix.SIGKILL)
		r.wait(r.last())
		result.end() // those that were under way are lost
		at := time.Now()
		r.start("-listen", r.addr)
		t.Logf("serves again after %v", time.Since(at))
	}
	log := string(r.log())
	if n := strings.Count(log, "profile learned by earlier runs"); n != 3 || strings.Contains(log, "WARN") {
		t.Errorf("%d of 3 restarts know what was learned", n)
	}
}
