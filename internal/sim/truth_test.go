package sim_test

import (
	"encoding/csv"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"motley/internal/pool"
	"motley/internal/sim"
	"motley/internal/workload"
)

// readData reads a file of samples, or skips the test.
func readData(tb testing.TB, path string) []sim.Cell {
	tb.Helper()
	f, err := os.Open("../../../shared/data/" + path)
	if err != nil {
		tb.Skipf("NOT CHECKED against %s: %v", path, err)
	}
	defer f.Close()
	cells, err := sim.ReadSamples(path, f)
	if err != nil {
		tb.Fatal(err)
	}
	return cells
}

// TestReadSamples reads both forms.
func TestReadSamples(t *testing.T) {
	const file = `{"model":"a","instance_type":"x","batch":10,"compute_ms":[1,9,2],"load_ms":[0.5,1,0.25]}

{"model":"a","instance_type":"x","batch":20,"latency_ms":[3,4.5]}
`
	cells, err := sim.ReadSamples("f", strings.NewReader(file))
	if err != nil || len(cells) != 2 {
		t.Fatalf("%v, %v", cells, err)
	}
	if c := cells[0]; len(c.Took) != 2 || c.Took[0] != 1500*time.Microsecond || c.Took[1] != 2250*time.Microsecond {
		t.Errorf("KAIROS's form gives %v, want compute + load without the largest", c.Took)
	}
	if c := cells[1]; len(c.Took) != 2 || c.Took[1] != 4500*time.Microsecond {
		t.Errorf("RIBBON's form gives %v, want all", c.Took)
	}
}

// TestReadSamplesErrors name file, line and field.
func TestReadSamplesErrors(t *testing.T) {
	for _, tc := range []struct{ line, want string }{
		{`{"model":"a","instance_type":"x","batch":10,"latency_ms":[1,-1]}`, "f: line 2: latency_ms: sample 2"},
		{`{"model":"a","instance_type":"x","batch":10,"latency_ms":[]}`, "no samples"},
		{`{"model":"a","instance_type":"x","batch":0,"latency_ms":[1]}`, "line 2: batch"},
		{`{"model":"","instance_type":"x","batch":1,"latency_ms":[1]}`, "line 2: model"},
		{`{"model":"a","instance_type":"","batch":1,"latency_ms":[1]}`, "line 2: instance_type"},
		{`{"model":"a","instance_type":"x","batch":1,"latency_ms":[NaN]}`, "line 2: invalid"},
		{`{"model":"a","instance_type":"x","batch":1,"latency_ms":[1e300]}`, "latency_ms: sample 1"},
		{`{"model":"a","instance_type":"x","batch":1,"compute_ms":[1,2],"load_ms":[1]}`, "load_ms: 1 samples"},
		{`{"model":"a","instance_type":"x","batch":1,"compute_ms":[1,2],"load_ms":[1,-2]}`, "load_ms: sample 2"},
		{`{"model":"a","instance_type":"x","batch":1,"compute_ms":[1],"load_ms":[1]}`, "compute_ms"},
		{`{"model":"a","instance_type":"x","batch":5,"latency_ms":[1]}`, "already on line 1"},
		{`{"model":"a","instance_type":"x","batch":1,"latency_ms":[1],"what":1}`, "what"},
		{`{"model":"a","instance_type":"x","batch":1,"latency_ms":[1]} 5`, "more than one"},
	} {
		_, err := sim.ReadSamples("f", strings.NewReader(`{"model":"a","instance_type":"x","batch":5,"latency_ms":[1]}`+"\n"+tc.line))
		if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "f: line 2") {
			t.Errorf("%s: %v, want %q", tc.line, err, tc.want)
		}
	}
}

// FuzzReadSamples never panics, and what it takes makes sense.
func FuzzReadSamples(f *testing.F) {
	f.Add(`{"model":"a","instance_type":"x","batch":10,"compute_ms":[1,9,2],"load_ms":[0.5,1,0.25]}`)
	f.Add(`{"model":"a","instance_type":"x","batch":20,"latency_ms":[3,4.5]}`)
	f.Add("\n{}\n[")
	f.Fuzz(func(t *testing.T, file string) {
		cells, err := sim.ReadSamples("f", strings.NewReader(file))
		if err != nil {
			if cells != nil || !strings.Contains(err.Error(), "f: ") {
				t.Fatalf("%v beside %v", cells, err)
			}
			return
		}
		for _, c := range cells {
			truth, err := sim.NewTruth(cells, c.Model, c.InstanceType)
			if err != nil {
				t.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(1, 1))
			for _, n := range []int{1, c.Batch, 1 << 30} {
				if d := truth.Draw(n, rng); d < 0 {
					t.Fatalf("a batch of %d takes %v", n, d)
				}
			}
		}
	})
}

// TestTruthCells draws from the next larger cell, and beyond the last from
// that, scaled by the affine fit.
func TestTruthCells(t *testing.T) {
	var cells []sim.Cell
	for _, n := range []int{30, 10, 20} { // 5 ms + 0.5 ms an item, exactly
		d := 5*ms + time.Duration(n)*ms/2
		cells = append(cells, sim.Cell{Model: "m", InstanceType: "t", Batch: n, Took: []time.Duration{d - ms, d + ms}})
	}
	cells = append(cells, sim.Cell{Model: "m", InstanceType: "other", Batch: 1, Took: []time.Duration{1}})
	truth, err := sim.NewTruth(cells, "m", "t")
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for _, tc := range []struct {
		items int
		mean  time.Duration
	}{{1, 10 * ms}, {10, 10 * ms}, {11, 15 * ms}, {30, 20 * ms}, {70, 40 * ms}} {
		if got := truth.Mean(tc.items); got != tc.mean {
			t.Errorf("mean of %d items: %v, want %v", tc.items, got, tc.mean)
		}
		half := ms
		if tc.items == 70 {
			half = 2 * ms
		}
		seen := map[time.Duration]int{}
		for range 1000 {
			seen[truth.Draw(tc.items, rng)]++
		}
		if len(seen) != 2 || seen[tc.mean-half] < 400 || seen[tc.mean+half] < 400 {
			t.Errorf("%d items take %v, want %v ± %v", tc.items, seen, tc.mean, half)
		}
	}
	if _, err := sim.NewTruth(cells, "m", "nowhere"); err == nil {
		t.Error("a truth of nothing")
	}
}

// TestTruthFromRows matches mean and 99th percentile.
func TestTruthFromRows(t *testing.T) {
	for _, ratio := range []float64{0, 0.9, 1, 1.05, 1.5, 3, 10} {
		row := pool.Row{Model: "m", InstanceType: "t", Point: pool.Point{Batch: 8, Mean: 10 * ms, P99: time.Duration(ratio * 1e7)}}
		truth, err := sim.TruthFromRows([]pool.Row{row}, "m", "t")
		if err != nil {
			t.Fatal(err)
		}
		const n = 400_000
		rng := rand.New(rand.NewPCG(2, 2))
		sum, above := 0.0, 0
		for range n {
			d := truth.Draw(8, rng)
			sum += float64(d)
			if d > row.P99 {
				above++
			}
		}
		if off := sum/n/1e7 - 1; math.Abs(off) > 0.02 {
			t.Errorf("p99/mean %v: mean is %+.2f %% off", ratio, 100*off)
		}
		if share := float64(above) / n; ratio > 1 && math.Abs(share-0.01) > 0.001 {
			t.Errorf("p99/mean %v: %.4f lie above the p99", ratio, share)
		}
		if p := truth.Points()[0]; ratio > 1 && math.Abs(float64(p.P99)/float64(row.P99)-1) > 1e-6 {
			t.Errorf("p99/mean %v: a profiler would report %v", ratio, p.P99)
		}
	}
}

// TestPublishedTables holds the truths of the authors' samples against the
// tables that were made of the same runs.
func TestPublishedTables(t *testing.T) {
	for _, tc := range []struct {
		dir, mean string
		cells     int
	}{{"kairos", "mean_ms", 2000}, {"ribbon", "mean_ms", 2000}} {
		cells := readData(t, tc.dir+"/latency_samples.jsonl")
		f, err := os.Open("../../../shared/data/" + tc.dir + "/latency_by_batch.csv")
		if err != nil {
			t.Skipf("NOT CHECKED against the tables of %s: %v", tc.dir, err)
		}
		defer f.Close()
		rows, err := csv.NewReader(f).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		column := map[string]int{}
		for i, name := range rows[0] {
			column[name] = i
		}
		truths := map[string]*sim.Truth{}
		checked := 0
		for _, row := range rows[1:] {
			field := func(name string) string {
				i, ok := column[name]
				if !ok {
					t.Fatalf("%s: no column %s in %q", tc.dir, name, rows[0])
				}
				return row[i]
			}
			model, typ := field("model"), field("instance_type")
			batch, _ := strconv.Atoi(field("batch"))
			mean, _ := strconv.ParseFloat(field(tc.mean), 64)
			truth := truths[model+" "+typ]
			if truth == nil {
				if truth, err = sim.NewTruth(cells, model, typ); err != nil {
					continue // of RIBBON's models the samples of some are left out
				}
				truths[model+" "+typ] = truth
			}
			checked++
			if got := float64(truth.Mean(batch)) / 1e6; math.Abs(got/mean-1) > 0.002 && math.Abs(got-mean) > 0.002 {
				t.Errorf("%s: %s on %s at %d: mean %.4f ms, the table says %v", tc.dir, model, typ, batch, got, mean)
			}
		}
		if checked < 500 || checked != len(cells) {
			t.Errorf("%s: %d of %d cells are in the table", tc.dir, checked, len(cells))
		}
	}
}

// TestRowsFarApart: between two rows of a profile the mean lies on the line,
// as in a profile that was seeded with them; samples are taken as they are.
func TestRowsFarApart(t *testing.T) {
	rows := []pool.Row{
		{Model: "m", InstanceType: "t", Point: pool.Point{Batch: 100, Mean: 10 * ms, P99: 12 * ms}},
		{Model: "m", InstanceType: "t", Point: pool.Point{Batch: 300, Mean: 30 * ms, P99: 36 * ms}},
	}
	truth, err := sim.TruthFromRows(rows, "m", "t")
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]time.Duration{50: 10 * ms, 100: 10 * ms, 150: 15 * ms, 200: 20 * ms, 300: 30 * ms} {
		if got := truth.Mean(n); got != want {
			t.Errorf("%d items: mean %v, want %v", n, got, want)
		}
		rng, sum := workload.Stream(1, "test"), time.Duration(0)
		for range 1000 {
			sum += truth.Draw(n, rng)
		}
		if off := float64(sum)/1000/float64(want) - 1; off < -0.01 || off > 0.01 {
			t.Errorf("%d items: draws are off by %v in the mean", n, off)
		}
	}
	cells := []sim.Cell{{Model: "m", InstanceType: "t", Batch: 100, Took: []time.Duration{10 * ms}}, {Model: "m", InstanceType: "t", Batch: 300, Took: []time.Duration{30 * ms}}}
	if truth, err = sim.NewTruth(cells, "m", "t"); err != nil || truth.Mean(150) != 30*ms {
		t.Errorf("samples: %v, %v; want those of the next larger batch", truth.Mean(150), err)
	}
}
