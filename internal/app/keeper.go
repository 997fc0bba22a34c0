package app

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// keeper saves what is learned from time to time, and once more when it is
// stopped.
type keeper struct {
	save func() error
	log  *slog.Logger
	stop context.CancelFunc
	done sync.WaitGroup
}

// keep calls save from time to time; every 0: only in the end.
func keep(every time.Duration, log *slog.Logger, save func() error) *keeper {
	ctx, stop := context.WithCancel(context.Background())
	k := &keeper{save: save, log: log, stop: stop}
	if every > 0 {
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
			if err := k.save(); err != nil {
				k.log.Warn("what was learned is not saved; the next try comes in time", "error", err)
			}
		}
	}
}

// close saves for the last time. Nothing is learned any more by then.
func (k *keeper) close() error {
	k.stop()
	k.done.Wait()
	return k.save()
}
