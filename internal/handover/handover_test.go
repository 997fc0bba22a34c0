//go:build linux

package handover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// asChild has a copy of this test program be another process: what it does is the
// variable's value.
const asChild = "MOTLEY_TEST_HANDOVER"

// told is what a child says of itself on its first connection.
type told struct {
	Error       string
	PID         int
	Environment []string
	Files       []string // what the descriptors beyond the standard ones are
	Addresses   map[string]string
	Kept        []string // the names of those that systemd keeps
}

func TestMain(m *testing.M) {
	if what := os.Getenv(asChild); what != "" {
		child(what)
		return
	}
	os.Exit(m.Run())
}

// child takes what it is given, says that it serves, and tells one client of itself on
// its standard output.
func child(what string) {
	var t told
	defer func() { _ = json.NewEncoder(os.Stdout).Encode(t) }()
	s, err := Inherit()
	if err == nil {
		t.Addresses = map[string]string{}
		for _, ask := range strings.Fields(what) {
			name, address, _ := strings.Cut(ask, "=")
			var ln net.Listener
			if ln, err = s.Listen(name, address); err != nil {
				break
			}
			if t.Addresses[name] = ln.Addr().String(); s.Kept(ln) {
				t.Kept = append(t.Kept, name)
			}
		}
	}
	if err == nil && os.Getpid() == 1 {
		err = s.Upgrade(context.Background(), Successor{Path: "/bin/true"})
	}
	if err != nil {
		t.Error = err.Error()
		return
	}
	t.PID, t.Environment = os.Getpid(), os.Environ()
	if err := s.Ready(); err != nil {
		t.Error = err.Error()
	}
	list, _ := os.ReadDir("/proc/self/fd")
	for _, e := range list {
		to, _ := os.Readlink("/proc/self/fd/" + e.Name())
		if n, _ := strconv.Atoi(e.Name()); n > 2 {
			kind, _, _ := strings.Cut(to, ":")
			t.Files = append(t.Files, kind)
		}
	}
}

// successor is this program as a child, whose standard output goes to a file.
func successor(t *testing.T, what string) (Successor, func() told) {
	t.Helper()
	out, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	was := os.Stdout
	os.Stdout = out
	t.Setenv(asChild, what)
	t.Cleanup(func() { os.Stdout = was })
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Successor{Path: path, Args: os.Args[:1], Timeout: 20 * time.Second, Log: slog.New(slog.DiscardHandler)}, func() (all told) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); ; {
			b, err := os.ReadFile(out.Name())
			if err == nil && json.Unmarshal(b, &all) == nil {
				return all
			}
			if time.Now().After(end) {
				t.Fatalf("the child said %q, %v", b, err)
			}
		}
	}
}

func listen(t *testing.T, s *Sockets, name string) net.Listener {
	t.Helper()
	ln, err := s.Listen(name, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// TestUpgrade: a successor has the sockets by name, and nothing else; where another
// address is asked for, a new one. The old process's sockets are what they were.
func TestUpgrade(t *testing.T) {
	s := &Sockets{}
	a, b, c := listen(t, s, "public"), listen(t, s, "admin"), listen(t, s, "other")
	leak, err := unix.Open(os.DevNull, unix.O_RDONLY, 0) // as a library in C may
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(leak)
	next, said := successor(t, "public=127.0.0.1:0 admin=localhost:0")
	if err := s.Upgrade(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	got := said()
	if got.Error != "" || got.Addresses["public"] != a.Addr().String() || got.Addresses["admin"] == b.Addr().String() {
		t.Errorf("%+v; there were %v, %v, %v", got, a.Addr(), b.Addr(), c.Addr())
	}
	sockets := 0
	for _, f := range got.Files {
		switch f {
		case "socket":
			sockets++
		case "pipe", os.DevNull:
			t.Errorf("it has open %q", got.Files)
		}
	}
	if sockets != 2 {
		t.Errorf("it has %d sockets open, want 2", sockets)
	}
	for _, v := range got.Environment {
		if strings.HasPrefix(v, variable) || strings.HasPrefix(v, "LISTEN_") {
			t.Errorf("its environment has %s", v)
		}
	}
	for _, ln := range []net.Listener{a, b, c} {
		// A socket that blocks knows no deadlines.
		if err := ln.(*net.TCPListener).SetDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := ln.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("accept: %v", err)
		}
	}
}

// TestQueueIsHandedOver: a client that has connected before the upgrade is accepted after it,
// by whoever has the socket.
func TestQueueIsHandedOver(t *testing.T) {
	s := &Sockets{}
	ln := listen(t, s, "public")
	if s.Kept(ln) {
		t.Error("systemd has no part in it")
	}
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	f, err := duplicate(s.open[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	heir := &Sockets{}
	if err := heir.take(int(f.Fd()), listener{socket: socket{Name: "public", Address: "x"}}); err != nil {
		t.Fatal(err)
	}
	ln, err = heir.Listen("public", "x")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := ln.Accept()
	if err != nil || c.RemoteAddr().String() != client.LocalAddr().String() {
		t.Fatalf("%v, %v", c, err)
	}
	_ = c.Close()
}

// TestUpgradeFails: the error says why, and nobody is left.
func TestUpgradeFails(t *testing.T) {
	s := &Sockets{}
	listen(t, s, "public")
	sh := func(script string, timeout time.Duration) Successor {
		return Successor{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Timeout: timeout}
	}
	called, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("terminated"))
	pid := filepath.Join(t.TempDir(), "pid")
	for name, c := range map[string]struct {
		ctx  context.Context
		next Successor
		want string
	}{
		"exits":           {t.Context(), sh("exit 3", time.Minute), "it ended before it served: exit status 3"},
		"exits well":      {t.Context(), sh("exit 0", time.Minute), "it ended before it served: exit status 0"},
		"is killed":       {t.Context(), sh("kill -9 $$", time.Minute), "it ended before it served: signal: killed"},
		"hangs":           {t.Context(), sh("echo $$ >"+pid+"; exec sleep 100", 300*time.Millisecond), "it did not serve within 300ms"},
		"says nonsense":   {t.Context(), sh("echo nonsense >&3; exec sleep 100", 300*time.Millisecond), "it did not serve within"},
		"says too little": {t.Context(), sh("printf rea >&3; exit 1", time.Minute), "it ended before it served: exit status 1"},
		"is called off":   {called, sh("exec sleep 100", time.Minute), "called off: terminated"},
		"is not there":    {t.Context(), Successor{Path: "/nonexistent", Args: []string{"x"}, Timeout: time.Minute}, "no such file"},
	} {
		err := s.Upgrade(c.ctx, c.next)
		if err == nil || !strings.HasPrefix(err.Error(), "cannot upgrade to "+c.next.Path+": ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("it %s: error %v, want %q", name, err, c.want)
		}
	}
	var hung int
	if b, err := os.ReadFile(pid); err == nil {
		_, _ = fmt.Sscan(string(b), &hung)
	}
	if err := unix.Kill(hung, 0); hung > 1 && err != unix.ESRCH {
		t.Errorf("process %d that hung is still there: %v", hung, err)
	}
}

// activated runs this program as systemd would, with files from descriptor 3 on.
func activated(t *testing.T, what, names string, files ...*os.File) told {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0"`, path)
	cmd.Env = append(os.Environ(), asChild+"="+what, fmt.Sprintf("LISTEN_FDS=%d", len(files)), "LISTEN_FDNAMES="+names)
	cmd.ExtraFiles = files
	out, err := cmd.Output()
	var got told
	if err != nil || json.Unmarshal(out, &got) != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return got
}

// TestSocketActivation: systemd's sockets go by name, and else by order.
func TestSocketActivation(t *testing.T) {
	s := &Sockets{}
	one, two := listen(t, s, "one"), listen(t, s, "two")
	var files []*os.File
	for _, l := range s.open {
		f, err := duplicate(l)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	for _, c := range []struct {
		names         string
		public, admin net.Listener
	}{
		{"admin:public", two, one},
		{"motley.socket:motley.socket", one, two},
		{"admin:motley.socket", two, one},
		{"", one, two},
	} {
		got := activated(t, "public=:1 admin=:2", c.names, files...) // the addresses do not count
		if got.Error != "" || got.Addresses["public"] != c.public.Addr().String() || got.Addresses["admin"] != c.admin.Addr().String() || len(got.Kept) != 2 {
			t.Errorf("names %q: %+v", c.names, got)
		}
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if got := activated(t, "public=:1", "", null); !strings.Contains(got.Error, "cannot take over the listening sockets: descriptor 3: ") {
		t.Errorf("a file: %q", got.Error)
	}
	dir := t.TempDir()
	local, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	f, err := local.(*net.UnixListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := activated(t, "public=:1", "", f); !strings.Contains(got.Error, "only TCP is served") {
		t.Errorf("a local socket: %q", got.Error)
	}
}

// TestForeignVariables: what is meant for another process is not taken, or refused.
func TestForeignVariables(t *testing.T) {
	t.Setenv("LISTEN_PID", "1")
	t.Setenv("LISTEN_FDS", "3")
	if s, err := Inherit(); err != nil || len(s.given) > 0 || os.Getenv("LISTEN_FDS") != "" {
		t.Errorf("another process's sockets: %+v, %v", s, err)
	}
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{`{"sockets":[]}`: "is no pipe", `{`: variable, "x": variable} {
		cmd := exec.Command(path)
		cmd.Env = append(os.Environ(), asChild+"=public=127.0.0.1:0", variable+"="+text)
		out, err := cmd.Output()
		var got told
		if err != nil || json.Unmarshal(out, &got) != nil || !strings.Contains(got.Error, want) {
			t.Errorf("%s: %v: %s", text, err, out)
		}
	}
}

// TestSystemdIsTold: READY, the new main process, STOPPING.
func TestSystemdIsTold(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	t.Setenv("NOTIFY_SOCKET", name)
	s := &Sockets{}
	listen(t, s, "public")
	next, said := successor(t, "public=127.0.0.1:0")
	if err := s.Upgrade(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if err := Stopping(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for range 3 {
		b := make([]byte, 100)
		_ = systemd.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := systemd.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(b[:n]))
	}
	if want := []string{"READY=1", fmt.Sprintf("MAINPID=%d", said().PID), "STOPPING=1"}; !slices.Equal(got, want) {
		t.Errorf("systemd is told %q, want %q", got, want)
	}
	// A socket that nobody reads is a warning, and no reason not to serve.
	t.Setenv("NOTIFY_SOCKET", name+".gone")
	if err := (&Sockets{}).Ready(); err == nil {
		t.Error("nobody is told, and that is no error")
	}
	next, said = successor(t, "public=127.0.0.1:0")
	if err := s.Upgrade(t.Context(), next); err != nil || said().PID == 0 {
		t.Errorf("without systemd: %v", err)
	}
}

// TestProcessOne does not upgrade.
func TestProcessOne(t *testing.T) {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path)
	cmd.Env = append(os.Environ(), asChild+"=public=127.0.0.1:0")
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
	cmd.Stderr = io.Discard
	out, err := cmd.Output()
	var got told
	if errors.Is(err, unix.EPERM) {
		t.Skipf("NOT TESTED: process 1: %v", err)
	}
	if err != nil || json.Unmarshal(out, &got) != nil || !strings.Contains(got.Error, "cannot upgrade process 1") {
		t.Errorf("%v: %s", err, out)
	}
}
