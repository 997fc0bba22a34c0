package workload

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"motley/internal/mono"
)

// files is an Open over texts.
func files(text map[string]string) Open {
	return func(name string) (io.ReadCloser, error) {
		s, ok := text[name]
		if !ok {
			return nil, errors.New("no such file")
		}
		return io.NopCloser(strings.NewReader(s)), nil
	}
}

func mustArrivals(t *testing.T, spec string, open Open) *Arrivals {
	t.Helper()
	a, err := ParseArrivals(spec, open)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func draw(t *testing.T, a *Arrivals, n int, rate float64, seed uint64) []mono.Time {
	t.Helper()
	times, err := a.Append(nil, n, rate, Stream(seed, "arrivals"))
	if err != nil {
		t.Fatal(err)
	}
	return times
}

// gaps returns mean and coefficient of variation of the gaps, in s.
func gaps(times []mono.Time) (mean, cv float64) {
	var sum, squares float64
	last := mono.Time(0)
	for _, at := range times {
		g := at.Sub(last).Seconds()
		last = at
		sum, squares = sum+g, squares+g*g
	}
	n := float64(len(times))
	mean = sum / n
	return mean, math.Sqrt(max(0, squares/n-mean*mean)) / mean
}

// TestGaps holds mean and spread of the stationary laws against theory: CV 1
// for exponential gaps, 1/√mean for whole milliseconds of a Poisson law.
func TestGaps(t *testing.T) {
	for _, tc := range []struct {
		spec     string
		rate, cv float64
	}{
		{"exponential", 0.01, 1}, {"exponential", 95, 1}, {"exponential", 5000, 1},
		{"constant", 95, 0},
		{"poisson-ms", 95, 1 / math.Sqrt(1000.0/95)}, {"poisson-ms", 2000, 1 / math.Sqrt(0.5)},
		{"poisson-ms", 10, 0.1}, {"poisson-ms", 5, 1 / math.Sqrt(200)}, {"poisson-ms", 1e-4, 1 / math.Sqrt(1e7)},
	} {
		times := draw(t, mustArrivals(t, tc.spec, nil), 100_000, tc.rate, 1)
		mean, cv := gaps(times)
		if math.Abs(mean*tc.rate-1) > 0.015 || math.Abs(cv-tc.cv) > 0.01*max(tc.cv, 0.01)+0.001 {
			t.Errorf("%s at %v: mean gap %v s, CV %.4f, want CV %.4f", tc.spec, tc.rate, mean, cv, tc.cv)
		}
		if tc.spec == "poisson-ms" {
			for i, at := range times {
				if at%mono.Time(time.Millisecond) != 0 {
					t.Fatalf("%s at %v: instant %d is %v, want whole milliseconds", tc.spec, tc.rate, i, at)
				}
			}
		}
	}
}

// TestPoissonLaw compares the frequencies of small numbers with the law's.
func TestPoissonLaw(t *testing.T) {
	for _, mean := range []float64{0.3, 5, 29.5, 70} {
		rng, seen := Stream(5, "poisson"), map[int]float64{}
		const n = 200_000
		for range n {
			seen[poisson(rng, mean)]++
		}
		p := math.Exp(-mean)
		for k := range 150 {
			if off := seen[k] - n*p; math.Abs(off) > 5*math.Sqrt(n*p)+3 {
				t.Errorf("mean %v: %d came %v times of %d, want %.0f", mean, k, seen[k], n, n*p)
			}
			p *= mean / float64(k+1)
		}
	}
}

// TestVarying counts the requests in windows of processes whose rate changes.
func TestVarying(t *testing.T) {
	for _, tc := range []struct {
		spec     string
		from, to float64 // s, within each lap
		lap      float64 // s; 0: one
		rate     float64 // relative
	}{
		{"step:from=100s,factor=3", 0, 100, 0, 1},
		{"step:from=100s,factor=3", 100, 200, 0, 3},
		{"step:from=100s,factor=0.5,to=200s", 100, 200, 0, 0.5},
		{"step:from=100s,factor=0.5,to=200s", 200, 400, 0, 1},
		{"sine:period=40s,depth=0.8", 0, 20, 40, 1 + 0.8*2/math.Pi},
		{"sine:period=40s,depth=0.8", 20, 40, 40, 1 - 0.8*2/math.Pi},
		{"sine:period=40s,depth=1", 0, 40, 40, 1},
		{"burst:every=30s,for=3s,factor=4", 0, 3, 30, 4 * 30.0 / 39},
		{"burst:every=30s,for=3s,factor=4", 3, 30, 30, 30.0 / 39},
		{"burst:every=30s,for=3s,factor=4", 0, 30, 30, 1},
	} {
		const rate = 200
		times := draw(t, mustArrivals(t, tc.spec, nil), 100_000, rate, 2)
		laps := 1.0
		if tc.lap > 0 {
			laps = math.Floor(time.Duration(times[len(times)-1]).Seconds() / tc.lap)
		}
		got := 0.0
		for _, at := range times {
			s := time.Duration(at).Seconds()
			if tc.lap > 0 {
				lap := math.Floor(s / tc.lap)
				if lap >= laps {
					continue
				}
				s -= lap * tc.lap
			}
			if s >= tc.from && s < tc.to {
				got++
			}
		}
		want := rate * tc.rate * (tc.to - tc.from) * laps
		if math.Abs(got-want) > 4*math.Sqrt(want) {
			t.Errorf("%s: %v requests in %v…%v s, want %.0f", tc.spec, got, tc.from, tc.to, want)
		}
		if !slices.IsSorted(times) {
			t.Errorf("%s: time runs backwards", tc.spec)
		}
	}
}

// TestTrace repeats a trace, and stretches it.
func TestTrace(t *testing.T) {
	open := files(map[string]string{
		"seconds": "10\n10.5\n12\n",
		"csv":     "x,when\na,2023-11-16 18:15:46.5\nb,2023-11-16 18:15:47.0000000\nc,2023-11-16T18:15:48.5Z\n",
	})
	for _, spec := range []string{"trace:seconds", "trace:csv,column=when", "trace:csv,column=2"} {
		a := mustArrivals(t, spec, open)
		if a.Rate() != 1 { // three in 2 s and the mean gap of 1 s
			t.Errorf("%s: rate %v, want 1", spec, a.Rate())
		}
		if got, want := fmt.Sprint(draw(t, a, 5, 0, 1)), "[0s 500ms 2s 3s 3.5s]"; got != want {
			t.Errorf("%s: %v, want %v", spec, got, want)
		}
		if got, want := fmt.Sprint(draw(t, a, 5, 4, 1)), "[0s 125ms 500ms 750ms 875ms]"; got != want {
			t.Errorf("%s at 4/s: %v, want %v", spec, got, want)
		}
	}
}

// TestCounts puts as many requests into each bin as the file says.
func TestCounts(t *testing.T) {
	open := files(map[string]string{
		"plain": "100,0,300\n",
		"azure": "owner,name,1,2,3\na,xyz,60,0,200\nb,xza,40,0,100\nc,q,7,7,7\n",
	})
	for _, spec := range []string{
		"counts:plain", "counts:plain,within=uniform", "counts:azure,row=x", "counts:azure,row=x,within=uniform",
		"counts:plain,bin=1s",
	} {
		for _, rate := range []float64{0, 50} {
			a := mustArrivals(t, spec, open)
			bin := 60.0
			if strings.Contains(spec, "bin") {
				bin = 1
			}
			if want := 400 / (3 * bin); math.Abs(a.Rate()-want) > 1e-9 {
				t.Errorf("%s: rate %v, want %v", spec, a.Rate(), want)
			}
			scale := 1.0
			if rate > 0 {
				scale = rate / a.Rate()
			}
			times := draw(t, a, int(400*scale*50), rate, 3)
			var got [3]float64
			for _, at := range times {
				got[int(time.Duration(at).Seconds()/bin)%3]++
			}
			if !slices.IsSorted(times) || got[1] != 0 {
				t.Errorf("%s at %v: %v by bin", spec, rate, got)
			}
			want := 300 * scale * 50
			slack := 5 * math.Sqrt(want)
			if strings.Contains(spec, "uniform") {
				slack = 50*1 + 300*scale // lots of roundings, and the last lap
			}
			if math.Abs(got[2]-want) > slack {
				t.Errorf("%s at %v: %v in the third bin, want %.0f", spec, rate, got[2], want)
			}
		}
	}
}

// TestUniformWithin spreads a bin's requests evenly.
func TestUniformWithin(t *testing.T) {
	a := mustArrivals(t, "counts:f,within=uniform", files(map[string]string{"f": "5000"}))
	times := draw(t, a, 5000, 0, 1)
	for i, at := range times { // Kolmogorov's bound at 0.1 %
		if d := math.Abs(time.Duration(at).Seconds()/60 - float64(i)/5000); d > 1.95/math.Sqrt(5000) {
			t.Fatalf("request %d comes at %v", i, at)
		}
	}
}

// TestPublishedTraces reads the files as they come.
func TestPublishedTraces(t *testing.T) {
	const dir = "../../../shared/data/"
	open := func(name string) (io.ReadCloser, error) { return os.Open(dir + name) }
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("NOT CHECKED against the published traces: %v", err)
	}
	llm := mustArrivals(t, "trace:azure_llm_2023/AzureLLMInferenceTrace_conv.csv", open)
	times := draw(t, llm, 19_366, 0, 1)
	mean, cv := gaps(times)
	if math.Abs(mean-0.181) > 0.001 || math.Abs(cv-1.09) > 0.02 {
		t.Errorf("conversations: mean gap %.4f s, CV %.3f; the README says 0.181 and 1.09", mean, cv)
	}
	fn := mustArrivals(t, "counts:azure_functions/invocations_500f_min480-959.csv,row=1992918c", open)
	if math.Abs(fn.Rate()-66.5) > 0.05 {
		t.Errorf("function 1992918c: %.2f/s, the README says 66.5", fn.Rate())
	}
}

// TestGoldenArrivals pins what a seed gives: changing it silently would change
// every published number.
func TestGoldenArrivals(t *testing.T) {
	open := files(map[string]string{"c": "3,1,2"})
	for _, tc := range []struct{ spec, want string }{
		{"exponential", goldenExponential}, {"poisson-ms", goldenPoisson}, {"sine:period=1s,depth=0.9", goldenSine},
		{"counts:c,bin=1s", goldenCounts},
	} {
		if got := fmt.Sprint(draw(t, mustArrivals(t, tc.spec, open), 4, 100, 7)); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.spec, got, tc.want)
		}
	}
}

const (
	goldenExponential = "[6.220659ms 7.606789ms 11.028093ms 18.281241ms]"
	goldenPoisson     = "[5ms 10ms 21ms 31ms]"
	goldenSine        = "[6.114947ms 7.449893ms 10.704245ms 17.423728ms]"
	goldenCounts      = "[4.147106ms 5.071193ms 7.352062ms 12.187494ms]"
)

// TestStreams are independent by name and the same by seed.
func TestStreams(t *testing.T) {
	a, b, c, d := Stream(1, "a"), Stream(1, "a"), Stream(1, "b"), Stream(2, "a")
	for range 10 {
		x, y, z, w := a.Uint64(), b.Uint64(), c.Uint64(), d.Uint64()
		if x != y || x == z || x == w {
			t.Fatal("streams do not go by seed and name")
		}
	}
}

// TestBadArrivals are refused, and the error says what is wrong and where.
func TestBadArrivals(t *testing.T) {
	open := files(map[string]string{
		"empty": "", "back": "3\n5\n4\n", "word": "1\n2\nx\n", "one": "5\n", "nan": "1\n2\nNaN\n", "same": "1\n1\n",
		"mixed": "1\n2023-11-16 18:15:46\n", "short": "1,2\n3\n",
		"neg": "1,2\n3,-4\n", "zero": "0,0\n", "nobins": "a,b\n1,2\n", "ragged": "1,2,3\n1,2\n", "quote": "\"a\n",
	})
	for _, tc := range []struct{ spec, want string }{
		{"", "unknown kind"}, {"normal", "unknown kind"}, {"exponential:5", "key=value"}, {"exponential:rate=5", "rate: no such"},
		{"step:from=1s", "factor: missing"}, {"step:from=x,factor=2", "from"}, {"step:factor=2,factor=3", "twice"},
		{"step:from=5s,to=4s,factor=2", "to: must be after"}, {"step:factor=NaN", "factor"}, {"step:factor=0", "factor"},
		{"sine:depth=1.1", "depth"}, {"sine:period=0s", "period"}, {"burst:factor=0.5", "factor"},
		{"burst:every=3s,for=3s,factor=2", "for: must be shorter"}, {"burst:for=3s,every=9s", "factor: missing"},
		{"trace:", "no file"}, {"trace:gone", "cannot open gone"}, {"trace:empty", "empty: 0 instants"},
		{"trace:back", "back: line 3, column 1: \"4\": time runs backwards"}, {"trace:word", "word: line 3, column 1"},
		{"trace:one", "one: 1 instants"}, {"trace:nan", "nan: line 3"}, {"trace:same", "same: 2 instants"},
		{"trace:mixed", "mixed: line 2"}, {"trace:short,column=2", "short: line 2: column 2 is missing"},
		{"trace:short,column=0", "numbered from 1"}, {"trace:short,column=x", "there is no column \"x\""},
		{"trace:back,x=1", "back: line 3"}, {"trace:quote", "quote: "},
		{"counts:neg", "neg: line 2, column 2: \"-4\""}, {"counts:zero", "zero: all counts are 0"},
		{"counts:nobins", "nobins: line 1: no column"}, {"counts:ragged", "ragged: line 2: 2 fields"},
		{"counts:zero,row=x", "no row"}, {"counts:zero,within=x", "within"}, {"counts:zero,bin=0s", "bin"},
		{"counts:empty", "no row"}, {"counts:zero,row=1,y=2", "no row"},
	} {
		if a, err := ParseArrivals(tc.spec, open); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: %v, %v, want %q", tc.spec, a, err, tc.want)
		}
	}
	if _, err := ParseArrivals("trace:f", nil); err == nil {
		t.Error("a file is read without a way to")
	}
	for _, rate := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		if _, err := mustArrivals(t, "exponential", nil).Start(rate, Stream(1, "")); err == nil {
			t.Errorf("rate %v is taken", rate)
		}
	}
}

// FuzzArrivals never panics; what is taken gives instants that do not run
// backwards.
func FuzzArrivals(f *testing.F) {
	for _, spec := range []string{
		"exponential", "poisson-ms", "step:from=60s,factor=2,to=70s", "sine:period=60s,depth=1", "burst:every=3s,for=1s,factor=9",
		"trace:f,column=2", "counts:f,row=x,bin=1s,within=uniform",
	} {
		f.Add(spec, "a,b\n1,2\nx,2023-11-16 18:15:46.6\n")
	}
	f.Add("counts:f,within=uniform", "0,0,5\n")
	f.Add("trace:f", "1\n2\n3.5\n")
	f.Fuzz(func(t *testing.T, spec, file string) {
		a, err := ParseArrivals(spec, func(string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(file)), nil })
		if err != nil {
			return
		}
		rate := 50.0
		if a.law == counted { // bins that are all but empty take long to walk over
			rate = 0
			if len(a.count.per) > 1000 || a.count.total < 1 {
				return
			}
		}
		s, err := a.Start(rate, Stream(1, "fuzz"))
		if err != nil {
			return
		}
		last := mono.Time(0)
		for range 50 {
			at := s.Next()
			if at < last {
				t.Fatalf("%q: %v after %v", spec, at, last)
			}
			last = at
		}
	})
}
