package access

import (
	"math"
	"sync/atomic"
	"time"
)

// Limits bound what one key may ask for. A zero is no limit.
type Limits struct {
	Requests   float64 // per second, over time
	Burst      int     // requests that may come at once; with Requests at least 1
	Concurrent int     // under way at once
	Bytes      float64 // of bodies, per second; one second's worth may come at once
}

// meter is what a key has used. It outlives the configuration that made it.
type meter struct {
	requests, bytes bucket
	inFlight        atomic.Int64
}

// pace is a rate and a burst as a bucket wants them, in ns; zero: no limit.
type pace struct{ cost, depth int64 }

func paceOf(perSecond float64, burst float64) pace {
	if perSecond <= 0 {
		return pace{}
	}
	cost := 1e9 / perSecond
	return pace{cost: max(int64(math.Round(cost)), 1), depth: max(int64(math.Round(cost*burst)), 1)}
}

// bucket is a token bucket in one number: the instant, in ns, at which it is full
// again (the generic cell rate algorithm of ITU-T I.371). Of a bucket that is depth
// ns deep, depth − (full − now) are left.
type bucket struct{ full atomic.Int64 }

// take takes cost out, or reports how long it will be until that is there.
func (b *bucket) take(now, cost, depth int64) (wait int64) {
	for {
		full := b.full.Load()
		next := max(full, now) + cost
		if wait := next - now - depth; wait > 0 {
			return wait
		}
		if b.full.CompareAndSwap(full, next) {
			return 0
		}
	}
}

// empty reports how long it will be until there is anything in the bucket; 0:
// there is.
func (b *bucket) empty(now, depth int64) (wait int64) {
	return max(b.full.Load()-now-depth+1, 0)
}

// charge takes cost out, whether it is there or not.
func (b *bucket) charge(now, cost int64) {
	for {
		full := b.full.Load()
		if b.full.CompareAndSwap(full, max(full, now)+cost) {
			return
		}
	}
}

// admit says whether one more request with so many bytes of body may begin. One
// that may is under way until leave. Nothing is used up by one that may not.
func (e *entry) admit(bytes int, now time.Duration) (Reason, time.Duration) {
	m, at := e.meter, int64(now)
	if n := m.inFlight.Add(1); e.limits.Concurrent > 0 && n > int64(e.limits.Concurrent) {
		m.inFlight.Add(-1)
		return Concurrent, 0
	}
	if e.bytes.cost > 0 {
		if wait := m.bytes.empty(at, e.bytes.depth); wait > 0 {
			m.inFlight.Add(-1)
			return Bytes, time.Duration(wait)
		}
	}
	if e.requests.cost > 0 {
		if wait := m.requests.take(at, e.requests.cost, e.requests.depth); wait > 0 {
			m.inFlight.Add(-1)
			return Rate, time.Duration(wait)
		}
	}
	if e.bytes.cost > 0 {
		// A body larger than the bucket is let in and paid for afterwards, else it
		// never could be.
		m.bytes.charge(at, int64(float64(bytes)/e.limits.Bytes*1e9))
	}
	return Admitted, 0
}
