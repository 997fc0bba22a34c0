package workload

import "math"

// tally gathers the weights of sizes on the way to a histogram.
type tally struct {
	round     int // sizes are rounded up to a multiple of it; 0 = 1
	low, high int // and then clipped; high 0 = MaxSize
	entries   []weighted
}

type weighted struct {
	size   int
	weight float64
}

// add counts a whole size, rounded and clipped.
func (t *tally) add(n int, weight float64) {
	if t.round > 1 {
		n = (n + t.round - 1) / t.round * t.round
	}
	high := t.high
	if high == 0 {
		high = MaxSize
	}
	t.entries = append(t.entries, weighted{min(max(n, t.low, 1), high), weight})
}

// uniform counts the whole numbers low … high.
func (t *tally) uniform(low, high int, weight float64) {
	for n := low; n <= high; n++ {
		t.add(n, weight/float64(high-low+1))
	}
}

// continuous counts a real-valued law, rounded up: the size n has the mass of
// (n−step, n] where step is what sizes are rounded to.
func (t *tally) continuous(weight float64, cdf func(float64) float64) {
	t.between(weight, 0, math.Inf(1), cdf)
}

// between is continuous for the part of the law above low and up to high.
func (t *tally) between(weight, low, high float64, cdf func(float64) float64) {
	step := max(1, t.round)
	n := (int(low)/step + 1) * step
	below := cdf(low) // the mass up to n−step
	if low == 0 && below > 0 {
		t.add(0, weight*below) // of a law that knows sizes under 0
	}
	for ; ; n += step {
		last := float64(n) >= high || n >= t.high
		upTo := cdf(min(float64(n), high))
		if n >= t.high {
			upTo = cdf(high) // all that is beyond is clipped
		}
		if m := upTo - below; m > 0 {
			t.add(n, weight*m)
		}
		if last {
			return
		}
		below = upTo
	}
}

// The log-normal body of both mixtures (DeepRecSys, as KAIROS and RIBBON set it).
const bodyMu, bodySigma = 5.1, 0.2

func body(x float64) float64 { return lognormalCDF(x, bodyMu, bodySigma) }

// kairos is the mixture of KAIROS: r uniform in 1…99; r ≤ 8: 1…99;
// 9…30: 200…599; 31…35: 600…999; else the log-normal where it lies in
// 100…200 and 190…199 otherwise.
func (t *tally) kairos() {
	t.uniform(1, 99, 8.0/99)
	t.uniform(200, 599, 22.0/99)
	t.uniform(600, 999, 5.0/99)
	const rest = 64.0 / 99
	inside := body(200) - body(100)
	t.uniform(190, 199, rest*(1-inside))
	t.between(rest, 100, 200, body)
}

// ribbon is the mixture of RIBBON: r uniform in 1…99; r ≤ 2: 1…99; 3…12:
// 250…499; else the log-normal up to 500 and 400…499 beyond.
func (t *tally) ribbon() {
	t.uniform(1, 99, 2.0/99)
	t.uniform(250, 499, 10.0/99)
	const rest = 87.0 / 99
	t.uniform(400, 499, rest*(1-body(500)))
	t.between(rest, 0, 500, body)
}

func normalCDF(x, mean, sd float64) float64 {
	if sd == 0 {
		if x >= mean {
			return 1
		}
		return 0
	}
	return 0.5 * math.Erfc(-(x-mean)/(sd*math.Sqrt2))
}

func lognormalCDF(x, mu, sigma float64) float64 {
	if x <= 0 {
		return 0
	}
	return normalCDF(math.Log(x), mu, sigma)
}
