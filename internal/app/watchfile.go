package app

import (
	"errors"
	"io"
	"os"
	"time"

	"github.com/cespare/xxhash/v2"

	"motley/internal/config"
)

// ErrNoFile is that the router has a configuration that was read from nowhere.
var ErrNoFile = errors.New("cannot reload: the configuration was not read from a file")

// ReloadFile reads the configuration anew and takes it in; see Reload.
func (a *App) ReloadFile() error {
	read := a.load
	if read == nil {
		read = func() (*config.Config, error) { return nil, ErrNoFile }
	}
	err := a.reloadAs(read)
	if err != nil {
		a.log.Error("the configuration stays as it is", "error", err)
	}
	return err
}

// follow reloads when the files have changed, where that is wanted.
func (a *App) follow(opt Options) {
	a.load = opt.Load
	if opt.File == "" || opt.Load == nil {
		return
	}
	files := func() []string { return append(a.members.file.Load().Files(), opt.File) }
	w := watcher{}
	w.look(files())
	a.members.done.Go(func() {
		timer := time.NewTimer(0)
		defer timer.Stop()
		for {
			select {
			case <-a.members.ctx.Done():
				return
			case <-timer.C:
			}
			cfg := a.members.file.Load()
			if cfg.Reload.Watch && w.look(files()) {
				_ = a.ReloadFile() // it is logged
				w.accept(files())
			}
			timer.Reset(cfg.Reload.Interval)
		}
	})
}

// watcher notices that files have changed, by looking.
type watcher struct {
	held map[string]uint64 // by file: a hash of what it held when that was accepted
	last map[string]seen   // at the last look
}

// seen is one file at one look.
type seen struct {
	info os.FileInfo // nil: it was not there
	hash uint64
}

// look reports whether the files hold something else than was accepted, and the same as
// at the last look: a file may be half written. The first look accepts.
func (w *watcher) look(files []string) bool {
	now := map[string]seen{}
	for _, f := range files {
		now[f] = lookAt(f, w.last[f])
	}
	settled := w.last != nil
	for f, s := range now {
		if was, ok := w.last[f]; ok && was.hash != s.hash {
			settled = false
		}
	}
	w.last = now
	if w.held == nil {
		w.accept(files)
		return false
	}
	changed := false
	for f, s := range now {
		changed = changed || w.held[f] != s.hash
	}
	return changed && settled
}

// accept takes what the files held at the last look, or hold now, for what is known.
func (w *watcher) accept(files []string) {
	held := map[string]uint64{}
	for _, f := range files {
		s, ok := w.last[f]
		if !ok {
			s = lookAt(f, seen{})
			w.last[f] = s
		}
		held[f] = s.hash
	}
	w.held = held
}

// lookAt reads the file, unless all says that it is as it was.
func lookAt(path string, was seen) seen {
	info, err := os.Stat(path) // of what a link points to
	if err != nil || !info.Mode().IsRegular() {
		return seen{}
	}
	if was.info != nil && os.SameFile(was.info, info) && was.info.ModTime().Equal(info.ModTime()) && was.info.Size() == info.Size() {
		return seen{info, was.hash}
	}
	f, err := os.Open(path)
	if err != nil {
		return seen{}
	}
	defer f.Close()
	h := xxhash.New()
	if _, err := io.Copy(h, f); err != nil {
		return seen{}
	}
	return seen{info, h.Sum64() | 1} // 0 stands for none
}
