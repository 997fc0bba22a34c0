package statefile

import (
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestDiskFull: on a file system that is full, the last state stays, the error says why,
// and once there is room the next write does its work.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("NOT TESTED: a full disk: cannot mount a small file system: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	path := filepath.Join(dir, "state")
	write1(t, path, "good")
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 40<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	big := strings.Repeat("x", 30<<10)
	err := Write(path, kind, 3, []byte(big))
	if !errors.Is(err, syscall.ENOSPC) || err.Error() != "cannot write "+path+": write: no space left on device" {
		t.Errorf("error %v", err)
	}
	if c, err := Read(path, kind, 3); err != nil || string(c.Payload) != "good" || names(t, dir) != "ballast state" {
		t.Errorf("%q, %v: %s", c.Payload, err, names(t, dir))
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	write1(t, path, big)
}

// TestFileSizeLimit: the same where the process may write only so much.
func TestFileSizeLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	write1(t, path, "good")
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1000, Max: was.Max}); err != nil {
		t.Skipf("NOT TESTED: a limit on file sizes: %v", err)
	}
	err := Write(path, kind, 3, make([]byte, 5000))
	if e := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was); e != nil {
		t.Fatal(e)
	}
	signal.Reset(syscall.SIGXFSZ)
	if !errors.Is(err, syscall.EFBIG) {
		t.Errorf("error %v", err)
	}
	if c, err := Read(path, kind, 3); err != nil || string(c.Payload) != "good" || names(t, filepath.Dir(path)) != "state" {
		t.Errorf("%q, %v: %s", c.Payload, err, names(t, filepath.Dir(path)))
	}
}

// TestNoPermission: what may not be read is not taken for damaged, what may not be
// written stays.
func TestNoPermission(t *testing.T) {
	if os.Getuid() != 0 {
		dir := t.TempDir()
		path := filepath.Join(dir, "state")
		write1(t, path, "good")
		if err := os.Chmod(path, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path, kind, 3); !errors.Is(err, syscall.EACCES) || Damaged(err) {
			t.Errorf("error %v", err)
		}
		if err := os.Chmod(dir, 0o500); err != nil {
			t.Fatal(err)
		}
		if err := Write(path, kind, 3, nil); !errors.Is(err, syscall.EACCES) {
			t.Errorf("error %v", err)
		}
		return
	}
	// Permissions do not bind root: a file system that may not be written does.
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("NOT TESTED: a read-only file system: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	path := filepath.Join(dir, "state")
	write1(t, path, "good")
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("NOT TESTED: a read-only file system: %v", err)
	}
	if err := Write(path, kind, 3, []byte("new")); !errors.Is(err, syscall.EROFS) {
		t.Errorf("error %v", err)
	}
	if c, err := Read(path, kind, 3); err != nil || string(c.Payload) != "good" {
		t.Errorf("%q, %v", c.Payload, err)
	}
}

// TestPipe: a pipe in the file's place is not waited for.
func TestPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path, kind, 3); !errors.Is(err, ErrNotRegular) || Damaged(err) {
		t.Errorf("error %v", err)
	}
}
