package dispatch

import (
	"math/rand/v2"
	"slices"
	"testing"

	"motley/internal/mono"
)

// TestQueueAgainstSortedSlice compares the queue with a slice that is sorted
// anew after every change.
func TestQueueAgainstSortedSlice(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var q queue
	var dumb []entry
	for i := range 20_000 {
		if len(dumb) == 0 || rng.IntN(100) < 51 {
			e := entry{due: mono.Time(rng.IntN(50)), seq: uint64(i), priority: int32(rng.IntN(3)), slot: uint32(i)}
			if rng.IntN(2) == 0 {
				e.due += mono.Time(i)
			}
			q.insert(e, 1)
			dumb = append(dumb, e)
			slices.SortFunc(dumb, func(a, b entry) int {
				if a.before(b) {
					return -1
				}
				return 1
			})
		} else {
			k := 0
			if rng.IntN(2) == 0 {
				k = rng.IntN(len(dumb))
			}
			q.remove(dumb[k], 1)
			dumb = slices.Delete(dumb, k, k+1)
		}
		if q.len() != len(dumb) || q.items != len(dumb) {
			t.Fatalf("step %d: %d waiting, want %d", i, q.len(), len(dumb))
		}
		for k, e := range dumb {
			if q.at(k) != e {
				t.Fatalf("step %d: place %d holds %v, want %v", i, k, q.at(k), e)
			}
		}
	}
}

// TestTimersAgainstSortedSlice does the same for the heap of timers.
func TestTimersAgainstSortedSlice(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	place := map[uint32]int32{}
	h := timers{where: func(tm timer, i int32) { place[tm.slot] = i }}
	dumb := map[uint32]mono.Time{}
	for i := range uint32(5_000) {
		if len(dumb) == 0 || rng.IntN(100) < 52 {
			at := mono.Time(rng.IntN(1000))
			h.set(at, requestTimer, i)
			dumb[i] = at
		} else if slot := h.heap[rng.IntN(len(h.heap))].slot; true {
			h.removeAt(place[slot])
			if place[slot] != -1 {
				t.Fatalf("timer %d left but stands at %d", slot, place[slot])
			}
			delete(dumb, slot)
		}
		least := mono.Never
		for _, at := range dumb {
			least = min(least, at)
		}
		if h.next() != least || len(h.heap) != len(dumb) {
			t.Fatalf("step %d: next %v, want %v", i, h.next(), least)
		}
	}
}
