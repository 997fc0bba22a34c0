package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"motley/internal/app"
)

// reloadOnHangup reads the configuration anew on SIGHUP until ctx ends. What comes of it
// is logged.
func reloadOnHangup(ctx context.Context, a *app.App) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	go func() {
		defer signal.Stop(hangup)
		for {
			select {
			case <-ctx.Done():
				return
			case <-hangup:
				_ = a.ReloadFile()
			}
		}
	}()
}
