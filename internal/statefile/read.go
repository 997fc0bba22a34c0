package statefile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
)

// Read reads the file at path, which is to hold a payload of this kind, of at
// most this version. Its errors name the file and what is wrong with it:
// fs.ErrNotExist where there is none, one that is Damaged, or why it cannot be
// read.
func Read(path, kind string, version int) (Content, error) {
	in, err := readAll(path)
	if err != nil {
		return Content{}, fmt.Errorf("%s: %w", path, cause(err))
	}
	c, err := parse(in, kind, version)
	if err != nil {
		return Content{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func readAll(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // to open a pipe would be to wait
		return nil, ErrNotRegular
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in, err := io.ReadAll(io.LimitReader(f, maxHead+maxState+1))
	if err == nil && len(in) > maxHead+maxState {
		err = fmt.Errorf("%w: more than %d bytes", ErrTooLarge, maxState)
	}
	return in, err
}

// MostAside bounds how many damaged files are kept beside one.
const MostAside = 100

// SetAside gives the file at path a name that is not taken, path.damaged-1 and so
// on, and returns it. A symbolic link stays, what it leads to is renamed.
func SetAside(path string) (string, error) {
	path, err := target(path)
	if err != nil {
		return "", err
	}
	for i := range MostAside {
		name := fmt.Sprintf("%s.damaged-%d", path, i+1)
		switch _, err := os.Lstat(name); {
		case errors.Is(err, fs.ErrNotExist):
			return name, os.Rename(path, name)
		case err != nil:
			return "", err
		}
	}
	return "", fmt.Errorf("there are %d damaged files beside it already", MostAside)
}

// leftover is what comes behind a file's name in that of what a Write that was
// cut short has left; without digits, one of an earlier version.
var leftover = regexp.MustCompile(`^\.new(-[0-9]+)?$`)

// CleanUp removes what Writes to path that were cut short have left, and returns
// how many files that were. Nobody may be writing to path.
func CleanUp(path string) (int, error) {
	path, err := target(path)
	if err != nil {
		return 0, err
	}
	dir, base := filepath.Split(path)
	list, err := os.ReadDir(filepath.Clean(dir))
	if err != nil {
		return 0, fmt.Errorf("cannot look for what is left of %s: %w", path, cause(err))
	}
	n := 0
	for _, e := range list {
		name := e.Name()
		if len(name) <= len(base) || name[:len(base)] != base || !leftover.MatchString(name[len(base):]) || !e.Type().IsRegular() {
			continue
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return n, fmt.Errorf("cannot remove what is left of an earlier write: %w", err)
		}
		n++
	}
	return n, nil
}
