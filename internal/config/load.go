package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"motley/configs"
	"motley/internal/pool"
)

// maxFile bounds the size of a configuration file, in bytes.
const maxFile = 16 << 20

// Default returns the built-in configuration, configs/quickstart.yaml.
func Default() []byte { return slices.Clone(configs.Quickstart) }

// Load reads the configuration file at path, and the profiles and recorded exits
// that it names.
// Relative paths in it are taken from the file's own directory and come back
// joined with it. Faults of the content come as one *Invalid, missing files
// included.
func Load(path string) (*Config, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("cannot read the configuration: %s has %d bytes: at most %d", path, info.Size(), maxFile)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	c, faults := read(path, data)
	if c != nil {
		c.source.dir = filepath.Dir(path)
		faults = append(faults, c.openFiles()...)
	}
	return finish(c, path, faults)
}

// Parse reads a configuration from memory; name stands for it in messages. No
// file that it names is looked at: paths stay as written and Rows is empty.
// Faults come as one *Invalid.
func Parse(name string, data []byte) (*Config, error) {
	c, faults := read(name, data)
	return finish(c, name, faults)
}

// read decodes data; c is nil when it is not YAML at all.
func read(name string, data []byte) (c *Config, faults []Violation) {
	c = &Config{source: source{name: name, lines: map[string]int{}}}
	faults, ok := decode(data, c)
	if !ok {
		return nil, faults
	}
	return c, faults
}

// finish validates what was read and returns it, or every fault there is. A
// field that could not be read or opened is not judged again.
func finish(c *Config, name string, faults []Violation) (*Config, error) {
	if c != nil {
		unread := slices.Clone(faults)
		for _, v := range c.Validate() {
			if !slices.ContainsFunc(unread, func(f Violation) bool { return f.covers(v.Field) }) {
				faults = append(faults, v)
			}
		}
	}
	if len(faults) > 0 {
		sortViolations(faults)
		return nil, &Invalid{Name: name, Violations: faults}
	}
	return c, nil
}

// openFiles checks that the files that c names are there, makes their paths
// independent of the file's directory, and reads the profiles.
func (c *Config) openFiles() []Violation {
	f := &faults{source: &c.source}
	from := c.source.from
	for i, path := range c.Profiles {
		field := fmt.Sprintf("profiles[%d]", i)
		if path == "" {
			continue // Validate refuses it
		}
		c.Profiles[i] = from(path)
		rows, err := readProfiles(c.Profiles[i])
		if err != nil {
			f.add(field, path, "%s", reason(err))
			continue
		}
		c.Rows = append(c.Rows, rows...)
	}
	c.Log.Access.open(f, from)
	if written := c.Learned.File; written != "" {
		c.Learned.File = from(written)
		if problem := notAFile(c.Learned.File); problem != "" {
			f.add("learned.file", written, "%s", problem)
		}
	}
	if c.TLS != nil {
		c.TLS.open(f, "tls", from)
	}
	c.Access.openKeys(f, from)
	if c.Admin.TLS != nil {
		c.Admin.TLS.open(f, "admin.tls", from)
	}
	for i := range c.Models {
		e := &c.Models[i].EarlyExit
		written := e.Calibration
		if written == "" {
			continue
		}
		e.Calibration = from(written)
		var err error
		if e.Recorded, err = readRecorded(e.Calibration); err != nil {
			f.add(fmt.Sprintf("models[%d].early_exit.calibration", i), written, "%s", reason(err))
		}
	}
	for i := range c.Workers {
		c.Workers[i].open(f, fmt.Sprintf("workers[%d]", i), from)
	}
	if written := c.Plan.Learned; written != "" {
		c.Plan.Learned = from(written)
		if _, err := os.Stat(c.Plan.Learned); err != nil {
			f.add("plan.learned", written, "%s", reason(err))
		}
	}
	return f.list
}

// open makes the paths independent of the file's directory and checks that the
// files are there.
func (w *Worker) open(f *faults, at string, from func(string) string) {
	if w.Hardware != nil {
		w.Hardware.open(f, at+".hardware", from)
	}
	if w.Remote != nil && w.Remote.TLS != nil {
		w.Remote.TLS.open(f, at+".remote.tls", from)
	}
	e := w.Embedded
	if e == nil {
		return
	}
	for _, file := range []struct {
		name string
		path *string
	}{{"path", &e.Path}, {"library", &e.Library}} {
		written := *file.path
		if written == "" {
			continue
		}
		// A library without a directory is the dynamic loader's to find.
		if file.name == "library" && !strings.ContainsRune(written, filepath.Separator) {
			continue
		}
		*file.path = from(written)
		if _, err := os.Stat(*file.path); err != nil {
			f.add(at+".embedded."+file.name, written, "%s", reason(err))
		}
	}
}

// notAFile says why a file that need not be there yet cannot be kept at path.
func notAFile(path string) string {
	if dir, err := os.Stat(filepath.Dir(path)); err != nil || !dir.IsDir() {
		return "must be in a directory that is there"
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return "must be a regular file, or not there yet"
	}
	return ""
}

func readProfiles(path string) ([]pool.Row, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return pool.ReadProfiles(file)
}

// reason is an error's text without the path, which the violation has as its
// value.
func reason(err error) string {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	text := strings.TrimPrefix(err.Error(), "cannot read profiles: ")
	return strings.TrimPrefix(text, "cannot read recorded exits: ")
}
