package app

import (
	"errors"
	"log/slog"
	"os"
	"sync"

	"motley/internal/config"
	"motley/internal/engine"
	"motley/internal/engine/ort"
)

// engineKey tells loaded models apart.
type engineKey struct {
	model string
	config.Embedded
}

// engines are the models that are loaded in this process: each once, however many
// workers run it, and no longer than one does.
type engines struct {
	mu  sync.Mutex
	all map[engineKey]*loaded
}

type loaded struct {
	engine.Model
	users int
}

// lease is the right of one worker to the engines that it runs.
type lease struct {
	of   *engines
	keys []engineKey
}

// load returns the model from the engine that e names, loading it where nobody runs
// it yet.
func (l *lease) load(e *config.Embedded, name string, log *slog.Logger) (engine.Model, error) {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	key := engineKey{model: name, Embedded: *e}
	one := l.of.all[key]
	if one == nil {
		m, err := open(e, name)
		if err != nil {
			return nil, err
		}
		for k, v := range m.Metadata().Properties {
			log.Info("model property", "model", name, k, v)
		}
		one = &loaded{Model: m}
		if l.of.all == nil {
			l.of.all = map[engineKey]*loaded{}
		}
		l.of.all[key] = one
	}
	one.users++
	l.keys = append(l.keys, key)
	return one.Model, nil
}

func open(e *config.Embedded, name string) (engine.Model, error) {
	switch {
	case e.Engine == "onnxruntime":
		return ort.Load(e.Path, ort.Options{
			Name: name, Library: e.Library, Threads: e.Threads, DisableArena: !e.Arena, GPU: e.GPU,
		})
	case e.Path == "":
		return engine.Builtin(name)
	}
	data, err := os.ReadFile(e.Path)
	if err != nil {
		return nil, err
	}
	return engine.LoadONNX(data)
}

// end gives them back, and closes those that nobody else runs.
func (l *lease) end() error {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	var errs []error
	for _, key := range l.keys {
		one := l.of.all[key]
		if one == nil {
			continue // all were closed
		}
		if one.users--; one.users == 0 {
			delete(l.of.all, key)
			errs = append(errs, one.Close())
		}
	}
	l.keys = nil
	return errors.Join(errs...)
}

// close closes all of them, whoever has a lease.
func (e *engines) close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var errs []error
	for key, one := range e.all {
		delete(e.all, key)
		errs = append(errs, one.Close())
	}
	return errors.Join(errs...)
}
