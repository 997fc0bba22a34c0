package baseline

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"motley/internal/earlyexit"
)

// run hands a controller rows in batches as a worker would, in mode latency,
// and returns where they left.
func run(c earlyexit.Controller, rows []earlyexit.Outcome, batch int, mode earlyexit.Mode) []int {
	exits := make([]int, len(rows))
	for from := 0; from < len(rows); from += batch {
		part := rows[from:min(from+batch, len(rows))]
		active := c.Active(len(part), 0.5)
		outcomes := make([]earlyexit.Outcome, len(part))
		for k := range part {
			row := earlyexit.Row{Seq: uint64(from + k), Mode: mode, Signals: make([]earlyexit.Signal, len(part[k].Signals))}
			o := earlyexit.Outcome{Seq: row.Seq, Exit: -1, Audit: 1, Ran: true, Agree: part[k].Agree & active, Class: -1}
			for r := range row.Signals {
				row.Signals[r] = earlyexit.Unseen
			}
			for _, r := range listed(active) {
				row.Signals[r] = part[k].Signals[r]
				if v := c.Decide(&row, r); o.Exit < 0 && v.Exit {
					o.Exit, o.Audit, o.Ran = r, v.Audit, !v.Stop
					if v.Stop {
						break
					}
				}
			}
			o.Signals = row.Signals
			exits[from+k], outcomes[k] = o.Exit, o
		}
		for k := range outcomes {
			c.Learn(&outcomes[k])
		}
	}
	return exits
}

// gave is the agreement and the mean share of a run that exits saved.
func gave(c *earlyexit.Cost, set uint32, rows []earlyexit.Outcome, exits []int) (agreement, saved float64) {
	wrong := 0
	for i, e := range exits {
		saved += 1 - Takes(c, set, e)
		if e >= 0 && rows[i].Agree>>e&1 == 0 {
			wrong++
		}
	}
	return 1 - float64(wrong)/float64(len(rows)), saved / float64(len(rows))
}

func TestEvenly(t *testing.T) {
	for _, c := range []struct {
		ramps  int
		cost   float64
		budget float64
		want   uint32
	}{
		{7, 0.0039, 0.02, 0b1101101}, // {0,2,3,5,6}, the set of the dossier's experiment
		{7, 0.0039, 0.0039, 0b1000}, {7, 0.0039, 0.003, 0}, {7, 0.0039, 1, 0b1111111}, {6, 0.01, 0.02, 0b100001}, {6, 0, 0, 0b111111},
	} {
		k := cost(c.ramps, c.cost)
		if got := Evenly(&k, c.budget); got != c.want {
			t.Errorf("%d ramps of %v, budget %v: %b, want %b", c.ramps, c.cost, c.budget, got, c.want)
		}
	}
}

func TestConfig(t *testing.T) {
	good := Config{Mode: earlyexit.Latency, Target: 0.99, Cost: cost(3, 0.01), Budget: 0.1}
	for name, spoil := range map[string]func(*Config){
		"target":    func(c *Config) { c.Target = 0 },
		"not 1":     func(c *Config) { c.Target = math.NaN() },
		"no ramps":  func(c *Config) { c.Cost = earlyexit.Cost{Whole: 1} },
		"no whole":  func(c *Config) { c.Cost.Whole = 0 },
		"set":       func(c *Config) { c.Ramps = 0b1000 },
		"budget":    func(c *Config) { c.Budget = -1 },
		"ramp cost": func(c *Config) { c.Cost.Ramp = c.Cost.Ramp[:1] },
	} {
		c := good
		spoil(&c)
		_, static := NewStatic(c, nil)
		_, paper := NewApparatePaper(c)
		_, code := NewApparateCode(c, 1)
		_, hindsight := NewHindsight(c, nil, []int{0})
		_, clairvoyant := NewClairvoyant(c, nil)
		for _, err := range []error{static, paper, code, hindsight, clairvoyant} {
			if err == nil {
				t.Errorf("%s: no error", name)
			}
		}
	}
	for _, starts := range [][]int{nil, {1}, {0, 5, 3}, {0, 11}} {
		if _, err := NewHindsight(good, made(rand.New(rand.NewPCG(1, 1)), 10, 3, 5), starts); err == nil {
			t.Errorf("segments %v: no error", starts)
		}
	}
}

// TestForesight: hindsight keeps the target in every segment, saves at least what
// static thresholds that keep it there do, and at most what the clairvoyant does,
// who is never wrong and exits wherever he can.
func TestForesight(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	rows := append(made(rng, 600, 4, 1000), made(rng, 400, 4, 30)...)
	starts := []int{0, 600}
	for _, mode := range []earlyexit.Mode{earlyexit.Latency, earlyexit.Compute} {
		for _, set := range []uint32{0, 0b1011} {
			c := Config{Mode: mode, Target: 0.97, Cost: cost(4, 0.01), Ramps: set, Budget: 0.02}
			h, err := NewHindsight(c, rows, starts)
			if err != nil {
				t.Fatal(err)
			}
			v, err := NewClairvoyant(c, rows)
			if err != nil {
				t.Fatal(err)
			}
			he, ve := run(h, rows, 1, mode), run(v, rows, 1, mode)
			agreement, clairvoyant := gave(&c.Cost, v.active, rows, ve)
			if agreement != 1 {
				t.Errorf("the clairvoyant's agreement is %v", agreement)
			}
			for i, e := range ve {
				if e < 0 && rows[i].Agree&v.active != 0 {
					t.Fatalf("the clairvoyant missed an exit at row %d", i)
				}
			}
			total := 0.0
			for k, from := range starts {
				to := []int{600, 1000}[k]
				agreement, saved := gave(&c.Cost, h.sets[k], rows[from:to], he[from:to])
				if agreement < c.Target {
					t.Errorf("hindsight's agreement is %v in segment %d", agreement, k)
				}
				s, err := NewStatic(c, rows[from:to])
				if err != nil {
					t.Fatal(err)
				}
				if _, static := gave(&c.Cost, s.active, rows[from:to], run(s, rows[from:to], 1, mode)); saved < static-1e-9 {
					t.Errorf("hindsight saves %v in segment %d, static thresholds %v", saved, k, static)
				}
				total += saved * float64(to-from) / 1000
			}
			if total > clairvoyant {
				t.Errorf("hindsight saves %v, the clairvoyant %v", total, clairvoyant)
			}
			if Adds(&c.Cost, v.active) > 0.02+1e-9 && set == 0 {
				t.Errorf("the clairvoyant's ramps %b are over the budget", v.active)
			}
			r := h.Report()
			if r.Seen != 1000 || r.Mode != mode || r.Exited == 0 || len(r.Ramps) != 4 || (r.Audited == 0) != (mode == earlyexit.Compute) {
				t.Errorf("report %+v", r)
			}
		}
	}
}

// TestReport: what is reported is what was learned.
func TestReport(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	rows := made(rng, 2000, 3, 100)
	c := Config{Mode: earlyexit.Latency, Target: 0.9, Cost: cost(3, 0), Budget: 0}
	s, err := NewStatic(c, rows[:1000])
	if err != nil {
		t.Fatal(err)
	}
	exits := run(s, rows, 7, earlyexit.Latency)
	agreement, _ := gave(&c.Cost, s.active, rows, exits)
	exited := len(exits) - len(slices.DeleteFunc(slices.Clone(exits), func(e int) bool { return e >= 0 }))
	r := s.Report()
	if math.Abs(r.Agreement-agreement) > 1e-12 || r.Exited != uint64(exited) || r.Audited != r.Exited || r.Seen != 2000 {
		t.Errorf("report %+v, agreement %v, %d exits", r, agreement, exited)
	}
	if !(r.Low95 < r.Agreement && r.Low95 > r.Agreement-0.03) {
		t.Errorf("agreement %v, at least %v", r.Agreement, r.Low95)
	}
	if exits := run(s, rows, 1, earlyexit.Off); slices.ContainsFunc(exits, func(e int) bool { return e >= 0 }) {
		t.Error("a row that allows no exits exited")
	}
}
