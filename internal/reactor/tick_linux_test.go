package reactor

import (
	"runtime"
	"testing"
	"time"
)

// TestNoTickIsLost has the timer fire at the worst moment: the loop has looked whether a
// tick is due, and goes on to take all wake-ups for known.
func TestNoTickIsLost(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // or the poller might look in between
	l := start(t)
	for range 20 {
		locked, here := make(chan struct{}), make(chan struct{})
		on(l, func() {
			l.Later(task(func() {
				l.Later(task(func() {})) // another round follows at once
				close(here)
				<-locked
			}))
		})
		<-here
		l.mu.Lock()
		close(locked)
		for range 100 {
			runtime.Gosched() // it waits for the lock
		}
		l.due.Store(true)
		l.wakeLocked()
		l.mu.Unlock()
		for deadline := time.Now().Add(2 * time.Second); l.due.Load(); runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatal("a tick was lost")
			}
		}
	}
}
