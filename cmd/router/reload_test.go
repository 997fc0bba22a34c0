package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// lines is a log that is read while it is written.
type lines struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// A SIGHUP has the file read again; -listen goes on to count, and a fault changes nothing.
func TestHangup(t *testing.T) {
	file := filepath.Join(t.TempDir(), "router.yaml")
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const one = "listen: \":8000\"\nmodels: [{name: fashion}]\ninstance_types: [{name: cpu}]\nworkers:\n  - {name: a, type: cpu, embedded: {}}\n"
	put(one)
	ctx, cancel := context.WithCancel(t.Context())
	var log lines
	ended := make(chan error)
	go func() {
		ended <- run(ctx, []string{"-config", file, "-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0"}, &bytes.Buffer{}, &log)
	}()
	until := func(text string, times int) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); strings.Count(log.String(), text) < times; <-time.After(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the log does not say %q %d times:\n%s", text, times, &log)
			}
		}
	}
	hangUp := func() {
		t.Helper()
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	until("serving", 1)
	put(one + "  - {name: b, type: cpu, embedded: {}}\n")
	hangUp()
	until("the configuration is in effect", 1)
	until("worker=b", 1)
	put("listen: nonsense\n")
	hangUp()
	until("the configuration stays as it is", 1)
	until("must be host:port", 1)
	put(one)
	hangUp()
	until("the configuration is in effect", 2)
	until("worker is gone", 1)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
