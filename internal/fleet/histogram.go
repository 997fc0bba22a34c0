package fleet

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// histogram counts durations, negative ones as 0, in buckets that are at most
// 1/16 of their value wide. It may be used by several goroutines at once.
type histogram struct {
	buckets [60 << fineBits]atomic.Uint64
}

// fineBits is how many bits below the highest one tell buckets apart.
const fineBits = 4

func bucketOf(v uint64) int {
	exp := bits.Len64(v >> fineBits)
	if exp == 0 {
		return int(v)
	}
	return exp<<fineBits + int(v>>(exp-1)&(1<<fineBits-1))
}

// bucketEnd is the largest value in a bucket.
func bucketEnd(i int) uint64 {
	exp, fine := i>>fineBits, uint64(i&(1<<fineBits-1))
	if exp == 0 {
		return fine
	}
	return (1<<fineBits+fine+1)<<(exp-1) - 1
}

func (h *histogram) add(d time.Duration) {
	h.buckets[min(bucketOf(uint64(max(d, 0))), len(h.buckets)-1)].Add(1)
}

// quantile is the least duration that a share q of all is not over, up to the
// width of a bucket; 0 where there is none.
func (h *histogram) quantile(q float64) time.Duration {
	total := uint64(0)
	for i := range h.buckets {
		total += h.buckets[i].Load()
	}
	need := uint64(math.Ceil(q * float64(total)))
	seen := uint64(0)
	for i := range h.buckets {
		if seen += h.buckets[i].Load(); total > 0 && seen >= max(need, 1) {
			return time.Duration(bucketEnd(i))
		}
	}
	return 0
}
