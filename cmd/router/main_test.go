package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"gopkg.in/yaml.v3"

	"motley/internal/access"
)

func TestCommandLine(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken.yaml")
	if err := os.WriteFile(broken, []byte("policy: fastest\nworkers: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args           string
		stdout, stderr string // contained
		fails, usage   bool
	}{
		{args: "version", stdout: "motley "},
		{args: "-h", stdout: "router [serve]"},
		{args: "help", stdout: "router check"},
		{args: "check ../../configs/quickstart.yaml ../../configs/remote.yaml ../../configs/hetero.yaml", stdout: "hetero.yaml: ok"},
		{args: "check " + broken, stdout: "policy: \"fastest\"", fails: true},
		{args: "plan -config ../../configs/hetero.yaml -budget 0.7", stdout: "The most requests within 0.7 USD/h"},
		{args: "plan -config ../../configs/hetero.yaml -budget 0.7 -json", stdout: "[{\"model\":\"wnd\""},
		{args: "plan", fails: true}, // the built-in configuration has no prices
		{args: "plan -config nowhere.yaml", fails: true},
		{args: "plan -config ../../configs/hetero.yaml -budget 0.01", fails: true},
		{args: "plan -budget 0", stderr: "-budget: must be a number over 0", usage: true},
		{args: "plan -budget -1", stderr: "-budget: must be a number over 0", usage: true},
		{args: "plan -rate NaN", stderr: "-rate: must be a number over 0", usage: true},
		{args: "plan extra", stderr: "unexpected argument", usage: true},
		{args: "check", stderr: "wants the files", usage: true},
		{args: "check nowhere.yaml", stdout: "nowhere.yaml", fails: true},
		{args: "plan -config ../../configs/hetero.yaml -budget 0.7 -prices aws", stdout: "The most requests within 0.7 USD/h"},
		{args: "plan -config ../../configs/hetero.yaml -prices nowhere.csv", fails: true},
		{args: "plan -config ../../configs/hetero.yaml -prices gcp", fails: true},
		{args: "profile -from nowhere.learned", fails: true},
		{args: "profile -from x -batches 1", stderr: "-batches means nothing with -from", usage: true},
		{args: "profile -passive -share 0.5", stderr: "-share means nothing with -passive", usage: true},
		{args: "profile -passive -every 2m", stderr: "-every must be", usage: true},
		{args: "profile -every 1s", stderr: "-every means nothing with", usage: true},
		{args: "profile -passive -budget 200ms -every 100ms", stderr: "", stdout: "fashion on cpu: passive, not measured", fails: true},
		{args: "profile -budget 2s -batches 1,2 -q", stdout: "fashion on cpu: measured on local-0"},
		{args: "profile -budget 2s -batches 1,2 -json", stdout: "\"model\": \"fashion\""},
		{args: "profile -config nowhere.yaml", fails: true},
		{args: "profile -model nobody", fails: true},
		{args: "profile -types cpu,nothing", fails: true},
		{args: "profile -requests nowhere.jsonl", fails: true},
		{args: "profile -budget 300ms -batches 65", stdout: "the worker says that it takes at most 64", fails: true},
		{args: "profile -budget 300ms -config ../../configs/remote.yaml", stdout: "the worker does not answer", fails: true},
		{args: "profile -budget 2s -batches 1 -o /nonexistent/p.csv", stdout: "fashion on cpu", fails: true},
		{args: "profile -budget 2s -batches 1 -plot /nonexistent/p.svg", stdout: "fashion on cpu", fails: true},
		{args: "profile -batches 1,0", stderr: "whole numbers over 0", usage: true},
		{args: "profile -batches a", stderr: "whole numbers over 0", usage: true},
		{args: "profile -budget 1ms", stderr: "-budget must be", usage: true},
		{args: "profile -share 1.5", stderr: "-share must be", usage: true},
		{args: "profile -share 0", stderr: "-share", usage: true},
		{args: "profile -dim 0", stderr: "-dim must be", usage: true},
		{args: "profile -plot p.pdf", stderr: "ends in .svg or .png", usage: true},
		{args: "profile extra", stderr: "unexpected argument", usage: true},
		{args: "gpus -nvml /nonexistent/libnvidia-ml.so.1", stdout: "NVML not available"},
		{args: "gpus -json -nvml /nonexistent/libnvidia-ml.so.1", stdout: "\"kind\": \"cpu\""},
		{args: "gpus extra", stderr: "unexpected argument", usage: true},
		{args: "gpus -agent nowhere", fails: true},
		{args: "gpus -agent http://a/ -exporter http://b/", fails: true},
		{args: "gpus -exporter http://127.0.0.1:1/metrics", fails: true},
		{args: "agent extra", stderr: "unexpected argument", usage: true},
		{args: "agent -every 1us", stderr: "-every", usage: true},
		{args: "agent -tls-cert a.pem", stderr: "go together", usage: true},
		{args: "agent -listen nonsense", fails: true},
		{args: "agent -listen 127.0.0.1:0 -record /nonexistent/rec", fails: true},
		{args: "agent -listen 127.0.0.1:0 -tls-cert /nonexistent/c -tls-key /nonexistent/k", fails: true},
		{args: "key", stderr: "wants the client's name", usage: true},
		{args: "key a b", stderr: "wants the client's name", usage: true},
		{args: "key alice", stdout: "- {name: \"alice\", hash: \"sha256:", stderr: "motley-"},
		{args: "dance", stderr: "unknown command", usage: true},
		{args: "-nonsense", stderr: "nonsense", usage: true},
		{args: "serve extra", stderr: "unexpected argument", usage: true},
		{args: "-config nowhere.yaml", fails: true},
		{args: "-listen nonsense", fails: true},
		{args: "-listen 127.0.0.1:0 -admin nonsense", fails: true},
	} {
		var stdout, stderr bytes.Buffer
		err := run(context.Background(), strings.Fields(c.args), &stdout, &stderr)
		if !strings.Contains(stdout.String(), c.stdout) || !strings.Contains(stderr.String(), c.stderr) {
			t.Errorf("router %s: printed %q and %q", c.args, &stdout, &stderr)
		}
		if errors.Is(err, errUsage) != c.usage || (err != nil) != (c.fails || c.usage) {
			t.Errorf("router %s: error %v", c.args, err)
		}
	}
}

func TestAgentStopsWhenTold(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	record := filepath.Join(t.TempDir(), "rec.jsonl")
	var stdout, stderr bytes.Buffer
	if err := run(ctx, []string{"agent", "-listen", "127.0.0.1:0", "-record", record}, &stdout, &stderr); err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	if !strings.Contains(stderr.String(), "/v1/devices") {
		t.Errorf("the log does not say what is served:\n%s", &stderr)
	}
	if _, err := os.Stat(record); err != nil {
		t.Error(err)
	}
}

// The port of the admin listener may be another router's: the error says what to do.
func TestAdminPortIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err = run(ctx, []string{"-listen", "127.0.0.1:0", "-admin", taken.Addr().String()}, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "admin.listen") || !strings.Contains(err.Error(), "-admin") || !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("error %v", err)
	}
	for _, off := range []string{"off", "127.0.0.1:0"} {
		if err := run(ctx, []string{"-listen", "127.0.0.1:0", "-admin", off}, io.Discard, io.Discard); err != nil {
			t.Errorf("-admin %s: %v", off, err)
		}
	}
}

func TestServeStopsWhenTold(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var stdout, stderr bytes.Buffer
	if err := run(ctx, []string{"-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0"}, &stdout, &stderr); err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	for _, want := range []string{"Open Inference Protocol", "embedded builtin", "stopping", "admin=http://127.0.0.1:"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, &stderr)
		}
	}
}

// A new key is the one of which the hash is printed, and is not printed with it.
func TestKey(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if err := run(context.Background(), []string{"key", "alice"}, &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	key := regexp.MustCompile(`motley-[A-Za-z0-9_-]{43}`).FindString(stderr.String())
	var lines []struct{ Name, Hash string }
	if err := yaml.Unmarshal(stdout.Bytes(), &lines); err != nil || len(lines) != 1 || lines[0].Name != "alice" {
		t.Fatalf("%v: %s", err, &stdout)
	}
	hash, err := access.ParseHash(lines[0].Hash)
	if err != nil || !hash.Matches([]byte(key)) || strings.Contains(stdout.String(), key) {
		t.Errorf("%v; key %q, printed %q and %q", err, key, &stdout, &stderr)
	}
}
