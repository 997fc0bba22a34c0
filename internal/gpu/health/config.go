package health

import "time"

// Config says how quickly judgements change. Zero fields take the defaults.
type Config struct {
	// StaleAfter is the age from which a sample no longer counts as news;
	// default 5 s. At six times that, uncertainty is at its most, double.
	StaleAfter time.Duration
	// Hold is how long a state is kept after its reason has gone; default 10 s.
	Hold time.Duration
	// Clean is how many samples in a row must be free of the reason, beside
	// Hold; default 3.
	Clean int
	// SlowStart is how long a worker that was out takes to get all of its work
	// again; default 30 s.
	SlowStart time.Duration
	// Remember is how long an XID that asks for the application alone keeps a
	// worker suspect; default 30 s.
	Remember time.Duration
	// Recur is the time within which a second fault of the kind that needs a
	// reset asks for a replacement; default 24 h.
	Recur time.Duration
}

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&c.StaleAfter, 5*time.Second)
	set(&c.Hold, 10*time.Second)
	set(&c.SlowStart, 30*time.Second)
	set(&c.Remember, 30*time.Second)
	set(&c.Recur, 24*time.Hour)
	if c.Clean <= 0 {
		c.Clean = 3
	}
	return c
}
