package app

import (
	"context"
	"time"

	"motley/internal/spot"
)

// watchSpot drains a worker when its cloud tells that it is about to be taken away.
func (a *App) watchSpot(s *standing) {
	if s.Spot == nil || s.member == nil {
		return
	}
	ctx, stop := context.WithCancel(a.members.ctx)
	s.mu.Lock()
	s.unwatch = stop
	s.mu.Unlock()
	w := spot.Watcher{
		Form: spot.Form(s.Spot.Form), URL: s.Spot.URL, Resource: s.Spot.Resource, Every: s.Spot.Interval,
		Failed: func(err error) {
			a.log.Warn("cannot ask whether a worker is about to be taken away", "worker", s.Name, "error", err)
		},
	}
	a.members.done.Go(func() {
		notice, ok := w.Wait(ctx)
		if !ok {
			return
		}
		within := max(0, time.Until(notice.At))
		a.log.Warn("a worker is about to be taken away", "worker", s.Name, "what", notice.What, "within", within)
		s.leave(within)
	})
}
