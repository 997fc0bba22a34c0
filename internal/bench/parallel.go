package bench

import (
	"errors"
	"runtime"
	"sync"
)

// parallel calls f(0) … f(n−1) on all processors and waits for them. Results go
// to places by index, so that their order does not depend on who is first.
func parallel(n int, f func(i int) error) error {
	errs := make([]error, n)
	var mu struct {
		sync.Mutex
		next int
	}
	take := func() int {
		mu.Lock()
		defer mu.Unlock()
		mu.next++
		return mu.next - 1
	}
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := take(); i < n; i = take() {
				errs[i] = f(i)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
