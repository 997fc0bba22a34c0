package pool

import (
	"bufio"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"
)

const samplesFile = "../../../shared/data/kairos/latency_samples.jsonl"

// measured is one batch size of one model on one instance type.
type measured struct {
	Model        string    `json:"model"`
	InstanceType string    `json:"instance_type"`
	Batch        int       `json:"batch"`
	Compute      []float64 `json:"compute_ms"`
	Load         []float64 `json:"load_ms"`
	took         []time.Duration
}

// readSamples returns the measurements by model and type, without each one's
// single largest (the warm-up).
func readSamples(t *testing.T) (series [][]measured) {
	t.Helper()
	file, err := os.Open(samplesFile)
	if err != nil {
		t.Skipf("NOT CHECKED against measured latencies: %v", err)
	}
	defer file.Close()
	at := map[[2]string]int{}
	in := bufio.NewScanner(file)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var m measured
		if err := json.Unmarshal(in.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		for i := range m.Compute {
			m.took = append(m.took, time.Duration((m.Compute[i]+m.Load[i])*1e6))
		}
		slices.Sort(m.took)
		m.took = m.took[:len(m.took)-1]
		key := [2]string{m.Model, m.InstanceType}
		if _, ok := at[key]; !ok {
			at[key] = len(series)
			series = append(series, nil)
		}
		series[at[key]] = append(series[at[key]], m)
	}
	return series
}

// leastSquares is the exact fit of the relative error, straight from its
// definition.
func leastSquares(s []measured) (a, b float64) {
	var w, x, xx, y, xy float64
	for _, m := range s {
		for _, took := range m.took {
			mean := meanOf(m.took)
			k := 1 / (mean * mean)
			n, v := float64(m.Batch), float64(took)
			w, x, xx, y, xy = w+k, x+k*n, xx+k*n*n, y+k*v, xy+k*n*v
		}
	}
	b = (w*xy - x*y) / (w*xx - x*x)
	return (y - b*x) / w, b
}

func meanOf(took []time.Duration) float64 {
	sum := 0.0
	for _, d := range took {
		sum += float64(d)
	}
	return sum / float64(len(took))
}

// A profile without a table, fed random samples, knows the mean at every size
// at least as well as exact least squares, and its 99 % bound holds 99 % of
// the time.
func TestAgainstMeasuredLatencies(t *testing.T) {
	worst := 0.0
	for _, s := range readSamples(t) {
		r := rand.New(rand.NewPCG(7, 8))
		p := newProfile(t)
		under, asked := 0, 0
		for i := range 6000 {
			m := s[r.IntN(len(s))]
			took := m.took[r.IntN(len(m.took))]
			if i >= 1500 {
				asked++
				if took <= p.Bound(m.Batch, 0.99) {
					under++
				}
			}
			p.Observe(m.Batch, took)
		}
		a, b := leastSquares(s)
		ours, exact := 0.0, 0.0
		for _, m := range s {
			truth := meanOf(m.took)
			ours += math.Abs(float64(p.Mean(m.Batch))-truth) / truth / float64(len(s))
			exact += math.Abs(a+b*float64(m.Batch)-truth) / truth / float64(len(s))
		}
		coverage := float64(under) / float64(asked)
		worst = max(worst, ours)
		t.Logf("%-6s %-12s mean error %.2f %% (least squares %.2f %%), coverage of the 99 %% bound %.2f %%",
			s[0].Model, s[0].InstanceType, 100*ours, 100*exact, 100*coverage)
		if ours > 0.05 {
			t.Errorf("%s on %s: mean relative error %.1f %%, want at most 5 %%", s[0].Model, s[0].InstanceType, 100*ours)
		}
		if ours > exact+0.03 {
			t.Errorf("%s on %s: mean relative error %.1f %%, exact least squares has %.1f %%", s[0].Model, s[0].InstanceType, 100*ours, 100*exact)
		}
		// Bins are 2 % wide, which is much where the scatter is less than that.
		if coverage < 0.97 || coverage > 0.9995 {
			t.Errorf("%s on %s: the 99 %% bound covers %.2f %%", s[0].Model, s[0].InstanceType, 100*coverage)
		}
	}
	t.Logf("worst mean error %.2f %%", 100*worst)
}
