package pool

import "math"

// drift tells, from the logarithm of the ratio of what batches took to what
// was expected, an outlier from a change: an outlier is held to a limit, and
// a change makes the profile forget what it knew.
type drift struct {
	deviation float64 // running root mean square of the logarithms
	fast      float64 // running mean over about driftSpan batches
	streak    int     // consecutive batches over the limit, negative below it
	off       bool    // a drift is under way

	drifts, replacements int // how many there were
}

// verdict is what drift makes of one batch.
type verdict uint8

const (
	steady   verdict = iota
	drifting         // the last batches lie off, all told: forget quickly
	replaced         // several in a row lie far off: what was known is void
)

const (
	driftSpan   = 16
	driftStreak = 5
	// driftSigmas is how many standard errors the running mean may be off:
	// about one false alarm in 10,000 batches, which costs little.
	driftSigmas = 4
	driftLeast  = 0.02 // a change under 2 % is left to ordinary forgetting
	// Outliers count as this many deviations, at least a third over or under.
	outlierSigmas = 4
	outlierLeast  = 0.3
	// unfamiliarLimit is for sizes of which hardly a batch was seen, where the
	// estimate itself may be far off: a factor of 12.
	unfamiliarLimit = 2.5
)

func newDrift() drift { return drift{deviation: 0.2} }

// judge takes the logarithm of one ratio and the weight of batches seen near
// that size; it returns the logarithm held to the limit, and the verdict.
func (d *drift) judge(logRatio, familiar float64) (held float64, v verdict) {
	limit := max(outlierLeast, outlierSigmas*d.deviation)
	if familiar < 3 {
		limit = max(limit, unfamiliarLimit)
	}
	held = min(max(logRatio, -limit), limit)
	switch {
	case logRatio > limit:
		d.streak = max(d.streak, 0) + 1
	case logRatio < -limit:
		d.streak = min(d.streak, 0) - 1
	default:
		d.streak = 0
	}
	if d.streak >= driftStreak || d.streak <= -driftStreak {
		d.streak, d.fast, d.off = 0, 0, false
		d.replacements++
		return logRatio, replaced
	}
	d.fast += (held - d.fast) / driftSpan
	standardError := d.deviation / math.Sqrt(2*driftSpan)
	least := max(driftLeast, driftSigmas*standardError)
	if math.Abs(d.fast) > least {
		if !d.off {
			d.drifts++
		}
		d.off = true
		return held, drifting
	}
	if math.Abs(d.fast) < least/2 { // one drift that wavers is still one
		d.off = false
	}
	d.deviation = math.Sqrt(d.deviation*d.deviation + (held*held-d.deviation*d.deviation)/64)
	return held, steady
}
