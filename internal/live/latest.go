package live

import (
	"time"

	"motley/internal/pool"
)

// LatestStart is how long a request of size items may still wait before it has
// to be handed to Do for model m, in order to be answered within left from now;
// see dispatch.Core.LatestStart. It reports false where it would be late though
// it came at once, or no worker takes it.
func (l *Loop) LatestStart(m pool.ModelID, size int, left time.Duration) (time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	at, ok := l.mu.core.LatestStart(m, size, now.Add(left))
	return max(0, at.Sub(now)), ok
}

// Idles reports whether a batch of model m could run now and what comes next
// would still find a worker free, so that it would delay nobody.
func (l *Loop) Idles(m pool.ModelID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	state := l.mu.core.Model(m)
	return state.Queued == 0 && state.Free >= 2
}
