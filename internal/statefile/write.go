package statefile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Write makes a payload the content of the file at path, all of it or, when
// something fails or the machine stops, nothing: the old one is there until the
// new one is safe. The file is its owner's alone (mode 0600). Where path is a
// symbolic link, what it leads to is written.
func Write(path, kind string, version int, payload []byte) error {
	return write(system{}, path, kind, version, payload)
}

func write(d disk, path, kind string, version int, payload []byte) error {
	if kind == "" || strings.ContainsAny(kind, " \n") || len(kind) > maxHead/2 || version < 1 {
		panic(fmt.Sprintf("BUG: state of kind %q, version %d", kind, version))
	}
	if len(payload) > maxState {
		return fmt.Errorf("cannot write %s: %w: %d bytes", path, ErrTooLarge, len(payload))
	}
	return replace(d, path, 0, head(kind, version, payload), payload)
}

// Replace writes a file as Write does, without a first line, and with a mode.
func Replace(path string, mode fs.FileMode, content []byte) error {
	return replace(system{}, path, mode, content)
}

// replace writes content, piece by piece, to the file at path; mode 0 is 0600.
func replace(d disk, path string, mode fs.FileMode, content ...[]byte) error {
	to, err := target(path)
	if err == nil {
		err = renew(d, to, mode, content)
	}
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return nil
}

func renew(d disk, path string, mode fs.FileMode, content [][]byte) error {
	f, err := d.create(filepath.Dir(path), filepath.Base(path)+".new-*")
	if err != nil {
		return step("create a file beside it", err)
	}
	if err = fill(f, mode, content); err == nil {
		err = step("rename", d.rename(f.Name(), path))
	}
	if err != nil {
		if e := d.remove(f.Name()); e != nil {
			err = errors.Join(err, step("remove what was written", e))
		}
		return err
	}
	return step("force its name to the disk", d.syncDir(filepath.Dir(path)))
}

func fill(f file, mode fs.FileMode, content [][]byte) (err error) {
	defer func() { err = errors.Join(err, step("close", f.Close())) }()
	if mode != 0 {
		if err := f.Chmod(mode); err != nil {
			return step("set its mode", err)
		}
	}
	for _, b := range content {
		switch n, err := f.Write(b); {
		case err != nil:
			return step("write", err)
		case n < len(b):
			return step("write", io.ErrShortWrite)
		}
	}
	return step("force it to the disk", f.Sync())
}

// step says which step failed. The name of the file beside, which is another each
// time, is left out.
func step(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, cause(err))
}

// cause is an error of package os without the file's name.
func cause(err error) error {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}

// target is where path leads to, if it is a symbolic link, whether that is there
// or not.
func target(path string) (string, error) {
	for range 40 {
		to, err := os.Readlink(path)
		if err != nil { // not a link, or nothing
			return path, nil
		}
		if !filepath.IsAbs(to) {
			to = filepath.Dir(path) + string(filepath.Separator) + to
		}
		path = to
	}
	return "", syscall.ELOOP
}

// disk is what a Write asks of the operating system.
type disk interface {
	create(dir, pattern string) (file, error)
	rename(from, to string) error
	remove(name string) error
	syncDir(dir string) error
}

// file is a file that is being written.
type file interface {
	io.WriteCloser
	Name() string
	Chmod(fs.FileMode) error
	Sync() error
}

type system struct{}

func (system) create(dir, pattern string) (file, error) { return os.CreateTemp(dir, pattern) }
func (system) rename(from, to string) error             { return os.Rename(from, to) }
func (system) remove(name string) error                 { return os.Remove(name) }

// syncDir forces a rename to the disk. Some file systems cannot, and have no
// more to offer.
func (system) syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	err = dir.Sync()
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL) {
		err = nil
	}
	return errors.Join(err, dir.Close())
}
