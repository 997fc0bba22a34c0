package bench

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestBracket: a search ends within its step below what is carried, whatever
// that is and wherever it begins, in few tries.
func TestBracket(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		carried := math.Exp(rng.Float64() * math.Log(1e5))
		start := math.Exp(rng.Float64() * math.Log(1e4))
		b := bracket{high: math.Inf(1), step: searchFar}
		tries := 0
		for rate, more := start, true; more; rate, more = b.next() {
			b.note(rate, rate <= carried)
			tries++
		}
		if b.low > carried || b.low*searchStep < carried || float64(tries) > 8+math.Abs(math.Log2(carried/start)) {
			t.Errorf("%v carried, from %v: %v after %d tries", carried, start, b.low, tries)
		}
	}
	for off := 0.7; off < 1.4; off *= 1.01 { // told about what is carried
		b := bracket{high: math.Inf(1), step: searchNear}
		tries := 0
		for rate, more := 100*off, true; more; rate, more = b.next() {
			b.note(rate, rate <= 100)
			tries++
		}
		if b.low > 100 || b.low*searchStep < 100 || tries > 10 || off > 0.96 && off < 1.04 && tries > 5 {
			t.Errorf("100 carried, from %v: %v after %d tries", 100*off, b.low, tries)
		}
	}
	for _, carries := range []bool{true, false} { // all, or nothing
		b := bracket{high: math.Inf(1), step: searchFar}
		tries := 0
		for rate, more := 64.0, true; more; rate, more = b.next() {
			b.note(rate, carries)
			tries++
		}
		if tries > 20 {
			t.Errorf("carries %v: %d tries", carries, tries)
		}
	}
}

func TestRates(t *testing.T) {
	for _, c := range []struct {
		rate string
		want []float64
	}{
		{"", []float64{0}}, {"7.5", []float64{7.5}}, {"100..300", []float64{100, 200, 300}}, {"30..10", []float64{30, 20, 10}},
		{"0", nil}, {"-1", nil}, {"NaN", nil}, {"1e9", nil}, {"1..", nil}, {"..2", nil}, {"1..2..3", nil}, {"1..Inf", nil},
	} {
		got, err := (&Load{Rate: c.rate, Steps: 3}).rates()
		if !slices.Equal(got, c.want) || (err != nil) != (c.want == nil) || err != nil && !errors.Is(err, ErrUsage) {
			t.Errorf("%q: %v, %v", c.rate, got, err)
		}
	}
}

// TestMost: a phase of a search may miss more than is allowed before it ends
// early, so that the share it ends with is that of a failure.
func TestMost(t *testing.T) {
	for _, c := range []struct {
		rate       float64
		percentile float64
		want       float64
	}{{1000, 99, 300}, {10, 99, 20}, {1000, 90, 3000}} {
		if got := mostMissed(c.rate*10, c.percentile); math.Abs(got-c.want) > 1e-6 {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		ratios []float64
		want   string
	}{{nil, "–"}, {[]float64{2}, "2.000"}, {[]float64{1, 2, 4}, "2.000 (1.000…4.000)"}, {[]float64{1, 2, 3, 4}, "2.500 (1.000…4.000)"}} {
		if got := spread(c.ratios); got != c.want {
			t.Errorf("%v: %q", c.ratios, got)
		}
	}
	if got := fmt.Sprint(countsText(map[string]int{"b": 2, "a": 1, "c": 0}), countsText(nil)); got != "a 1, b 2" {
		t.Errorf("%q", got)
	}
}
