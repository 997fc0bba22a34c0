package statefile

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// model is a disk as a crash sees it: what was written to a file but not forced
// may be there in part, and a name that was changed may be the old one, until
// the directory was forced.
type model struct {
	names   map[string]*inode // as the running system sees them
	durable map[string]*inode // as they are after a crash, at the least
	steps   int               // so far
	failAt  int               // the step that fails; 0 = none
	fault   error
	short   bool // the write that fails has written half
	created int
}

type inode struct {
	data   []byte // as the running system sees it
	forced []byte
}

func newModel(path, content string) *model {
	m := &model{names: map[string]*inode{}, durable: map[string]*inode{}}
	if content != "" {
		n := &inode{data: []byte(content), forced: []byte(content)}
		m.names[path], m.durable[path] = n, n
	}
	return m
}

func (m *model) step() error {
	m.steps++
	if m.steps == m.failAt {
		return m.fault
	}
	return nil
}

func (m *model) create(dir, pattern string) (file, error) {
	if err := m.step(); err != nil {
		return nil, err
	}
	m.created++
	name := filepath.Join(dir, strings.Replace(pattern, "*", fmt.Sprint(m.created), 1))
	if m.names[name] != nil {
		return nil, fs.ErrExist
	}
	m.names[name] = &inode{}
	return &modelFile{m, name, m.names[name]}, nil
}

func (m *model) rename(from, to string) error {
	if err := m.step(); err != nil {
		return err
	}
	m.names[to] = m.names[from]
	delete(m.names, from)
	return nil
}

func (m *model) remove(name string) error {
	if err := m.step(); err != nil {
		return err
	}
	delete(m.names, name)
	return nil
}

func (m *model) syncDir(string) error {
	if err := m.step(); err != nil {
		return err
	}
	m.durable = map[string]*inode{}
	for k, v := range m.names {
		m.durable[k] = v
	}
	return nil
}

type modelFile struct {
	m    *model
	name string
	node *inode
}

func (f *modelFile) Name() string { return f.name }

func (f *modelFile) Write(p []byte) (int, error) {
	if err := f.m.step(); err != nil {
		if !f.m.short {
			return 0, err
		}
		f.node.data = append(f.node.data, p[:len(p)/2]...)
		if err == errShort {
			err = nil
		}
		return len(p) / 2, err
	}
	f.node.data = append(f.node.data, p...)
	return len(p), nil
}

func (f *modelFile) Chmod(fs.FileMode) error { return f.m.step() }

func (f *modelFile) Sync() error {
	if err := f.m.step(); err != nil {
		return err
	}
	f.node.forced = append([]byte(nil), f.node.data...)
	return nil
}

func (f *modelFile) Close() error { return f.m.step() }

var errShort = errors.New("short")

// after are the contents that a file may have after a crash now; "" = none.
func (m *model) after(path string) (all []string) {
	for _, names := range []map[string]*inode{m.names, m.durable} {
		n := names[path]
		if n == nil {
			all = append(all, "")
			continue
		}
		// Of what was not forced, any part may be there.
		all = append(all, string(n.forced))
		for i := range n.data {
			if i >= len(n.forced) {
				all = append(all, string(n.data[:i+1]))
			}
		}
	}
	return all
}

// TestCrashAtEveryStep: whenever the machine stops, the old state or the new one is
// there, whole; once Write has returned, the new one.
func TestCrashAtEveryStep(t *testing.T) {
	const path, kind = "dir/state", "test"
	before := string(head(kind, 1, []byte("old"))) + "old"
	for _, old := range []string{"", before} {
		for n := 1; ; n++ {
			m := newModel(path, old)
			m.failAt, m.fault = n, errors.New("the machine stops")
			stopped := false
			func() {
				defer func() { stopped = recover() != nil }()
				_ = write(crashing{m}, path, kind, 2, []byte("new state"))
			}()
			for _, content := range m.after(path) {
				c, err := parse([]byte(content), kind, 2)
				switch {
				case content == "" && old == "":
				case err != nil || c.Bare:
					t.Errorf("stopped at step %d: %q: %v", n, content, err)
				case string(c.Payload) != "new state" && (string(c.Payload) != "old" || !stopped):
					t.Errorf("stopped at step %d: %q", n, content)
				}
				if !stopped && string(c.Payload) != "new state" {
					t.Errorf("after Write: %q", content)
				}
			}
			if !stopped {
				if n != 8 { // create, two writes, sync, close, rename, sync of the directory
					t.Errorf("%d steps", n-1)
				}
				break
			}
		}
	}
}

// crashing is a disk that panics where its model fails: nothing is done after it.
type crashing struct{ *model }

func (c crashing) create(dir, pattern string) (file, error) {
	f, err := c.model.create(dir, pattern)
	if err != nil {
		panic(err)
	}
	return crashingFile{f.(*modelFile)}, nil
}

func (c crashing) rename(a, b string) error { return must(c.model.rename(a, b)) }
func (c crashing) remove(a string) error    { return must(c.model.remove(a)) }
func (c crashing) syncDir(a string) error   { return must(c.model.syncDir(a)) }

type crashingFile struct{ *modelFile }

func (f crashingFile) Write(p []byte) (int, error) {
	n, err := f.modelFile.Write(p)
	return n, must(err)
}
func (f crashingFile) Sync() error { return must(f.modelFile.Sync()) }

// Close does nothing once the machine has stopped, though Go still calls it.
func (f crashingFile) Close() error {
	if f.m.failAt > 0 && f.m.steps >= f.m.failAt {
		return nil
	}
	return must(f.modelFile.Close())
}

func must(err error) error {
	if err != nil {
		panic(err)
	}
	return nil
}

// TestFailureAtEveryStep: whatever fails, the error says so, nothing is left behind, and
// the old state stays, but where the new one has its name already.
func TestFailureAtEveryStep(t *testing.T) {
	const path, kind = "dir/state", "test"
	before := string(head(kind, 1, []byte("old"))) + "old"
	for _, c := range []struct {
		fault error
		short bool
	}{{errors.New("disk full"), false}, {errors.New("disk full"), true}, {errShort, true}} {
		n, renamed := 1, false
		for ; !renamed; n++ {
			m := newModel(path, before)
			m.failAt, m.fault, m.short = n, c.fault, c.short
			err := write(m, path, kind, 1, []byte("new state"))
			if err == nil || !strings.HasPrefix(err.Error(), "cannot write "+path+": ") {
				t.Fatalf("step %d: error %v", n, err)
			}
			if c.fault != errShort && !errors.Is(err, c.fault) {
				t.Errorf("step %d: error %v", n, err)
			}
			renamed = strings.Contains(err.Error(), "force its name")
			got := string(m.names[path].data)
			if renamed != strings.HasSuffix(got, "new state") || !renamed && got != before || len(m.names) != 1 {
				t.Errorf("step %d: %v; the file holds %q, there are %d", n, err, got, len(m.names))
			}
		}
		if n != 8 {
			t.Errorf("%d steps", n-1)
		}
	}
}
