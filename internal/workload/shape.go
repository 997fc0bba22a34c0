package workload

import (
	"math"
	"time"
)

// shape is a rate over time, relative to the rate asked for: a level that
// changes at some instants, or a sine. Varying arrivals are a Poisson process
// of rate 1 run through the inverse of the shape's integral (Çinlar's
// inversion), so that one seed gives the same draws at every rate.
type shape struct {
	kind string
	// step: factor from … to. burst: high for the first len of every period,
	// low for the rest. All times are in s.
	from, to, factor float64
	period, len      float64
	high, low        float64
	depth            float64 // sine
}

func parseShape(kind string, p *params) shape {
	s := shape{kind: kind}
	switch kind {
	case "step":
		s.from = p.seconds("from", 0, 0)
		s.factor = p.required("factor", 0.001, 1000)
		s.to = math.Inf(1)
		if to := p.seconds("to", -time.Second, 0); to >= 0 {
			s.to = to
			if to <= s.from {
				p.fail("to: must be after from")
			}
		}
	case "sine":
		s.period = p.seconds("period", time.Minute, time.Millisecond)
		s.depth = p.number("depth", 0.5, 0, 1)
	case "burst":
		s.period = p.seconds("every", 30*time.Second, time.Millisecond)
		s.len = p.seconds("for", 3*time.Second, time.Microsecond)
		s.factor = p.required("factor", 1, 1000)
		if s.len >= s.period {
			p.fail("for: must be shorter than every")
		}
		// The mean over a period is 1.
		s.low = s.period / (s.len*s.factor + s.period - s.len)
		s.high = s.low * s.factor
	}
	return s
}

// when is the instant at which the integral of the shape reaches area.
func (s *shape) when(area float64) float64 {
	switch s.kind {
	case "step":
		if area <= s.from {
			return area
		}
		during := (area - s.from) / s.factor
		if s.from+during <= s.to {
			return s.from + during
		}
		return s.to + (area - s.from - (s.to-s.from)*s.factor)
	case "burst":
		laps := math.Floor(area / s.period)
		rest := area - laps*s.period
		if in := s.len * s.high; rest > in {
			return laps*s.period + s.len + (rest-in)/s.low
		}
		return laps*s.period + rest/s.high
	}
	return s.whenSine(area)
}

// whenSine solves t + depth·P/2π·(1 − cos(2πt/P)) = area by bisection: the
// left side never falls and its departure from t lies in 0 … depth·P/π.
func (s *shape) whenSine(area float64) float64 {
	laps := math.Floor(area / s.period) // a whole period adds nothing
	rest := area - laps*s.period
	scale := s.depth * s.period / (2 * math.Pi)
	low, high := max(0, rest-2*scale), rest
	for high-low > 1e-10 {
		mid := (low + high) / 2
		if mid <= low || mid >= high {
			break
		}
		if mid+scale*(1-math.Cos(2*math.Pi*mid/s.period)) < rest {
			low = mid
		} else {
			high = mid
		}
	}
	return laps*s.period + high
}
