package fleet

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// down tells whether the server is down at an instant, counted from its start,
// and when that changes next.
func (f *Fault) down(at time.Duration) (down bool, until time.Duration) {
	switch {
	case at < f.From:
		return false, f.From
	case at >= f.To:
		return false, forever
	case f.Period == 0:
		return true, f.To
	}
	begin := at - (at-f.From)%f.Period
	if up := begin + time.Duration(f.Share*float64(f.Period)); at < up {
		return true, min(up, f.To)
	}
	return false, min(begin+f.Period, f.To)
}

// faults draws which of a server's faults a request gets.
type faults struct {
	list atomic.Pointer[[]Fault] // but for those of kind down; replaced as a whole

	mu struct {
		sync.Mutex
		rng   *rand.Rand
		count map[string]int // by kind
	}
}

func newFaults(list []Fault, seed uint64) *faults {
	f := &faults{}
	f.list.Store(&list)
	f.mu.rng = rand.New(rand.NewPCG(seed, 0x6661756c74))
	f.mu.count = map[string]int{}
	return f
}

// draw draws for a request that came at an instant since the start, as the
// nth of its connection, counted from 1. factor is how much longer it takes;
// fault is what else happens to it, nil for nothing: the first of the list.
func (f *faults) draw(at time.Duration, nth int) (factor float64, fault *Fault) {
	factor = 1
	list := *f.list.Load()
	if len(list) == 0 {
		return factor, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range list {
		one := &list[i]
		hit := f.mu.rng.Float64() < one.Share // drawn in any case, so that faults do not move each other's draws
		switch {
		case !hit || at < one.From || at >= one.To || one.Kind == "poison" || one.Kind == "close" && nth < one.After:
			continue
		case one.Kind == "delay":
			factor *= one.Factor
		case fault == nil:
			fault = one
		default:
			continue
		}
		f.mu.count[one.Kind]++
	}
	return factor, fault
}

// poison is the fault of kind poison that a request meets at an instant, nil
// for none; has tells whether the request has an element.
func (f *faults) poison(at time.Duration, has func(value int64) bool) *Fault {
	list := *f.list.Load()
	for i := range list {
		if one := &list[i]; one.Kind == "poison" && at >= one.From && at < one.To && has(one.Value) {
			f.note(one.Kind)
			return one
		}
	}
	return nil
}

// spot is how many of n bytes are sent before a fault has its way.
func (f *faults) spot(one *Fault, n int) int {
	share := one.At
	if share < 0 {
		f.mu.Lock()
		share = f.mu.rng.Float64()
		f.mu.Unlock()
	}
	return int(share * float64(n))
}

// note counts a fault that was not drawn.
func (f *faults) note(kind string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.count[kind]++
}

// counts are how often each kind of fault happened, in Kinds' order, as
// "kind=N".
func (f *faults) counts() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for _, kind := range Kinds {
		if n := f.mu.count[kind]; n > 0 {
			all = append(all, fmt.Sprintf("%s=%d", kind, n))
		}
	}
	return all
}
