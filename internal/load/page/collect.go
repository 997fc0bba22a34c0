// Package page turns raw results of bench load into one HTML page that needs
// nothing else: latency, time series, goodput by rate, exits, failures, and a
// table to paste.
package page

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"motley/internal/load"
)

// Collector gathers what the page shows of any number of streams. Its memory
// grows with their phases, not with their records.
type Collector struct {
	series    []*series
	timelines []*timeline
	notes     []string

	name     string // of the stream
	current  *phase
	timeline *timeline // of the stream and the phase's target
}

// series is what was measured at one rate of one target, rounds together.
type series struct {
	file, target, models string
	rate                 float64
	qosMS                float64 // 0: none
	tally                *load.Tally
	phases               int
	cut                  bool
}

// phase is the one that is being read.
type phase struct {
	info  *load.PhaseInfo
	tally *load.Tally
	bins  *bins
	whole bool
}

// name of a series in legends.
func (s *series) label() string {
	text := fmt.Sprintf("%s %s %.4g/s", s.file, s.target, s.rate)
	if s.cut {
		text += " (cut)"
	}
	return text
}

// Add reads a stream. Of one that was cut, what was whole counts.
func (c *Collector) Add(name string, r io.Reader) error {
	c.name = name
	first := len(c.series)
	err := load.Read(r, c)
	c.finish()
	if errors.Is(err, io.ErrUnexpectedEOF) {
		c.note("%s is cut in the middle; what was whole is shown", name)
		err = nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	c.dropCut(first)
	return nil
}

func (c *Collector) note(format string, args ...any) {
	c.notes = append(c.notes, fmt.Sprintf(format, args...))
}

// dropCut leaves out phases that were cut short, which searches have many of,
// unless the stream has no other.
func (c *Collector) dropCut(first int) {
	whole, cut := c.series[:first:first], 0
	for _, s := range c.series[first:] {
		if s.cut {
			cut += s.phases
		} else {
			whole = append(whole, s)
		}
	}
	switch {
	case len(c.series) == first:
		c.note("%s has no results", c.name)
	case len(whole) == first:
		c.note("%s: no phase ran to its end", c.name)
	case cut > 0:
		c.note("%s: %d phases that were cut short are in the time series only", c.name, cut)
		c.series = whole
	}
}

// maxPhases bounds the memory of what is gathered.
const maxPhases = 4096

// Phase begins a phase; see load.Reader.
func (c *Collector) Phase(info *load.PhaseInfo) error {
	c.finish()
	c.timeline = nil
	phases := 0
	for _, t := range c.timelines {
		if phases += len(t.marks); t.file == c.name && t.target == info.Target {
			c.timeline = t
		}
	}
	if phases >= maxPhases {
		return fmt.Errorf("more than %d phases", maxPhases)
	}
	if c.timeline == nil {
		c.timeline = &timeline{file: c.name, target: info.Target}
		c.timelines = append(c.timelines, c.timeline)
	}
	c.current = &phase{info: info, tally: info.NewTally(), bins: newBins(info)}
	return nil
}

// Record takes a record; see load.Reader.
func (c *Collector) Record(r *load.Record) {
	c.current.tally.Add(r)
	c.current.bins.add(r)
}

// End notes that the phase is whole; see load.Reader.
func (c *Collector) End() { c.current.whole = true }

// finish adds the phase to what is shown.
func (c *Collector) finish() {
	p := c.current
	if p == nil {
		return
	}
	c.current = nil
	c.timeline.append(p)
	if p.tally.Scheduled == 0 {
		return
	}
	if !p.whole {
		p.tally.Cut()
	}
	s := &series{
		file: c.name, target: p.info.Target, models: strings.Join(p.info.Models, ","), rate: p.info.Rate,
		qosMS: float64(p.info.QoSNS) / 1e6, cut: !p.whole,
	}
	for _, o := range c.series {
		if o.file == s.file && o.target == s.target && o.models == s.models && o.rate == s.rate && o.qosMS == s.qosMS && o.cut == s.cut {
			o.tally.Merge(p.tally)
			o.phases++
			return
		}
	}
	s.tally, s.phases = p.tally, 1
	c.series = append(c.series, s)
}
