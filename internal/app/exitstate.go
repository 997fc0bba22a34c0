package app

import (
	"log/slog"

	"motley/internal/earlyexit"
	"motley/internal/gate"
)

// exitState is the file in which what a model's controller has learned
// outlives the router.
type exitState struct {
	file kept
	log  *slog.Logger
	gate *gate.Gate
}

// newExitState is that of a model in the file at path.
func newExitState(path, model string, log *slog.Logger) *exitState {
	log = log.With("model", model)
	return &exitState{file: kept{path: path, kind: exitsKind, what: "learned early exits", log: log}, log: log}
}

// load continues from the file and reports whether it did. One of a controller of
// another kind makes no sense either.
func (s *exitState) load(c *earlyexit.Adaptive) bool {
	if !s.file.load(c.Load) {
		return false
	}
	s.log.Info("early exits learned by earlier runs", "rows", c.Report().Seen)
	return true
}

// save writes what is learned now, unless nobody has known the model's ramps yet.
func (s *exitState) save() error {
	var now []byte
	s.gate.With(func(c earlyexit.Controller) { now = c.(*earlyexit.Adaptive).AppendState(nil) })
	if now == nil {
		return nil
	}
	return s.file.save(now)
}
