package profiler

import (
	"cmp"
	"math/bits"
	"slices"
)

// series are the runs of one batch size.
type series struct {
	batch int
	took  []float64 // ns, in the order of the runs
	last  int       // the number of its last run, over all sizes
}

const (
	leastRuns = 8    // of a size, before anything is made of it
	mostRuns  = 400  // of a size
	precision = 0.02 // half interval of a mean, relative, that is good enough
	certain   = 0.05 // likewise of a prediction
	roundSize = 4    // sizes of a round that makes means more certain
	heldOut   = 2    // sizes that the law must predict before it is believed
)

// Why the plan ended.
const (
	endLaw  = "the law predicts the sizes that were held out, and the others well enough"
	endAll  = "every size is known well enough"
	endRuns = "400 runs of a size do not make it any more certain"
)

// next says which sizes to run next, once each and in any order, as indexes of
// all, which rise by batch; none when enough is known, and why.
//
// First come the outermost sizes, which pin the law down best; then, one by one,
// the size of which the law's prediction is the least certain, measured and
// compared with it; until two agree, one a power of two and one not where there
// are both (servers pad), and the rest is certain. Where the law fails, every
// size is measured. Then those are run of which a run tells most for its time, until
// all means are certain. The smallest
// size, and the one that was not run for longest, come along in every round, so
// that a worker that changes its speed does not favour one size.
func next(all []series) (round []int, end string) {
	var sizes []Size
	var entered, open []int
	for i := range all {
		outermost := i == 0 || i == len(all)-1
		switch n := len(all[i].took); {
		case n < leastRuns && (n > 0 || outermost):
			round = append(round, i)
		case n == 0:
			open = append(open, i)
		default:
			entered = append(entered, i)
			sizes = append(sizes, summarise(all[i].batch, all[i].took))
		}
	}
	if len(round) > 0 {
		return company(all, round), ""
	}
	held := checks(sizes)
	law := fit(sizes)
	believed := believe(held, all, open, &law)
	if !believed && len(open) > 0 {
		return company(all, []int{pick(held, all, open, &law)}), ""
	}
	round, capped := vague(all, entered, sizes)
	switch {
	case len(round) > 0:
		return company(all, round), ""
	case capped:
		return nil, endRuns
	case len(open) > 0:
		return nil, endLaw
	}
	return nil, endAll
}

// vague returns the sizes whose means are the most worth a further run, and
// whether there are some that had all the runs that they may have. sizes[k] is of
// all[entered[k]].
func vague(all []series, entered []int, sizes []Size) (round []int, capped bool) {
	gain := make([]float64, len(all))
	for k, i := range entered {
		s := &sizes[k]
		switch n := len(all[i].took); {
		case s.Relative() <= precision:
		case n >= mostRuns:
			capped = true
		default:
			// By how much a run makes the squared interval smaller, for its time.
			gain[i] = s.Relative() * s.Relative() / float64(n) / float64(s.Mean)
			round = append(round, i)
		}
	}
	slices.SortStableFunc(round, func(a, b int) int { return cmp.Compare(gain[b], gain[a]) })
	return round[:min(len(round), roundSize)], capped
}

// believe reports whether the law is known well enough to leave sizes out.
func believe(held []Check, all []series, open []int, law *Law) bool {
	powers := 0
	for _, c := range held {
		if !c.Holds() {
			return false
		}
		if power(c.Batch) {
			powers++
		}
	}
	if len(held) < heldOut {
		return false
	}
	for _, i := range open {
		if p := power(all[i].batch); p && powers == 0 || !p && powers == len(held) {
			return false
		}
		if uncertainty(law, all[i].batch) > certain {
			return false
		}
	}
	return true
}

// pick returns the size of which least is certain, of the kind that has not been
// held out yet, if there is one.
func pick(held []Check, all []series, open []int, law *Law) int {
	seen := map[bool]bool{}
	for _, c := range held {
		seen[power(c.Batch)] = true
	}
	fresh := func(i int) bool { return len(seen) == 1 && !seen[power(all[i].batch)] }
	best := open[0]
	for _, i := range open[1:] {
		if f := fresh(i); f != fresh(best) {
			if f {
				best = i
			}
			continue
		}
		if uncertainty(law, all[i].batch) > uncertainty(law, all[best].batch) {
			best = i
		}
	}
	return best
}

func uncertainty(law *Law, batch int) float64 {
	mean, half := law.predict(batch)
	return half / mean
}

// company adds the smallest size and the one that was not run for longest.
func company(all []series, round []int) []int {
	if !slices.Contains(round, 0) {
		round = append(round, 0)
	}
	oldest := -1
	for i := range all {
		if len(all[i].took) > 0 && !slices.Contains(round, i) && (oldest < 0 || all[i].last < all[oldest].last) {
			oldest = i
		}
	}
	if oldest >= 0 {
		round = append(round, oldest)
	}
	return round
}

func power(n int) bool { return bits.OnesCount(uint(n)) == 1 }

// settled reports whether the median of the last five runs is that of the five
// before, within a twentieth: what a worker does first (compiling, allocating,
// filling caches) is over.
func settled(took []float64) bool {
	const window = 5
	n := len(took)
	if n < 2*window {
		return false
	}
	before, after := medianOf(took[n-2*window:n-window]), medianOf(took[n-window:])
	return after > before/1.05 && after < before*1.05
}

// DefaultBatches are the powers of two and what lies halfway between, up to most.
func DefaultBatches(most int) []int {
	var all []int
	for n := 1; n <= most; n *= 2 {
		all = append(all, n)
		if half := n + n/2; n > 1 && half <= most {
			all = append(all, half)
		}
	}
	if last := all[len(all)-1]; last < most {
		all = append(all, most)
	}
	return all
}

// ladder are the sizes to try first, one run each, for the largest that works:
// each at least twice the one before, and the last.
func ladder(sizes []int) []int {
	rungs := sizes[:1:1]
	for i, n := range sizes[1:] {
		if n >= 2*rungs[len(rungs)-1] || i == len(sizes)-2 {
			rungs = append(rungs, n)
		}
	}
	return rungs
}
