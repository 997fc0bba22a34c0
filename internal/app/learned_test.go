package app

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"motley/internal/pool"
	"motley/internal/statefile"
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
	_, bare, _ := strings.Cut(good, "\n") // as an earlier version wrote it
	for i, c := range []struct{ content, want string }{
		{"", "incomplete: 0 bytes"},
		{good[:len(good)/2], "line 1: incomplete"},
		{"model,instance_type\n", "line 1: these are no saved profiles"},
		{strings.Replace(bare, `"version":1`, `"version":9`, 1), "line 1: version: saved by a newer version"},
		{strings.Replace(good, `"version":1`, `"version":9`, 1), "line 1: damaged: the checksum does not match"},
		{strings.Replace(good, "profiles 1", "exits 1", 1), "line 1: not what belongs here: it holds"},
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
		if err := m.save(learned); !errors.Is(err, errNotKept) {
			t.Error(err)
		}
		if got := files(t, path); got != "learned" {
			t.Errorf("there is %s", got)
		}
	})
	t.Run("no name left", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "learned")
		names := []string{path}
		for i := range statefile.MostAside {
			names = append(names, fmt.Sprintf("%s.damaged-%d", path, i+1))
		}
		for _, name := range names {
			if err := os.WriteFile(name, []byte("damaged"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		m := remember(path, quiet())
		if err := m.save(learned); !errors.Is(err, errNotKept) {
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

// TestMemoryOfAnEarlierVersion: a file without a first line is read, and saved with one.
func TestMemoryOfAnEarlierVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "learned")
	learned := []pool.Learned{{Model: "m", InstanceType: "a", Profile: taught(t, 50)}}
	var bare bytes.Buffer
	if err := pool.SaveProfiles(&bare, learned); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bare.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	m := remember(path, quiet())
	p := m.take("m", "a", nil)
	if p == nil || p.Samples() != 50 {
		t.Fatalf("%+v", p)
	}
	if err := m.save(learned); err != nil || !strings.HasPrefix(read(t, path), "motley-state 1 profiles 1 ") {
		t.Errorf("saved as %.40q, %v", read(t, path), err)
	}
	if p := remember(path, quiet()).take("m", "a", nil); p == nil || p.Samples() != 50 || files(t, path) != "learned" {
		t.Errorf("%+v; there is %s", p, files(t, path))
	}
}

// TestKeeperThatCannotSave: a failure is counted each time and logged when it is a new one,
// and so is that it is over; what was handed over is not saved any more.
func TestKeeperThatCannotSave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var mu sync.Mutex // over what follows
		var fault error
		saves := 0
		k := keep(time.Second, slog.New(slog.NewTextHandler(&log, nil)), func() error {
			mu.Lock()
			defer mu.Unlock()
			saves++
			return fault
		})
		r := prometheus.NewRegistry()
		k.register(r)
		step := func(err error, seconds int, lines, failures int, saved float64) {
			t.Helper()
			log.Reset()
			mu.Lock()
			fault = err
			mu.Unlock()
			time.Sleep(time.Duration(seconds) * time.Second)
			synctest.Wait()
			all, err := r.Gather()
			if err != nil || len(all) != 2 {
				t.Fatal(all, err)
			}
			at := all[0].GetMetric()[0].GetGauge().GetValue() - float64(time.Now().Unix())
			if n := strings.Count(log.String(), "\n"); n != lines || all[1].GetMetric()[0].GetCounter().GetValue() != float64(failures) || at != saved {
				t.Errorf("%v for %d s: %d lines, %v, saved %v s ago:\n%s", err, seconds, n, all[1], -at, &log)
			}
		}
		time.Sleep(time.Second / 2)
		step(nil, 3, 0, 0, 0)
		step(errors.New("disk full"), 10, 1, 10, -10)
		step(errors.New("disk gone"), 3, 1, 13, -13)
		step(fmt.Errorf("x: %w", errNotKept), 3, 0, 16, -16)
		step(nil, 2, 1, 16, 0)
		k.handOver()
		before := saves
		step(errors.New("disk full"), 10, 0, 16, -9.5)
		k.take()
		if saves != before {
			t.Errorf("saved %d times though another process keeps the file", saves-before)
		}
		step(errors.New("disk full"), 1, 1, 17, -10.5)
		if err := k.close(); err == nil {
			t.Error("the last failure is not told")
		}
	})
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
