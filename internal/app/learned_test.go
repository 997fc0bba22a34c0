package app

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"motley/internal/pool"
)

// taught returns a profile over points that has seen so many batches.
func taught(t testing.TB, batches int, points ...pool.Point) *pool.Profile {
	t.Helper()
	p, err := pool.NewProfile(points)
	if err != nil {
		t.Fatal(err)
	}
	for i := range batches {
		p.Observe(1+i%9, time.Duration(2+i%9)*time.Millisecond)
	}
	return p
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func read(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// files lists what is in the directory of path.
func files(t testing.TB, path string) string {
	t.Helper()
	var names []string
	list, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "learned")
	table := []pool.Point{{Batch: 1, Mean: 3 * time.Millisecond}, {Batch: 9, Mean: 8 * time.Millisecond}}
	m := remember(path, quiet())
	if m.take("m", "a", nil) != nil {
		t.Fatal("learned without a file")
	}
	all := []pool.Learned{
		{Model: "m", InstanceType: "a", Profile: taught(t, 50)},
		{Model: "m", InstanceType: "b", Profile: taught(t, 30, table...)},
		{Model: "gone", InstanceType: "a", Profile: taught(t, 20)},
		{Model: "m", InstanceType: "c", Profile: taught(t, 10, table...)},
	}
	if err := m.save(all); err != nil {
		t.Fatal(err)
	}
	m = remember(path, quiet())
	for _, l := range all[:2] {
		got := m.take(l.Model, l.InstanceType, map[string][]pool.Point{"b": table}[l.InstanceType])
		if got == nil || got.Samples() != l.Profile.Samples() || got.Mean(5) != l.Profile.Mean(5) {
			t.Errorf("%s on %s came back as %+v", l.Model, l.InstanceType, got)
		}
	}
	if m.take("m", "a", nil) != nil {
		t.Error("taken twice")
	}
	if p := m.take("m", "c", table[:1]); p != nil {
		t.Errorf("what was learned over another table is used: %d samples", p.Samples())
	}
	// What this configuration has no use for stays for one that does.
	if err := m.save(all[:1]); err != nil {
		t.Fatal(err)
	}
	m = remember(path, quiet())
	for name, samples := range map[string]int{"m a": 50, "gone a": 20, "m b": -1, "m c": -1} {
		model, typ, _ := strings.Cut(name, " ")
		got := -1
		if p := m.take(model, typ, nil); p != nil {
			got = p.Samples()
		}
		if got != samples {
			t.Errorf("%s: %d samples, want %d (−1: none)", name, got, samples)
		}
	}
	// Without measured latencies now, those that were learned on top of some
	// are still the best there is.
	if err := m.save(all[1:2]); err != nil {
		t.Fatal(err)
	}
	if p := remember(path, quiet()).take("m", "b", nil); p == nil || p.Samples() != 30 {
		t.Errorf("without the table: %+v", p)
	}
	if got := files(t, path); got != "learned" {
		t.Errorf("left behind: %s", got)
	}
}

// A file that makes no sense is named with its line, kept aside under a name
// of its own, and the router goes on.
func TestDamagedMemory(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "learned")
	if err := remember(path, quiet()).save([]pool.Learned{{Model: "m", InstanceType: "a", Profile: taught(t, 50)}}); err != nil {
		t.Fatal(err)
	}
	good := read(t, path)
	for i, c := range []struct{ content, want string }{
		{"", "empty"},
		{good[:len(good)/2], "line 1: xxhash64: damaged"},
		{"model,instance_type\n", "line 1: these are no saved profiles"},
		{strings.Replace(good, `"version":1`, `"version":9`, 1), "line 1: version: saved by a newer version"},
	} {
		if err := os.WriteFile(path, []byte(c.content), 0o644); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		m := remember(path, slog.New(slog.NewTextHandler(&log, nil)))
		aside := fmt.Sprintf("%s.damaged-%d", path, i+1)
		for _, want := range []string{"level=WARN", path + ": ", c.want, aside} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log lacks %q: %s", want, log.String())
			}
		}
		if got := read(t, aside); got != c.content {
			t.Errorf("%s holds %q, want %q", aside, got, c.content)
		}
		if m.take("m", "a", nil) != nil {
			t.Errorf("%q: something was learned from it", c.content)
		}
		if err := m.save([]pool.Learned{{Model: "m", InstanceType: "a", Profile: taught(t, 50)}}); err != nil || read(t, path) != good {
			t.Errorf("saved after it: %v", err)
		}
	}
}

// What cannot be read, or not be kept aside, is not written over.
func TestMemoryThatCannotBeKept(t *testing.T) {
	learned := []pool.Learned{{Model: "m", InstanceType: "a", Profile: taught(t, 50)}}
	t.Run("directory", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "learned")
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		m := remember(path, slog.New(slog.NewTextHandler(&log, nil)))
		if !strings.Contains(log.String(), "nothing will be saved") || !strings.Contains(log.String(), path) {
			t.Errorf("the log: %s", log.String())
		}
		if err := m.save(learned); err != nil {
			t.Error(err)
		}
		if got := files(t, path); got != "learned" {
			t.Errorf("there is %s", got)
		}
	})
	t.Run("no name left", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "learned")
		names := []string{path}
		for i := range mostAside {
			names = append(names, fmt.Sprintf("%s.damaged-%d", path, i+1))
		}
		for _, name := range names {
			if err := os.WriteFile(name, []byte("damaged"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		m := remember(path, quiet())
		if err := m.save(learned); err != nil {
			t.Error(err)
		}
		for _, name := range names {
			if got := read(t, name); got != "damaged" {
				t.Errorf("%s holds %q", name, got)
			}
		}
	})
	t.Run("no directory", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "gone", "learned")
		m := remember(path, quiet())
		if err := m.save(learned); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) {
			t.Errorf("error %v, want one that names %s", err, path)
		}
		// The next try is a real one.
		if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := m.save(learned); err != nil {
			t.Error(err)
		}
		if p := remember(path, quiet()).take("m", "a", nil); p == nil {
			t.Error("not saved")
		}
	})
}

// crashFile tells a copy of this test program which file to die over.
const crashFile = "MOTLEY_TEST_CRASH_FILE"

// A process that ends in the middle of saving leaves the old file, and what it
// left behind hinders nobody.
func TestCrashWhileSaving(t *testing.T) {
	if path := os.Getenv(crashFile); path != "" {
		_ = replaceFile(path, func(w io.Writer) error {
			if _, err := io.WriteString(w, `{"format":"motley profiles","version":1,`); err != nil {
				os.Exit(1)
			}
			os.Exit(7)
			return nil
		})
	}
	path := filepath.Join(t.TempDir(), "learned")
	learned := []pool.Learned{{Model: "m", InstanceType: "a", Profile: taught(t, 50)}}
	m := remember(path, quiet())
	if err := m.save(learned); err != nil {
		t.Fatal(err)
	}
	before := read(t, path)

	child := exec.Command(os.Args[0], "-test.run=^TestCrashWhileSaving$")
	child.Env = append(os.Environ(), crashFile+"="+path)
	var exit *exec.ExitError
	if out, err := child.CombinedOutput(); !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Fatalf("the child ended with %v, want status 7: %s", err, out)
	}
	if got := files(t, path); got != "learned learned.new" {
		t.Errorf("after the crash there is %s", got)
	}
	if read(t, path) != before {
		t.Error("the old file has changed")
	}
	m = remember(path, quiet())
	p := m.take("m", "a", nil)
	if p == nil || p.Samples() != 50 {
		t.Fatalf("after the crash: %+v", p)
	}
	p.Observe(3, 5*time.Millisecond)
	if err := m.save([]pool.Learned{{Model: "m", InstanceType: "a", Profile: p}}); err != nil {
		t.Fatal(err)
	}
	if p := remember(path, quiet()).take("m", "a", nil); p == nil || p.Samples() != 51 {
		t.Errorf("after the next save: %+v", p)
	}
	if got := files(t, path); got != "learned" {
		t.Errorf("after the next save there is %s", got)
	}
}

// A write that fails, on a full disk say, leaves the old file and nothing else.
func TestFailureWhileSaving(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := replaceFile(path, func(w io.Writer) error { _, err := io.WriteString(w, "old"); return err }); err != nil {
		t.Fatal(err)
	}
	full := errors.New("disk full")
	err := replaceFile(path, func(w io.Writer) error {
		_, _ = io.WriteString(w, "ne")
		return full
	})
	if !errors.Is(err, full) || read(t, path) != "old" || files(t, path) != "file" {
		t.Errorf("error %v, content %q, files %s", err, read(t, path), files(t, path))
	}
}

// The keeper saves once per interval if something is new, and at the end.
func TestKeeper(t *testing.T) {
	path := filepath.Join(t.TempDir(), "learned")
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // as the loop has one
		p, asked := taught(t, 1), 0
		observe := func() {
			mu.Lock()
			defer mu.Unlock()
			p.Observe(1, time.Millisecond)
		}
		m := remember(path, quiet())
		k := keep(time.Minute, quiet(), func() error {
			mu.Lock()
			defer mu.Unlock()
			asked++
			return m.save([]pool.Learned{{Model: "m", InstanceType: "a", Profile: p.Clone()}})
		})
		samples := func() int {
			if _, err := os.Stat(path); err != nil {
				return -1
			}
			return remember(path, quiet()).take("m", "a", nil).Samples()
		}
		at := func(d time.Duration, want int) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if got := samples(); got != want {
				t.Errorf("%d samples saved, want %d (−1: no file)", got, want)
			}
		}
		at(59*time.Second, -1)
		at(2*time.Second, 1)
		observe()
		at(58*time.Second, 1)
		at(time.Second, 2)
		// Nothing new: the file is not touched, not even where it is gone.
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		at(10*time.Minute, -1)
		observe()
		if err := k.close(); err != nil {
			t.Fatal(err)
		}
		if got := samples(); got != 3 || asked != 13 {
			t.Errorf("%d samples saved at the end, want 3; asked %d times, want 13", got, asked)
		}
		at(time.Hour, 3)
	})
}

// Without a file nothing runs and nothing is written.
func TestKeeperWithoutAFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := remember("", quiet())
		k := keep(0, quiet(), func() error { return m.save(nil) })
		time.Sleep(time.Hour)
		if err := k.close(); err != nil {
			t.Error(err)
		}
	})
}
