package earlyexit

import (
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// item is a row of a stream of which everything is known.
type item struct {
	segment string
	signals []Signal
	agree   uint32
	class   int32
}

// made is a made-up stream whose ramps' confidences say how likely they agree,
// but for a factor harder on the log-odds.
func made(seed uint64, n, ramps int, harder float64) []item {
	chance := rand.New(rand.NewPCG(seed, 1))
	rows := make([]item, n)
	for i := range rows {
		hard := chance.NormFloat64()
		rows[i].class = int32(chance.IntN(10))
		rows[i].signals = make([]Signal, ramps)
		for r := range ramps {
			odds := 3 + 0.5*float64(r) - 2.5*hard + 0.7*chance.NormFloat64()
			p := sigmoid(odds)
			s := Signal{Class: rows[i].class, Confidence: float32(p), Margin: float32(max(0, 2*p-1)), Entropy: float32(1 - p)}
			if chance.Float64() < sigmoid(odds-harder) {
				rows[i].agree |= 1 << r
			} else {
				s.Class = (rows[i].class + 1) % 10
			}
			rows[i].signals[r] = s
		}
	}
	return rows
}

// bare drops everything but the confidences.
func bare(rows []item) []item {
	out := make([]item, len(rows))
	for i, it := range rows {
		out[i] = item{segment: it.segment, agree: it.agree, class: -1}
		for _, s := range it.signals {
			out[i].signals = append(out[i].signals, Signal{Class: -1, Confidence: s.Confidence, Margin: nan, Entropy: nan})
		}
	}
	return out
}

// even is what a batch costs where ramps stand at even distances.
func even(ramps int, each float64) Cost {
	c := Cost{Batch: 1, Whole: 1}
	for r := range ramps {
		c.Until = append(c.Until, float64(r+1)/float64(ramps+1))
		c.Ramp = append(c.Ramp, each)
	}
	return c
}

// result is what came of a replay. Shares are of rows.
type result struct {
	lost                  []bool // by row: it exited and disagreed
	agreement             float64
	below                 float64 // share of windows of 1,000 that agree on less than the target
	latency, work, audits float64 // mean latency saved, mean compute saved, rows run on though they had exited
	active                []uint32
}

func (r *result) losses() int {
	n := 0
	for _, l := range r.lost {
		if l {
			n++
		}
	}
	return n
}

// replay runs rows one by one past a controller. Outcomes are learned of late
// rows after their row.
func replay(c Controller, rows []item, cost *Cost, mode Mode, seed uint64, late int) result {
	chance := rand.New(rand.NewPCG(seed, 2))
	ramps := len(cost.Ramp)
	res := result{lost: make([]bool, len(rows))}
	ring := make([]Outcome, late+1)
	for i := range ring {
		ring[i].Signals = make([]Signal, ramps)
	}
	for i := range rows {
		it := &rows[i]
		o := &ring[i%len(ring)]
		*o = Outcome{Seq: uint64(i), Signals: o.Signals, Exit: -1, Audit: 1, Ran: true, Class: -1}
		for r := range ramps {
			o.Signals[r] = Unseen
		}
		row := Row{Seq: uint64(i), Signals: o.Signals, Mode: mode}
		active := c.Active(1, chance.Float64())
		res.active = append(res.active, active)
		spent, left := 0.0, 0.0
		for r := range ramps {
			if active>>r&1 == 0 {
				continue
			}
			o.Signals[r] = it.signals[r]
			spent += cost.Ramp[r]
			if o.Exit >= 0 {
				continue
			}
			row.Chance = chance.Float64()
			v := c.Decide(&row, r)
			if !v.Exit {
				continue
			}
			o.Exit, o.Audit = r, v.Audit
			left = cost.Until[r] + spent
			if v.Stop {
				o.Ran = false
				break
			}
			if v.Audit < 1 {
				res.audits++
			}
		}
		whole := cost.Whole + spent
		if !o.Ran {
			whole = left
		} else {
			o.Agree, o.Class = it.agree, it.class
		}
		if o.Exit < 0 {
			left = whole
		} else if it.agree>>o.Exit&1 == 0 {
			res.lost[i] = true
		}
		res.latency += 1 - left/cost.Whole
		res.work += 1 - whole/cost.Whole
		if i >= late {
			c.Learn(&ring[(i-late)%len(ring)])
		}
	}
	n := float64(len(rows))
	res.latency, res.work, res.audits = res.latency/n, res.work/n, res.audits/n
	res.agreement = 1 - float64(res.losses())/n
	in, below := 0, 0
	for i := range rows {
		if res.lost[i] {
			in++
		}
		if i >= 1000 && res.lost[i-1000] {
			in--
		}
		if i >= 999 && in > 10 {
			below++
		}
	}
	res.below = float64(below) / max(1, n-999)
	return res
}

func newAdaptive(t testing.TB, c Config) *Adaptive {
	t.Helper()
	a, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func outcomes(rows []item) []Outcome {
	var all []Outcome
	for i, it := range rows {
		all = append(all, Outcome{Seq: uint64(i), Signals: it.signals, Exit: -1, Audit: 1, Ran: true, Agree: it.agree, Class: it.class})
	}
	return all
}

// recorded reads a stream that was recorded from a network; it holds
// confidences alone.
func recorded(t testing.TB, name string, ramps int) []item {
	t.Helper()
	f, err := os.Open("../../../shared/data/early_exit/" + name)
	if err != nil {
		t.Skipf("NOT CHECKED against %s: %v", name, err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(z).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	column := map[string]int{}
	for i, h := range lines[0] {
		column[h] = i
	}
	var rows []item
	for _, l := range lines[1:] {
		it := item{class: -1}
		if i, ok := column["segment"]; ok {
			it.segment = l[i]
		}
		for r := range ramps {
			p, err := strconv.ParseFloat(l[column[fmt.Sprint("conf", r)]], 32)
			if err != nil {
				t.Fatal(err)
			}
			it.signals = append(it.signals, Signal{Class: -1, Confidence: float32(p), Margin: nan, Entropy: nan})
			if l[column[fmt.Sprint("agree", r)]] == "1" {
				it.agree |= 1 << r
			}
		}
		rows = append(rows, it)
	}
	return rows
}

// clairvoyant is the mean latency that leaving at the first ramp that agrees
// would save.
func clairvoyant(rows []item, cost *Cost, set uint32) float64 {
	sum := 0.0
	for _, it := range rows {
		spent, left := 0.0, -1.0
		for r := range cost.Ramp {
			if set>>r&1 == 0 {
				continue
			}
			spent += cost.Ramp[r]
			if left < 0 && it.agree>>r&1 == 1 {
				left = cost.Until[r] + spent
			}
		}
		if left < 0 {
			left = cost.Whole + spent
		}
		sum += 1 - left/cost.Whole
	}
	return sum / float64(len(rows))
}

// mlp is what the recorded network costs: 784→256, seven blocks of 256→256 and
// 256→10, with a ramp after each layer but the last two, of 256→10 each.
func mlp() Cost {
	const first, block, last = 784 * 256, 256 * 256, 2560
	c := Cost{Batch: 1, Whole: first + 7*block + last}
	for r := range 7 {
		c.Until = append(c.Until, float64(first+r*block))
		c.Ramp = append(c.Ramp, last)
	}
	return c
}

func TestRecorded(t *testing.T) {
	warm := recorded(t, "fashion_mnist_multiexit_bootstrap.csv.gz", 7)
	rows := recorded(t, "fashion_mnist_multiexit_stream_8000.csv.gz", 7)
	cost := mlp()
	best := clairvoyant(rows, &cost, 1|4|8|32|64)
	for _, warmed := range []bool{true, false} {
		a := newAdaptive(t, Config{Mode: Latency, Ramps: 7, Costs: []Cost{cost}})
		if warmed {
			if err := a.Warm(outcomes(warm)); err != nil {
				t.Fatal(err)
			}
		}
		got := replay(a, rows, &cost, Latency, 1, 0)
		t.Logf("latency, warm %v: agreement %.4f, windows below %.3f, latency saved %.4f of %.4f", warmed, got.agreement, got.below, got.latency, best)
		// 0.5209 is what the best thresholds of each segment, known afterwards, save
		// at 99 %.
		if got.agreement < 0.99 || got.below > 0.1 || got.latency < 0.9*0.5209 {
			t.Errorf("latency, warm %v: agreement %.4f, windows below %.3f, latency saved %.4f", warmed, got.agreement, got.below, got.latency)
		}
		for _, set := range got.active {
			if set != 127 && !fits(set, &cost, 0.02) {
				t.Fatalf("active ramps %b are beyond the budget", set)
			}
		}
	}
	const seeds = 5
	var sum result
	for seed := range uint64(seeds) {
		a := newAdaptive(t, Config{Mode: Compute, Ramps: 7, Costs: []Cost{cost}})
		if err := a.Warm(outcomes(warm)); err != nil {
			t.Fatal(err)
		}
		got := replay(a, rows, &cost, Compute, seed, 0)
		t.Logf("compute: agreement %.4f, windows below %.3f, latency saved %.4f, compute saved %.4f, audits %.4f", got.agreement, got.below, got.latency, got.work, got.audits)
		if got.work < 0.35 || got.audits > 0.1 || got.agreement < 0.985 {
			t.Errorf("compute: agreement %.4f, compute saved %.4f, audits %.4f", got.agreement, got.work, got.audits)
		}
		sum.agreement += got.agreement / seeds
		sum.below += got.below / seeds
	}
	if sum.agreement < 0.99 || sum.below > 0.35 {
		t.Errorf("compute, mean of %d seeds: agreement %.4f, windows below %.3f", seeds, sum.agreement, sum.below)
	}
}

// TestMadeUp holds the target on made-up streams, with all signals and with
// confidence alone, with outcomes at once and a batch late.
func TestMadeUp(t *testing.T) {
	cost := even(4, 0.004)
	for _, tc := range []struct {
		name   string
		rows   []item
		late   int
		saving float64
	}{
		{"all signals", made(1, 12_000, 4, 0), 0, 0.2},
		{"confidence alone", bare(made(1, 12_000, 4, 0)), 0, 0.2},
		{"a batch late", made(2, 12_000, 4, 0), 32, 0.2},
		{"overconfident", bare(made(3, 12_000, 4, 2)), 0, 0.05},
		{"in turns", append(append(made(4, 4000, 4, 0), made(5, 4000, 4, 3)...), made(6, 4000, 4, 0)...), 0, 0.1},
	} {
		a := newAdaptive(t, Config{Mode: Latency, Ramps: 4, Costs: []Cost{cost}})
		got := replay(a, tc.rows, &cost, Latency, 1, tc.late)
		t.Logf("%s: agreement %.4f, windows below %.3f, saved %.3f of %.3f", tc.name, got.agreement, got.below, got.latency, clairvoyant(tc.rows, &cost, 15))
		if got.agreement < 0.99 || got.below > 0.1 || got.latency < tc.saving {
			t.Errorf("%s: agreement %.4f, windows below %.3f, saved %.3f", tc.name, got.agreement, got.below, got.latency)
		}
		if r := a.Report(); r.Disagreed > r.Bound || math.Abs(r.Agreement-got.agreement) > 0.001 {
			t.Errorf("%s: report says %v disagreed within %v, %v agree", tc.name, r.Disagreed, r.Bound, r.Agreement)
		}
	}
}

// TestStopped: what rows show that left later and stopped keeps the risks of
// the ramps before calibrated, though only rows that later ramps were unsure of
// run to the end.
func TestStopped(t *testing.T) {
	cost := even(4, 0.004)
	said, wrong := 0.0, 0.0
	for seed := range uint64(10) {
		rows := made(31+seed, 12_000, 4, 0)
		a := newAdaptive(t, Config{Mode: Compute, Ramps: 4, Costs: []Cost{cost}})
		replay(a, rows[:8000], &cost, Compute, seed, 0)
		for _, it := range rows[8000:] {
			var x vector
			if _, _, risk, _ := a.risk(it.signals, 0, &x); risk > 0.03 && risk < 0.3 {
				said += risk
				wrong += 1 - float64(it.agree&1)
			}
		}
	}
	t.Logf("%.0f disagree where %.0f were to be expected", wrong, said)
	if math.Abs(said/wrong-1) > 0.1 {
		t.Errorf("%.0f disagree where %.0f were to be expected", wrong, said)
	}
}
