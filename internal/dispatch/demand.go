package dispatch

import (
	"time"

	"motley/internal/mono"
)

// demand is what has arrived for a model: the mean gap between requests, in
// ns, and their mean size, both over about demandSpan requests.
type demand struct {
	seen      int
	last      mono.Time
	gap, size float64
}

const demandSpan = 128

// add notes a request of n items that arrives now.
func (d *demand) add(now mono.Time, n int) {
	d.seen++
	w := 1 / float64(min(d.seen, demandSpan))
	d.size += (float64(n) - d.size) * w
	if d.seen > 1 {
		w = 1 / float64(min(d.seen-1, demandSpan))
		d.gap += (float64(now-d.last) - d.gap) * w
	}
	d.last = now
}

// lull is how long it is expected to take until the next request comes, at
// least as long as it has been since the last one.
func (d *demand) lull(now mono.Time) time.Duration {
	return time.Duration(d.gap)
}
