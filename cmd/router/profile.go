package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"motley/internal/app"
	"motley/internal/chart"
	"motley/internal/profiler"
)

// profile measures the workers of a configuration.
func profile(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("profile", flag.ContinueOnError)
	file := fs.String("config", "", "")
	opt := app.ProfileOptions{Log: slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	fs.StringVar(&opt.Model, "model", "", "")
	fs.Func("types", "", func(s string) error { opt.Types = strings.Split(s, ","); return nil })
	fs.Func("batches", "", batches(&opt.Batches))
	fs.DurationVar(&opt.Budget, "budget", time.Minute, "")
	fs.Func("share", "", positive(&opt.Share))
	fs.Int64Var(&opt.Vary, "dim", 1, "")
	fs.StringVar(&opt.Recording, "requests", "", "")
	fs.StringVar(&opt.Out, "o", "", "")
	fs.StringVar(&opt.Plot, "plot", "", "")
	fs.BoolVar(&opt.JSON, "json", false, "")
	fs.BoolVar(&opt.All, "all", false, "")
	fs.StringVar(&opt.From, "from", "", "")
	passive := fs.Bool("passive", false, "")
	priors := fs.Bool("prior", false, "")
	fs.DurationVar(&opt.Every, "every", 10*time.Second, "")
	quiet := fs.Bool("q", false, "")
	if done, err := flags(fs, args, stdout, stderr); done {
		return err
	}
	fault := ""
	switch {
	case fs.NArg() > 0:
		fault = fmt.Sprintf("unexpected argument %q; router -h tells what there is", fs.Arg(0))
	case opt.Budget < 100*time.Millisecond || opt.Budget > 24*time.Hour:
		fault = "-budget must be 100ms to 24h"
	case opt.Share > 1:
		fault = "-share must be at most 1"
	case opt.Vary < 1:
		fault = "-dim must be at least 1"
	case opt.Every < 100*time.Millisecond || *passive && opt.Every > opt.Budget:
		fault = "-every must be 100ms to the budget"
	case *passive:
		fault = without(fs, "-passive", "prior", "from", "batches", "share", "requests", "dim", "all")
	case *priors:
		fault = without(fs, "-prior", "o", "from", "batches", "share", "requests", "dim", "all", "budget", "every")
	case opt.From != "":
		fault = without(fs, "-from", "config", "batches", "share", "requests", "dim", "all", "budget", "every")
	default:
		fault = without(fs, "anything but -passive", "every")
	}
	if fault == "" && opt.Plot != "" {
		if err := chart.CheckName(opt.Plot); err != nil {
			fault = "-plot " + err.Error()
		}
	}
	if fault != "" {
		fmt.Fprintln(stderr, "router:", fault)
		return errUsage
	}
	if opt.From != "" {
		return app.ExportLearned(opt, stdout)
	}
	cfg, err := load(*file)
	if err != nil {
		return err
	}
	if f, ok := stderr.(*os.File); ok && !*quiet && terminal(f) {
		opt.Bar = profiler.NewBar(f)
	}
	if *priors {
		return app.ProfilePriors(cfg, opt, stdout)
	}
	if *passive {
		return app.ProfilePassively(ctx, cfg, opt, stdout)
	}
	return app.Profile(ctx, cfg, opt, stdout)
}

// without names the first flag that was given and means nothing with what; "" is none.
func without(fs *flag.FlagSet, what string, names ...string) (fault string) {
	fs.Visit(func(f *flag.Flag) {
		if fault == "" && slices.Contains(names, f.Name) {
			fault = fmt.Sprintf("-%s means nothing with %s", f.Name, what)
		}
	})
	return fault
}

// batches reads numbers with commas between them.
func batches(to *[]int) func(string) error {
	return func(text string) error {
		*to = nil
		for _, s := range strings.Split(text, ",") {
			n, err := strconv.Atoi(strings.TrimSpace(s))
			if err != nil || n < 1 || n > 1<<20 {
				return errors.New("must be whole numbers over 0, with commas between them, at most 1,048,576")
			}
			*to = append(*to, n)
		}
		return nil
	}
}

// terminal reports whether somebody may be watching f.
func terminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
