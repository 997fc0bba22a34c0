package statefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const kind = "test"

// stored is what Write makes of a payload.
func stored(payload string) []byte {
	return append(head(kind, 3, []byte(payload)), payload...)
}

func write1(t testing.TB, path, payload string) {
	t.Helper()
	if err := Write(path, kind, 3, []byte(payload)); err != nil {
		t.Fatal(err)
	}
}

// names lists a directory.
func names(t testing.TB, dir string) string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range list {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	for _, payload := range []string{"", "x", "motley-state ", strings.Repeat("line\n\x00", 100_000)} {
		write1(t, path, payload)
		c, err := Read(path, kind, 3)
		if err != nil || string(c.Payload) != payload || c.Version != 3 || c.Bare {
			t.Errorf("%.20q: %+.40v, %v", payload, c, err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if got := names(t, dir); got != "state" {
		t.Errorf("left behind: %s", got)
	}
}

// TestReadTellsApart: every way in which a file is not what it should be has a class, and
// a text that names the file and what is wrong.
func TestReadTellsApart(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	good := string(stored("payload"))
	for name, c := range map[string]struct {
		content string
		class   error
		says    string
	}{
		"empty":           {"", ErrTorn, "0 bytes"},
		"half a word":     {"motley-st", ErrTorn, "9 bytes"},
		"half a line":     {good[:20], ErrTorn, "does not end"},
		"half a payload":  {good[:len(good)-3], ErrTorn, "4 bytes follow, not 7"},
		"more":            {good + "x", ErrTorn, "8 bytes follow, not 7"},
		"another payload": {strings.Replace(good, "payload", "Payload", 1), ErrChecksum, "line 1"},
		"another kind":    {string(head("profiles", 3, nil)), ErrForeign, `it holds "profiles", not "test"`},
		"newer":           {string(head(kind, 4, nil)), ErrNewer, "version 4, this one reads up to 3"},
		"newer form":      {"motley-state 2 and all is different\n", ErrNewer, "form 2"},
		"no version":      {"motley-state 1 test 0 0 0\n", ErrForeign, "version"},
		"fewer fields":    {"motley-state 1 test\n", ErrForeign, "want motley-state 1 KIND"},
		"long line":       {"motley-state 1 " + strings.Repeat("x", maxHead), ErrForeign, "longer than"},
	} {
		if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Read(path, kind, 3)
		if !errors.Is(err, c.class) || !Damaged(err) || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %v with %q", name, err, c.class, c.says)
		}
	}
	if err := os.WriteFile(path, []byte("an earlier version's\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := Read(path, kind, 3); err != nil || !c.Bare || string(c.Payload) != "an earlier version's\n" {
		t.Errorf("without a first line: %+v, %v", c, err)
	}
	if _, err := Read(filepath.Join(dir, "gone"), kind, 3); !errors.Is(err, fs.ErrNotExist) || Damaged(err) {
		t.Errorf("no file: %v", err)
	}
	if _, err := Read(dir, kind, 3); !errors.Is(err, ErrNotRegular) || Damaged(err) {
		t.Errorf("a directory: %v", err)
	}
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, maxHead+maxState+1); err != nil { // a sparse file
		t.Fatal(err)
	}
	if _, err := Read(large, kind, 3); !errors.Is(err, ErrTooLarge) || !Damaged(err) {
		t.Errorf("a large file: %v", err)
	}
}

// TestEveryTearAndEveryBit: a file that was cut anywhere, or of which a bit has turned, is
// never taken for a whole one; where its beginning is gone, it has no first line.
func TestEveryTearAndEveryBit(t *testing.T) {
	good := stored("some payload, and\nmore of it")
	bare := 0
	check := func(what string, in []byte) {
		t.Helper()
		c, err := parse(in, kind, 3)
		switch {
		case err == nil && !c.Bare:
			t.Errorf("%s: taken for whole: %q", what, in)
		case err == nil:
			bare++
		case !Damaged(err):
			t.Errorf("%s: %v", what, err)
		}
	}
	for i := range good {
		check(fmt.Sprintf("cut at %d", i), good[:i])
	}
	if bare > 0 {
		t.Errorf("%d of those cut were taken for files of an earlier version", bare)
	}
	for i := range good {
		for bit := range 8 {
			in := append([]byte(nil), good...)
			in[i] ^= 1 << bit
			check(fmt.Sprintf("byte %d, bit %d", i, bit), in)
		}
		for v := range 256 {
			if in := append([]byte(nil), good...); in[i] != byte(v) {
				in[i] = byte(v)
				check(fmt.Sprintf("byte %d is %d", i, v), in)
			}
		}
	}
	if most := len(magic) * (8 + 255); bare != most { // wherever the first word is another one
		t.Errorf("%d have no first line, want %d", bare, most)
	}
}

// TestReadersBesideAWriter: whoever reads while files are replaced reads a whole one.
func TestReadersBesideAWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	payload := func(i int) string { return strings.Repeat(fmt.Sprintf("%d,", i), 2000) }
	write1(t, path, payload(0))
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				c, err := Read(path, kind, 3)
				if err != nil {
					t.Error(err)
					return
				}
				var i int
				if _, err := fmt.Sscanf(string(c.Payload), "%d,", &i); err != nil || string(c.Payload) != payload(i) {
					t.Errorf("read a mixture, %v", err)
					return
				}
			}
		})
	}
	for i := range 40 {
		write1(t, path, payload(i))
	}
	close(done)
	readers.Wait()
}

func TestSymbolicLinks(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(os.Mkdir(at("volume"), 0o755), os.Symlink("volume/real", at("first")), os.Symlink("first", at("state"))); err != nil {
		t.Fatal(err)
	}
	write1(t, at("state"), "one") // it leads to nothing as yet
	write1(t, at("state"), "two")
	if c, err := Read(at("volume/real"), kind, 3); err != nil || string(c.Payload) != "two" {
		t.Errorf("behind the links: %q, %v", c.Payload, err)
	}
	aside, err := SetAside(at("state"))
	if err != nil || aside != at("volume/real.damaged-1") || names(t, dir) != "first state volume" || names(t, at("volume")) != "real.damaged-1" {
		t.Errorf("set aside as %s, %v: %s, %s", aside, err, names(t, dir), names(t, at("volume")))
	}
	// A link that somebody has put where the file beside goes is not followed.
	if err := os.Symlink("self", at("self")); err != nil {
		t.Fatal(err)
	}
	if err := Write(at("self"), kind, 3, nil); err == nil {
		t.Error("written through a link to itself")
	}
}

func TestSetAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	for i := range MostAside {
		if err := os.WriteFile(path, []byte{byte(i)}, 0o600); err != nil {
			t.Fatal(err)
		}
		if name, err := SetAside(path); err != nil || name != fmt.Sprintf("%s.damaged-%d", path, i+1) {
			t.Fatalf("%s, %v", name, err)
		}
	}
	if err := os.WriteFile(path, []byte("one more"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := SetAside(path); err == nil {
		t.Error("no bound")
	}
	if b, err := os.ReadFile(path + ".damaged-7"); err != nil || len(b) != 1 || b[0] != 6 {
		t.Errorf("the 7th holds %v, %v", b, err)
	}
}

func TestCleanUp(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	write1(t, path, "good")
	for _, name := range []string{"state.new", "state.new-123", "state.new-1.exits", "state.newer", "state.new-", "other.new-1", "state.damaged-1"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := CleanUp(path); n != 2 || err != nil || names(t, dir) != "other.new-1 state state.damaged-1 state.new- state.new-1.exits state.newer" {
		t.Errorf("%d removed, %v: %s", n, err, names(t, dir))
	}
	if _, err := CleanUp(filepath.Join(dir, "gone", "state")); err == nil || !strings.Contains(err.Error(), "gone") {
		t.Errorf("no directory: %v", err)
	}
}

func TestReplaceKeepsTheMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table.csv")
	if err := Replace(path, 0o644, []byte("a,b\n")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// FuzzRead: whatever a file holds, reading it gives a payload that Write would have
// written so, all of the file, or an error that is the content's fault.
func FuzzRead(f *testing.F) {
	f.Add(stored("payload"))
	f.Add([]byte("motley-state 1 test 3 7 0123456789abcdef\npayload"))
	f.Add([]byte(`{"format":"motley profiles"}`))
	f.Add([]byte("motley-state 1 test 03 7 "))
	f.Fuzz(func(t *testing.T, in []byte) {
		c, err := parse(in, kind, 3)
		switch {
		case err != nil && !Damaged(err):
			t.Errorf("%q: %v", in, err)
		case err != nil || c.Bare:
		case string(in) != string(head(kind, c.Version, c.Payload))+string(c.Payload):
			t.Errorf("%q is read, and would be written otherwise", in)
		}
	})
}
