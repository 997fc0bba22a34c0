package app

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// keeper saves what is learned from time to time, and once more when it is
// stopped.
type keeper struct {
	save func() error
	log  *slog.Logger
	stop context.CancelFunc
	done sync.WaitGroup

	mu   sync.Mutex // one saves at a time
	told string     // the last failure that was logged; "": the last one succeeded
	away bool       // another process keeps the files

	failures atomic.Uint64
	saved    atomic.Int64 // when all was last known to be saved, ns since 1970; 0 = not yet
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
			_ = k.try() // it was logged, and the next try comes in time
		}
	}
}

// try saves, and logs a failure when it is another than the last.
func (k *keeper) try() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.away {
		return nil
	}
	err := k.save()
	switch {
	case err == nil:
		k.saved.Store(time.Now().UnixNano())
		if k.told != "" {
			k.log.Info("what is learned is saved again")
		}
		k.told = ""
		return nil
	case errors.Is(err, errNotKept):
	case err.Error() != k.told:
		k.log.Warn("what was learned is not saved: trying on", "error", err)
	}
	k.told = err.Error()
	k.failures.Add(1)
	return err
}

// handOver saves, and leaves the files to another process from then on. take takes
// them back, where that has come to nothing.
func (k *keeper) handOver() {
	_ = k.try() // where it fails, the other one begins with what was saved before
	k.mu.Lock()
	k.away = true
	k.mu.Unlock()
}

func (k *keeper) take() {
	k.mu.Lock()
	k.away = false
	k.mu.Unlock()
}

// close saves for the last time. Nothing is learned any more by then.
func (k *keeper) close() error {
	k.stop()
	k.done.Wait()
	if err := k.try(); !errors.Is(err, errNotKept) {
		return err
	}
	return nil
}

// register makes what became of saving metrics.
func (k *keeper) register(r prometheus.Registerer) {
	r.MustRegister(
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "motley_state_save_failures_total", Help: "Times that what was learned could not be saved.",
		}, func() float64 { return float64(k.failures.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "motley_state_last_save_timestamp_seconds", Help: "When all that was learned was last on the disk; 0: not yet.",
		}, func() float64 { return float64(k.saved.Load()) / 1e9 }),
	)
}
