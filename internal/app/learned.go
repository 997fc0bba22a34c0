package app

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"motley/internal/pool"
)

// memory is what earlier runs have learned, and where this one keeps it.
type memory struct {
	path string // "": nothing is kept
	log  *slog.Logger
	// read are the profiles of the file that nobody has taken yet, in its order.
	read []pool.Learned
	held []byte // what the file holds, as far as this run knows
}

// remember reads the file at path. One that is not there is the first start's.
// One that makes no sense is kept aside, since it may be worth a look, and the
// router begins anew. Where even that fails, nothing is written over it.
func remember(path string, log *slog.Logger) *memory {
	m := &memory{path: path, log: log}
	if path == "" {
		return m
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		log.Info("no profiles are learned yet", "file", path)
		return m
	}
	if err == nil {
		m.read, err = pool.LoadProfiles(file)
		err = errors.Join(err, file.Close())
	}
	if err == nil {
		return m
	}
	text := fmt.Sprintf("%s: %s", path, strings.TrimPrefix(err.Error(), "cannot load profiles: "))
	if !errors.Is(err, pool.ErrForeign) && !errors.Is(err, pool.ErrTooNew) && !errors.Is(err, pool.ErrTorn) {
		log.Warn("cannot read the learned profiles: starting without them, and nothing will be saved", "error", text)
		m.path = ""
		return m
	}
	kept, err := keepAside(path)
	if err != nil {
		log.Warn("cannot use the learned profiles: starting without them; nor can the file be kept aside, so nothing will be saved",
			"error", text, "rename", err)
		m.path = ""
		return m
	}
	log.Warn("cannot use the learned profiles: starting without them", "error", text, "kept_as", kept)
	return m
}

// mostAside bounds how many damaged files are kept.
const mostAside = 100

// keepAside gives the file at path a name that is not taken.
func keepAside(path string) (string, error) {
	for i := range mostAside {
		name := fmt.Sprintf("%s.damaged-%d", path, i+1)
		switch _, err := os.Lstat(name); {
		case errors.Is(err, fs.ErrNotExist):
			return name, os.Rename(path, name)
		case err != nil:
			return "", err
		}
	}
	return "", fmt.Errorf("there are %d damaged files beside it already", mostAside)
}

// take returns the profile that was learned for a model on an instance type,
// or nil. points are the measured latencies of now: what was learned on top of
// others is dropped. Where there are none now, the learned ones are the best.
func (m *memory) take(model, instanceType string, points []pool.Point) *pool.Profile {
	for i, l := range m.read {
		if l.Model != model || l.InstanceType != instanceType {
			continue
		}
		m.read = append(m.read[:i:i], m.read[i+1:]...)
		if len(points) > 0 && !l.Profile.MadeFrom(points) {
			m.log.Info("the measured latencies have changed: what was learned on top of the old ones is dropped",
				"model", model, "instance_type", instanceType, "samples", l.Profile.Samples())
			return nil
		}
		m.log.Info("profile learned by earlier runs", "model", model, "instance_type", instanceType, "samples", l.Profile.Samples())
		return l.Profile
	}
	return nil
}

// save writes what is learned now, and what was read for models and types
// that are not configured at present. A file that would stay the same is left
// alone.
func (m *memory) save(now []pool.Learned) error {
	if m.path == "" {
		return nil
	}
	var out bytes.Buffer
	if err := pool.SaveProfiles(&out, append(now[:len(now):len(now)], m.read...)); err != nil {
		return err
	}
	if bytes.Equal(out.Bytes(), m.held) {
		return nil
	}
	err := replaceFile(m.path, func(w io.Writer) error {
		_, err := w.Write(out.Bytes())
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot save the learned profiles: %w", err)
	}
	m.held = out.Bytes()
	return nil
}

// replaceFile makes what write writes the content of the file at path, all of
// it or, when something fails or the machine stops, nothing: it is written to
// path.new, forced to the disk and renamed.
func replaceFile(path string, write func(io.Writer) error) error {
	fresh := path + ".new"
	file, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	err = write(file)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, os.Remove(fresh))
	}
	if err := os.Rename(fresh, path); err != nil {
		return errors.Join(err, os.Remove(fresh))
	}
	return syncDir(filepath.Dir(path))
}

// syncDir forces a rename to the disk.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	// Some file systems cannot, and the file itself is safe by now.
	_ = dir.Sync()
	return dir.Close()
}
