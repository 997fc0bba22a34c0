package fleet

import (
	"container/heap"
	"sync"
	"time"
)

// agenda calls functions at instants. The runtime's own timers would do but for
// their precision: on Linux an idle process sleeps in whole milliseconds.
type agenda struct {
	clock clock

	mu struct {
		sync.Mutex
		entries entries
		armed   time.Time // what the clock is set to; zero: nothing
		closed  bool
	}
}

// clock wakes the agenda.
type clock interface {
	// set makes wait return at that instant, or soon after, in place of what was
	// set before. It is called with the agenda locked.
	set(at time.Time)
	// wait blocks until then. It reports false when the clock was closed.
	wait() bool
	// until returns at that instant, which is close.
	until(at time.Time)
	close() error
}

type entry struct {
	at   time.Time
	call func()
}

// newAgenda begins an agenda on the best clock there is. close ends it.
func newAgenda() (*agenda, error) {
	c, err := newClock()
	if err != nil {
		return nil, err
	}
	a := &agenda{clock: c}
	go a.run()
	return a, nil
}

// at has call called at that instant, on the agenda's own goroutine: it must
// be short. An instant that has passed is now.
func (a *agenda) at(at time.Time, call func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	heap.Push(&a.mu.entries, entry{at, call})
	if a.mu.armed.IsZero() || at.Before(a.mu.armed) {
		a.arm(at)
	}
}

// arm is called with the agenda locked.
func (a *agenda) arm(at time.Time) {
	a.mu.armed = at
	if !a.mu.closed {
		a.clock.set(at)
	}
}

func (a *agenda) run() {
	for a.clock.wait() {
		for {
			call, at := a.next()
			if call != nil {
				call()
				continue
			}
			if at.IsZero() {
				break
			}
			a.clock.until(at)
		}
	}
}

// soon is how far off an instant may be that is awaited without sleeping.
const soon = 50 * time.Microsecond

// next takes out the first entry that is due. Without one it sets the clock,
// unless the first entry is due so soon that its instant is returned.
func (a *agenda) next() (call func(), at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.mu.entries) == 0 {
		a.mu.armed = time.Time{}
		return nil, time.Time{}
	}
	first := a.mu.entries[0].at
	left := time.Until(first)
	switch {
	case left <= 0:
		return heap.Pop(&a.mu.entries).(entry).call, first
	case left <= soon:
		return nil, first
	}
	a.arm(first)
	return nil, time.Time{}
}

// close ends the agenda. What is in it is not called any more.
func (a *agenda) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mu.closed = true
	return a.clock.close()
}

// entries is a heap by instant.
type entries []entry

func (e entries) Len() int           { return len(e) }
func (e entries) Less(i, j int) bool { return e[i].at.Before(e[j].at) }
func (e entries) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *entries) Push(x any)        { *e = append(*e, x.(entry)) }
func (e *entries) Pop() any {
	old := *e
	last := old[len(old)-1]
	old[len(old)-1] = entry{}
	*e = old[:len(old)-1]
	return last
}
