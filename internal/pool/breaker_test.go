package pool

import (
	"math/rand/v2"
	"testing"
	"time"

	"motley/internal/mono"
)

func TestBreaker(t *testing.T) {
	const ms = mono.Time(time.Millisecond)
	type step struct {
		at    mono.Time
		do    string // failure, success, sent, released or nothing
		state BreakerState
		allow bool
		next  mono.Time
	}
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"opens after consecutive failures only", []step{
			{0, "failure", BreakerClosed, true, mono.Never},
			{0, "success", BreakerClosed, true, mono.Never},
			{0, "failure", BreakerClosed, true, mono.Never},
			{1 * ms, "failure", BreakerOpen, false, 11 * ms},
			{10 * ms, "", BreakerOpen, false, 11 * ms},
			{11 * ms, "", BreakerHalfOpen, true, mono.Never},
		}},
		{"one trial; its success closes", []step{
			{0, "failure", BreakerClosed, true, mono.Never},
			{0, "failure", BreakerOpen, false, 10 * ms},
			{10 * ms, "sent", BreakerHalfOpen, false, mono.Never},
			{12 * ms, "success", BreakerClosed, true, mono.Never},
			{12 * ms, "failure", BreakerClosed, true, mono.Never},
		}},
		{"failed trials open longer, up to the limit; a success starts over", []step{
			{0, "failure", BreakerClosed, true, mono.Never},
			{0, "failure", BreakerOpen, false, 10 * ms},
			{10 * ms, "sent", BreakerHalfOpen, false, mono.Never},
			{10 * ms, "failure", BreakerOpen, false, 30 * ms},
			{30 * ms, "sent", BreakerHalfOpen, false, mono.Never},
			{30 * ms, "failure", BreakerOpen, false, 65 * ms},
			{65 * ms, "sent", BreakerHalfOpen, false, mono.Never},
			{65 * ms, "failure", BreakerOpen, false, 100 * ms},
			{100 * ms, "success", BreakerClosed, true, mono.Never},
			{100 * ms, "failure", BreakerClosed, true, mono.Never},
			{100 * ms, "failure", BreakerOpen, false, 110 * ms},
		}},
		{"a cancelled trial is given back", []step{
			{0, "failure", BreakerClosed, true, mono.Never},
			{0, "failure", BreakerOpen, false, 10 * ms},
			{15 * ms, "sent", BreakerHalfOpen, false, mono.Never},
			{16 * ms, "released", BreakerHalfOpen, true, mono.Never},
		}},
		{"a straggler's failure does not extend", []step{
			{0, "failure", BreakerClosed, true, mono.Never},
			{0, "failure", BreakerOpen, false, 10 * ms},
			{5 * ms, "failure", BreakerOpen, false, 10 * ms},
			{12 * ms, "failure", BreakerOpen, false, 22 * ms},
		}},
	} {
		b := NewBreaker(BreakerConfig{Failures: 2, Open: 10 * time.Millisecond, MaxOpen: 35 * time.Millisecond})
		for i, s := range c.steps {
			switch s.do {
			case "failure":
				b.Failure(s.at)
			case "success":
				b.Success(s.at)
			case "sent":
				b.Sent(s.at)
			case "released":
				b.Released(s.at)
			}
			if b.State(s.at) != s.state || b.Allow(s.at) != s.allow || b.NextChange(s.at) != s.next {
				t.Errorf("%s, step %d: %v, allows %v, next %v; want %v, %v, %v", c.name, i,
					b.State(s.at), b.Allow(s.at), b.NextChange(s.at), s.state, s.allow, s.next)
			}
		}
	}
}

func TestBreakerZeroValue(t *testing.T) {
	var b Breaker
	for range DefaultFailures - 1 {
		b.Failure(7)
	}
	if b.State(7) != BreakerClosed {
		t.Fatal("open before the default number of failures")
	}
	b.Failure(7)
	if got, want := b.NextChange(7), mono.Time(7).Add(DefaultOpen); got != want {
		t.Errorf("a trial is due at %v, want %v", got, want)
	}
}

// A random walk: at most one trial at a time, never longer open than allowed,
// and always a way out of being open.
func TestBreakerRandomWalk(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	cfg := BreakerConfig{Failures: 2, Open: 3, MaxOpen: 20}
	b := NewBreaker(cfg)
	var now mono.Time
	trials := 0
	for i := range 100_000 {
		now += mono.Time(r.IntN(5))
		state := b.State(now)
		if b.Allow(now) {
			b.Sent(now)
			if state == BreakerHalfOpen {
				trials++
			}
		}
		if trials > 1 {
			t.Fatalf("step %d: %d trials at once", i, trials)
		}
		switch r.IntN(6) {
		case 0, 1:
			b.Failure(now)
			trials = 0
		case 2:
			b.Success(now)
			trials = 0
		case 3:
			b.Released(now)
			trials = 0
		}
		next := b.NextChange(now)
		if (b.State(now) == BreakerOpen) != (next != mono.Never) || next <= now {
			t.Fatalf("step %d at %v: %v but next change %v", i, now, b.State(now), next)
		}
		if next != mono.Never && next.Sub(now) > cfg.MaxOpen {
			t.Fatalf("step %d: open for %v", i, next.Sub(now))
		}
		if next != mono.Never && !b.Allow(next) {
			t.Fatalf("step %d: no trial at %v", i, next)
		}
	}
}

func TestBreakerStateString(t *testing.T) {
	for s, want := range map[BreakerState]string{BreakerClosed: "closed", BreakerOpen: "open", BreakerHalfOpen: "half_open"} {
		if s.String() != want {
			t.Errorf("%d is %q, want %q", s, s, want)
		}
	}
}
