package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"motley/internal/app"
	"motley/internal/handover"
)

// untilSignal is a context that ends at the first SIGTERM or SIGINT. The second ends the
// process, with 128 and the signal's number as its status: by itself it would not end
// process 1 of a container.
func untilSignal() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	came := make(chan os.Signal, 2)
	signal.Notify(came, os.Interrupt, syscall.SIGTERM)
	go func() {
		cancel(errors.New((<-came).String()))
		second := <-came
		fmt.Fprintln(os.Stderr, "router: stopped at once by a second signal:", second)
		os.Exit(128 + int(second.(syscall.Signal)))
	}()
	return ctx
}

// upgradeSignals is where SIGUSR2 comes, which would end the process where nobody waits
// for it.
func upgradeSignals() chan os.Signal {
	came := make(chan os.Signal, 1)
	signal.Notify(came, syscall.SIGUSR2)
	return came
}

// upgradable is ctx for Serve: a signal to upgrade starts a successor, and once that serves, it ends with
// app.ErrHandedOver. stop ends the wait for signals, and a successor that does not serve yet.
func upgradable(ctx context.Context, came chan os.Signal, a *app.App, s *handover.Sockets, next handover.Successor) (serving context.Context, stop func()) {
	serving, end := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-serving.Done():
				if !errors.Is(context.Cause(serving), app.ErrHandedOver) {
					if err := handover.Stopping(); err != nil {
						next.Log.Warn("stopping", "error", err)
					}
				}
				return
			case <-came:
			}
			if serving.Err() != nil { // too late: it stops
				continue
			}
			if err := a.HandOver(func() error { return s.Upgrade(serving, next) }); err == nil {
				end(app.ErrHandedOver) // a second upgrade would fail, and take the state's files back
				return
			}
		}
	}()
	return serving, func() {
		end(context.Canceled)
		signal.Stop(came)
		<-done
	}
}
