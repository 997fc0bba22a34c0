package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"motley/internal/gpu"
)

// agent serves what this host's devices say until ctx ends.
func agent(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	fs := flag.NewFlagSet("agent", flag.ContinueOnError)
	listen := fs.String("listen", ":9400", "")
	every := fs.Duration("every", gpu.DefaultEvery, "")
	library := fs.String("nvml", "", "")
	record := fs.String("record", "", "")
	opt := gpu.AgentOptions{Log: slog.New(slog.NewTextHandler(stderr, nil)), Jitter: rand.Float64}
	fs.StringVar(&opt.Certificate, "tls-cert", "", "")
	fs.StringVar(&opt.Key, "tls-key", "", "")
	if done, err := flags(fs, args, stdout, stderr); done {
		return err
	}
	switch {
	case fs.NArg() > 0:
		fmt.Fprintf(stderr, "router: unexpected argument %q; router -h tells what there is\n", fs.Arg(0))
		return errUsage
	case (opt.Certificate == "") != (opt.Key == ""):
		fmt.Fprintln(stderr, "router: -tls-cert and -tls-key go together")
		return errUsage
	case *every < 10*time.Millisecond || *every > time.Hour:
		fmt.Fprintln(stderr, "router: -every must be 10ms to 1h")
		return errUsage
	}
	opt.Every = *every
	if opt.Source, err = gpu.Open(gpu.Options{Library: *library}); err != nil {
		return err
	}
	if *record != "" {
		f, err := os.OpenFile(*record, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
		if err != nil {
			return fmt.Errorf("cannot record: %w", err)
		}
		opt.Record = f
		defer func() { err = errors.Join(err, f.Close()) }()
	}
	a, err := gpu.NewAgent(opt)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", *listen)
	if err != nil {
		return fmt.Errorf("cannot listen: %w", err)
	}
	opt.Log.Info("serving /v1/devices and /metrics", "address", ln.Addr().String(), "tls", opt.Certificate != "")
	return a.Serve(ctx, ln)
}
