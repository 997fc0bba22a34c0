package bench

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"motley/internal/earlyexit"
	"motley/internal/earlyexit/baseline"
	"motley/internal/exitstream"
	"motley/internal/planner"
)

// Exits is the command `bench exits`: controllers of early exit on a recording.
type Exits struct {
	Stream, Calibration string // files
	// Depths and RampCost are lists of numbers that override what the file says;
	// empty: they do not. One ramp cost stands for all.
	Depths, RampCost string
	Ramps            string  // the set to evaluate; empty: each controller's own choice
	Mode             string  // latency or compute; empty: each that the controller has
	Controller       string  // or all
	Target           float64 // share of answers that are to agree
	Budget           float64 // what ramps may add to a whole run, as a share of it
	Batch            int     // rows
	Window           int     // rows
	Seed             uint64
	// Sensitivity adds the router's controller with each of its parameters halved
	// and doubled.
	Sensitivity bool
}

// arm is a controller in a mode, as it is compared.
type arm struct {
	name string
	mode earlyexit.Mode
	// batch is what the arm is run with; 0: as the command says.
	batch  int
	seed   uint64 // is added to the command's
	change string // what was changed about it; empty: nothing
	build  func(t *trial) (earlyexit.Controller, error)
}

// trial is what controllers are built for.
type trial struct {
	stream      *exitstream.Stream
	calibration []earlyexit.Outcome // nil: none
	config      baseline.Config     // but for the mode
	batch       int
	given       uint32 // the set of ramps asked for, as the file numbers them; 0: none
}

func (t *trial) in(mode earlyexit.Mode) baseline.Config {
	c := t.config
	c.Mode = mode
	return c
}

// arms are all controllers in all their modes, the least able first.
func arms() []arm {
	const latency, compute = earlyexit.Latency, earlyexit.Compute
	var all []arm
	both := func(name string, build func(t *trial, mode earlyexit.Mode) (earlyexit.Controller, error)) {
		for _, m := range []earlyexit.Mode{latency, compute} {
			all = append(all, arm{name: name, mode: m, build: func(t *trial) (earlyexit.Controller, error) { return build(t, m) }})
		}
	}
	both("static", func(t *trial, m earlyexit.Mode) (earlyexit.Controller, error) {
		return baseline.NewStatic(t.in(m), t.tuning())
	})
	all = append(all,
		arm{name: "apparate-paper", mode: latency, build: func(t *trial) (earlyexit.Controller, error) {
			return baseline.NewApparatePaper(t.in(latency))
		}},
		arm{name: "apparate-code", mode: latency, build: func(t *trial) (earlyexit.Controller, error) {
			return baseline.NewApparateCode(t.in(latency), t.batch)
		}})
	both(ours, func(t *trial, m earlyexit.Mode) (earlyexit.Controller, error) { return t.motley(m, nil) })
	both("hindsight", func(t *trial, m earlyexit.Mode) (earlyexit.Controller, error) {
		return baseline.NewHindsight(t.in(m), t.stream.Rows, t.stream.Starts())
	})
	both("clairvoyant", func(t *trial, m earlyexit.Mode) (earlyexit.Controller, error) {
		return baseline.NewClairvoyant(t.in(m), t.stream.Rows)
	})
	return all
}

// motley is the controller of the router, warm where there is a calibration.
func (t *trial) motley(mode earlyexit.Mode, change func(*earlyexit.Config)) (earlyexit.Controller, error) {
	config := earlyexit.Config{
		Mode: mode, Ramps: t.stream.Ramps, Target: t.config.Target, Costs: []earlyexit.Cost{t.config.Cost}, Budget: t.config.Budget,
	}
	if change != nil {
		change(&config)
	}
	c, err := earlyexit.New(config)
	if err != nil || t.calibration == nil {
		return c, err
	}
	return c, c.Warm(t.calibration)
}

// firstShare is the part of a stream that static thresholds are tuned on where
// there is no calibration: as Apparate bootstraps (§3.1).
const firstShare = 0.1

// tuning are the rows that static thresholds are tuned on.
func (t *trial) tuning() []earlyexit.Outcome {
	if t.calibration != nil {
		return t.calibration
	}
	return t.stream.Rows[:int(math.Ceil(firstShare*float64(len(t.stream.Rows))))]
}

// controllerNames lists what -controller takes.
func controllerNames() []string {
	var names []string
	for _, a := range arms() {
		names = append(names, a.name)
	}
	return slices.Compact(names)
}

// chosen are the arms that the command asks for.
func (c *Exits) chosen() ([]arm, error) {
	mode, anyMode := earlyexit.Off, c.Mode == ""
	if !anyMode {
		var err error
		if mode, err = earlyexit.ParseMode(c.Mode); err != nil || mode == earlyexit.Off {
			return nil, usagef("-mode: %q: want latency or compute", c.Mode)
		}
	}
	if c.Controller != "all" && !slices.Contains(controllerNames(), c.Controller) {
		return nil, usagef("-controller: unknown controller %q; want all or one of %s", c.Controller, strings.Join(controllerNames(), ", "))
	}
	var out []arm
	for _, a := range arms() {
		if (c.Controller == "all" || c.Controller == a.name) && (anyMode || mode == a.mode) {
			out = append(out, a)
		}
	}
	if out == nil {
		return nil, usagef("-mode: %s has no mode %s", c.Controller, mode)
	}
	return out, nil
}

// check reports flags that make no sense.
func (c *Exits) check() error {
	switch {
	case c.Stream == "":
		return usagef("-stream: give a recording; bench record makes one")
	case !(c.Target > 0 && c.Target <= 1):
		return usagef("-target: %v: must be a share, more than 0 and at most 1", c.Target)
	case !(c.Budget >= 0 && c.Budget <= 1):
		return usagef("-budget: %v: must be a share from 0 to 1", c.Budget)
	case c.Batch < 1 || c.Batch > 1024:
		return usagef("-batch: %d: must be from 1 to 1024", c.Batch)
	case c.Window < 1:
		return usagef("-window: %d: must be at least 1", c.Window)
	}
	return nil
}

// load reads the files and applies what the flags say of them.
func (c *Exits) load() (*trial, error) {
	s, err := loadStream(c.Stream)
	if err != nil {
		return nil, err
	}
	var depths, costs []float64
	if c.Depths != "" {
		if depths, err = exitstream.ParseNumbers(c.Depths); err != nil {
			return nil, usagef("-depths: %v", err)
		}
	}
	if c.RampCost != "" {
		if costs, err = exitstream.ParseNumbers(c.RampCost); err != nil {
			return nil, usagef("-ramp-cost: %v", err)
		}
	}
	if err := s.SetCosts(depths, costs); err != nil {
		return nil, usagef("-stream %s: %v", c.Stream, err)
	}
	ramps, err := parseRamps(c.Ramps, s.Ramps)
	if err != nil {
		return nil, err
	}
	var calibration *exitstream.Stream
	if c.Calibration != "" {
		if calibration, err = loadStream(c.Calibration); err != nil {
			return nil, err
		}
		if calibration.Ramps != s.Ramps {
			return nil, fmt.Errorf("%s has %d ramps, %s has %d", c.Calibration, calibration.Ramps, c.Stream, s.Ramps)
		}
	}
	t := newTrial(s, calibration, ramps, baseline.Config{Target: c.Target, Budget: c.Budget})
	t.batch = c.Batch
	return t, nil
}

// newTrial prepares a stream that has its costs. A set of ramps that is given is
// all that there is: the others are cut out of the recordings.
func newTrial(s, calibration *exitstream.Stream, ramps uint32, config baseline.Config) *trial {
	t := &trial{stream: s, config: config, batch: 1, given: ramps}
	if ramps != 0 {
		t.stream = s.Only(ramps)
		t.config.Ramps = 1<<t.stream.Ramps - 1
	}
	if calibration != nil {
		if ramps != 0 {
			calibration = calibration.Only(ramps)
		}
		t.calibration = calibration.Rows
	}
	t.config.Cost = t.stream.Cost()
	return t
}

// parseRamps reads a set of ramps, 0,2,3; nothing is 0.
func parseRamps(text string, ramps int) (uint32, error) {
	if text == "" {
		return 0, nil
	}
	var set uint32
	for _, part := range strings.Split(text, ",") {
		r, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || r < 0 || r >= ramps || set>>r&1 == 1 {
			return 0, usagef("-ramps: %q: want different ramps from 0 to %d, between commas", text, ramps-1)
		}
		set |= 1 << r
	}
	return set, nil
}

// Run carries the command out.
func (c *Exits) Run(out Output) error {
	if err := c.check(); err != nil {
		return err
	}
	t, err := c.load()
	if err != nil {
		return err
	}
	chosen, err := c.chosen()
	if err != nil {
		return err
	}
	if c.Sensitivity {
		chosen = sensitive(chosen)
	}
	results, err := t.runAll(chosen, c.Window, c.Seed, out.Progress)
	if err != nil {
		return err
	}
	if out.JSON {
		return writeJSON(out.Stdout, results)
	}
	t.preface(out.Stdout)
	if c.Sensitivity {
		printRefused(out.Stdout)
	}
	return printExited(out.Stdout, results)
}

// runAll replays the stream with every arm.
func (t *trial) runAll(chosen []arm, window int, seed uint64, progress *Progress) ([]Exited, error) {
	results := make([]Exited, len(chosen))
	var done atomic.Int64
	err := parallel(len(chosen), func(i int) (err error) {
		results[i], err = t.run(chosen[i], window, seed)
		progress.Say("%s: %s in mode %s done (%d of %d)", t.stream.Name, chosen[i].name, chosen[i].mode, done.Add(1), len(chosen))
		return err
	})
	return results, err
}

// run replays the stream with an arm.
func (t *trial) run(a arm, window int, seed uint64) (Exited, error) {
	own := *t
	if a.batch > 0 {
		own.batch = a.batch
	}
	seed += a.seed
	controller, err := a.build(&own)
	if err != nil {
		return Exited{}, err
	}
	e := figures(t.stream, replay(controller, t.stream, a.mode, own.batch, seed), t.config.Target, window)
	e.Controller, e.Mode, e.Batch, e.Seed, e.Change = a.name, a.mode.String(), own.batch, seed, a.change
	report := controller.Report()
	e.Alarms = report.Alarms
	if bound := planner.Round(report.Bound, 3); !math.IsNaN(bound) {
		certified := planner.Round(report.Certified, 6)
		e.Bound, e.Certified = &bound, &certified
	}
	return e, nil
}

// setText names a set of ramps.
func setText(set uint32) string {
	var parts []string
	for ; set != 0; set &= set - 1 {
		parts = append(parts, strconv.Itoa(bits.TrailingZeros32(set)))
	}
	return "{" + strings.Join(parts, ",") + "}"
}
