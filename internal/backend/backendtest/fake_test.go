package backendtest

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"motley/internal/backend"
	"motley/internal/oip"
)

var _ backend.Backend = (*Fake)(nil)

func call(body string, size int64) *backend.Call {
	return &backend.Call{Request: &oip.Request{
		Message: oip.Message{Body: []byte(body), HeadLength: -1},
		Inputs:  []oip.Input{{Shape: []int64{size}}},
	}}
}

func TestFakeRecordsAndEchoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &Fake{Latency: func(_ string, items int) time.Duration { return time.Duration(items) * time.Millisecond }}
		start := time.Now()
		calls := []*backend.Call{call("a", 2), call("b", 3)}
		if err := f.Run(t.Context(), "m", calls); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(start); got != 5*time.Millisecond {
			t.Errorf("took %v, want 5ms", got)
		}
		for i, want := range []string{"a", "b"} {
			if got := string(calls[i].Response.Body); got != want {
				t.Errorf("response %d is %q, want %q", i, got, want)
			}
		}
		if got := f.Sizes(); !reflect.DeepEqual(got, [][]int{{2, 3}}) {
			t.Errorf("sizes %v", got)
		}
		if b := f.Batches()[0]; b.Items() != 5 || b.Model != "m" || b.End.Sub(b.Start) != 5*time.Millisecond {
			t.Errorf("record %+v", b)
		}
	})
}

func TestFakeFails(t *testing.T) {
	hour := func(string, int) time.Duration { return time.Hour }
	boom := errors.New("boom")
	for _, tc := range []struct {
		name  string
		fake  *Fake
		do    func(f *Fake, cancel context.CancelFunc)
		class backend.Class
	}{
		{"killed while running", &Fake{Latency: hour}, func(f *Fake, _ context.CancelFunc) { f.Kill() }, backend.Connect},
		{"cancelled", &Fake{Latency: hour}, func(_ *Fake, cancel context.CancelFunc) { cancel() }, backend.Canceled},
		{"deadline", &Fake{Latency: hour}, func(*Fake, context.CancelFunc) {}, backend.Timeout},
		{"injected", &Fake{Fail: func(string, []*backend.Call) error { return boom }}, nil, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				done := make(chan error)
				go func() { done <- tc.fake.Run(ctx, "m", []*backend.Call{call("a", 1)}) }()
				synctest.Wait()
				if tc.do != nil {
					if now, _ := tc.fake.Running(); now != 1 {
						t.Errorf("%d running, want 1", now)
					}
					tc.do(tc.fake, cancel)
				}
				err := <-done
				if tc.class == 0 {
					if !errors.Is(err, boom) {
						t.Errorf("got %v, want boom", err)
					}
					return
				}
				var e *backend.Error
				if !errors.As(err, &e) || e.Class != tc.class {
					t.Errorf("got %v, want class %v", err, tc.class)
				}
			})
		})
	}
}

func TestFakeReviveAndStatus(t *testing.T) {
	f := &Fake{}
	f.Kill()
	if err := f.Run(t.Context(), "m", []*backend.Call{call("a", 1)}); err == nil {
		t.Error("a killed fake answered")
	}
	if _, err := f.Probe(t.Context(), "m"); err == nil {
		t.Error("a killed fake answered a probe")
	}
	f.Revive()
	if err := f.Run(t.Context(), "m", []*backend.Call{call("a", 1)}); err != nil {
		t.Errorf("revived: %v", err)
	}
	if s, err := f.Probe(t.Context(), "m"); err != nil || !s.Ready {
		t.Errorf("revived: %+v, %v", s, err)
	}
	f.SetStatus("m", backend.Status{MaxBatch: 7}, nil)
	if s, err := f.Probe(t.Context(), "m"); err != nil || s.Ready || s.MaxBatch != 7 {
		t.Errorf("set status: %+v, %v", s, err)
	}
}
