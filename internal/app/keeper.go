package app

import (
	"context"
	"sync"
	"time"

	"motley/internal/pool"
)

// keeper saves what is learned from time to time, and once more when it is
// stopped.
type keeper struct {
	memory  *memory
	learned func() []pool.Learned // copies
	stop    context.CancelFunc
	done    sync.WaitGroup
}

func keep(m *memory, every time.Duration, learned func() []pool.Learned) *keeper {
	ctx, stop := context.WithCancel(context.Background())
	k := &keeper{memory: m, learned: learned, stop: stop}
	if m.path != "" {
		k.done.Go(func() { k.run(ctx, every) })
	}
	return k
}

func (k *keeper) run(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := k.memory.save(k.learned()); err != nil {
				k.memory.log.Warn("what was learned is not saved; the next try comes in time", "error", err)
			}
		}
	}
}

// close saves for the last time. Nothing is learned any more by then.
func (k *keeper) close() error {
	k.stop()
	k.done.Wait()
	return k.memory.save(k.learned())
}
