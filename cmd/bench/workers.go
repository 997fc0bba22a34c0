package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"motley/internal/bench"
)

func runWorkers(args []string, stdout, stderr io.Writer) error {
	c := newCommand("workers")
	var w bench.Workers
	c.StringVar(&w.Profiles, "profiles", "", "")
	c.StringVar(&w.Samples, "samples", "", "")
	c.Float64Var(&w.Dilate, "dilate", 1, "")
	c.StringVar(&w.Prices, "prices", "", "")
	c.StringVar(&w.Mix, "mix", "", "")
	c.StringVar(&w.Models, "model", "", "")
	c.Var((*list)(&w.Tensors), "input", "")
	c.Var((*list)(&w.Outputs), "output", "")
	c.StringVar(&w.Listen, "listen", "127.0.0.1:9000+", "")
	c.IntVar(&w.Concurrency, "concurrency", 1, "")
	c.IntVar(&w.MaxBatch, "max-batch", 0, "")
	c.IntVar(&w.MaxQueue, "max-queue", 0, "")
	c.StringVar(&w.Answer, "answer", "echo", "")
	c.StringVar(&w.Binary, "binary", "on", "")
	c.StringVar(&w.Batching, "batching", "none", "")
	c.Uint64Var(&w.Seed, "seed", 1, "")
	c.Var((*list)(&w.Faults), "fault", "")
	c.StringVar(&w.Config, "config", "", "")
	c.DurationVar(&w.QoS, "qos", 0, "")
	c.StringVar(&w.Policy, "policy", bench.DefaultPolicy(), "")
	c.StringVar(&w.RouterListen, "router", "127.0.0.1:8000", "")
	if done, err := c.parse(args, stdout, stderr); done {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return w.Run(ctx, c.output(stdout, stderr))
}
