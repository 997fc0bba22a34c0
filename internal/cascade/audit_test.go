package cascade

import (
	"context"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"motley/internal/earlyexit"
	"motley/internal/live"
	"motley/internal/oip"
)

// TestOutcomes: what the controller learns of rows that leave, go on and are
// audited.
func TestOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wrong := func(x int64) []float64 { return unsureOf(x + 1 - x/8) } // of 0 … 7
		s := begin(t, nil, &model{say: wrong}, &model{say: large, took: 5 * time.Millisecond})
		began := time.Now()
		s.do(request(t, 0, 1, 8, 9)) // sure of all; rows 1 and 3 are audited
		if time.Since(began) != 0 {
			t.Errorf("the answer waited %v for the audit", time.Since(began))
		}
		synctest.Wait()
		s.cascade.Gate().With(func(earlyexit.Controller) {
			if len(s.learned) != 2 {
				t.Errorf("learned %v before the audit's end", s.learned)
			}
		})
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		s.do(request(t, 16))
		s.end()
		for seq, want := range []earlyexit.Outcome{
			{Exit: 0, Audit: 0.25, Class: -1},
			{Exit: 0, Audit: 0.25, Ran: true, Class: 1},
			{Exit: 0, Audit: 0.25, Class: -1},
			{Exit: 0, Audit: 0.25, Ran: true, Class: 0, Agree: 1},
			{Exit: -1, Audit: 1, Ran: true, Class: 1},
		} {
			got := s.learned[uint64(seq)]
			if len(got.Signals) != 1 || !got.Signals[0].Seen() {
				t.Errorf("row %d has the signals %v", seq, got.Signals)
			}
			got.Signals, want.Seq = nil, uint64(seq)
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("row %d: %+v, want %+v", seq, got, want)
			}
		}
		if o := s.learned[1]; !o.Disagrees() {
			t.Errorf("%+v does not disagree", o)
		}
		if got := s.rowsAsked(); got != "m0[0 1 8 9] m1[1 9] m0[16] m1[16]" {
			t.Errorf("asked %s", got)
		}
	})
}

// TestLatencyMode: every row that leaves is run by the reference all the same.
func TestLatencyMode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, func(s *setting, _ *Config) {
			s.mode = earlyexit.Latency
			s.verdict = func(row *earlyexit.Row, ramp int) earlyexit.Verdict {
				if row.Mode != earlyexit.Latency || row.Most != 0.5 {
					t.Errorf("row %+v", row)
				}
				return earlyexit.Verdict{Exit: row.Signals[ramp].Confidence > 0.8, Audit: 1}
			}
		}, &model{say: unsureOf}, &model{say: large, took: time.Millisecond})
		r := request(t, 1, 14, 2)
		r.Most = 0.5
		if a := s.do(r); a.Parameters.Exit != 1 {
			t.Errorf("got %v", a)
		}
		s.end()
		r = request(t, 1)
		r.Mode = earlyexit.Off
		if a := s.do(r); a.Parameters.Exit != 1 || len(s.script.asked) != 3 {
			t.Errorf("a request that wants none is answered %v", a)
		}
		for seq, exit := range []int{0, -1, 0} {
			if o := s.learned[uint64(seq)]; o.Exit != exit || !o.Ran || o.Agree != 1 {
				t.Errorf("row %d: %+v", seq, o)
			}
		}
		if got := s.rowsAsked(); got != "m0[1 14 2] m1[14] m1[1 2] m1[1]" {
			t.Errorf("asked %s", got)
		}
	})
}

// TestAuditsAreLost: for want of room, by a refusal, by their own deadline, by
// an answer that tells no class, and when the cascade ends.
func TestAuditsAreLost(t *testing.T) {
	all := func(s *setting, c *Config) {
		s.verdict = func(*earlyexit.Row, int) earlyexit.Verdict { return audited }
	}
	for _, c := range []struct {
		name   string
		large  *model
		audits Audits
		close  time.Duration // what Close waits
		ran    int           // of 8
	}{
		{"none", &model{say: large, took: time.Second}, Audits{Most: 1, Queue: 7, Timeout: time.Minute}, time.Hour, 8},
		{"no room", &model{say: large, took: time.Second}, Audits{Most: 2, Queue: 3, Timeout: time.Minute}, time.Hour, 5},
		{"refused", &model{fail: &live.Refusal{Reason: live.Deadline}, took: time.Second}, Audits{}, time.Hour, 0},
		{"late", &model{say: large, took: time.Second}, Audits{Most: 1, Timeout: 4500 * time.Millisecond}, time.Hour, 4},
		{"no class", &model{say: func(int64) []float64 { return []float64{1, math.NaN(), 0} }}, Audits{}, time.Hour, 0},
		{"no answer", &model{say: large, rewrite: func(m *oip.Message) { m.Body = nil }}, Audits{}, time.Hour, 0},
		{"the end", &model{say: large, took: time.Second}, Audits{Most: 1, Timeout: time.Minute}, 2500 * time.Millisecond, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := begin(t, func(s *setting, cfg *Config) { all(s, cfg); cfg.Audits = c.audits }, &model{say: unsureOf}, c.large)
				for x := range int64(8) {
					s.do(request(t, x))
				}
				ctx, cancel := context.WithTimeout(context.Background(), c.close)
				defer cancel()
				if err := s.cascade.Close(ctx); (err != nil) != (c.ran == 2) {
					t.Errorf("Close: %v", err)
				}
				s.end()
				ran, lost := 0, 0
				for _, o := range s.learned {
					if o.Exit != 0 || o.Audit != 0.25 || o.Ran == o.Lost {
						t.Errorf("outcome %+v", o)
					}
					if o.Ran {
						ran++
					} else {
						lost++
					}
				}
				if ran != c.ran || ran+lost != 8 {
					t.Errorf("%d audits ran and %d were lost, want %d of 8", ran, lost, c.ran)
				}
				s.do(request(t, 8)) // still answered
				if o := s.learned[8]; !o.Lost {
					t.Errorf("an audit after the end: %+v", o)
				}
			})
		})
	}
}

// TestAuditsAreBounded: never more at once than allowed, and below everybody
// else.
func TestAuditsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, func(s *setting, c *Config) {
			s.verdict = func(*earlyexit.Row, int) earlyexit.Verdict { return audited }
			c.Audits = Audits{Most: 3}
		}, &model{say: unsureOf}, &model{say: large, took: time.Second})
		for x := range int64(12) {
			s.do(request(t, x%9))
		}
		for i := 1; i <= 4; i++ {
			time.Sleep(time.Second)
			synctest.Wait()
			n := 0
			for _, c := range s.world.asked() {
				if c.model == 1 {
					n++
				}
				if c.model == 1 && c.priority != lowest {
					t.Errorf("an audit has priority %d", c.priority)
				}
			}
			if n != 3*i {
				t.Errorf("%d audits have ended after %d s, want %d", n, i, 3*i)
			}
		}
		s.end()
	})
}

// TestIdle: the controller is told when checks cost nothing.
func TestIdle(t *testing.T) {
	for _, idle := range []bool{false, true} {
		s := begin(t, func(s *setting, _ *Config) {
			s.idle = idle
			s.verdict = func(row *earlyexit.Row, _ int) earlyexit.Verdict {
				if row.Idle != idle {
					t.Errorf("row %+v, want idle %v", row, idle)
				}
				return exit
			}
		}, &model{say: unsureOf}, &model{say: large})
		s.do(request(t, 1, 2))
		s.end()
	}
}
