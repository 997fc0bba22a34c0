package cascade

import (
	"fmt"
	"math"

	"motley/internal/earlyexit"
)

// Score is how sure a small model is of a row, as read off its output.
type Score uint8

// The scores. Each becomes a confidence of 0 … 1 that rises with it.
const (
	// MaxProbability is the largest probability.
	MaxProbability Score = iota
	// EnergyProbabilities is the negative free energy over the probabilities p,
	// T·ln Σ exp(p/T): T·ln C + 1/C where all C are equal, T·ln(exp(1/T) + C−1)
	// where one is 1; the confidence is linear between the two. The thresholds
	// that EBJR's authors publish are of this one, with T = 1.
	EnergyProbabilities
	// EnergyLogits is the negative free energy over the logits f, T·ln Σ
	// exp(f/T), as the paper's text has it. It has no bounds: an energy of x·T
	// becomes the confidence ½ + ½·x/(1+|x|), which keeps neighbours apart where
	// a sigmoid would round them to 1.
	EnergyLogits
	// Entropy is 1 less the entropy of the probabilities over that of equal ones.
	Entropy
	// Margin is the largest probability less the second.
	Margin
)

var scoreNames = [...]string{"max-probability", "energy-probabilities", "energy-logits", "entropy", "margin"}

// String is how configurations write the score.
func (s Score) String() string { return scoreNames[s] }

// ParseScore reads a score's name.
func ParseScore(name string) (Score, error) {
	for s, n := range scoreNames {
		if n == name {
			return Score(s), nil
		}
	}
	return 0, fmt.Errorf("unknown score %q: want one of %v", name, scoreNames)
}

// Scores lists every score.
func Scores() []Score {
	return []Score{MaxProbability, EnergyProbabilities, EnergyLogits, Entropy, Margin}
}

// Reading says how a model's output is read.
type Reading struct {
	Score       Score
	Logits      bool    // the output are logits; else probabilities, which EnergyLogits cannot be made of
	Temperature float64 // T of the energies, above 0; 0 stands for 1
}

// Signal is what a row of the output says: its class, how sure it is of it, and
// margin and entropy of the probabilities whatever the score. Unseen where the
// row is unusable: fewer than two values, one that is not finite, or
// probabilities that are none (see earlyexit.SignalOf).
func (r Reading) Signal(row []float64) earlyexit.Signal {
	for _, v := range row {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return earlyexit.Unseen
		}
	}
	p := r.probabilities(row)
	narrow := make([]float32, len(p))
	for i, v := range p {
		narrow[i] = float32(v)
	}
	s := earlyexit.SignalOf(narrow)
	if !s.Seen() {
		return s
	}
	t := r.Temperature
	if t == 0 {
		t = 1
	}
	switch r.Score {
	case EnergyProbabilities:
		c := float64(len(p))
		least, most := t*math.Log(c)+1/c, t*math.Log(math.Exp(1/t)+c-1)
		s.Confidence = unit((energy(p, t) - least) / (most - least))
	case EnergyLogits:
		x := energy(row, t) / t
		s.Confidence = unit(0.5 + 0.5*x/(1+math.Abs(x)))
	case Entropy:
		s.Confidence = 1 - s.Entropy
	case Margin:
		s.Confidence = s.Margin
	}
	return s
}

// unit is v as a float32 of 0 … 1, which rounding may have left.
func unit(v float64) float32 { return float32(min(1, max(0, v))) }

// energy is the negative free energy T·ln Σ exp(v/T).
func energy(v []float64, t float64) float64 {
	top := v[0]
	for _, x := range v {
		top = max(top, x)
	}
	sum := 0.0
	for _, x := range v {
		sum += math.Exp((x - top) / t)
	}
	return top + t*math.Log(sum)
}

// probabilities are those that the row stands for: itself, or the softmax of
// its logits.
func (r Reading) probabilities(row []float64) []float64 {
	if !r.Logits || len(row) == 0 {
		return row
	}
	whole := energy(row, 1)
	p := make([]float64, len(row))
	for i, v := range row {
		p[i] = math.Exp(v - whole)
	}
	return p
}

// top is the class of the largest value, the first of equals; −1 where there is
// none or one is NaN.
func top(row []float64) int {
	best := -1
	for i, v := range row {
		if math.IsNaN(v) {
			return -1
		}
		if best < 0 || v > row[best] {
			best = i
		}
	}
	return best
}
