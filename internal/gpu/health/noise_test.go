package health

import (
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"
)

var (
	stragglers = flag.Int("stragglers", 10, "runs per cell and factor of TestStraggler")
	healthy    = flag.Int("healthy", 1, "runs per law of TestHealthyPool")
)

// readNoise reads how much machines of one type differ and wander, as measured
// on Azure (TUNA, EuroSys'25): relative speeds, by cell (test, type, region,
// lifespan) and machine, in order of time.
func readNoise(tb testing.TB) (cells []string, byCell map[string][][]float64) {
	tb.Helper()
	const path = "azure_vm_noise/relative_speed_sampled.csv"
	f, err := os.Open("../../../../shared/data/" + path)
	if err != nil {
		tb.Skipf("NOT CHECKED against %s: %v", path, err)
	}
	defer f.Close()
	type row struct {
		vm           string
		hours, speed float64
	}
	rows := map[string][]row{}
	r := csv.NewReader(f)
	if _, err := r.Read(); err != nil { // the header
		tb.Fatal(err)
	}
	for {
		c, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			tb.Fatal(err)
		}
		hours, err1 := strconv.ParseFloat(c[5], 64)
		speed, err2 := strconv.ParseFloat(c[6], 64)
		if err := errors.Join(err1, err2); err != nil {
			tb.Fatal(err)
		}
		cell := fmt.Sprintf("%s %s %s %s", c[0], c[1], c[2], c[3])
		if _, ok := rows[cell]; !ok {
			cells = append(cells, cell)
		}
		rows[cell] = append(rows[cell], row{c[4], hours, speed})
	}
	slices.Sort(cells)
	byCell = map[string][][]float64{}
	for _, cell := range cells {
		v := rows[cell]
		slices.SortStableFunc(v, func(a, b row) int {
			switch {
			case a.vm < b.vm || a.vm == b.vm && a.hours < b.hours:
				return -1
			case a == b:
				return 0
			}
			return 1
		})
		for i, x := range v {
			if i == 0 || x.vm != v[i-1].vm {
				byCell[cell] = append(byCell[cell], nil)
			}
			last := len(byCell[cell]) - 1
			byCell[cell][last] = append(byCell[cell][last], x.speed)
		}
	}
	return cells, byCell
}

// noise gives the speed of worker w's next batch, relative to its usual.
type noise func(w int) float64

// drawn takes every batch from the cell at random: the worst there is, as the
// short-lived cells are of as many machines as samples.
func drawn(vms [][]float64, rng *rand.Rand) noise {
	all := slices.Concat(vms...)
	return func(int) float64 { return all[rng.IntN(len(all))] }
}

// replayed takes machines through what they went through, in its order.
func replayed(vms [][]float64, rng *rand.Rand) noise {
	at := make([]int, 64)
	for i := range at {
		at[i] = rng.IntN(1000)
	}
	return func(w int) float64 {
		v := vms[w%len(vms)]
		at[w]++
		return v[at[w]%len(v)]
	}
}

// offset takes for every worker a machine's level from one cell and its wander
// from another.
func offset(levels [][]float64, n noise, rng *rand.Rand) noise {
	all := slices.Concat(levels...)
	level := make([]float64, 64)
	for i := range level {
		level[i] = all[rng.IntN(len(all))]
	}
	return func(w int) float64 { return level[w] * n(w) }
}

const poolSize = 8

func batch(w *Worker, speed float64) {
	const expected = 10 * time.Millisecond
	w.Batch(time.Duration(float64(expected)/max(speed, 0.01)), expected)
}

// False alarms: none in 100,000 batches of a healthy pool, for any law of
// noise, of which there are 28 of 8 workers each, 2.8 million batches in all.
func TestHealthyPool(t *testing.T) {
	cells, vms := readNoise(t)
	laws := map[string]func(*rand.Rand) noise{}
	for _, cell := range cells {
		laws["drawn, "+cell] = func(r *rand.Rand) noise { return drawn(vms[cell], r) }
		if len(vms[cell]) == 3 {
			laws["replayed, "+cell] = func(r *rand.Rand) noise { return replayed(vms[cell], r) }
		}
	}
	for _, region := range []string{"eastus", "westus2"} {
		for _, test := range []string{"matrix_math", "redis_get"} {
			laws["levels of machines, "+test+" D8s_v5 "+region] = func(r *rand.Rand) noise {
				return offset(vms[test+" D8s_v5 "+region+" short"], replayed(vms[test+" D8s_v5 "+region+" long"], r), r)
			}
		}
	}
	batches := 100_000
	if testing.Short() {
		batches = 10_000
	}
	total := 0
	for name, law := range laws {
		for seed := range *healthy {
			rng := rand.New(rand.NewPCG(uint64(seed+1), uint64(len(name))))
			n := law(rng)
			fleet := NewFleet(Config{})
			var workers []*Worker
			for range poolSize {
				workers = append(workers, fleet.Add("type"))
			}
			for i := range batches {
				w := workers[i%poolSize]
				before := w.me.res.alarmed
				batch(w, n(i%poolSize))
				born := i%97 == 0 && w.peers.judge(w.me).born
				if w.me.res.alarmed && !before || born {
					total++
					t.Logf("%s, seed %d: batch %d of worker %d: %s", name, seed, i/poolSize, i%poolSize, w.peers.judge(w.me).text)
				}
			}
		}
	}
	t.Logf("%d false alarms in %d batches, by %d laws", total, batches*len(laws)**healthy, len(laws))
	if total > 0 {
		t.Errorf("%d false alarms", total)
	}
}

// TestStraggler measures how soon a worker that becomes slower, with nothing to
// see on its hardware, is found: ×3 within 50 batches, whatever the noise.
func TestStraggler(t *testing.T) {
	cells, vms := readNoise(t)
	seeds := *stragglers
	if testing.Short() {
		seeds = min(seeds, 3)
	}
	for _, factor := range []float64{1.2, 1.5, 2, 3} {
		for _, cell := range cells {
			var delays []int
			missed := 0
			for seed := range seeds {
				rng := rand.New(rand.NewPCG(uint64(seed), 7))
				d, ok := delay(drawn(vms[cell], rng), factor, 300+rng.IntN(300))
				if !ok {
					missed++
				}
				delays = append(delays, d)
			}
			slices.Sort(delays)
			worst := delays[len(delays)-1]
			t.Logf("×%.1f %-32s median %4d  95 %% %4d  worst %4d  missed in 2,000 batches: %d", factor, cell,
				delays[len(delays)/2], delays[len(delays)*95/100], worst, missed)
			if factor == 3 && worst > 50 {
				t.Errorf("×3, %s: found after %d batches", cell, worst)
			}
		}
	}
}

// delay runs a pool, makes its first worker slower after some batches of each,
// and returns after how many of its batches that was noticed.
func delay(n noise, factor float64, healthy int) (batches int, found bool) {
	fleet := NewFleet(Config{})
	var workers []*Worker
	for range poolSize {
		workers = append(workers, fleet.Add("type"))
	}
	for i := range healthy + 2000 {
		for w := range workers {
			speed := n(w)
			if w == 0 && i >= healthy {
				speed /= factor
			}
			batch(workers[w], speed)
		}
		if i >= healthy && workers[0].peers.judge(workers[0].me).slow {
			return i - healthy + 1, true
		}
	}
	return math.MaxInt32, false
}

// An alarm lasts as long as its reason, and not much longer.
func TestAlarmLasts(t *testing.T) {
	cells, vms := readNoise(t)
	for _, cell := range cells {
		for _, factor := range []float64{1.2, 1.5, 3} {
			n := drawn(vms[cell], rand.New(rand.NewPCG(4, 4)))
			fleet := NewFleet(Config{})
			var workers []*Worker
			for range poolSize {
				workers = append(workers, fleet.Add("type"))
			}
			during, after := 0, 0
			for i := range 2500 {
				for w := range workers {
					speed := n(w)
					if w == 0 && i >= 500 && i < 1500 {
						speed /= factor
					}
					batch(workers[w], speed)
				}
				switch slow := workers[0].me.res.alarmed; {
				case slow && i >= 700 && i < 1500:
					during++
				case slow && i >= 1700:
					after++
				}
			}
			if during < 760 || after > 0 {
				t.Errorf("×%.1f, %s: suspected at %d of 800 batches while slow, %d of 800 when not", factor, cell, during, after)
			}
		}
	}
}

// A worker that is three times slower from its first batch is found too, by
// its peers, as soon as it has a usual.
func TestStragglerFromTheStart(t *testing.T) {
	cells, vms := readNoise(t)
	for _, cell := range cells {
		if d, ok := delay(drawn(vms[cell], rand.New(rand.NewPCG(3, 3))), 3, 0); !ok || d > 50 {
			t.Errorf("%s: found after %d batches", cell, d)
		}
	}
}

// The profile that says what is expected learns from all workers, the straggler
// too: it is found all the same, and nobody else is suspected, neither while
// the profile goes up nor when it comes down again.
func TestLearningProfile(t *testing.T) {
	cells, vms := readNoise(t)
	for _, cell := range cells {
		rng := rand.New(rand.NewPCG(9, 9))
		n := drawn(vms[cell], rng)
		fleet := NewFleet(Config{})
		var workers []*Worker
		for range poolSize {
			workers = append(workers, fleet.Add("type"))
		}
		expected := 1e7 // ns
		found := 0
		for i := range 3000 {
			for w := range workers {
				took := 1e7 / n(w)
				if w == 0 && i >= 500 && i < 1500 {
					took *= 3
				}
				workers[w].Batch(time.Duration(took), time.Duration(expected))
				expected += (took - expected) / 100
				slow := workers[w].me.res.alarmed
				switch {
				case slow && w > 0:
					t.Fatalf("%s: batch %d of worker %d: %s", cell, i, w, workers[w].peers.judge(workers[w].me).text)
				case slow && found == 0:
					found = i - 500 + 1
				case slow && i > 1700:
					t.Fatalf("%s: still suspected at batch %d", cell, i)
				}
			}
		}
		if found < 1 || found > 50 {
			t.Errorf("%s: found after %d batches", cell, found)
		}
	}
}
