package app

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"

	"motley/internal/earlyexit"
	"motley/internal/gate"
)

// exitState is the file in which what a model's controller has learned
// outlives the router.
type exitState struct {
	path  string // "": nothing is kept
	model string
	log   *slog.Logger
	gate  *gate.Gate
	held  []byte // what the file holds, as far as this run knows
}

// load continues from the file and reports whether it did. One that makes no
// sense, or is of a controller of another kind, is kept aside; where even that
// fails, or it cannot be read, nothing is written over it.
func (s *exitState) load(c *earlyexit.Adaptive) bool {
	if s.path == "" {
		return false
	}
	data, err := os.ReadFile(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false
	case err != nil:
		s.log.Warn("cannot read what was learned of early exits: starting without it, and nothing will be saved",
			"model", s.model, "error", err)
		s.path = ""
		return false
	}
	if err = c.Load(data); err == nil {
		s.held = data
		s.log.Info("early exits learned by earlier runs", "model", s.model, "rows", c.Report().Seen)
		return true
	}
	kept, moved := keepAside(s.path)
	if moved != nil {
		s.log.Warn("cannot use what was learned of early exits: starting without it; nor can the file be kept aside, so nothing will be saved",
			"model", s.model, "error", fmt.Errorf("%s: %w", s.path, err), "rename", moved)
		s.path = ""
		return false
	}
	s.log.Warn("cannot use what was learned of early exits: starting without it",
		"model", s.model, "error", fmt.Errorf("%s: %w", s.path, err), "kept_as", kept)
	return false
}

// save writes what is learned now. A file that would stay the same is left
// alone, and so is one of which nobody has known the model's ramps yet.
func (s *exitState) save() error {
	var now []byte
	s.gate.With(func(c earlyexit.Controller) { now = c.(*earlyexit.Adaptive).AppendState(nil) })
	if now == nil || s.path == "" || bytes.Equal(now, s.held) {
		return nil
	}
	err := replaceFile(s.path, func(w io.Writer) error {
		_, err := w.Write(now)
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot save what is learned of early exits: %w", err)
	}
	s.held = now
	return nil
}
