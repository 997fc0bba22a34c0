package pool

import "math"

// The residual histogram: the ratio of what a batch took to its estimated
// mean, its logarithm divided by the width at the batch's size (see scales), in
// bins of equal width in the logarithm, from 0.28 to 46 times the mean. Ratios outside go to the outermost bins.
const (
	spreadBins = 256
	spreadStep = 0.02  // a bin is 2 % wide
	spreadLow  = -1.28 // the logarithm at the lower edge of bin 0
	// spreadDecay forgets over about 512 batches: a 1 % tail needs some
	// hundred samples to be seen at all.
	spreadDecay = 1 - 1.0/512
	// spreadDelay is how many ratios wait before they count, so that those
	// measured against an estimate that proves outdated are thrown away.
	spreadDelay = 8
)

// spread is the distribution of the ratio, with exponential forgetting:
// instead of decaying every bin, each sample weighs more than the last.
type spread struct {
	bins    [spreadBins]float64
	total   float64
	unit    float64 // weight of the next sample; 0 before the first
	count   int     // samples that ever counted
	waiting [spreadDelay]residual
	queued  int // ratios in waiting, the oldest first
	sizes   scales

	// The last answer of quantile, and the count and q that it was for.
	last      float64
	lastQ     float64
	lastCount int
}

// spreadEvery is how many new samples a quantile may lag behind, once there
// are enough of them: a scan of the bins would double the cost of learning.
const spreadEvery = 8

// residual is the logarithm of a ratio, of a batch of n items.
type residual struct {
	log float64
	n   int
}

// add takes the logarithm of one ratio of a batch of n items.
func (s *spread) add(logRatio float64, n int) {
	now := residual{logRatio, n}
	if s.queued < spreadDelay {
		s.waiting[s.queued] = now
		s.queued++
		return
	}
	s.record(s.waiting[0])
	copy(s.waiting[:], s.waiting[1:])
	s.waiting[spreadDelay-1] = now
}

// drop throws the waiting ratios away.
func (s *spread) drop() { s.queued = 0 }

func (s *spread) record(r residual) {
	// The comparisons are in floats: a conversion out of range is undefined.
	at := (r.log/s.sizes.of(r.n) - spreadLow) / spreadStep
	bin := uint8(min(max(at, 0), spreadBins-1))
	s.sizes.add(r)
	if s.unit == 0 {
		s.unit = 1
	}
	s.bins[bin] += s.unit
	s.total += s.unit
	s.count++
	s.unit /= spreadDecay
	if s.unit > 1e9 {
		s.rescale()
	}
}

// rescale brings the weights back to where floats are exact; the total is
// summed anew, so that rounding does not pile up.
func (s *spread) rescale() {
	s.total = 0
	for i := range s.bins {
		s.bins[i] /= s.unit
		s.total += s.bins[i]
	}
	s.unit = 1
}

// quantile returns the ratio, at the common width, that a share q of the
// samples stays under; 1 when there are none. It reports whether the answer is
// a new one.
func (s *spread) quantile(q float64) (ratio float64, fresh bool) {
	if s.total == 0 {
		return 1, true
	}
	late := s.count - s.lastCount
	if q == s.lastQ && (late == 0 || late < spreadEvery && s.count > 100) {
		return s.last, false
	}
	s.last, s.lastQ, s.lastCount = s.scan(q), q, s.count
	return s.last, true
}

func (s *spread) scan(q float64) float64 {
	tail := (1 - q) * s.total // the weight to leave above
	for i := spreadBins - 1; i >= 0; i-- {
		w := s.bins[i]
		if w > tail {
			within := 1 - tail/w // linear inside the bin
			return math.Exp(spreadLow + (float64(i)+within)*spreadStep)
		}
		tail -= w
	}
	return math.Exp(spreadLow)
}
