package earlyexit

import (
	"fmt"
	"math"
)

// MaxRamps bounds the ramps of one model, so that a set of them is a uint32.
const MaxRamps = 32

// Mode says what may become of a row once an exit is sure enough.
type Mode uint8

// The modes, by how much they give up.
const (
	// Off: every row runs to the end and is answered by the full model.
	Off Mode = iota
	// Latency: the answer leaves early, the row runs to the end all the same, so
	// that every exit is checked (Apparate, SOSP 2024, §3).
	Latency
	// Compute: a row that is answered stops, but for a share that is run to the
	// end as an audit.
	Compute
)

var modeNames = [...]string{"off", "latency", "compute"}

// String is how configurations and requests write the mode.
func (m Mode) String() string { return modeNames[m] }

// ParseMode reads off, latency or compute.
func ParseMode(s string) (Mode, error) {
	for m, name := range modeNames {
		if s == name {
			return Mode(m), nil
		}
	}
	return 0, fmt.Errorf("unknown early-exit mode %q: want off, latency or compute", s)
}

// Signal is what one exit says of one row.
type Signal struct {
	Class      int32   // its answer: the top class; −1 where only the confidence is known
	Confidence float32 // how sure it is, 0 … 1; NaN: not evaluated, or nothing usable was said
	Margin     float32 // the largest probability less the second, 0 … 1; NaN: unknown
	Entropy    float32 // of the probabilities, over that of equal ones, 0 … 1; NaN: unknown
}

var nan = float32(math.NaN())

// Unseen is the signal of an exit that was not evaluated.
var Unseen = Signal{Class: -1, Confidence: nan, Margin: nan, Entropy: nan}

// Seen reports whether the exit said something that can be used.
func (s Signal) Seen() bool { return s.Confidence >= 0 && s.Confidence <= 1 }

// SignalOf is the signal of an exit that gives probabilities, one per class,
// with the largest one as its confidence. Unseen where they are none: fewer
// than two, not finite, outside 0 … 1 or with a sum that is not 1 within 0.01.
func SignalOf(probabilities []float32) Signal {
	if len(probabilities) < 2 {
		return Unseen
	}
	class, first, second, sum, entropy := 0, float32(-1), float32(-1), 0.0, 0.0
	for i, p := range probabilities {
		if !(p >= 0 && p <= 1.0001) {
			return Unseen
		}
		sum += float64(p)
		if p > 0 {
			entropy -= float64(p) * math.Log(float64(p))
		}
		switch {
		case p > first:
			class, first, second = i, p, first
		case p > second:
			second = p
		}
	}
	if math.Abs(sum-1) > 0.01 {
		return Unseen
	}
	return Signal{
		Class: int32(class), Confidence: min(first, 1), Margin: min(first-second, 1),
		Entropy: float32(min(1, max(0, entropy/math.Log(float64(len(probabilities)))))),
	}
}
