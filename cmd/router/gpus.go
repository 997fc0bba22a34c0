package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"time"

	"motley/internal/gpu"
)

// gpusLimit is how long `router gpus` waits for drivers and hosts.
const gpusLimit = 15 * time.Second

// gpus prints the devices of this host, or of another. That there are none is
// an answer, not a fault.
func gpus(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("gpus", flag.ContinueOnError)
	var opt gpu.Options
	asJSON := fs.Bool("json", false, "")
	fs.StringVar(&opt.Library, "nvml", "", "")
	fs.StringVar(&opt.Agent, "agent", "", "")
	fs.StringVar(&opt.Exporter, "exporter", "", "")
	if done, err := flags(fs, args, stdout, stderr); done {
		return err
	}
	if fs.NArg() > 0 {
		fmt.Fprintf(stderr, "router: unexpected argument %q; router -h tells what there is\n", fs.Arg(0))
		return errUsage
	}
	src, err := gpu.Open(opt)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, gpusLimit)
	defer cancel()
	l, err := gpu.List(ctx, src)
	if err != nil {
		return err
	}
	if *asJSON {
		return l.JSON(stdout)
	}
	return l.Text(stdout)
}
