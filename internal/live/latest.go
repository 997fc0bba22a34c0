package live

import (
	"time"

	"motley/internal/pool"
)

// LatestStart is how long a request of size items may still wait before it has
// to be handed to Do for model m, in order to be answered within left from now,
// behind what waits for the model now. It reports false where it would be late
// already, or no worker of the model is up.
func (l *Loop) LatestStart(m pool.ModelID, size int, left time.Duration) (time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	core := l.mu.core
	state := core.Model(m)
	if state.Up == 0 {
		return 0, false
	}
	left -= core.Idle(m, size)
	if state.Queued > 0 {
		left -= core.Drain(m)
	}
	return left, left > 0
}
