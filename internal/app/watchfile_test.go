package app

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"motley/internal/config"
)

// TestWatcher plays what editors, copies and Kubernetes do to files.
func TestWatcher(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(at(name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to, name string) {
		t.Helper()
		if err := os.Symlink(to, at("new")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(at("new"), at(name)); err != nil {
			t.Fatal(err)
		}
	}
	rename := func(from, to string) {
		t.Helper()
		if err := os.Rename(at(from), at(to)); err != nil {
			t.Fatal(err)
		}
	}
	// As Kubernetes mounts a ConfigMap: the file is a link into ..data, which is a link to
	// a directory that is another one after a change.
	for _, d := range []string{"v1", "v2"} {
		if err := os.Mkdir(at(d), 0o755); err != nil {
			t.Fatal(err)
		}
		write(d+"/mounted", "of "+d)
	}
	link("v1", "..data")
	link("..data/mounted", "mounted")
	write("a", "one")
	files := []string{at("a"), at("mounted"), at("absent")}
	var w watcher
	for range 2 {
		if w.look(files) {
			t.Fatal("a change before any")
		}
	}
	for _, c := range []struct {
		what string
		do   func()
		want bool
	}{
		{"nothing", func() {}, false},
		{"written anew", func() { write("a", "two") }, true},
		{"of the same length", func() { write("a", "owt") }, true},
		{"written with what it held", func() { write("a", "owt") }, false},
		{"touched", func() {
			if err := os.Chtimes(at("a"), time.Now(), time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"replaced by a rename", func() { write("b", "three"); rename("b", "a") }, true},
		{"replaced by one of the same time and length", func() {
			write("b", "eerht")
			i, err := os.Stat(at("a"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(at("b"), time.Now(), i.ModTime()); err != nil {
				t.Fatal(err)
			}
			rename("b", "a")
		}, true},
		{"a link swapped", func() { link("v2", "..data") }, true},
		{"there at last", func() { write("absent", "x") }, true},
		{"removed", func() {
			if err := os.Remove(at("absent")); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"emptied", func() { write("a", "") }, true},
		{"a directory in its place", func() {
			if err := os.Remove(at("a")); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(at("a"), 0o755); err != nil {
				t.Fatal(err)
			}
		}, true},
	} {
		c.do()
		if w.look(files) && c.want {
			t.Errorf("%s: reported before it was seen twice", c.what)
		}
		if got := w.look(files); got != c.want {
			t.Errorf("%s: changed is %v, want %v", c.what, got, c.want)
		}
		w.accept(files)
	}
}

// A file that is still being written is left alone.
func TestWatcherWaitsForTheEnd(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	var w watcher
	w.look([]string{file})
	for i := range 10 {
		if err := os.WriteFile(file, []byte(strings.Repeat("x", i)), 0o644); err != nil {
			t.Fatal(err)
		}
		if w.look([]string{file}) {
			t.Fatalf("reported while it grows, at %d bytes", i)
		}
	}
	if !w.look([]string{file}) {
		t.Error("its end is not noticed")
	}
}

// TestFilesAreFollowed changes files under a running router: a worker more, a faulty one, which
// is told of once and changes nothing, and a good one again.
func TestFilesAreFollowed(t *testing.T) {
	l := newLedger(t, 1)
	dir := t.TempDir()
	file, profiles := filepath.Join(dir, "router.yaml"), filepath.Join(dir, "p.csv")
	base := "reload: {watch: true, interval: 10ms}\nprofiles: [p.csv]\nmodels: [{name: m}]\ninstance_types: [{name: t}]\nworkers:\n"
	worker := func(name string) string {
		return "  - {name: " + name + ", type: t, remote: {url: \"" + l.urls[0] + "\"}}\n"
	}
	put := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	put(profiles, "model,instance_type,batch,mean_ms,p99_ms\nm,t,1,5,5\n")
	put(file, base+worker("a"))
	read := func() (*config.Config, error) { return config.Load(file) }
	cfg, err := read()
	if err != nil {
		t.Fatal(err)
	}
	log := &logLines{}
	a, err := New(cfg, Options{Log: slog.New(slog.NewTextHandler(log, nil)), Load: read, File: file})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := a.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	names := func() (all string) {
		for _, w := range a.members.list() {
			all += w.Name
		}
		return all
	}
	until := func(what string, holds func() bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !holds(); <-time.After(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: not in 20 s; workers %s, log:\n%s", what, names(), log)
			}
		}
	}
	put(file, base+worker("a")+worker("b"))
	until("a worker more", func() bool { return names() == "ab" })
	put(file, base+worker("b")+"  - {name: c, type: nonsense, remote: {url: \"http://h\"}}\n")
	until("a faulty file", func() bool { return strings.Contains(log.String(), "workers[1].type") })
	put(profiles, "model,instance_type,batch,mean_ms,p99_ms\nm,t,1,7,7\n")
	until("another profile", func() bool { return strings.Count(log.String(), "the configuration stays as it is") == 2 })
	if names() != "ab" {
		t.Errorf("a faulty file left workers %s, want ab", names())
	}
	put(file, base+worker("b")+worker("c"))
	until("measured otherwise", func() bool { return strings.Contains(log.String(), "what is measured of m on t cannot change") })
	put(profiles, "model,instance_type,batch,mean_ms,p99_ms\nm,t,1,5,5\n")
	until("a good file", func() bool { return names() == "bc" })
	if n := strings.Count(log.String(), "the configuration stays as it is"); n != 3 {
		t.Errorf("3 faults are told of %d times:\n%s", n, log)
	}
}
