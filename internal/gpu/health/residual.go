package health

import "math"

// residual watches the logarithms of how long one worker's batches took over
// how long its type's profile expected them to take, less what all workers of
// the type are over it just now (see peers.level). Both what is usual for
// this worker and how far it scatters are quantiles of its own past, so that two
// machines of one type may differ; a change is found by a one-sided CUSUM of
// samples held to a limit (E. S. Page, Biometrika 41, 1954), so that no single
// outlier is one.
type residual struct {
	recent  ring // not yet part of the past: a change must not hide itself
	past    ring
	mid     float64 // what is usual
	spread  float64 // how far it scatters; 0 until learned
	slack   float64 // what each batch may be over the usual, in spreads
	batches int
	refresh int // batches until mid and spread are computed anew

	sum     float64 // of the CUSUM, in spreads
	run     int     // batches since the sum was 0
	alarmed bool
	since   int     // batches since the alarm
	effect  float64 // that the alarm is about, a logarithm
	calm    int     // batches in a row that are not half as far off, while alarmed

	scratch []float64
}

const (
	recentSpan = 32
	pastSpan   = 256
	warm       = 32 // batches after which a worker's past counts
	// leastSpread keeps a very steady worker from being suspected of trifles.
	leastSpread = 0.03
	// cusumSlack is what each batch may at least be over the usual, in spreads,
	// and leastSlack the logarithm likewise: 5 %. With cusumLimit, the sum of
	// normal samples goes over it once in about e^20 batches, and in 10^5 where
	// the spread was underestimated by a quarter; alarm then looks again.
	cusumSlack = 0.5
	leastSlack = 0.05
	cusumLimit = 20
	cusumClip  = 4
	// upperScale makes the distance from the median to the 90th percentile of
	// normal samples their standard deviation: where a tenth of the batches or
	// more take longer as a rule, that is no change.
	upperScale = 1.2816
	// leastEffect is the logarithm that an alarm is about at least, 14 %: less
	// is left to the type's profile, which learns.
	leastEffect = 0.13
	// An alarm ends after this many batches in a row at each of which the median
	// of the last ones is more than half of the way back.
	calmBatches = 32
	medianSpan  = 16
)

func newResidual() residual { return residual{recent: newRing(recentSpan), past: newRing(pastSpan)} }

// learned reports whether there is a past to compare with.
func (r *residual) learned() bool { return r.spread > 0 }

// add takes one of them; frozen says that this worker's hardware is known to be
// slower just now, so that nothing is learned of what is usual. It reports
// whether the sum is over its limit: see alarm.
func (r *residual) add(x float64, frozen bool) (over bool) {
	r.batches++
	old, full := r.recent.add(x)
	frozen = frozen || r.alarmed
	if full && !frozen {
		r.past.add(old)
	}
	if r.refresh--; r.refresh <= 0 && !frozen {
		r.learn()
	}
	if !r.learned() {
		return false
	}
	z := min(max((x-r.mid)/r.spread, -cusumClip), cusumClip)
	r.sum = max(0, r.sum+z-max(r.slack, leastSlack/r.spread))
	r.run++
	if r.sum == 0 {
		r.run = 0
	}
	if !r.alarmed {
		return r.sum > cusumLimit
	}
	r.since++
	lately := r.lately(medianSpan)
	if r.since == medianSpan {
		r.effect = max(lately, leastEffect)
	}
	if lately > r.effect/2 {
		r.calm = 0
	} else if r.calm++; r.calm >= calmBatches {
		r.clear()
	}
	return false
}

// alarm begins an alarm, unless the worker's peers, who were over their usual
// by others in as many batches, show the same change.
func (r *residual) alarm(others float64) {
	if effect := r.lately(r.changed()) - others; effect > leastEffect {
		r.alarmed, r.since, r.calm, r.effect = true, 0, 0, effect
		return
	}
	r.sum /= 2
}

// changed is how many of the last batches came after the change, as far as
// medians are taken of them.
func (r *residual) changed() int { return min(max(r.run, 1), medianSpan) }

// clear ends an alarm.
func (r *residual) clear() { r.alarmed, r.sum, r.run = false, 0, 0 }

// learn computes what is usual: from the past, and at the start from what
// there is.
func (r *residual) learn() {
	switch {
	case r.past.n >= warm:
		r.scratch = r.past.last(pastSpan, r.scratch[:0])
		r.refresh = 16
		if r.past.n == pastSpan {
			r.refresh = 64
		}
	case r.recent.n >= warm && !r.learned():
		r.scratch = r.recent.last(recentSpan, r.scratch[:0])
		r.refresh = 16
	default:
		return
	}
	// Both are known to about one and a quarter spreads over the root of their
	// number, and of few samples the spread may be far too small.
	doubt := 1 / math.Sqrt(float64(len(r.scratch)))
	mid := median(r.scratch) // orders them
	upper := (r.scratch[len(r.scratch)*9/10] - mid) / upperScale
	_, spread := centre(r.scratch)
	r.mid, r.spread, r.slack = mid, max(spread, upper, leastSpread)*(1+2*doubt), cusumSlack+doubt
}

// lately is the median of the last n batches over the usual.
func (r *residual) lately(n int) float64 {
	r.scratch = r.recent.last(n, r.scratch[:0])
	return median(r.scratch) - r.mid
}
