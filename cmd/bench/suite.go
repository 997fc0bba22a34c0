package main

import (
	"fmt"
	"io"
	"strings"

	"motley/internal/bench"
)

const suites = "kairos, ribbon, ablation, planner, robust, gap or exits"

func runSuite(args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		fmt.Fprintf(stderr, "bench: suite: want %s; bench -h tells what there is\n", suites)
		return errUsage
	}
	c := newCommand("suite " + args[0])
	switch args[0] {
	case "kairos":
		var k bench.Kairos
		c.StringVar(&k.Plot, "plot", "", "")
		return c.runSuite(&k.Suite, args[1:], stdout, stderr, k.Run)
	case "ablation":
		var a bench.Ablation
		return c.runSuite(&a.Suite, args[1:], stdout, stderr, a.Run)
	case "planner":
		var e bench.Exhaustive
		return c.runSuite(&e.Suite, args[1:], stdout, stderr, e.Run)
	case "gap":
		var g bench.Gap
		return c.runSuite(&g.Suite, args[1:], stdout, stderr, g.Run)
	case "robust":
		var r bench.Robust
		return c.runSuite(&r.Suite, args[1:], stdout, stderr, r.Run)
	case "exits":
		var e bench.ExitSuite
		c.StringVar(&e.Dir, "data", "", "")
		c.StringVar(&e.Fashion, "fashion", bench.DefaultPictures, "")
		c.StringVar(&e.Plot, "plot", "", "")
		c.BoolVar(&e.Quick, "quick", false, "")
		c.BoolVar(&e.Sensitivity, "sensitivity", false, "")
		if done, err := c.parse(args[1:], stdout, stderr); done {
			return err
		}
		return e.Run(c.output(stdout, stderr))
	case "ribbon":
		var r bench.Ribbon
		c.StringVar(&r.Dir, "data", "", "")
		c.IntVar(&r.Cells, "cells", 200, "")
		c.Uint64Var(&r.Seed, "seed", 1, "")
		if done, err := c.parse(args[1:], stdout, stderr); done {
			return err
		}
		return r.Run(c.output(stdout, stderr))
	}
	fmt.Fprintf(stderr, "bench: unknown suite %q; want %s\n", args[0], suites)
	return errUsage
}

// runSuite parses the flags that suites on KAIROS's models share, and runs.
func (c command) runSuite(s *bench.Suite, args []string, stdout, stderr io.Writer, run func(bench.Output) error) error {
	c.StringVar(&s.Dir, "data", "", "")
	c.BoolVar(&s.Quick, "quick", false, "")
	c.Func("models", "", func(text string) error {
		s.Models = strings.Split(text, ",")
		return nil
	})
	if done, err := c.parse(args, stdout, stderr); done {
		return err
	}
	return run(c.output(stdout, stderr))
}
