package exitstream

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"motley/internal/earlyexit"
)

// evenDepths are the default: ramps evenly spaced in depth.
func evenDepths(ramps int) []float64 {
	depths := make([]float64, ramps)
	for r := range depths {
		depths[r] = float64(r+1) / float64(ramps+1)
	}
	return depths
}

// Cost is what a batch costs, in whole runs.
func (s *Stream) Cost() earlyexit.Cost {
	return earlyexit.Cost{Batch: 1, Whole: 1, Until: s.Depth, Ramp: s.RampCost}
}

// DefaultRampCost is what a ramp adds where nobody says: a 256×10 matrix on a
// network of eight layers 256 wide.
const DefaultRampCost = 0.0039

// SetCosts fills in depths and ramp costs: as given, else as the file has them,
// else evenly spaced, DefaultRampCost each. One cost stands for all ramps.
func (s *Stream) SetCosts(depths, rampCosts []float64) error {
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
		s.RampCost = []float64{DefaultRampCost}
	}
	s.spreadCost()
	return checkCosts(s.Ramps, s.Depth, s.RampCost)
}

// spreadCost makes a cost that stands for all ramps one for each.
func (s *Stream) spreadCost() {
	if len(s.RampCost) != 1 {
		return
	}
	one := s.RampCost[0]
	s.RampCost = make([]float64, s.Ramps)
	for r := range s.RampCost {
		s.RampCost[r] = one
	}
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

// ParseNumbers reads finite numbers between commas, at most as many as there may
// be ramps.
func ParseNumbers(list string) ([]float64, error) {
	parts := strings.Split(list, ",")
	if len(parts) > earlyexit.MaxRamps {
		return nil, fmt.Errorf("%d numbers, at most %d ramps are supported", len(parts), earlyexit.MaxRamps)
	}
	values := make([]float64, len(parts))
	for i, part := range parts {
		v, err := strconv.ParseFloat(strings.TrimSpace(part), 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("%q: want numbers between commas", list)
		}
		values[i] = v
	}
	return values, nil
}
