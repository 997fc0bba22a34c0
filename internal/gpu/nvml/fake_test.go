//go:build cgo && linux

package nvml

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"motley/internal/gpu/device"
)

// The driver's library is bound once for a process, so every machine is watched
// by a process of its own: this test binary, which reads once for every line
// it is given.
const watcher = "MOTLEY_NVML_WATCHER"

func TestMain(m *testing.M) {
	library := os.Getenv(watcher)
	if library == "" {
		os.Exit(m.Run())
	}
	s := New(Options{Library: library, Limit: 300 * time.Millisecond})
	out := json.NewEncoder(os.Stdout)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var r reading
		page, err := s.Read(context.Background())
		r.Page, r.Hung = page, s.Hung()
		if err != nil {
			r.Err = err.Error()
		}
		if err := out.Encode(r); err != nil {
			os.Exit(3)
		}
	}
	os.Exit(0)
}

// reading is one answer of the watcher.
type reading struct {
	Page device.Page
	Err  string
	Hung int
}

func (r reading) sample(t *testing.T, id string) device.Sample {
	t.Helper()
	for _, s := range r.Page.Samples {
		if s.Device == id {
			return s
		}
	}
	t.Fatalf("no sample of %s in %+v", id, r)
	return device.Sample{}
}

// machine is a scripted driver, and the process that watches it.
type machine struct {
	t     *testing.T
	file  string
	lines []string
	in    io.Writer
	out   *json.Decoder
}

// compile makes the fake library, or skips the test where there is no compiler.
func compile(t *testing.T, flags ...string) string {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skipf("NOT CHECKED against a driver's library: no C compiler: %v", err)
	}
	header, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/NVIDIA/go-nvml").Output()
	if err != nil {
		t.Skipf("NOT CHECKED against a driver's library: cannot find nvml.h: %v", err)
	}
	library := filepath.Join(t.TempDir(), "libnvidia-ml.so.1")
	args := append(flags, "-shared", "-fPIC", "-w", "-I", filepath.Join(strings.TrimSpace(string(header)), "pkg", "nvml"), "-o", library, "testdata/fake.c")
	if out, err := exec.Command(cc, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return library
}

func watch(t *testing.T, library, script string) *machine {
	t.Helper()
	m := &machine{t: t, file: filepath.Join(t.TempDir(), "machine"), lines: strings.Split(script, "\n")}
	m.write()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), watcher+"="+library, "FAKE_NVML="+m.file)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the watcher ended badly: %v", err)
		}
	})
	m.in, m.out = in, json.NewDecoder(out)
	return m
}

// write puts the script in place at once, so that it is never read half.
func (m *machine) write() {
	m.t.Helper()
	if err := os.WriteFile(m.file+".new", []byte(strings.Join(m.lines, "\n")+"\n"), 0o600); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Rename(m.file+".new", m.file); err != nil {
		m.t.Fatal(err)
	}
}

// set adds lines; the last of a key counts.
func (m *machine) set(lines ...string) {
	m.lines = append(m.lines, lines...)
	m.write()
}

// unset takes back what was set of a key.
func (m *machine) unset(key string) {
	var kept []string
	for _, l := range m.lines {
		if !strings.HasPrefix(l, key+" ") {
			kept = append(kept, l)
		}
	}
	m.lines = kept
	m.write()
}

func (m *machine) read() reading {
	m.t.Helper()
	if _, err := fmt.Fprintln(m.in); err != nil {
		m.t.Fatal(err)
	}
	var r reading
	if err := m.out.Decode(&r); err != nil {
		m.t.Fatalf("the watcher died: %v", err)
	}
	return r
}
