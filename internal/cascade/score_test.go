package cascade

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestEnergyRanges holds the range of the energy over probabilities against
// the figures of the published thresholds, which all lie inside, and what they
// mean in terms of the largest probability.
func TestEnergyRanges(t *testing.T) {
	for _, c := range []struct {
		classes     int
		least, most float64
		threshold   float64 // as published
		means       float64 // about that largest probability, the rest spread evenly
		within      float64
	}{
		{10, 2.4026, 2.4612, 2.46, 0.992, 0.003},
		{100, 4.6152, 4.6222, 4.6195, 0.84, 0.03},
		{2, 1.1931, 1.3133, 1.31044, 0.994, 0.003},
	} {
		equal, sure := make([]float64, c.classes), make([]float64, c.classes)
		for i := range equal {
			equal[i] = 1 / float64(c.classes)
		}
		sure[c.classes-1] = 1
		if least, most := energy(equal, 1), energy(sure, 1); math.Abs(least-c.least) > 5e-5 || math.Abs(most-c.most) > 5e-5 {
			t.Errorf("%d classes: the energy lies in [%.4f, %.4f], want [%.4f, %.4f]", c.classes, least, most, c.least, c.most)
		}
		r := Reading{Score: EnergyProbabilities}
		if a, b := r.Signal(equal).Confidence, r.Signal(sure).Confidence; a != 0 || b != 1 {
			t.Errorf("%d classes: the confidence lies in [%v, %v], want [0, 1]", c.classes, a, b)
		}
		lo, hi := 0.5, 1.0 // by bisection
		for range 60 {
			mid := (lo + hi) / 2
			row := make([]float64, c.classes)
			for i := range row {
				row[i] = (1 - mid) / float64(c.classes-1)
			}
			row[0] = mid
			if energy(row, 1) < c.threshold {
				lo = mid
			} else {
				hi = mid
			}
		}
		if math.Abs(lo-c.means) > c.within {
			t.Errorf("%d classes: the threshold %v stands for a probability of %.4f, want about %v", c.classes, c.threshold, lo, c.means)
		}
	}
}

// TestEnergyOfTemperature compares with the formula as it is written.
func TestEnergyOfTemperature(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		row := make([]float64, 2+rng.IntN(8))
		temperature := 0.25 + 4*rng.Float64()
		sum := 0.0
		for i := range row {
			row[i] = 6 * rng.NormFloat64()
			sum += math.Exp(row[i] / temperature)
		}
		if got, want := energy(row, temperature), temperature*math.Log(sum); math.Abs(got-want) > 1e-9 {
			t.Fatalf("energy(%v, %v) = %v, want %v", row, temperature, got, want)
		}
	}
	if got := energy([]float64{1e308, 1e308}, 1); got != 1e308 {
		t.Errorf("large logits have the energy %v", got)
	}
}

// TestTwoClasses: of two probabilities every score that is made of them orders
// rows alike.
func TestTwoClasses(t *testing.T) {
	for _, score := range Scores() {
		if score == EnergyLogits {
			continue // the size of the logits moves it as well
		}
		before := float32(-1)
		for p := 0.5; p < 0.9995; p += 0.001 {
			s := Reading{Score: score}.Signal([]float64{1 - p, p})
			if s.Confidence <= before || s.Confidence > 1 {
				t.Fatalf("%v: the confidence of %.3f is %v, after %v", score, p, s.Confidence, before)
			}
			before = s.Confidence
		}
	}
}

func TestSignal(t *testing.T) {
	row := []float64{0.1, 0.7, 0.2}
	logits := []float64{math.Log(0.1) + 3, math.Log(0.7) + 3, math.Log(0.2) + 3} // their energy is 3
	entropy := -(0.1*math.Log(0.1) + 0.7*math.Log(0.7) + 0.2*math.Log(0.2)) / math.Log(3)
	for _, c := range []struct {
		r    Reading
		row  []float64
		want float64
	}{
		{Reading{}, row, 0.7},
		{Reading{Logits: true}, logits, 0.7},
		{Reading{Score: Margin}, row, 0.5},
		{Reading{Score: Margin, Logits: true}, logits, 0.5},
		{Reading{Score: Entropy}, row, 1 - entropy},
		{Reading{Score: EnergyLogits, Logits: true}, logits, 0.5 + 0.5*3/4},
		{Reading{Score: EnergyLogits, Logits: true, Temperature: 1e-3}, logits, 0.5 + 0.5*(1000*logits[1])/(1+1000*logits[1])},
		{Reading{Score: EnergyLogits, Logits: true}, []float64{-5, -5 - 1e-9}, 0.5 - 0.5*(5-math.Ln2)/(6-math.Ln2)},
		{Reading{Score: EnergyProbabilities}, row,
			(math.Log(math.Exp(0.1)+math.Exp(0.7)+math.Exp(0.2)) - math.Log(3) - 1.0/3) / (math.Log(math.E+2) - math.Log(3) - 1.0/3)},
	} {
		s := c.r.Signal(c.row)
		if math.Abs(float64(s.Confidence)-c.want) > 1e-6 {
			t.Errorf("%+v of %v is %v, want %v", c.r, c.row, s.Confidence, c.want)
		}
		if len(c.row) == 3 && (s.Class != 1 || math.Abs(float64(s.Margin)-0.5) > 1e-6 || math.Abs(float64(s.Entropy)-entropy) > 1e-6) {
			t.Errorf("%+v of %v is %+v", c.r, c.row, s)
		}
	}
}

func TestUnusable(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, score := range Scores() {
		for _, logits := range []bool{false, true} {
			r := Reading{Score: score, Logits: logits}
			for _, row := range [][]float64{nil, {1}, {nan, 1}, {0.5, nan}, {inf, 0}, {-inf, 1}} {
				if s := r.Signal(row); s.Seen() || s.Class != -1 {
					t.Errorf("%+v of %v is %+v, want nothing", r, row, s)
				}
			}
		}
		for _, row := range [][]float64{{2, -1}, {0.5, 0.6}, {0.2, 0.2}, {3, 4}} {
			if s := (Reading{Score: score}).Signal(row); s.Seen() {
				t.Errorf("%v of %v, which are no probabilities, is %+v", score, row, s)
			}
		}
	}
}

// TestConfidenceIsMonotone: over logits of any size, and away from the ends
// without ties.
func TestConfidenceIsMonotone(t *testing.T) {
	r := Reading{Score: EnergyLogits, Logits: true}
	before := float32(-1)
	for x := -200.0; x <= 200; x += 0.25 {
		s := r.Signal([]float64{x, x - 3})
		if s.Confidence <= before {
			t.Fatalf("the confidence of logits about %v is %v, after %v", x, s.Confidence, before)
		}
		before = s.Confidence
	}
}

func TestScoreNames(t *testing.T) {
	for _, s := range Scores() {
		if got, err := ParseScore(s.String()); err != nil || got != s {
			t.Errorf("ParseScore(%q) = %v, %v", s.String(), got, err)
		}
	}
	if _, err := ParseScore("energy"); err == nil {
		t.Error("an unknown score is read")
	}
}

func TestTop(t *testing.T) {
	for _, c := range []struct {
		row  []float64
		want int
	}{{nil, -1}, {[]float64{3}, 0}, {[]float64{1, 2, 2}, 1}, {[]float64{1, math.NaN()}, -1}, {[]float64{math.Inf(-1), math.Inf(1)}, 1}} {
		if got := top(c.row); got != c.want {
			t.Errorf("top(%v) = %d, want %d", c.row, got, c.want)
		}
	}
}
