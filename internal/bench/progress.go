package bench

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// Progress tells on a terminal, or once in a while elsewhere, what is under
// way. A nil Progress says nothing. It is safe for concurrent use.
type Progress struct {
	w     io.Writer
	every time.Duration
	now   func() time.Time
	mu    struct {
		sync.Mutex
		last time.Time
	}
}

// NewProgress writes lines to w, at most one in so much time.
func NewProgress(w io.Writer, every time.Duration) *Progress {
	p := &Progress{w: w, every: every, now: time.Now}
	p.mu.last = p.now()
	return p
}

// Say writes a line, unless the last one was a short while ago.
func (p *Progress) Say(format string, args ...any) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if now.Sub(p.mu.last) < p.every {
		return
	}
	p.mu.last = now
	fmt.Fprintf(p.w, format+"\n", args...)
}
