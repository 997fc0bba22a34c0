package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"time"

	"motley/internal/bench"
)

func runLoad(args []string, stdout, stderr io.Writer) error {
	c := newCommand("load")
	var l bench.Load
	c.Var((*list)(&l.URLs), "url", "")
	c.Var((*list)(&l.Models), "model", "")
	c.StringVar(&l.Rate, "rate", "", "")
	c.IntVar(&l.Steps, "steps", 5, "")
	c.BoolVar(&l.Search, "search", false, "")
	c.DurationVar(&l.QoS, "qos", 0, "")
	c.Float64Var(&l.Percentile, "percentile", 99, "")
	c.IntVar(&l.Rounds, "rounds", 1, "")
	c.StringVar(&l.Arrivals, "arrivals", "exponential", "")
	c.StringVar(&l.Sizes, "sizes", "fixed:1", "")
	c.DurationVar(&l.Duration, "duration", 10*time.Second, "")
	c.DurationVar(&l.Warmup, "warmup", 2*time.Second, "")
	c.IntVar(&l.Requests, "requests", 0, "")
	c.DurationVar(&l.Timeout, "timeout", time.Second, "")
	c.IntVar(&l.Connections, "connections", 64, "")
	c.IntVar(&l.Threads, "threads", 1, "")
	c.Uint64Var(&l.Seed, "seed", 1, "")
	c.StringVar(&l.Data, "data", "", "")
	c.StringVar(&l.Split, "split", "test", "")
	c.Var((*list)(&l.Bodies), "body", "")
	c.BoolVar(&l.Binary, "binary", false, "")
	c.Var((*list)(&l.Params), "param", "")
	c.Var((*list)(&l.Headers), "header", "")
	c.BoolVar(&l.Unchecked, "no-check", false, "")
	c.StringVar(&l.Raw, "o", "", "")
	if done, err := c.parse(args, stdout, stderr); done {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	return l.Run(ctx, c.output(stdout, stderr))
}

func runReport(args []string, stdout, stderr io.Writer) error {
	c := newCommand("report")
	var r bench.LoadReport
	c.StringVar(&r.Out, "o", "", "")
	c.StringVar(&r.Title, "title", "Load", "")
	c.Float64Var(&r.USDPerH, "usd-per-h", 0, "")
	// Files may stand before and between the flags.
	for len(args) > 0 {
		if len(args[0]) == 0 || args[0][0] != '-' {
			r.Files, args = append(r.Files, args[0]), args[1:]
			continue
		}
		done, err := c.parseFlags(args, stdout, stderr)
		if done {
			return err
		}
		args = c.Args()
	}
	return r.Run(c.output(stdout, stderr))
}
