// Package exitstream reads and writes what the exits of a model said, request by
// request: a CSV file with one line for each. Controllers are replayed over such
// files and start from them. docs/exits.md says what the columns are.
package exitstream

import "motley/internal/earlyexit"

// Stream is a recording: what every ramp of a model said of each row, and
// whether the full model's answer was the same.
type Stream struct {
	Name  string // for its owner to give
	Ramps int
	// Rows ran to the end and left nowhere. Class and the signals' Class are −1
	// where the file does not have them; margin and entropy are NaN then.
	Rows     []earlyexit.Outcome
	Segments []Segment // at least one, the first from row 0
	// Labels are the true classes, Final the full model's confidences; nil where
	// the file does not have them.
	Labels []int32
	Final  []float32
	// Depth is by ramp the share of a whole run that has passed when its stage has
	// ended, RampCost what evaluating the ramp adds, as a share of a whole run; nil
	// where the file does not say.
	Depth, RampCost []float64
}

// Segment is a part of a stream with one kind of input.
type Segment struct {
	Name string
	From int // its first row
}

// Starts are the first rows of the segments.
func (s *Stream) Starts() []int {
	starts := make([]int, len(s.Segments))
	for i, g := range s.Segments {
		starts[i] = g.From
	}
	return starts
}

// End is the row after segment k.
func (s *Stream) End(k int) int {
	if k+1 < len(s.Segments) {
		return s.Segments[k+1].From
	}
	return len(s.Rows)
}

// Only is the stream of a model that has no other ramps than those of a set,
// numbered anew.
func (s *Stream) Only(set uint32) *Stream {
	c := *s
	c.Ramps, c.Depth, c.RampCost, c.Rows = 0, nil, nil, make([]earlyexit.Outcome, len(s.Rows))
	copy(c.Rows, s.Rows)
	for i := range c.Rows {
		c.Rows[i].Signals, c.Rows[i].Agree = nil, 0
	}
	for r := range s.Ramps {
		if set>>r&1 == 0 {
			continue
		}
		for i := range c.Rows {
			c.Rows[i].Agree |= s.Rows[i].Agree >> r & 1 << c.Ramps
			c.Rows[i].Signals = append(c.Rows[i].Signals, s.Rows[i].Signals[r])
		}
		if s.Depth != nil {
			c.Depth = append(c.Depth, s.Depth[r])
		}
		if s.RampCost != nil {
			c.RampCost = append(c.RampCost, s.RampCost[r])
		}
		c.Ramps++
	}
	return &c
}

// Classes is how many classes there are, as far as the rows show; 0 where
// they are unknown.
func (s *Stream) Classes() int {
	most := int32(-1)
	for i := range s.Rows {
		most = max(most, s.Rows[i].Class)
		for _, g := range s.Rows[i].Signals {
			most = max(most, g.Class)
		}
	}
	return int(most) + 1
}
