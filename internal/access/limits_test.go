package access

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// naive is a token bucket as one would write it down: tokens that drip.
type naive struct {
	tokens, most, perSecond float64
	at                      time.Duration
}

func (n *naive) drip(now time.Duration) {
	n.tokens = min(n.most, n.tokens+(now-n.at).Seconds()*n.perSecond)
	n.at = now
}

// oracle is what a key may do, by the book.
type oracle struct {
	limits          Limits
	requests, bytes naive
	inFlight        int
}

func newOracle(l Limits) *oracle {
	return &oracle{
		limits:   l,
		requests: naive{tokens: float64(max(l.Burst, 1)), most: float64(max(l.Burst, 1)), perSecond: l.Requests},
		bytes:    naive{tokens: l.Bytes, most: l.Bytes, perSecond: l.Bytes},
	}
}

// closeCall is how near to a whole token rounding may decide.
const closeCall = 1e-5

// enter says what must come of a request; sure is false where rounding may decide.
func (o *oracle) enter(bytes int, now time.Duration) (reason Reason, wait float64, sure bool) {
	o.requests.drip(now)
	o.bytes.drip(now)
	switch l := &o.limits; {
	case l.Concurrent > 0 && o.inFlight >= l.Concurrent:
		return Concurrent, 0, true
	case l.Bytes > 0 && math.Abs(o.bytes.tokens) < closeCall*l.Bytes,
		l.Requests > 0 && math.Abs(o.requests.tokens-1) < closeCall:
		return Admitted, 0, false
	case l.Bytes > 0 && o.bytes.tokens <= 0:
		return Bytes, -o.bytes.tokens / l.Bytes, true
	case l.Requests > 0 && o.requests.tokens < 1:
		return Rate, (1 - o.requests.tokens) / l.Requests, true
	}
	return Admitted, 0, true
}

func (o *oracle) admitted(bytes int) {
	o.inFlight++
	o.requests.tokens--
	o.bytes.tokens -= float64(bytes)
}

// Random requests of random limits get what the book says, and waits are true:
// to the moment that is told nothing is let in, from then on something is.
func TestLimitsAgainstOracle(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	pick := func(of ...float64) float64 { return of[rng.IntN(len(of))] }
	count := map[Reason]int{}
	for range 300 {
		l := Limits{
			Requests: pick(0, 0.5, 3, 70, 1000, 123456), Burst: int(pick(0, 1, 2, 10, 500)),
			Concurrent: int(pick(0, 1, 5)), Bytes: pick(0, 1024, 5e4, 1e7),
		}
		e := &entry{limits: l, requests: paceOf(l.Requests, float64(max(l.Burst, 1))), bytes: paceOf(l.Bytes, l.Bytes), meter: new(meter)}
		o, now, scale := newOracle(l), time.Duration(0), math.Pow(10, rng.Float64()*4-4) // 0.1 ms to 1 s
		for range 400 {
			now += time.Duration(rng.ExpFloat64() * scale * 1e9)
			if o.inFlight > 0 && rng.IntN(3) == 0 {
				o.inFlight--
				e.meter.inFlight.Add(-1)
			}
			bytes := int(rng.ExpFloat64() * pick(10, 1000, 100_000))
			want, wait, sure := o.enter(bytes, now)
			got, told := e.admit(bytes, now)
			if sure && got != want {
				t.Fatalf("%+v at %v with %d bytes: %v, want %v (%+v)", l, now, bytes, got, want, o)
			}
			if sure && math.Abs(told.Seconds()-wait) > 1e-4*wait+1e-6 {
				t.Fatalf("%+v at %v: told to wait %v, want %v s", l, now, told, wait)
			}
			count[got]++
			if got == Admitted {
				o.admitted(bytes)
			} else if got != Concurrent {
				e.truthful(t, l, now, told, got)
			}
		}
		if n := e.meter.inFlight.Load(); int(n) != o.inFlight {
			t.Fatalf("%+v: %d under way, want %d", l, n, o.inFlight)
		}
	}
	for _, r := range []Reason{Admitted, Rate, Concurrent, Bytes} {
		if count[r] < 1000 {
			t.Errorf("%v came only %d times", r, count[r])
		}
	}
}

// truthful tries on a copy whether the limit that refused lets a request in once the
// wait is over, and not before.
func (e *entry) truthful(t *testing.T, l Limits, now, wait time.Duration, why Reason) {
	t.Helper()
	try := func(at time.Duration) Reason {
		c := &entry{limits: l, requests: e.requests, bytes: e.bytes, meter: new(meter)}
		c.meter.requests.full.Store(e.meter.requests.full.Load())
		c.meter.bytes.full.Store(e.meter.bytes.full.Load())
		r, _ := c.admit(1, at)
		return r
	}
	if r := try(now + wait - 1); r != why {
		t.Fatalf("%+v: %v a moment before the wait of %v is over, want %v", l, r, wait, why)
	}
	if r := try(now + wait); r == why {
		t.Fatalf("%+v: %v after a wait of %v", l, r, wait)
	}
}

// Limits at their bounds do not overflow.
func TestLimitsExtreme(t *testing.T) {
	for _, l := range []Limits{{Bytes: 1024}, {Requests: 1e6, Burst: 1e6}, {Requests: 1e-3, Burst: 1e6}} {
		e := &entry{limits: l, requests: paceOf(l.Requests, float64(max(l.Burst, 1))), bytes: paceOf(l.Bytes, l.Bytes), meter: new(meter)}
		now := 10 * 365 * 24 * time.Hour
		if r, _ := e.admit(16<<30, now); r != Admitted {
			t.Errorf("%+v: %v", l, r)
		}
		if l.Bytes > 0 {
			if r, wait := e.admit(1, now); r != Bytes || wait < 190*24*time.Hour {
				t.Errorf("%+v: %v, %v", l, r, wait)
			}
		}
	}
}
