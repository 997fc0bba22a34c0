package dispatch

import (
	"math"
	"math/bits"

	"motley/internal/mono"
)

// demand is what has arrived for a model: the gaps between requests and their
// sizes, both with more weight on the latest.
type demand struct {
	seen int
	last mono.Time
	gap  float64 // mean time between arrivals, ns, over about demandSpan of them
	size float64 // mean items, likewise
	shed float64 // share of requests that made room for others or whose turn came too late, likewise
	bins [demandBins]sizeBin
}

const (
	demandSpan = 128
	// demandHalf is how many requests it takes to halve the weight of what the
	// bins have counted.
	demandHalf = 4096
	// demandBins are four to the octave, up to 2¹⁶ items.
	demandBins = 64
)

// sizeBin counts requests of about one size.
type sizeBin struct{ requests, items float64 }

// add notes a request of n items that arrives now.
func (d *demand) add(now mono.Time, n int) {
	d.seen++
	w := 1 / float64(min(d.seen, demandSpan))
	d.size += (float64(n) - d.size) * w
	d.shed -= d.shed / demandSpan
	if d.seen > 1 {
		w = 1 / float64(min(d.seen-1, demandSpan))
		d.gap += (float64(now-d.last) - d.gap) * w
	}
	d.last = now
	b := &d.bins[binOf(n)]
	b.requests++
	b.items += float64(n)
	if d.seen%demandHalf == 0 {
		for i := range d.bins {
			d.bins[i].requests /= 2
			d.bins[i].items /= 2
		}
	}
}

// total is what the bins have counted.
func (d *demand) total() (n float64) {
	for i := range d.bins {
		n += d.bins[i].requests
	}
	return n
}

// binOf is the bin of n ≥ 1 items: four to the octave, one each up to four.
func binOf(n int) int {
	if n < 4 {
		return n - 1
	}
	octave := bits.Len(uint(n)) - 1 // at least 2
	return min(4*(octave-1)-1+n>>(octave-2)&3, demandBins-1)
}

// mean is the mean size, in items, of the requests in the bin, rounded up.
func (b *sizeBin) mean() int { return int(math.Ceil(b.items / b.requests)) }

// noteShed notes that a request is turned away whose turn does not come in time.
func (d *demand) noteShed() { d.shed += 1.0 / demandSpan }

// overload reports whether so many requests were turned away of late that the
// pool cannot serve them all for now.
func (d *demand) overload() bool { return d.shed > overloadShare }

// overloadShare is the share of requests from which on that is an overload and
// not chance: at the highest rate that a pool carries within QoS for 99 % of
// its requests the share reaches a few percent at times.
const overloadShare = 0.1
