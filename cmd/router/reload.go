package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"motley/internal/app"
)

// hangups are the SIGHUPs that come from now on: one that comes while the router starts
// does not end it. stop is called when nobody reads them any more.
func hangups() (c chan os.Signal, stop func()) {
	c = make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c, func() { signal.Stop(c) }
}

// reloadOn reads the configuration anew on every signal until ctx ends. What comes of it
// is logged.
func reloadOn(ctx context.Context, signals <-chan os.Signal, a *app.App) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
			_ = a.ReloadFile()
		}
	}
}
