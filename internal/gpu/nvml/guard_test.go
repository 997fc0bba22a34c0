package nvml

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g guard
		ctx := t.Context()
		if v, err := call(ctx, &g, time.Second, func() int { return 7 }); v != 7 || err != nil || g.hung() {
			t.Errorf("%v, %v", v, err)
		}
		release, calls := make(chan struct{}), atomic.Int32{}
		hang := func() int {
			calls.Add(1)
			<-release
			return 8
		}
		before := time.Now()
		if v, err := call(ctx, &g, time.Second, hang); v != 0 || !errors.Is(err, errHung) || time.Since(before) != time.Second {
			t.Errorf("%v, %v after %v", v, err, time.Since(before))
		}
		for range 5 { // at once, and without a second call
			if _, err := call(ctx, &g, time.Second, hang); !errors.Is(err, errHung) {
				t.Error(err)
			}
		}
		if time.Since(before) != time.Second || calls.Load() != 1 || !g.hung() {
			t.Errorf("%d calls in %v", calls.Load(), time.Since(before))
		}
		close(release)
		synctest.Wait()
		if v, err := call(ctx, &g, time.Second, func() int { return 9 }); v != 9 || err != nil {
			t.Errorf("after it came back: %v, %v", v, err)
		}
		if _, err := call(ctx, &g, time.Second, func() int { panic("index out of range") }); err == nil || !strings.Contains(err.Error(), "no sense") {
			t.Error(err)
		}
		over, cancel := context.WithCancel(ctx)
		cancel()
		wait := make(chan struct{})
		if _, err := call(over, &g, time.Second, func() int { <-wait; return 0 }); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		close(wait)
	})
}

// Every build has a source; what it cannot ask it says.
func TestNoLibrary(t *testing.T) {
	s := New(Options{Library: "/nonexistent/libnvidia-ml.so.1"})
	if _, err := s.Read(t.Context()); !errors.Is(err, ErrUnavailable) || s.Hung() != 0 {
		t.Error(err)
	}
}
