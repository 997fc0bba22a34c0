package profiler

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Bar shows progress on one line of a terminal.
type Bar struct {
	w     io.Writer
	last  time.Time
	width int // of what stands there
}

// NewBar returns a bar on w, a terminal.
func NewBar(w io.Writer) *Bar { return &Bar{w: w} }

const (
	barWidth = 20
	barEvery = 100 * time.Millisecond
)

// Show draws the state of the target that is under way, at most ten times a
// second. done of targets are done.
func (b *Bar) Show(p Progress, done, targets int) {
	now := time.Now()
	if now.Sub(b.last) < barEvery {
		return
	}
	b.last = now
	b.draw(line(p, done, targets))
}

func line(p Progress, done, targets int) string {
	filled := min(barWidth, int((float64(done)+p.Share)/float64(targets)*barWidth))
	return fmt.Sprintf("[%s%s] %d/%d %s on %s: batch %d, %d runs", strings.Repeat("#", filled), strings.Repeat(".", barWidth-filled),
		done+1, targets, p.Target.Model, p.Target.Type, p.Batch, p.Runs)
}

// Clear takes the bar away.
func (b *Bar) Clear() {
	if b.width > 0 {
		b.draw("")
	}
}

func (b *Bar) draw(text string) {
	n := len([]rune(text))
	pad := strings.Repeat(" ", max(0, b.width-n))
	_, _ = fmt.Fprintf(b.w, "\r%s%s\r", text, pad) // for show
	b.width = n
}
