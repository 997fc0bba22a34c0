package app

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestHandOverOfState: a successor finds what was learned until it was started, and what it
// writes is not written over; after an upgrade that failed, all is as before.
func TestHandOverOfState(t *testing.T) {
	for name, fault := range map[string]error{"ok": nil, "failed": errors.New("it hangs")} {
		path := filepath.Join(t.TempDir(), "learned")
		cfg := learner(t, path)
		cfg.Learned.Interval = 0 // at the end only
		s := serveConfig(t, cfg, Options{})
		if a, err := infer(s.client(1), "m", -1, []byte(oneRow)); err != nil || a.status != 200 {
			t.Fatalf("%d, %v", a.status, err)
		}
		const successors = "the successor's"
		err := s.app.HandOver(func() error {
			if m := remember(path, quiet()); len(m.read) == 0 {
				t.Errorf("%s: a successor would not know what was learned", name)
			}
			if err := os.WriteFile(path, []byte(successors), 0o600); err != nil {
				t.Fatal(err)
			}
			return fault
		})
		if !errors.Is(err, fault) {
			t.Errorf("%s: %v", name, err)
		}
		if a, err := infer(s.client(1), "m", -1, []byte(oneRow)); err != nil || a.status != 200 {
			t.Fatalf("%d, %v", a.status, err)
		}
		if page := s.page(t, "/metrics"); !strings.Contains(page, `motley_upgrades_total{result="`+name+`"} 1`) {
			t.Errorf("%s: it is not counted", name)
		}
		s.stop(t)
		if wrote := read(t, path) != successors; wrote != (fault != nil) {
			t.Errorf("%s: the old router wrote at its end: %v", name, wrote)
		}
	}
}

// TestStopMeetsHandOver: a router that is told to stop while its successor starts, which comes to
// nothing then, keeps what was learned meanwhile.
func TestStopMeetsHandOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "learned")
	cfg := learner(t, path)
	cfg.Learned.Interval = 0 // at the end only
	s := serveConfig(t, cfg, Options{})
	err := s.app.HandOver(func() error {
		if a, err := infer(s.client(1), "m", -1, []byte(oneRow)); err != nil || a.status != 200 {
			t.Errorf("%d, %v", a.status, err)
		}
		s.cancel()
		for late := time.After(300 * time.Millisecond); ; { // a process takes as long to end
			select {
			case err, first := <-s.ended:
				if first {
					t.Errorf("it has ended, %v", err)
				}
			case <-late:
				return errors.New("called off")
			}
		}
	})
	if err == nil {
		t.Error("no error")
	}
	s.stop(t)
	if m := remember(path, quiet()); len(m.read) == 0 || m.read[0].Profile.Samples() != 1 {
		t.Errorf("%d profiles were saved", len(m.read))
	}
}

// TestServeAfterHandOver: Serve ends well, though nobody stopped it, where another process has
// taken over.
func TestServeAfterHandOver(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(learner(t, ""), Options{Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancelCause(t.Context())
	end(ErrHandedOver)
	if err := a.Serve(ctx, ln); err != nil {
		t.Error(err)
	}
}
