package bench

import (
	"runtime"
	"sync"
)

// parallel calls f(0) … f(n−1) on all processors and waits for them. Results go
// to places by index, so that their order does not depend on who is first.
// After an error no further call begins; that of the lowest index is returned.
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
	stop := func() {
		mu.Lock()
		defer mu.Unlock()
		mu.next = n
	}
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := take(); i < n; i = take() {
				if errs[i] = f(i); errs[i] != nil {
					stop()
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
