package bench

import (
	"fmt"

	"motley/internal/earlyexit"
)

// Stream is a recording: what every ramp of a model said of each row, and
// whether the full model's answer was the same.
type Stream struct {
	Name  string
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

// starts are the first rows of the segments.
func (s *Stream) starts() []int {
	starts := make([]int, len(s.Segments))
	for i, g := range s.Segments {
		starts[i] = g.From
	}
	return starts
}

// end is the row after segment k.
func (s *Stream) end(k int) int {
	if k+1 < len(s.Segments) {
		return s.Segments[k+1].From
	}
	return len(s.Rows)
}

// evenDepths are the default: ramps evenly spaced in depth.
func evenDepths(ramps int) []float64 {
	depths := make([]float64, ramps)
	for r := range depths {
		depths[r] = float64(r+1) / float64(ramps+1)
	}
	return depths
}

// cost is what a batch costs, in whole runs.
func (s *Stream) cost() earlyexit.Cost {
	return earlyexit.Cost{Batch: 1, Whole: 1, Until: s.Depth, Ramp: s.RampCost}
}

// defaultRampCost is what a ramp adds where nobody says: a 256×10 matrix on a
// network of eight layers 256 wide.
const defaultRampCost = 0.0039

// setCosts fills in depths and ramp costs: as given, else as the file has them,
// else evenly spaced, defaultRampCost each. One cost stands for all ramps.
func (s *Stream) setCosts(depths, rampCosts []float64) error {
	if depths != nil {
		s.Depth = depths
	}
	if s.Depth == nil {
		s.Depth = evenDepths(s.Ramps)
	}
	if rampCosts != nil {
		s.RampCost = rampCosts
	}
	if s.RampCost == nil {
		s.RampCost = []float64{defaultRampCost}
	}
	if len(s.RampCost) == 1 {
		one := s.RampCost[0]
		s.RampCost = make([]float64, s.Ramps)
		for r := range s.RampCost {
			s.RampCost[r] = one
		}
	}
	return checkCosts(s.Ramps, s.Depth, s.RampCost)
}

func checkCosts(ramps int, depths, costs []float64) error {
	if len(depths) != ramps {
		return fmt.Errorf("depths: %d of them, the stream has %d ramps", len(depths), ramps)
	}
	for r, d := range depths {
		if !(d > 0 && d < 1) || r > 0 && d <= depths[r-1] {
			return fmt.Errorf("depths: %v: must be between 0 and 1 and rise", depths)
		}
	}
	if len(costs) != ramps {
		return fmt.Errorf("ramp costs: %d of them, the stream has %d ramps", len(costs), ramps)
	}
	for _, c := range costs {
		if !(c >= 0 && c < 1) {
			return fmt.Errorf("ramp costs: %v: must be from 0 to less than 1", costs)
		}
	}
	return nil
}

// only is the stream of a model that has no other ramps than those of a set,
// numbered anew.
func (s *Stream) only(set uint32) *Stream {
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
			c.Depth, c.RampCost = append(c.Depth, s.Depth[r]), append(c.RampCost, s.RampCost[r])
		}
		c.Ramps++
	}
	return &c
}

// classes is how many classes there are, as far as the rows show; 0 where
// classes are unknown.
func (s *Stream) classes() int {
	most := int32(-1)
	for i := range s.Rows {
		most = max(most, s.Rows[i].Class)
		for _, g := range s.Rows[i].Signals {
			most = max(most, g.Class)
		}
	}
	return int(most) + 1
}

// hostile is the stream with rows from … to−1 changed so that every ramp is
// wrong there with the confidence it had: nothing but the answers tells.
func (s *Stream) hostile(from, to int) *Stream {
	h := *s
	h.Name = s.Name + "-hostile"
	h.Rows = make([]earlyexit.Outcome, len(s.Rows))
	h.Segments = []Segment{{"as it was", 0}, {"hostile", from}, {"as it was", to}}
	h.Labels = nil
	copy(h.Rows, s.Rows)
	classes := int32(s.classes())
	for i := from; i < to; i++ {
		o := &h.Rows[i]
		o.Agree = 0
		o.Signals = append([]earlyexit.Signal(nil), o.Signals...)
		for r := range o.Signals {
			if g := &o.Signals[r]; g.Class >= 0 && o.Class >= 0 && classes > 1 {
				g.Class = (o.Class + 1 + (g.Class+classes-o.Class)%(classes-1)) % classes
			}
		}
	}
	return &h
}
