package workload

import (
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"sort"
	"strconv"
	"strings"
	"testing"
)

func mustSizes(t *testing.T, spec string, open Open) *Sizes {
	t.Helper()
	s, err := ParseSizes(spec, open)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// drawKairos and drawRibbon draw as the authors' scripts do, one by one.
func drawKairos(rng *rand.Rand) float64 {
	x := math.Exp(5.1 + 0.2*rng.NormFloat64())
	switch r := 1 + rng.IntN(99); {
	case r <= 8:
		return float64(1 + rng.IntN(99))
	case r <= 30:
		return float64(200 + rng.IntN(400))
	case r <= 35:
		return float64(600 + rng.IntN(400))
	case x < 100 || x > 200:
		return float64(190 + rng.IntN(10))
	}
	return x
}

func drawRibbon(rng *rand.Rand) float64 {
	x := math.Exp(5.1 + 0.2*rng.NormFloat64())
	switch r := 1 + rng.IntN(99); {
	case r <= 2:
		return float64(1 + rng.IntN(99))
	case r <= 12:
		return float64(250 + rng.IntN(250))
	case x > 500:
		return float64(400 + rng.IntN(100))
	}
	return x
}

// TestLawsAgainstDraws compares the exact histograms with many draws from
// the definitions: every size's share, and what Draw makes of it.
func TestLawsAgainstDraws(t *testing.T) {
	for _, tc := range []struct {
		spec string
		draw func(*rand.Rand) float64
	}{
		{"kairos", drawKairos}, {"ribbon", drawRibbon}, {"kairos:round=1", drawKairos}, {"ribbon:round=7", drawRibbon},
		{"lognormal:mu=3,sigma=1,max=300", func(rng *rand.Rand) float64 { return math.Exp(3 + rng.NormFloat64()) }},
		{"normal:mean=165,sd=16,max=1024", func(rng *rand.Rand) float64 { return 165 + 16*rng.NormFloat64() }},
		{"normal:mean=5,sd=20,min=3,max=30,round=5", func(rng *rand.Rand) float64 { return 5 + 20*rng.NormFloat64() }},
	} {
		s := mustSizes(t, tc.spec, nil)
		h := s.Histogram()
		const n = 300_000
		rng := rand.New(rand.NewPCG(1, 2))
		want, got := map[int]float64{}, map[int]float64{}
		round, low, high := 1.0, 1.0, float64(defaultMax)
		_, _, p, err := splitSpec(tc.spec)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(tc.spec, "round=") && !strings.Contains(tc.spec, "normal") {
			round = 10
		}
		round, low, high = p.number("round", round, 1, 1e9), p.number("min", low, 1, 1e9), p.number("max", high, 1, 1e9)
		for range n {
			x := math.Ceil(tc.draw(rng)/round) * round
			want[int(min(max(x, low), high))]++
			got[s.Draw(rng)]++
		}
		sum := 0.0
		for i, size := range h.Sizes {
			mean := n * h.P[i]
			sum += h.P[i]
			slack := 5*math.Sqrt(mean) + 4
			if math.Abs(want[size]-mean) > slack || math.Abs(got[size]-mean) > slack {
				t.Errorf("%s: size %d: %.0f by the histogram, %v by the definition, %v drawn", tc.spec, size, mean, want[size], got[size])
			}
			delete(want, size)
			delete(got, size)
		}
		if math.Abs(sum-1) > 1e-9 || len(got) > 0 || len(want) > 0 {
			t.Errorf("%s: probabilities sum to %v; sizes %v and %v are not in the histogram", tc.spec, sum, want, got)
		}
	}
}

// TestPublishedQuantiles compares with the percentile tables of a million
// draws, before rounding.
func TestPublishedQuantiles(t *testing.T) {
	f, err := os.Open("../../../shared/data/query_size/quantiles.csv")
	if err != nil {
		t.Skipf("NOT CHECKED against quantiles.csv: %v", err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	specs := []string{"ribbon:round=1", "kairos:round=1", "normal:mean=165,sd=16,max=1024", "lognormal:mu=5.1,sigma=0.2"}
	for i, spec := range specs {
		h := mustSizes(t, spec, nil).Histogram()
		for _, row := range rows[1:] {
			want, err := strconv.ParseFloat(row[i+1], 64)
			if err != nil {
				t.Fatal(err)
			}
			if row[0] == "mean" { // rounding up adds a half where the law is continuous
				if m := h.Mean(); m < want-0.5 || m > want+1 {
					t.Errorf("%s: mean %.2f, the table says %v", spec, m, want)
				}
				continue
			}
			q, err := strconv.ParseFloat(row[0], 64)
			if err != nil {
				t.Fatal(err)
			}
			// What the table's million draws can be off by, in the probability, and
			// the rounding. DeepRecSys cuts the normal off instead of rounding up.
			slack := 4 * math.Sqrt(q/100*(1-q/100)/1e6)
			low, high := h.Quantile(q/100-slack), h.Quantile(min(q/100+slack, 1))
			if want < float64(low)-1.05 || want > float64(high)+0.05 {
				t.Errorf("%s: quantile %v lies in %d … %d, the table says %v", spec, q, low, high, want)
			}
		}
	}
}

// TestFiles reads sizes and histograms.
func TestFiles(t *testing.T) {
	open := files(map[string]string{
		"sizes": "size\n1\n2\n2\n30\n", "table": "a,n\nx,3\ny,4\n", "hist": "size,count\n8,1\n# so\n16,3\n", "bare": "8,1\n16,3\n16,4\n",
	})
	for _, tc := range []struct{ spec, want string }{
		{"file:sizes", "{[1 2 30] [0.25 0.5 0.25]}"},
		{"file:sizes,round=8,max=20", "{[8 20] [0.75 0.25]}"},
		{"file:table,column=n", "{[3 4] [0.5 0.5]}"},
		{"file:table,column=2", "{[3 4] [0.5 0.5]}"},
		{"histogram:hist", "{[8 16] [0.25 0.75]}"},
		{"histogram:bare", "{[8 16] [0.125 0.875]}"},
		{"fixed:32", "{[32] [1]}"},
		{"fixed:32,round=10,max=35", "{[35] [1]}"},
	} {
		if got := fmt.Sprint(mustSizes(t, tc.spec, open).Histogram()); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.spec, got, tc.want)
		}
	}
	s, err := NewSizes(Histogram{Sizes: []int{5, 3}, P: []float64{1, 3}})
	if err != nil || fmt.Sprint(s.Histogram()) != "{[3 5] [0.75 0.25]}" || s.Largest() != 5 {
		t.Errorf("%v, %v", s, err)
	}
	for _, h := range []Histogram{{}, {Sizes: []int{1}}, {[]int{0}, []float64{1}}, {[]int{1}, []float64{math.NaN()}}, {[]int{1}, []float64{0}}} {
		if _, err := NewSizes(h); err == nil {
			t.Errorf("%v is taken", h)
		}
	}
}

// TestBadSizes are refused, and the error says what is wrong and where.
func TestBadSizes(t *testing.T) {
	open := files(map[string]string{
		"empty": "", "word": "1\nx\n", "zero": "1\n0\n", "big": "1\n99999999\n", "neg": "8,1\n9,-1\n", "three": "1,2,3\n", "none": "8,0\n", "nan": "8,1\n9,NaN\n",
	})
	for _, tc := range []struct{ spec, want string }{
		{"", "unknown kind"}, {"kairos:5", "key=value"}, {"kairos:round=0", "round"}, {"kairos:what=0", "what: no such"},
		{"kairos:min=9,max=8", "min: must not"}, {"lognormal:mu=5", "sigma: missing"}, {"lognormal:mu=NaN,sigma=1", "mu"},
		{"normal:mean=x,sd=1", "mean"}, {"normal:mean=1,sd=-1", "sd"}, {"fixed:0", "whole number"}, {"fixed", "whole number"},
		{"file:", "no file"}, {"file:gone", "cannot open gone"}, {"file:empty", "no sizes"}, {"file:word", "word: line 2, column 1"},
		{"file:zero", "zero: line 2, column 1"}, {"file:big", "big: line 2"},
		{"histogram:neg", "neg: line 2, count"}, {"histogram:three", "three: line 1"}, {"histogram:none", "no sizes"}, {"histogram:nan", "nan: line 2, count"},
	} {
		if s, err := ParseSizes(tc.spec, open); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: %v, %v, want %q", tc.spec, s, err, tc.want)
		}
	}
}

// TestGoldenSizes pins what a seed gives.
func TestGoldenSizes(t *testing.T) {
	var got []int
	s, rng := mustSizes(t, "kairos", nil), Stream(7, "sizes")
	for range 8 {
		got = append(got, s.Draw(rng))
	}
	if fmt.Sprint(got) != goldenSizes {
		t.Errorf("%v, want %s", got, goldenSizes)
	}
}

const goldenSizes = "[170 120 480 300 160 160 200 190]"

// FuzzSizes never panics; what is taken is a law.
func FuzzSizes(f *testing.F) {
	for _, spec := range []string{"kairos:round=3", "ribbon:max=100", "lognormal:mu=1,sigma=9", "normal:mean=-5,sd=0", "fixed:9", "file:f,column=2", "histogram:f"} {
		f.Add(spec, "a,b\n1,2\n7,3\n")
	}
	f.Fuzz(func(t *testing.T, spec, file string) {
		s, err := ParseSizes(spec, func(string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(file)), nil })
		if err != nil {
			return
		}
		h, sum := s.Histogram(), 0.0
		for i, p := range h.P {
			if sum += p; !(p > 0) || h.Sizes[i] < 1 || h.Sizes[i] > MaxSize {
				t.Fatalf("%q: size %d has probability %v", spec, h.Sizes[i], p)
			}
		}
		if math.Abs(sum-1) > 1e-6 || !sort.IntsAreSorted(h.Sizes) {
			t.Fatalf("%q: sum %v, sizes %v", spec, sum, h.Sizes)
		}
		rng := Stream(1, "fuzz")
		for range 20 {
			if n := s.Draw(rng); n < h.Sizes[0] || n > s.Largest() {
				t.Fatalf("%q: drew %d", spec, n)
			}
		}
	})
}

// BenchmarkDraw is one size.
func BenchmarkDraw(b *testing.B) {
	s, err := ParseSizes("kairos", nil)
	if err != nil {
		b.Fatal(err)
	}
	rng := Stream(1, "bench")
	for b.Loop() {
		s.Draw(rng)
	}
}
