package earlyexit

import "math"

// safety is the fallback after an alarm: rows run to the end, and what exits
// would have cost is watched until the calibration is seen to hold.
type safety struct {
	left     int // rows still to be watched; 0: no fallback
	rows     int
	expected float64 // losses of the exits that there would have been, by their risks
	lost     float64
}

func (s *safety) begin(rows int) { *s = safety{left: rows, rows: rows} }

// learn takes in a row that ran to the end. The fallback ends once enough rows
// lost no more than was to be expected (by two standard deviations and one
// row); until then it begins again, while the models learn.
func (s *safety) learn(v *view, tau float64, agree uint32) {
	if s.left == 0 {
		return
	}
	for r := range MaxRamps {
		if v.seen>>r&1 == 1 && v.scores[r] <= tau {
			s.expected += v.risks[r]
			s.lost += 1 - float64(agree>>r&1)
			break
		}
	}
	if s.left--; s.left > 0 {
		return
	}
	if s.lost > s.expected+2*math.Sqrt(s.expected)+1 {
		s.begin(s.rows)
	}
}

// safeShare is the share of the plan that holds in the fallback. In mode
// compute nothing exits, so that every row tells; in mode latency every row
// tells anyway, and control stays at the wheel.
func (a *Adaptive) safeShare() float64 {
	if a.cfg.Mode == Compute {
		return 0
	}
	return 0.3
}
