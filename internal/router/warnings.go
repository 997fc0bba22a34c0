package router

import (
	"sync"
	"time"
)

// warningsPerSecond is how many requests that failed the log tells of in a
// second: one bad worker must not fill a disk.
const warningsPerSecond = 10

// warnings bounds them.
type warnings struct {
	mu struct {
		sync.Mutex
		second   int64 // that told is of
		told     int
		withheld uint64 // since the last that was told
	}
}

// take reports whether one more may be told now, and how many were not since the
// last that was.
func (w *warnings) take(now time.Time) (ok bool, withheld uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if second := now.Unix(); second != w.mu.second {
		w.mu.second, w.mu.told = second, 0
	}
	if w.mu.told == warningsPerSecond {
		w.mu.withheld++
		return false, 0
	}
	w.mu.told++
	withheld, w.mu.withheld = w.mu.withheld, 0
	return true, withheld
}
