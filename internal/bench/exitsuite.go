package bench

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"motley/internal/earlyexit"
	"motley/internal/earlyexit/baseline"
	"motley/internal/exitstream"
)

// ExitSuite is the command `bench suite exits`: every controller of early exit
// on every stream there is, and whether the router's own does what it must. The
// streams: the recording of a residual MLP that comes with the data; three of
// the built-in model, made on the fly with fixed seeds: shuffled, as a video, and
// one on which all ramps become wrong without a sign of it. Nothing about a
// controller differs from stream to stream.
type ExitSuite struct {
	Dir         string // of the data, with early_exit/; empty: without
	Fashion     string // the folder of Fashion-MNIST
	Quick       bool   // shorter streams
	Sensitivity bool   // every parameter halved and doubled as well
	Plot        string // an SVG or PNG file to draw; empty: none

	tiny exitScale // of tests; zero = as Quick says
}

// exitScale is how much is recorded and run.
type exitScale struct {
	scene, calm, calibration string // segments
	// Pictures for calibration and those for the streams are different ones of the
	// test set: the ramps were trained on the training set, where they agree more.
	calibrationPictures, streamPictures string
	// seeds is how often the router's controller is run, with different chances of
	// audits: what must hold must hold of the mean.
	seeds int
}

func (c *ExitSuite) scale() exitScale {
	k := exitScale{DefaultScene, "clean:15000", "clean:2000", "0..1999", "2000..9999", 5}
	switch {
	case c.tiny != exitScale{}:
		return c.tiny
	case c.Quick:
		k.scene, k.calm, k.seeds = "clean:1500,noise=0.25:1500,brightness=0.5:1500,shift=2:1500,clean:1500,ramp=0..0.35:2500", "clean:6000", 2
	}
	return k
}

const (
	exitTarget  = 0.99
	exitBudget  = 0.02
	exitWindow  = 1000
	exitSeed    = 1
	hostileName = "hostile"
)

// mlpCost are the costs of the network that the given streams are of, in
// multiply-adds: 784 inputs, eight layers 256 wide, ten classes, a ramp after
// each layer but the last.
func mlpCost(ramps int) (depths, costs []float64) {
	const first, layer, out = 784 * 256, 256 * 256, 256 * 10
	whole := float64(first + ramps*layer + out)
	for r := range ramps {
		depths = append(depths, float64(first+r*layer)/whole)
		costs = append(costs, out/whole)
	}
	return depths, costs
}

// Run carries the command out.
func (c *ExitSuite) Run(out Output) error {
	if c.Plot != "" {
		if err := checkPlot(c.Plot); err != nil {
			return err
		}
	}
	trials, missing, err := c.trials(out.Progress)
	if err != nil {
		return err
	}
	if len(trials) == 0 {
		return fmt.Errorf("there is no stream to run: %w; %w", missing[0], missing[1])
	}
	var all, drawn []Exited
	by := make([][]Exited, len(trials))
	for i, t := range trials {
		chosen := c.seeded(c.arms())
		if by[i], err = t.runAll(chosen, exitWindow, exitSeed, out.Progress); err != nil {
			return fmt.Errorf("%s: %w", t.stream.Name, err)
		}
		all = append(all, by[i]...)
		drawn = append(drawn, condensed(by[i])...)
	}
	var varied [][]Exited
	if c.Sensitivity {
		for _, t := range trials {
			some, err := t.runAll(c.seeded(sensitive(arms())), exitWindow, exitSeed, out.Progress)
			if err != nil {
				return fmt.Errorf("%s: %w", t.stream.Name, err)
			}
			varied = append(varied, some)
			all = append(all, some...)
		}
	}
	var checks []criterion
	for _, rows := range by {
		checks = append(checks, criteria(rows)...)
	}
	if out.JSON {
		err = writeJSON(out.Stdout, all)
	} else {
		err = c.print(out.Stdout, trials, by, varied, checks, missing)
	}
	if err == nil && c.Plot != "" {
		err = plotExited(c.Plot, drawn)
	}
	if err != nil {
		return err
	}
	return failed(checks)
}

// seeded repeats the arms of the router's controller with other seeds: in mode
// compute, where chance draws the audits, and where nothing is changed.
func (c *ExitSuite) seeded(chosen []arm) []arm {
	var all []arm
	for _, a := range chosen {
		all = append(all, a)
		if a.name != ours || a.change != "" && a.mode != earlyexit.Compute {
			continue
		}
		for n := range c.scale().seeds - 1 {
			a.seed = uint64(n + 1)
			all = append(all, a)
		}
	}
	return all
}

// arms are all there are, Apparate's released code in larger batches as well.
func (c *ExitSuite) arms() []arm {
	var all []arm
	for _, a := range arms() {
		all = append(all, a)
		if a.name == "apparate-code" {
			for _, n := range []int{4, 16} {
				b := a
				b.batch = n
				all = append(all, b)
			}
		}
	}
	return all
}

// trials are the streams that can be had, and what those want that cannot.
func (c *ExitSuite) trials(progress *Progress) (all []*trial, missing []error, err error) {
	given, err := c.given()
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			return nil, nil, err
		}
		missing = append(missing, fmt.Errorf("the given recording of an MLP wants -data: %w", err))
	} else {
		all = append(all, given)
	}
	if _, err := os.Stat(filepath.Join(c.Fashion, "t10k-images-idx3-ubyte.gz")); err != nil {
		return all, append(missing, fmt.Errorf("streams of the built-in model want Fashion-MNIST, -fashion (Debian package dataset-fashion-mnist): %w", err)), nil
	}
	made, err := c.made(progress)
	return append(all, made...), missing, err
}

func (c *ExitSuite) given() (*trial, error) {
	if c.Dir == "" {
		return nil, fmt.Errorf("no folder is given: %w", os.ErrNotExist)
	}
	dir := filepath.Join(c.Dir, "early_exit")
	s, err := loadStream(filepath.Join(dir, "fashion_mnist_multiexit_stream_8000.csv.gz"))
	if err != nil {
		return nil, err
	}
	s.Name = "mlp"
	calibration, err := loadStream(filepath.Join(dir, "fashion_mnist_multiexit_bootstrap.csv.gz"))
	if err != nil {
		return nil, err
	}
	if err := s.SetCosts(mlpCost(s.Ramps)); err != nil {
		return nil, err
	}
	return newTrial(s, calibration, 0, baseline.Config{Target: exitTarget, Budget: exitBudget}), nil
}

// made records the streams of the built-in model.
func (c *ExitSuite) made(progress *Progress) ([]*trial, error) {
	k := c.scale()
	record := func(r Recorder) (*exitstream.Stream, error) {
		r.Dir, r.Split, r.Model, r.Shuffle = c.Fashion, "t10k", "fashion", true
		s, err := r.record(progress)
		if err != nil {
			return nil, err
		}
		return s, s.SetCosts(nil, nil)
	}
	calibration, err := record(Recorder{Segments: k.calibration, Images: k.calibrationPictures, Seed: 1})
	if err != nil {
		return nil, err
	}
	var trials []*trial
	for _, r := range []Recorder{
		{Out: "shuffled", Segments: k.scene, Images: k.streamPictures, Seed: 1},
		{Out: "video", Segments: k.scene, Images: k.streamPictures, Seed: 2, Video: 30},
		{Out: hostileName, Segments: k.calm, Images: k.streamPictures, Seed: 3},
	} {
		s, err := record(r)
		if err != nil {
			return nil, err
		}
		if r.Out == hostileName {
			s = hostile(s, len(s.Rows)/3, len(s.Rows)/3+len(s.Rows)/5)
			s.Name = hostileName
		}
		trials = append(trials, newTrial(s, calibration, 0, baseline.Config{Target: exitTarget, Budget: exitBudget}))
	}
	return trials, nil
}

func (c *ExitSuite) print(w io.Writer, trials []*trial, by, varied [][]Exited, checks []criterion, missing []error) error {
	fmt.Fprintf(w, "Controllers of early exit, target %g %%, ramps within %g %% of a run, windows of %d rows.\n", 100*exitTarget, 100*exitBudget, exitWindow)
	for _, err := range missing {
		fmt.Fprintf(w, "NOT RUN: %v.\n", err)
	}
	for i, t := range trials {
		fmt.Fprintln(w)
		t.preface(w)
		if err := printExited(w, condensed(by[i])); err != nil {
			return err
		}
	}
	if len(varied) > 0 {
		fmt.Fprintln(w)
		printRefused(w)
		if err := printSensitivity(w, varied); err != nil {
			return err
		}
	}
	return printCriteria(w, checks)
}
