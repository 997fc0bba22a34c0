package accesslog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// begin makes a log that is closed with the test, unless it was before.
func begin(t testing.TB, stderr io.Writer, s Settings) (*Log, *bytes.Buffer) {
	t.Helper()
	var told bytes.Buffer
	l := New(stderr, slog.New(slog.NewTextHandler(&told, nil)))
	commit, err := l.Prepare(&s)
	if err != nil {
		t.Fatal(err)
	}
	commit()
	return l, &told
}

func numbered(i int) *Entry {
	e := example()
	e.ID = fmt.Append(nil, "request-", i)
	return &e
}

// Which requests are logged depends on nothing but what they are, so that routers agree.
func TestWants(t *testing.T) {
	const target = 10 * time.Millisecond
	l, _ := begin(t, io.Discard, Settings{File: "-", Sample: .1, After: time.Second, Factor: 2, Errors: true})
	other, _ := begin(t, io.Discard, Settings{File: "-", Sample: .1})
	n := 0
	for i := range 20000 {
		id := fmt.Append(nil, "request-", i)
		in := l.Wants(id, false, time.Millisecond, target)
		if in != other.Wants(id, true, time.Hour, target) {
			t.Fatalf("%s is in the sample of one and not of the other", id)
		}
		if in {
			n++
		}
	}
	if n < 1850 || n > 2150 { // 2000 ± 3.5 standard deviations
		t.Errorf("%d of 20000 are in a sample of 0.1", n)
	}
	out := []byte("request-0") // see the next line
	for i := 0; l.Wants(out, false, 0, 0); i++ {
		out = fmt.Append(nil, "request-", i)
	}
	for what, c := range map[string]struct {
		failed       bool
		took, target time.Duration
		want         bool
	}{
		"plain":                   {false, target, target, false},
		"an error":                {true, 0, target, true},
		"over the target":         {false, 2 * target, target, false},
		"over twice the target":   {false, 2*target + 1, target, true},
		"slow without a target":   {false, time.Second, 0, false},
		"slower than ever":        {false, time.Second + 1, 0, true},
		"slow for a slow model":   {false, time.Second + 1, time.Hour, true},
		"within a slow one's own": {false, time.Second, time.Hour, false},
	} {
		if got := l.Wants(out, c.failed, c.took, c.target); got != c.want {
			t.Errorf("%s: %v", what, got)
		}
	}
	for _, c := range []struct {
		sample float64
		want   bool
	}{{0, false}, {1, true}} {
		all, _ := begin(t, io.Discard, Settings{File: "-", Sample: c.sample})
		for i := range 1000 {
			if all.Wants(fmt.Append(nil, i), false, 0, 0) != c.want {
				t.Fatalf("sample %v: id %d", c.sample, i)
			}
		}
		all.Close()
	}
	off, err := l.Prepare(nil)
	if err != nil {
		t.Fatal(err)
	}
	off()
	if l.Wants(out, true, time.Hour, target) {
		t.Error("it is off, and wants a line")
	}
	l.Close()
	other.Close()
}

// TestReopen: a file that is renamed is left for a new one, and no line is lost.
func TestReopen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "access.log")
	l, told := begin(t, nil, Settings{File: path, Sample: 1})
	const n = 400
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range n {
				l.Write(numbered(w*n + i))
			}
		})
	}
	for i := range 20 {
		if err := os.Rename(path, fmt.Sprint(path, ".", i)); err != nil {
			t.Fatal(err)
		}
		if err := l.Reopen(); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	l.Close()
	files, _ := filepath.Glob(path + "*")
	seen := map[string]int{}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			_, rest, _ := strings.Cut(line, `"id":"`)
			id, _, _ := strings.Cut(rest, `"`)
			seen[id]++
		}
	}
	if len(files) != 21 || len(seen) != 4*n || l.Written() != 4*n || l.Dropped() != 0 || told.Len() > 0 {
		t.Errorf("%d files, %d lines, %d written, %d dropped; %s", len(files), len(seen), l.Written(), l.Dropped(), told)
	}
	for id, k := range seen {
		if k != 1 {
			t.Errorf("%q: %d times", id, k)
		}
	}
	l.Close() // once more does no harm
}

// TestPrepare: what cannot be opened is an error, and changes nothing.
func TestPrepare(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	l, _ := begin(t, nil, Settings{File: path, Sample: 1})
	for _, bad := range []string{filepath.Dir(path), filepath.Join(path, "below"), ""} {
		if _, err := l.Prepare(&Settings{File: bad}); err == nil {
			t.Errorf("%q can be opened", bad)
		}
	}
	if !l.Wants([]byte("x"), false, 0, 0) {
		t.Error("what failed has changed what is logged")
	}
	l.Write(numbered(1))
	if _, err := l.Prepare(&Settings{File: path, Text: true}); err != nil { // not committed
		t.Fatal(err)
	}
	l.Write(numbered(2))
	l.Close()
	data, err := os.ReadFile(path)
	if err != nil || strings.Count(string(data), "\n") != 2 || strings.Count(string(data), "{") != 2 {
		t.Errorf("%v: %s", err, data)
	}
	l.Write(numbered(3)) // after the end
	if l.Dropped() != 1 || l.Written() != 2 {
		t.Errorf("%d dropped, %d written", l.Dropped(), l.Written())
	}
}

// slowDisk lets nothing through until it is opened.
type slowDisk struct {
	entered chan struct{}
	open    chan struct{}
	got     bytes.Buffer
}

func (d *slowDisk) Write(p []byte) (int, error) {
	select {
	case d.entered <- struct{}{}:
	default:
	}
	<-d.open
	return d.got.Write(p)
}

// TestSlowDisk: nobody waits for a disk that hangs; what there is no room for is
// counted, and what is written later is whole.
func TestSlowDisk(t *testing.T) {
	d := &slowDisk{entered: make(chan struct{}, 1), open: make(chan struct{})}
	l, _ := begin(t, d, Settings{File: "-", Sample: 1})
	l.Write(numbered(0))
	<-d.entered
	const n = 10000
	for i := range n {
		l.Write(numbered(i + 1)) // would hang here
	}
	size := len(numbered(5000).append(nil, l.current.Load()))
	lost := l.Dropped()
	if want := uint64(n - maxPending/size); lost < want-100 || lost > want+100 {
		t.Errorf("%d of %d lines of some %d bytes are lost", lost, n, size)
	}
	close(d.open)
	l.Close()
	whole := 0
	for line := range strings.Lines(d.got.String()) {
		if !strings.HasPrefix(line, "{") || !strings.HasSuffix(line, "}\n") {
			t.Fatalf("%q", line)
		}
		whole++
	}
	if uint64(whole)+lost != n+1 || l.Written() != uint64(whole) {
		t.Errorf("%d lines, %d written and %d lost, of %d", whole, l.Written(), lost, n+1)
	}
}

// smallDisk takes room bytes in all, until it is cleared.
type smallDisk struct {
	room int
	got  bytes.Buffer
}

var errFull = errors.New("no space left on device")

func (d *smallDisk) Write(p []byte) (int, error) {
	n := min(len(p), d.room)
	d.room -= n
	d.got.Write(p[:n])
	if n < len(p) {
		return n, errFull
	}
	return n, nil
}

// TestFullDisk: lines are lost while the disk is full, and counted; what follows is not
// joined to the line that was cut short; the log says so once each time.
func TestFullDisk(t *testing.T) { synctest.Test(t, testFullDisk) }

func testFullDisk(t *testing.T) {
	d := &smallDisk{}
	l, told := begin(t, d, Settings{File: "-", Sample: 1})
	size := len(numbered(1).append(nil, l.current.Load()))
	after := func(i int) {
		l.Write(numbered(i))
		synctest.Wait() // it was tried
	}
	d.room = 2*size + size/2
	for i := range 5 {
		after(i + 1) // 1 and 2 fit, half of 3
	}
	d.room = 1 << 20
	for i := range 3 {
		after(i + 6)
	}
	l.Close()
	var whole, cut int
	for line := range strings.Lines(d.got.String()) {
		if strings.HasPrefix(line, "{") && strings.HasSuffix(line, "}\n") {
			whole++
		} else {
			cut++
		}
	}
	if whole != 5 || cut != 1 || l.Written() != 5 || l.Dropped() != 3 {
		t.Errorf("%d whole, %d cut, %d written, %d dropped:\n%s", whole, cut, l.Written(), l.Dropped(), &d.got)
	}
	if text := told.String(); strings.Count(text, "\n") != 2 || !strings.Contains(text, "no space left") || !strings.Contains(text, "written again") {
		t.Errorf("told:\n%s", text)
	}
}

// TestDevFull is the same with the system's own.
func TestDevFull(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("the system has no /dev/full")
	}
	l, told := begin(t, nil, Settings{File: "/dev/full", Sample: 1})
	for i := range 100 {
		l.Write(numbered(i))
	}
	l.Close()
	if l.Dropped() != 100 || l.Written() != 0 || strings.Count(told.String(), "\n") != 1 {
		t.Errorf("%d dropped, %d written:\n%s", l.Dropped(), l.Written(), told)
	}
}

func BenchmarkWants(b *testing.B) {
	l, _ := begin(b, io.Discard, Settings{File: "-", Sample: .01, Errors: true, Factor: 2})
	id := []byte("0123456789abcdef0123456789abcdef")
	b.ReportAllocs()
	for b.Loop() {
		l.Wants(id, false, time.Millisecond, time.Second)
	}
	l.Close()
}

func BenchmarkWrite(b *testing.B) {
	for _, text := range []bool{false, true} {
		b.Run(fmt.Sprintf("text=%v", text), func(b *testing.B) {
			l, _ := begin(b, io.Discard, Settings{File: "-", Sample: 1, Text: text, Client: true})
			e := numbered(1)
			b.ReportAllocs()
			for b.Loop() {
				l.Write(e)
			}
			l.Close()
			b.ReportMetric(float64(l.Dropped())/float64(b.N), "lost/op")
		})
	}
}
