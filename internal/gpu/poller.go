package gpu

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"motley/internal/gpu/device"
)

// The defaults of Poller.
const (
	DefaultEvery  = time.Second
	DefaultMaxAge = 30 * time.Second
)

// Poller asks a source over and over and keeps its last answer. Fields must
// not change once Run was called.
type Poller struct {
	Source Source
	Every  time.Duration // between the beginnings of two reads; default DefaultEvery
	// MaxAge is the age above which a sample is not handed out any more;
	// default DefaultMaxAge.
	MaxAge time.Duration
	// Jitter draws from 0 … 1, so that many pollers do not fall into step:
	// Every varies by a tenth. Nil: no jitter.
	Jitter func() float64
	// Note, if not nil, is given every page as it comes.
	Note func(page device.Page)

	mu struct {
		sync.Mutex
		page            device.Page
		at              time.Time // when page came
		err             error     // of the last read
		reads, failures int
	}
}

// errNone is that no read has ended yet.
var errNone = errors.New("nothing was read yet")

// Run polls until ctx ends.
func (p *Poller) Run(ctx context.Context) {
	every := p.Every
	if every <= 0 {
		every = DefaultEvery
	}
	for ctx.Err() == nil {
		began := time.Now()
		p.Poll(ctx)
		wait := every
		if p.Jitter != nil {
			wait = time.Duration(float64(every) * (0.9 + 0.2*min(max(p.Jitter(), 0), 1)))
		}
		timer := time.NewTimer(max(0, wait-time.Since(began)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// Poll reads once.
func (p *Poller) Poll(ctx context.Context) {
	page, err := p.Source.Read(ctx)
	now := time.Now()
	p.mu.Lock()
	p.mu.reads++
	p.mu.err = err
	if err == nil {
		p.mu.page, p.mu.at = page, now
	} else {
		p.mu.failures++
	}
	p.mu.Unlock()
	if err == nil && p.Note != nil {
		p.Note(page)
	}
}

// Latest returns the last page, its samples as old as they are by now, without
// those that are too old. err says why the last read failed; the page counts
// all the same.
func (p *Poller) Latest() (page device.Page, err error) {
	p.mu.Lock()
	last, at, err := p.mu.page, p.mu.at, p.mu.err
	reads := p.mu.reads
	p.mu.Unlock()
	if reads == 0 {
		return page, errNone
	}
	if at.IsZero() {
		return page, err
	}
	limit := p.MaxAge
	if limit <= 0 {
		limit = DefaultMaxAge
	}
	since := time.Since(at)
	page = device.Page{Devices: last.Devices, Missing: append([]string(nil), last.Missing...)}
	for _, s := range last.Samples {
		if s.Age += since; s.Age <= limit {
			page.Samples = append(page.Samples, s)
		}
	}
	if n := len(last.Samples) - len(page.Samples); n > 0 {
		page.Missing = append(page.Missing, fmt.Sprintf("%d samples are older than %v", n, limit))
	}
	if err != nil {
		page.Missing = append(page.Missing, err.Error())
	}
	return page, err
}

// Counts are how many reads there were and how many failed.
func (p *Poller) Counts() (reads, failures int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.reads, p.mu.failures
}
