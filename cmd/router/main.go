// Command router is Motley: an Open Inference Protocol endpoint in front of a
// fleet of mixed workers. See `router -h`.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"motley/internal/app"
	"motley/internal/config"
	"motley/internal/handover"
)

const usage = `Motley: one inference endpoint for a fleet of mixed GPUs and CPUs.

  router [serve] [-config FILE] [-listen ADDR] [-admin ADDR]
                                                 serve the Open Inference Protocol v2
  router check FILE…                             name every fault of configuration files
  router plan [-config FILE] [-budget USD] [-rate QPS] [-prices NAME] [-json]
                                                 the best mix of instance types, and why
  router profile [-config FILE] [-o FILE]        measure how long each type takes for batches of each model
  router gpus [-json]                            this host's GPUs and processors: what they are, how they do
  router agent [-listen ADDR]                    serve the same to routers and Prometheus on other hosts
  router key NAME                                make a key for a client, and the line by which the configuration knows it
  router version                                 print version, Go and platform
  router -h                                      print this

Without -config it serves the built-in model 'fashion' on this machine's CPUs:

  router &
  curl -s localhost:8000/v2/models/fashion/infer -d @examples/infer.json

To put it in front of servers of your own (Triton, KServe, MLServer, OpenVINO),
write a file like configs/remote.yaml and run router -config FILE; every field
is in docs/configuration.md. Look at localhost:8002/debug/state and /metrics while it runs.
SIGTERM or SIGINT finishes what is under way and then stops, a second one stops at
once; SIGHUP reads the configuration again, SIGUSR2 has a new process take over,
both without a lost request (docs/operations.md).

Flags of serve:
  -config FILE   the configuration; default: the built-in one
  -listen ADDR   host:port, in place of the configuration's
  -admin ADDR    host:port of metrics, /debug and /admin, in place of the configuration's; off: none

Flags of plan (docs/configuration.md, Planning):
  -config FILE   the configuration: models, instance types with prices, profiles
  -budget USD    per hour: the mix that carries most for it
  -rate QPS      requests per second: the cheapest mix that carries them
  -prices NAME   on-demand prices in place of the configuration's: aws, gcp, azure, a CSV file, or - for standard input
  -json          one JSON array and nothing else

Flags of profile (docs/profiling.md):
  -config FILE   the configuration: models, workers
  -model NAME, -types T,…     only these; default: all
  -batches 1,2,4,…            sizes, in items; default: up to the largest, at most 128 where nobody says
  -budget TIME   for everything; default 1m
  -share S       of a worker's time at most, 0 to 1; default 0.2 for remote workers, 1 for others
  -requests FILE send these, one JSON body a line, in place of random values
  -dim N         what dimensions that vary are in random values; default 1
  -all           every worker of a type, not the first that is ready
  -o FILE        CSV, for profiles: in a configuration
  -plot FILE     latency by batch: .svg or .png
  -json          one JSON array and nothing else
  -q             no progress bar
  -passive       send no batches: read what remote workers count of those that they run anyway (Triton's statistics)
  -every TIME    between two looks with -passive; default 10s
  -prior         workers are not asked: what is expected of types that were never measured, by the hardware's rates
  -from FILE     workers are not asked: what a router has learned and saved (learned.file)

Flags of gpus (docs/gpu.md):
  -json          one JSON object and nothing else
  -nvml FILE     the driver's library; default: where the loader finds libnvidia-ml.so.1
  -agent URL     ask another host's agent (its /v1/devices) instead
  -exporter URL  ask a DCGM exporter or a Triton server (its /metrics) instead

Flags of agent:
  -listen ADDR   host:port; default :9400
  -every TIME    between two looks; default 1s
  -nvml FILE     as above
  -tls-cert FILE, -tls-key FILE   serve HTTPS with this certificate and key (PEM)
  -record FILE   write down all that is seen, for a recorded source

Exit status: 0 fine, 1 a fault, 2 wrong usage, 130 or 143 stopped at once by a second signal.
`

// errUsage is a command line that makes no sense; it was explained already.
var errUsage = errors.New("wrong usage")

func main() {
	err := run(untilSignal(), os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, errUsage):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "router:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	command := "serve"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		command, args = args[0], args[1:]
	}
	switch command {
	case "serve":
		return serve(ctx, args, stdout, stderr)
	case "check":
		return check(args, stdout, stderr)
	case "plan":
		return plan(args, stdout, stderr)
	case "profile":
		return profile(ctx, args, stdout, stderr)
	case "gpus":
		return gpus(ctx, args, stdout, stderr)
	case "agent":
		return agent(ctx, args, stdout, stderr)
	case "key":
		return key(args, stdout, stderr)
	case "version":
		fmt.Fprintf(stdout, "motley %s %s %s/%s cgo=%v\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH, cgo)
		return nil
	case "help":
		fmt.Fprint(stdout, usage)
		return nil
	}
	fmt.Fprintf(stderr, "router: unknown command %q; want serve, check, plan, profile, gpus, agent, key, version or help\n", command)
	return errUsage
}

// flags parses the flags of a command. -h prints the usage and is no fault.
func flags(fs *flag.FlagSet, args []string, stdout, stderr io.Writer) (done bool, err error) {
	fs.SetOutput(io.Discard)
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, usage)
		return true, nil
	case err != nil:
		fmt.Fprintf(stderr, "router: %v; router -h tells what there is\n", err)
		return true, errUsage
	}
	return false, nil
}

func serve(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("serve", flag.ContinueOnError)
	file := fs.String("config", "", "")
	listen := fs.String("listen", "", "")
	admin := fs.String("admin", "", "")
	if done, err := flags(fs, args, stdout, stderr); done {
		return err
	}
	if fs.NArg() > 0 {
		fmt.Fprintf(stderr, "router: unexpected argument %q; a configuration is given as -config FILE\n", fs.Arg(0))
		return errUsage
	}
	if os.Getenv("GOGC") == "" {
		// A request's way allocates nothing, so that to collect twice as often costs next to
		// nothing; what an overload has left behind is gone sooner.
		debug.SetGCPercent(50)
	}
	upgrades := upgradeSignals()
	hangup, unhook := hangups()
	defer unhook()
	next, err := handover.Self()
	if err != nil {
		return err
	}
	sockets, err := handover.Inherit()
	if err != nil {
		return err
	}
	read := func() (*config.Config, error) {
		cfg, err := load(*file)
		if err != nil {
			return nil, err
		}
		if *listen != "" {
			cfg.Listen = *listen
		}
		if *admin != "" {
			cfg.Admin.Listen = *admin
		}
		return cfg, nil
	}
	cfg, err := read()
	if err != nil {
		return err
	}
	ln, err := sockets.Listen("public", cfg.Listen)
	if err != nil {
		return err
	}
	forAdmin, err := listenAdmin(sockets, cfg.Admin)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	log, level := logger(cfg.Log, stderr)
	slog.SetDefault(log)
	a, err := app.New(cfg, app.Options{
		Log: log, Level: level, Version: version(), Admin: forAdmin, Ready: sockets.Ready, Kept: sockets.Kept, Load: read, File: *file,
	})
	if err != nil {
		return errors.Join(err, ln.Close(), closeAdmin(forAdmin))
	}
	next.Timeout, next.Log = cfg.Limits.UpgradeTimeout, log
	ctx, stop := upgradable(ctx, upgrades, a, sockets, next)
	defer stop()
	go reloadOn(ctx, hangup, a)
	return a.Serve(ctx, ln)
}

func load(file string) (*config.Config, error) {
	if file == "" {
		return config.Parse("built-in configuration", config.Default())
	}
	return config.Load(file)
}

func plan(args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("plan", flag.ContinueOnError)
	file := fs.String("config", "", "")
	var opt app.PlanOptions
	fs.Func("budget", "", positive(&opt.Budget))
	fs.Func("rate", "", positive(&opt.Rate))
	fs.BoolVar(&opt.JSON, "json", false, "")
	prices := fs.String("prices", "", "")
	if done, err := flags(fs, args, stdout, stderr); done {
		return err
	}
	if fs.NArg() > 0 {
		fmt.Fprintf(stderr, "router: unexpected argument %q; a configuration is given as -config FILE\n", fs.Arg(0))
		return errUsage
	}
	cfg, err := load(*file)
	if err != nil {
		return err
	}
	if *prices != "" {
		if cfg, err = priced(cfg, *prices); err != nil {
			return fmt.Errorf("-prices %s: %w", *prices, err)
		}
	}
	return app.Plan(cfg, opt, stdout)
}

func priced(cfg *config.Config, name string) (*config.Config, error) {
	prices, err := config.ReadPrices(name)
	if err != nil {
		return nil, err
	}
	return cfg.Priced(prices)
}

// positive reads a number over 0 into v.
func positive(v *float64) func(string) error {
	return func(text string) error {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || !(f > 0 && f <= 1e9) { // the negation catches NaN
			return errors.New("must be a number over 0, at most 1,000,000,000")
		}
		*v = f
		return nil
	}
}

func check(args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("check", flag.ContinueOnError)
	if done, err := flags(fs, args, stdout, stderr); done {
		return err
	}
	if fs.NArg() == 0 {
		fmt.Fprintln(stderr, "router: check wants the files to check")
		return errUsage
	}
	broken := 0
	for _, f := range fs.Args() {
		if _, err := config.Load(f); err != nil {
			broken++
			fmt.Fprintln(stdout, err)
			continue
		}
		fmt.Fprintf(stdout, "%s: ok\n", f)
	}
	if broken > 0 {
		return fmt.Errorf("%d of %d configurations are broken", broken, fs.NArg())
	}
	return nil
}

// logger returns the log, and its level, which may be changed.
func logger(cfg config.Log, w io.Writer) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	_ = level.UnmarshalText([]byte(cfg.Level)) // the configuration was checked
	opt := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opt)), level
	}
	return slog.New(slog.NewTextHandler(w, opt)), level
}

// version is that of the module, or the commit that was built.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "dev"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "dev-" + s.Value[:12]
		}
	}
	return "dev"
}
