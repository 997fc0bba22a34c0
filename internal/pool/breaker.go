package pool

import (
	"time"

	"motley/internal/mono"
)

// The defaults of BreakerConfig.
const (
	DefaultFailures = 3
	DefaultOpen     = 100 * time.Millisecond
	DefaultMaxOpen  = 5 * time.Second
)

// BreakerConfig bounds how long a failing worker keeps getting work. Zero
// (or negative) fields take the defaults.
type BreakerConfig struct {
	Failures int           // consecutive failures that open the breaker; default 3
	Open     time.Duration // first time it stays open; doubles with every failed trial; default 100 ms
	MaxOpen  time.Duration // the longest it stays open, at least Open; default 5 s
}

func (c BreakerConfig) withDefaults() BreakerConfig {
	if c.Failures <= 0 {
		c.Failures = DefaultFailures
	}
	if c.Open <= 0 {
		c.Open = DefaultOpen
	}
	if c.MaxOpen <= 0 {
		c.MaxOpen = DefaultMaxOpen
	}
	c.MaxOpen = max(c.MaxOpen, c.Open)
	return c
}

// BreakerState is closed (work flows), open (none) or half-open (one trial batch).
type BreakerState uint8

// The breaker's states.
const (
	BreakerClosed BreakerState = iota
	BreakerOpen
	BreakerHalfOpen
)

// String names the state as metrics and /debug/state print it.
func (s BreakerState) String() string {
	switch s {
	case BreakerClosed:
		return "closed"
	case BreakerOpen:
		return "open"
	}
	return "half_open"
}

// Breaker keeps work away from a worker that fails. The zero value is closed
// with the default configuration.
//
// Verdicts carry no batch identity: the verdict of a batch that was sent
// before the breaker opened counts as the worker's latest word. Its success
// closes the breaker, its failure extends the opening only when a trial was
// due or under way.
type Breaker struct {
	cfg      BreakerConfig
	failures int           // consecutive, while closed
	tripped  bool          // open or half-open
	trial    bool          // the one batch of a half-open breaker is under way
	open     time.Duration // how long the present opening lasts
	until    mono.Time     // when a trial is due, while tripped
}

// NewBreaker returns a closed breaker.
func NewBreaker(cfg BreakerConfig) Breaker { return Breaker{cfg: cfg} }

// Allow reports whether a batch may be sent at now. It does not change the
// breaker.
func (b *Breaker) Allow(now mono.Time) bool {
	return !b.tripped || (now >= b.until && !b.trial)
}

// Sent notes that a batch was sent: the trial of a half-open breaker is taken.
func (b *Breaker) Sent(now mono.Time) {
	if b.tripped && now >= b.until {
		b.trial = true
	}
}

// Success notes that a batch came back well.
func (b *Breaker) Success(now mono.Time) {
	b.failures, b.tripped, b.trial, b.open = 0, false, false, 0
}

// Failure notes that a batch failed by the worker's fault. Client errors are
// not failures.
func (b *Breaker) Failure(now mono.Time) {
	cfg := b.cfg.withDefaults()
	switch {
	case !b.tripped:
		b.failures++
		if b.failures < cfg.Failures {
			return
		}
		b.tripped, b.open = true, cfg.Open
	case b.trial:
		b.trial = false
		b.open = lengthen(b.open, cfg.MaxOpen)
	case now < b.until:
		return // a straggler from before the opening tells nothing new
	}
	b.until = now.Add(b.open)
}

// lengthen doubles d up to limit, without overflow.
func lengthen(d, limit time.Duration) time.Duration {
	if d > limit/2 {
		return limit
	}
	return 2 * d
}

// Released notes that a batch ended with no verdict on the worker
// (cancelled): a trial becomes available again.
func (b *Breaker) Released(now mono.Time) { b.trial = false }

// Trip opens the breaker for d, whatever it has been told of last.
func (b *Breaker) Trip(now mono.Time, d time.Duration) {
	b.tripped, b.trial, b.open = true, false, max(d, b.cfg.withDefaults().Open)
	b.until = now.Add(d)
}

// Hasten has an open breaker let a trial through after the time of a first
// opening at the latest.
func (b *Breaker) Hasten(now mono.Time) {
	if b.tripped {
		b.until = min(b.until, now.Add(b.cfg.withDefaults().Open))
	}
}

// Retry has an open breaker let a trial through at once: somebody has heard
// that the worker is there again.
func (b *Breaker) Retry(now mono.Time) {
	if b.tripped {
		b.until = min(b.until, now)
	}
}

// Tripped reports whether the breaker is open or half-open.
func (b *Breaker) Tripped() bool { return b.tripped }

// Clean reports whether the worker's latest word was not a failure.
func (b *Breaker) Clean() bool { return !b.tripped && b.failures == 0 }

// State returns the state at now.
func (b *Breaker) State(now mono.Time) BreakerState {
	switch {
	case !b.tripped:
		return BreakerClosed
	case now < b.until:
		return BreakerOpen
	}
	return BreakerHalfOpen
}

// NextChange returns when an open breaker will next let a trial through, and
// mono.Never when time alone changes nothing.
func (b *Breaker) NextChange(now mono.Time) mono.Time {
	if b.tripped && now < b.until {
		return b.until
	}
	return mono.Never
}
