package live

import (
	"context"

	"motley/internal/backend"
	"motley/internal/dispatch"
	"motley/internal/reactor"
)

// DoContext is Do for a client that may leave: when ctx ends first, the
// request is given up, what nobody else waits for is stopped, and the error is
// a *backend.Error of class Canceled. Even then it returns only once nothing
// reads the request any more, and its goroutine carries out executions on
// behalf of others to the end.
func (l *Loop) DoContext(ctx context.Context, r *Request) error {
	if err := ctx.Err(); err != nil {
		r.reset()
		return canceled(ctx)
	}
	return l.do(ctx, r)
}

// watchClient gives a request up when ctx ends, unless what it returns is
// called before.
func (l *Loop) watchClient(ctx context.Context, id dispatch.RequestID) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		var wakes wakeList
		l.mu.Lock()
		l.cancelLocked(id, canceled(ctx), &wakes)
		l.mu.Unlock()
		wakes.send(nil)
	})
}

// Leave gives up a request that Begin started, because its client has left: its waiter
// is told an error of class Canceled. One that has ended, or another since, is
// left alone. on is the reactor whose goroutine this is; nil: another.
func (l *Loop) Leave(id dispatch.RequestID, on *reactor.Loop) {
	var wakes wakeList
	l.mu.Lock()
	if int(id.Index()) < len(l.mu.tickets) {
		l.cancelLocked(id, canceled(context.Background()), &wakes)
	}
	l.mu.Unlock()
	wakes.send(on)
}

func canceled(ctx context.Context) error {
	return &backend.Error{
		Class: backend.Canceled, Status: backend.StatusClientClosed, Message: "the client has left", Cause: context.Cause(ctx),
	}
}

// cancelLocked ends a request with err. One that has ended is no error: the
// two cross on the way.
func (l *Loop) cancelLocked(id dispatch.RequestID, err error, wakes *wakeList) {
	live := func() bool {
		t := l.mu.tickets[id.Index()]
		return t != nil && t.id == id
	}
	if !live() {
		return
	}
	l.stepLocked(dispatch.Event{At: l.now(), Kind: dispatch.Cancel, Request: id}, wakes)
	if live() { // a timer of the same step may have been quicker
		l.settleLocked(id, err, wakes)
	}
}
