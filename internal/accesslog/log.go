// Package accesslog writes one line per request: of some of those that were
// answered, chosen by their ids, of slow ones, and of those that were not.
//
// No request waits for it. Lines are made by whoever answers a request, without
// allocating, and written by one goroutine in the order in which they came;
// where it cannot keep up, or the disk is full, lines are lost and counted.
package accesslog

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
)

// Settings say what is logged, and where to.
type Settings struct {
	File   string  // "-" is standard error
	Text   bool    // key=value in place of JSON
	Sample float64 // share of the requests that are neither slow nor errors, 0 to 1
	// A request is slow that took longer than After, or than Factor times its model's
	// latency target; 0: neither counts.
	After  time.Duration
	Factor float64
	Errors bool // all that were answered with 400 and above; else they are sampled as well
	Client bool // lines tell the client's address
}

// maxPending is how much waits to be written at most, in bytes: some thousand lines.
const maxPending = 1 << 20

// Log is an access log. All methods may be called from several goroutines at
// once. Make one with New, and Close it.
type Log struct {
	stderr  io.Writer
	log     *slog.Logger
	current atomic.Pointer[settings] // nil: nothing is logged
	written atomic.Uint64
	dropped atomic.Uint64
	wake    chan struct{} // has a place for one
	done    chan struct{}
	buffers sync.Pool // of *[]byte, in which lines are made

	mu struct {
		sync.Mutex
		pending []byte
		lines   uint64 // in pending
		next    *file  // takes over; nil: nothing changes
		closed  bool
	}
}

// settings are Settings and what follows from them.
type settings struct {
	Settings
	below uint64 // ids whose hash is not above it are in the sample
	none  bool   // no id is
}

// file is where lines go.
type file struct {
	io.Writer
	close func() error
	off   bool // nowhere
}

func nowhere() *file { return &file{io.Discard, nothing, true} }

// New returns a log that is off. stderr is what "-" stands for; to log it tells when
// lines begin to get lost.
func New(stderr io.Writer, log *slog.Logger) *Log {
	l := &Log{stderr: stderr, log: log, wake: make(chan struct{}, 1), done: make(chan struct{})}
	l.buffers.New = func() any { return new([]byte) }
	go l.run()
	return l
}

// Prepare opens the file that s names, and changes nothing yet: commit, which
// cannot fail, goes over to it, and to the other settings. So a file that was renamed
// is left for a new one. nil settings switch the log off. A commit that is not
// called leaves the file open.
func (l *Log) Prepare(s *Settings) (commit func(), err error) {
	if s == nil {
		return func() { l.change(nil, nowhere()) }, nil
	}
	next := &file{Writer: l.stderr, close: nothing}
	if s.File != "-" {
		f, err := os.OpenFile(s.File, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
		if err != nil {
			return nil, fmt.Errorf("cannot open the access log: %w", err)
		}
		next = &file{Writer: f, close: f.Close}
	}
	set := &settings{Settings: *s, none: !(s.Sample > 0), below: math.MaxUint64}
	if s.Sample < 1 && !set.none {
		set.below = uint64(math.Ldexp(s.Sample, 64))
	}
	return func() { l.change(set, next) }, nil
}

func nothing() error { return nil }

func (l *Log) change(s *settings, next *file) {
	l.mu.Lock()
	skipped := l.mu.next
	l.mu.next = next
	l.mu.Unlock()
	if skipped != nil {
		_ = skipped.close() // nothing was written to it
	}
	l.current.Store(s)
	l.poke()
}

// Reopen goes on in a new file of the same name, for one that was renamed.
func (l *Log) Reopen() error {
	s := l.current.Load()
	if s == nil {
		return nil
	}
	commit, err := l.Prepare(&s.Settings)
	if err == nil {
		commit()
	}
	return err
}

// Wants reports whether a request is logged: one of that id, which was or was not
// answered with an error, took that long, and whose model has that latency
// target (0: none). Every router says the same of an id.
func (l *Log) Wants(id []byte, failed bool, took, target time.Duration) bool {
	s := l.current.Load()
	switch {
	case s == nil:
		return false
	case failed && s.Errors,
		s.After > 0 && took > s.After,
		s.Factor > 0 && target > 0 && float64(took) > s.Factor*float64(target):
		return true
	case s.none:
		return false
	}
	return xxhash.Sum64(id) <= s.below
}

// Write logs a request. It does not wait, and keeps nothing of e.
func (l *Log) Write(e *Entry) {
	s := l.current.Load()
	if s == nil {
		return
	}
	buf := l.buffers.Get().(*[]byte)
	*buf = e.append((*buf)[:0], s)
	if l.queue(*buf) {
		l.poke()
	} else {
		l.dropped.Add(1)
	}
	l.buffers.Put(buf)
}

// queue has a line written, if there is room for it.
func (l *Log) queue(line []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.closed || len(l.mu.pending)+len(line) > maxPending {
		return false
	}
	l.mu.pending = append(l.mu.pending, line...)
	l.mu.lines++
	return true
}

func (l *Log) poke() {
	select {
	case l.wake <- struct{}{}:
	default: // it is awake
	}
}

// Written and Dropped count lines so far.
func (l *Log) Written() uint64 { return l.written.Load() }

// Dropped counts lines that were not written, or not whole.
func (l *Log) Dropped() uint64 { return l.dropped.Load() }

// Close writes what is pending and closes the file. Later lines are lost. It may be
// called again.
func (l *Log) Close() {
	l.mu.Lock()
	l.mu.closed = true
	l.mu.Unlock()
	l.poke()
	<-l.done
}

// run writes.
func (l *Log) run() {
	defer close(l.done)
	to := nowhere()
	var batch []byte
	torn := false // the last line that was written has no end
	failing := false
	for range l.wake {
		l.mu.Lock()
		batch, l.mu.pending = l.mu.pending, batch[:0]
		lines, next, closed := l.mu.lines, l.mu.next, l.mu.closed
		l.mu.lines, l.mu.next = 0, nil
		l.mu.Unlock()

		swap := func() {
			if err := to.close(); err != nil {
				l.tell(err)
			}
			to, torn = next, false
		}
		if next != nil && !next.off {
			swap()
		}
		if len(batch) > 0 {
			lost, err := put(to, batch, &torn)
			l.written.Add(lines - lost)
			l.dropped.Add(lost)
			if failing != (err != nil) {
				failing = err != nil
				l.tell(err)
			}
		}
		if next != nil && next.off {
			swap()
		}
		if closed {
			if err := to.close(); err != nil {
				l.tell(err)
			}
			return
		}
	}
}

func (l *Log) tell(err error) {
	if err != nil {
		l.log.Warn("lines of the access log are lost", "error", err, "lost", l.dropped.Load())
		return
	}
	l.log.Info("the access log is written again", "lost", l.dropped.Load())
}

// put writes lines and returns how many were lost. Where the one before was cut
// short, it ends that first.
func put(to io.Writer, lines []byte, torn *bool) (lost uint64, err error) {
	if *torn {
		if _, err := to.Write([]byte{'\n'}); err != nil {
			return uint64(bytes.Count(lines, []byte{'\n'})), err
		}
		*torn = false
	}
	n, err := to.Write(lines)
	if err != nil && n > 0 {
		*torn = lines[n-1] != '\n'
	}
	return uint64(bytes.Count(lines[n:], []byte{'\n'})), err
}
