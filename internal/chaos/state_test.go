package chaos

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestDiskFull: the disk that the router's state is on has no room left while it
// serves, and while it is stopped and started. Requests do not notice, the file
// that was there stays whole, and when there is room again it is written.
func TestDiskFull(t *testing.T) {
	long(t)
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=128k"); err != nil {
		t.Skipf("NOT RUN: cannot have a disk of its own to fill: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	file := filepath.Join(disk, "learned")
	filler := filepath.Join(disk, "filler")
	Scene{Options: Options{Config: learned(file)}, Broken: true, Again: true, Lost: 0.5}.play(t, func(w *World, r *Run) {
		sound(t, w, file)
		fill(t, filler)
		from := r.Now()
		Wait(span(1500 * time.Millisecond))
		c := count(r.Records(), func(one *Record) bool { return one.At > from && one.ordinary() && one.Outcome != Pending })
		if c[Answered] < c.Total()*9/10 || c[Answered] == 0 {
			t.Errorf("with a full disk: %v", c)
		}
		sound(t, w, file)
		if log := w.Log("router"); !strings.Contains(log, syscall.ENOSPC.Error()) {
			t.Errorf("the router does not say that the disk is full: %s", log)
		}
		_ = w.Router.Stop(10 * time.Second) // it may say that it could not save
		sound(t, w, file)
		must(t, w.Router.Start())
		must(t, w.Ready(5*time.Second))
		sound(t, w, file)
		must(t, os.Remove(filler))
		old, err := os.Stat(file)
		must(t, err)
		for deadline := time.Now().Add(5 * time.Second); ; Wait(50 * time.Millisecond) {
			now, err := os.Stat(file)
			must(t, err)
			if now.ModTime().After(old.ModTime()) {
				break
			}
			if time.Now().After(deadline) {
				t.Error("there is room again, and nothing is saved")
				break
			}
		}
		sound(t, w, file)
	})
}

// fill writes until there is no room.
func fill(t *testing.T, file string) {
	t.Helper()
	f, err := os.Create(file)
	must(t, err)
	defer f.Close()
	for _, n := range []int{4096, 512, 1} {
		for {
			if _, err := f.Write(make([]byte, n)); err != nil {
				break
			}
		}
	}
}
