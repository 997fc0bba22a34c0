package sim_test

import (
	"encoding/csv"
	"io"
	"math"
	"os"
	"strconv"
	"testing"
	"time"

	"motley/internal/dispatch"
	"motley/internal/pool"
	"motley/internal/sim"
	"motley/internal/workload"
)

// late is a policy that turns nobody away, as the published simulators.
type late struct{ dispatch.Policy }

func (p late) Traits() dispatch.Traits {
	t := p.Policy.Traits()
	t.Late = true
	return t
}

// TestRibbonTable replays cells of RIBBON's published lookup table: first come,
// first served on the first idle worker in the listed order, whole-millisecond
// gaps and latencies, its own samples and sizes. An independent replay put
// 79 of 80 cells within 0.7 points.
func TestRibbonTable(t *testing.T) {
	long(t)
	const dir = "../../../shared/data/ribbon/"
	cells := readData(t, "ribbon/latency_samples.jsonl")
	f, err := os.Open(dir + "planner_lookup.csv")
	if err != nil {
		t.Skipf("NOT CHECKED against RIBBON's table: %v", err)
	}
	defer f.Close()
	in := csv.NewReader(f)
	rows, err := in.ReadAll()
	if err != nil && err != io.EOF {
		t.Fatal(err)
	}
	arrivals, err := workload.ParseArrivals("poisson-ms", nil)
	if err != nil {
		t.Fatal(err)
	}
	sizes, err := workload.ParseSizes("ribbon", nil)
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]struct {
		gap float64 // ms
		qos time.Duration
	}{"mtwnd": {1.5, 21 * ms}, "dien": {2, 30 * ms}, "candle": {3, 40 * ms}}
	checked, off := 0, 0
	for i := 1; i < len(rows); i += 67 {
		row := rows[i]
		set, known := settings[row[0]]
		if !known {
			continue
		}
		x := sim.Experiment{
			Models:   []sim.Demand{{Model: dispatch.Model{Name: row[0], QoS: set.qos, MaxQueue: 1 << 30}, Sizes: sizes, Alone: true}},
			Truth:    make([][]*sim.Truth, 1),
			Arrivals: arrivals, Requests: 10_000, Seeds: []uint64{1}, Disturb: []sim.Disturbance{sim.Rounded(ms)}, Hang: time.Hour,
			Policy: func(seed uint64) dispatch.Policy {
				p, err := dispatch.NewPolicy("fcfs", seed)
				if err != nil {
					t.Fatal(err)
				}
				return late{p}
			},
		}
		for k := range 3 {
			truth, err := sim.NewTruth(cells, row[0], row[1+k])
			if err != nil {
				t.Fatal(err)
			}
			n, err := strconv.Atoi(row[4+k])
			if err != nil {
				t.Fatal(err)
			}
			x.Types = append(x.Types, pool.InstanceType{Name: row[1+k]})
			x.Counts = append(x.Counts, n)
			x.Truth[0] = append(x.Truth[0], truth)
		}
		want, err := strconv.ParseFloat(row[8], 64)
		if err != nil {
			t.Fatal(err)
		}
		r, err := sim.NewRunner(x)
		if err != nil {
			t.Fatal(err)
		}
		m, err := r.Measure(1000/set.gap, 1)
		if err != nil {
			t.Fatal(err)
		}
		checked++
		if got := 100 * m.Share(); math.Abs(got-want) > 0.7 {
			off++
			t.Logf("%v: %.2f %%, the table says %v", row[:7], got, want)
		}
	}
	t.Logf("%d cells, %d off by more than 0.7 points", checked, off)
	if checked < 30 || off*20 > checked {
		t.Errorf("%d of %d cells are off by more than 0.7 points", off, checked)
	}
}
