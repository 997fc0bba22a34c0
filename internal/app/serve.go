package app

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ErrHandedOver is the cause of the end of Serve's context where another process serves the
// same sockets from then on.
var ErrHandedOver = errors.New("handed over to another process")

// lastWords is how long clients that were refused when the drain timeout was over have to
// take their answers in.
const lastWords = time.Second

// Serve answers on ln until ctx ends, and then finishes what is under way
// within the configured drain timeout; see docs/operations.md. It closes the App. An
// error says what went wrong, or that connections were cut.
func (a *App) Serve(ctx context.Context, ln net.Listener) error {
	failed := make(chan error, 1)
	a.admin.start()
	go func() { failed <- a.server.Serve(a.tls.listenFast(ln)) }()
	a.announce(ln.Addr())
	if a.serving != nil && ctx.Err() == nil { // else whom it succeeds would end for one that does not serve
		if err := a.serving(); err != nil {
			a.log.Warn("nobody knows that requests are served", "error", err)
		}
	}
	select {
	case err := <-failed:
		return errors.Join(err, a.Close(context.Background()))
	case <-ctx.Done():
	}
	drain, cancel := a.end(ctx)
	defer cancel()
	err := ln.Close()
	if errors.Is(err, net.ErrClosed) { // it is left open when ctx ended before serving began
		err = nil
	}
	if e := <-failed; !errors.Is(e, net.ErrClosed) {
		err = errors.Join(err, e)
	}
	return errors.Join(err, a.finish(drain))
}

// end has the server stop accepting, and waits until all is answered or the drain timeout
// is over, which is when the context ends that it returns.
func (a *App) end(ctx context.Context) (context.Context, context.CancelFunc) {
	limits := &a.members.file.Load().Limits
	stop := a.server.Shutdown
	if errors.Is(context.Cause(ctx), ErrHandedOver) {
		stop = a.server.HandOver
		if err := a.admin.close(context.Background()); err != nil { // the successor answers there
			a.log.Warn("admin", "error", err)
		}
		a.log.Info("stopping: a successor serves; finishing what is under way", "at_most", limits.DrainTimeout)
	} else {
		a.server.Unready()
		if limits.ShutdownDelay > 0 {
			a.log.Info("stopping: not ready any more, still accepting", "for", limits.ShutdownDelay)
			<-time.After(limits.ShutdownDelay)
		}
		a.log.Info("stopping: finishing what is under way", "at_most", limits.DrainTimeout)
	}
	a.server.SetLinger(limits.Linger)
	drain, cancel := context.WithTimeout(context.Background(), limits.DrainTimeout)
	if err := stop(drain); err != nil {
		a.log.Warn("the drain timeout is over: what is left is refused", "error", err)
	}
	return drain, cancel
}

// finish refuses what is left once drain has ended, and frees everything.
func (a *App) finish(drain context.Context) error {
	cut := make(chan error, 1)
	go func() { // the server refuses what is still coming while the loop refuses what waits
		last, cancel := context.WithTimeout(context.Background(), lastWords)
		defer cancel()
		cut <- a.server.Finish(last)
	}()
	err := a.stopLoop(drain)
	if errors.Is(err, context.DeadlineExceeded) {
		a.log.Warn("refused", "error", err)
		err = nil
	}
	return errors.Join(<-cut, err, a.free())
}

// Close waits for requests under way until ctx ends, saves what was learned
// and frees everything.
func (a *App) Close(ctx context.Context) error {
	return errors.Join(a.stopLoop(ctx), a.free())
}

func (a *App) stopLoop(ctx context.Context) error {
	a.members.close()
	return errors.Join(a.pool.closeCascades(ctx), a.loop.Close(ctx))
}

func (a *App) free() error {
	a.upgrading.Lock() // until it is known whose the files are that the keeper writes
	defer a.upgrading.Unlock()
	err := errors.Join(a.keeper.close(), a.pool.close(), a.admin.close(context.Background()))
	for _, l := range a.loops {
		l.Close()
	}
	a.accessLog.Close()
	last, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	return errors.Join(err, a.closeTracing(last))
}

// HandOver has start bring up a process that goes on in place of this one, and returns when that
// serves, or why it does not. What was learned is saved before, for the other one to read, and
// belongs to it from then on; after an error it is this one's again. On success the
// caller ends Serve's context with ErrHandedOver.
func (a *App) HandOver(start func() error) error {
	a.upgrading.Lock()
	defer a.upgrading.Unlock()
	a.log.Info("upgrade: starting a successor")
	a.keeper.handOver()
	if err := start(); err != nil {
		a.keeper.take()
		a.upgrades.WithLabelValues("failed").Inc()
		a.log.Error("upgrade failed: serving on", "error", err)
		return err
	}
	a.upgrades.WithLabelValues("ok").Inc()
	return nil
}

func countUpgrades(r prometheus.Registerer) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "motley_upgrades_total", Help: "Successors that were started (SIGUSR2), by whether they came to serve.",
	}, []string{"result"})
	r.MustRegister(v)
	for _, result := range []string{"ok", "failed"} {
		v.WithLabelValues(result)
	}
	return v
}
