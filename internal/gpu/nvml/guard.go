package nvml

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// errHung is that a call has not come back within its time, or that an earlier
// one still has not.
var errHung = errors.New("the driver does not answer")

// guard bounds calls that cannot be interrupted. One that does not come back
// in time is left behind on its goroutine, and no other is started until it
// does come back.
type guard struct {
	mu struct {
		sync.Mutex
		busy bool
	}
}

// call runs f. When f outlasts the limit or ctx, what f computes is dropped.
func call[T any](ctx context.Context, g *guard, limit time.Duration, f func() T) (T, error) {
	var none T
	g.mu.Lock()
	if g.mu.busy {
		g.mu.Unlock()
		return none, errHung
	}
	g.mu.busy = true
	g.mu.Unlock()

	type outcome struct {
		v   T
		err error
	}
	done := make(chan outcome, 1) // so that an abandoned f can still end
	go func() {
		var o outcome
		defer func() {
			if p := recover(); p != nil { // the binding trusts what the library says of sizes
				o.err = fmt.Errorf("the driver's answer makes no sense: %v", p)
			}
			g.mu.Lock()
			g.mu.busy = false
			g.mu.Unlock()
			done <- o
		}()
		o.v = f()
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case o := <-done:
		return o.v, o.err
	case <-timer.C:
		return none, errHung
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// hung reports whether a call is under way; between calls, that it hangs.
func (g *guard) hung() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.busy
}
