package app

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"motley/internal/statefile"
)

// The kinds and versions of what is kept; see statefile. Both payloads have a form,
// and a version of it, of their own.
const (
	profilesKind = "profiles"
	exitsKind    = "exits"
	keptVersion  = 1
)

// errNotKept is the error of saving to a file that is left alone since it was read:
// the log has said why.
var errNotKept = errors.New("not saved: the file that is there was left alone")

// kept is a file of state.
type kept struct {
	path string // "": nothing is kept
	kind string
	what string // it holds, for the log
	log  *slog.Logger
	held []byte // the payload, as far as this run knows
	off  bool   // what is there could not be read, nor set aside
}

// load hands the file's payload to use and reports whether that could make
// something of it. A file that is not there is the first start's. One that makes no
// sense is set aside, since it may be worth a look; where even that fails, or
// it cannot be read, nothing is written over it.
func (k *kept) load(use func(payload []byte) error) bool {
	if k.path == "" {
		return false
	}
	c, err := statefile.Read(k.path, k.kind, keptVersion)
	if errors.Is(err, fs.ErrNotExist) {
		k.log.Info("no "+k.what+" as yet", "file", k.path)
		return false
	}
	if err == nil {
		if err = use(c.Payload); err == nil {
			if !c.Bare { // else it is written anew, with a first line
				k.held = c.Payload
			}
			return true
		}
		err = fmt.Errorf("%s: %w", k.path, err)
	} else if !statefile.Damaged(err) {
		k.off = true
		k.log.Warn("cannot read the "+k.what+": starting without, and nothing will be saved", "error", err)
		return false
	}
	aside, moved := statefile.SetAside(k.path)
	if moved != nil {
		k.off = true
		k.log.Warn("cannot use the "+k.what+": starting without; nor can the file be kept aside, so nothing will be saved",
			"error", err, "rename", moved)
		return false
	}
	k.log.Warn("cannot use the "+k.what+": starting without", "error", err, "kept_as", aside)
	return false
}

// save writes a payload. A file that would stay the same is left alone.
func (k *kept) save(payload []byte) error {
	switch {
	case k.path == "" || bytes.Equal(payload, k.held):
		return nil
	case k.off:
		return fmt.Errorf("%s: %w", k.path, errNotKept)
	}
	if err := statefile.Write(k.path, k.kind, keptVersion, payload); err != nil {
		return fmt.Errorf("cannot save the %s: %w", k.what, err)
	}
	k.held = payload
	return nil
}

// cleanUp removes what earlier runs that ended while they wrote have left.
func (k *kept) cleanUp() {
	if k.path == "" {
		return
	}
	if n, err := statefile.CleanUp(k.path); n > 0 {
		k.log.Info("an earlier run ended while it saved: what that left is removed", "file", k.path, "files", n)
	} else if err != nil {
		k.log.Debug("looking for what an earlier run has left", "error", err)
	}
}
