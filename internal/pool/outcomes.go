package pool

import "math/bits"

// Outcomes remembers how the latest executions of a worker ended, 64 of them.
type Outcomes struct {
	failed uint64 // by age, the youngest first
	n      uint8
}

// outcomesSpan is how many executions are remembered.
const outcomesSpan = 64

// Add notes one that has ended.
func (o *Outcomes) Add(failed bool) {
	o.failed <<= 1
	if failed {
		o.failed |= 1
	}
	o.n = min(o.n+1, outcomesSpan)
}

// Forgive takes back the latest failure.
func (o *Outcomes) Forgive() { o.failed &= o.failed - 1 }

// Failed and Ended count what is remembered.
func (o *Outcomes) Failed() int { return bits.OnesCount64(o.failed) }

// Ended is how many executions are remembered, up to 64.
func (o *Outcomes) Ended() int { return int(o.n) }

// Full reports whether as many are remembered as can be.
func (o *Outcomes) Full() bool { return o.n == outcomesSpan }
