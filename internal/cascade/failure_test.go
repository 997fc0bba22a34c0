package cascade

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"motley/internal/backend"
	"motley/internal/live"
	"motley/internal/oip"
)

func TestRequestIsAtFault(t *testing.T) {
	for _, err := range []error{
		&backend.Error{Class: backend.Client, Status: 422, Message: "no"},
		&oip.Error{Status: 400, Message: "no"},
		&live.Refusal{Reason: live.Stopping},
	} {
		s := begin(t, nil, &model{fail: err}, &model{say: large})
		if got := s.cascade.Do(context.Background(), request(t, 4)); !errors.Is(got, err) {
			t.Errorf("got %v, want %v", got, err)
		}
		if got := s.rowsAsked(); got != "m0[4]" {
			t.Errorf("asked %s", got)
		}
		s.end()
	}
	s := begin(t, nil, &model{say: unsureOf}, &model{say: large})
	r := request(t, 4)
	r.Call.Request.Sequence = true
	var bad *oip.Error
	if err := s.cascade.Do(context.Background(), r); !errors.As(err, &bad) || bad.Status != 400 {
		t.Errorf("a member of a sequence: %v", err)
	}
}

// TestReferenceFails: its error is the answer, and rows are lost that only it
// could have told of.
func TestReferenceFails(t *testing.T) {
	none := &live.Refusal{Reason: live.NoWorker}
	s := begin(t, nil, &model{say: unsureOf}, &model{fail: none})
	if err := s.cascade.Do(context.Background(), request(t, 2, 3, 14)); !errors.Is(err, none) {
		t.Errorf("got %v, want %v", err, none)
	}
	s.end()
	got := s.learned
	if o := got[0]; o.Exit != 0 || o.Ran || o.Lost || o.Audit != 0.25 {
		t.Errorf("a row that stopped: %+v", o)
	}
	if o := got[1]; o.Exit != 0 || o.Ran || !o.Lost {
		t.Errorf("a row that was to be audited: %+v", o)
	}
	if o := got[2]; o.Exit != -1 || o.Ran || !o.Lost || o.Audit != 1 {
		t.Errorf("a row that went on: %+v", o)
	}
	if s.rowsAsked() != "m0[2 3 14] m1[14]" {
		t.Errorf("asked %s", s.rowsAsked())
	}
}

// TestLate: a small model that does not answer in time costs no more than the
// time that there was, whether or not the loop lets its goroutine go.
func TestLate(t *testing.T) {
	for _, stuck := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := begin(t, nil, &model{say: unsureOf, took: time.Hour, stuck: stuck}, &model{say: large, took: 100 * time.Millisecond})
			defer s.end()
			r := request(t, 4)
			r.Timeout = 400 * time.Millisecond
			began := time.Now()
			if a := s.do(r); a.Parameters.Exit != 1 {
				t.Errorf("got %v", a)
			}
			if took := time.Since(began); took != 300*time.Millisecond {
				t.Errorf("it took %v, want half of the time to the deadline and 100ms", took)
			}
			if n := s.cascade.Counts(); n.Failed[0] != 1 || n.Asked[0] != 1 || n.Asked[1] != 1 || n.Failed[1] != 0 || n.Direct != 0 {
				t.Errorf("counts %+v", n)
			}
			time.Sleep(2 * time.Hour) // until the loop has let go
		})
	}
}

// TestDeadlines: each stage gets the time that leaves the reference its own,
// which gets the rest.
func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, func(s *setting, _ *Config) {
			s.latest = func(size int, left time.Duration) (time.Duration, bool) {
				return left - 300*time.Millisecond, left >= 300*time.Millisecond
			}
		}, &model{say: unsureOf, took: 500 * time.Millisecond}, &model{say: unsureOf, took: 150 * time.Millisecond}, &model{say: large, took: time.Millisecond})
		s.do(request(t, 14))
		var got []time.Duration
		for _, c := range s.world.asked() {
			got = append(got, c.timeout/time.Millisecond)
		}
		if want := []time.Duration{700, 200, 350}; !slices.Equal(got, want) {
			t.Errorf("timeouts %v ms, want %v", got, want)
		}
		r := request(t, 14)
		r.Timeout = 290 * time.Millisecond
		s.do(r)
		if n := s.cascade.Counts(); n.Direct != 1 || n.Asked[0] != 1 || n.Asked[2] != 2 {
			t.Errorf("counts %+v", n)
		}
		r = request(t, 14)
		r.Timeout = 650 * time.Millisecond // enough for the first stage to end late
		s.do(r)
		if n := s.cascade.Counts(); n.Failed[0] != 1 || n.Direct != 2 {
			t.Errorf("counts %+v", n)
		}
		s.end()
	})
}

// TestClientLeaves: its request ends, and every row's outcome is known.
func TestClientLeaves(t *testing.T) {
	for asked, m := range map[int][]*model{
		1: {{say: unsureOf, took: time.Second}, {say: large}},
		2: {{say: unsureOf}, {say: large, took: time.Second}},
	} {
		t.Run(fmt.Sprintf("at stage %d", asked), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := begin(t, func(_ *setting, c *Config) { c.QoS = time.Minute }, m...)
				ctx, cancel := context.WithCancel(context.Background())
				time.AfterFunc(500*time.Millisecond, cancel)
				var gone *backend.Error
				began := time.Now()
				if err := s.cascade.Do(ctx, request(t, 1, 14)); !errors.As(err, &gone) || gone.Class != backend.Canceled {
					t.Errorf("got %v", err)
				}
				if time.Since(began) != 500*time.Millisecond {
					t.Errorf("it took %v", time.Since(began))
				}
				synctest.Wait()
				if got := s.world.asked(); len(got) != asked || got[len(got)-1].ended == nil {
					t.Errorf("asked %+v", got)
				}
				s.end()
			})
		})
	}
}
