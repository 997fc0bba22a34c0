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
