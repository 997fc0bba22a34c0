package main

import (
	"io"

	"motley/internal/bench"
)

func runExits(args []string, stdout, stderr io.Writer) error {
	c := newCommand("exits")
	var e bench.Exits
	c.StringVar(&e.Stream, "stream", "", "")
	c.StringVar(&e.Calibration, "calibration", "", "")
	c.StringVar(&e.Depths, "depths", "", "")
	c.StringVar(&e.RampCost, "ramp-cost", "", "")
	c.StringVar(&e.Ramps, "ramps", "", "")
	c.StringVar(&e.Mode, "mode", "", "")
	c.StringVar(&e.Controller, "controller", "all", "")
	c.Float64Var(&e.Target, "target", 0.99, "")
	c.Float64Var(&e.Budget, "budget", 0.02, "")
	c.IntVar(&e.Batch, "batch", 1, "")
	c.IntVar(&e.Window, "window", 1000, "")
	c.Uint64Var(&e.Seed, "seed", 1, "")
	c.BoolVar(&e.Sensitivity, "sensitivity", false, "")
	if done, err := c.parse(args, stdout, stderr); done {
		return err
	}
	return e.Run(c.output(stdout, stderr))
}

func runRecord(args []string, stdout, stderr io.Writer) error {
	c := newCommand("record")
	var r bench.Recorder
	c.StringVar(&r.Out, "o", "", "")
	c.StringVar(&r.Dir, "data", bench.DefaultPictures, "")
	c.StringVar(&r.Split, "split", "t10k", "")
	c.StringVar(&r.Images, "images", "", "")
	c.StringVar(&r.Segments, "segments", bench.DefaultScene, "")
	c.IntVar(&r.Video, "video", 0, "")
	c.BoolVar(&r.Shuffle, "shuffle", false, "")
	c.Uint64Var(&r.Seed, "seed", 1, "")
	c.StringVar(&r.Model, "model", "fashion", "")
	if done, err := c.parse(args, stdout, stderr); done {
		return err
	}
	return r.Run(c.output(stdout, stderr))
}
