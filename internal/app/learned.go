package app

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"

	"motley/internal/pool"
)

// memory is the profiles that earlier runs have learned, and where this one keeps
// them.
type memory struct {
	file kept
	log  *slog.Logger
	// read are the profiles of the file that nobody has taken yet, in its order.
	read []pool.Learned
}

// remember reads the file at path, if there is one that makes sense.
func remember(path string, log *slog.Logger) *memory {
	m := &memory{file: kept{path: path, kind: profilesKind, what: "learned profiles", log: log}, log: log}
	m.file.load(func(payload []byte) (err error) {
		m.read, err = loadProfiles(payload)
		return err
	})
	return m
}

func loadProfiles(payload []byte) ([]pool.Learned, error) {
	all, err := pool.LoadProfiles(bytes.NewReader(payload))
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "cannot load profiles: "))
	}
	return all, nil
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
// that are not configured at present.
func (m *memory) save(now []pool.Learned) error {
	if m.file.path == "" {
		return nil
	}
	var out bytes.Buffer
	if err := pool.SaveProfiles(&out, append(now[:len(now):len(now)], m.read...)); err != nil {
		return err
	}
	return m.file.save(out.Bytes())
}
