// Command bench measures what a mix of instances carries under a policy, plans
// mixes, replays recordings of early exit, compares Motley with what was
// published, and puts load on servers. See `bench -h`.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"motley/internal/bench"
)

const usage = `bench: what a mix of instances carries, in a simulator that runs the router's own dispatcher;
what early exit saves, on recordings, with the router's own controller.

  bench sim  -model M -mix TYPE=N,… (-rate QPS | -search) [flags]   one experiment
  bench plan -model M (-budget USD | -rate QPS) [flags]             the best mixes for a budget, or the cheapest for a rate
  bench suite kairos   [-data DIR] [-plot FILE.svg]                 Motley beside KAIROS, RIBBON, DeepRecSched, Clockwork
  bench suite ribbon    -data DIR  [-cells 200] [-seed N]           the simulator beside RIBBON's published tables
  bench suite ablation [-data DIR]                                  what each ingredient of Motley's policy adds
  bench suite planner  [-data DIR]                                  the planner's pick beside every mix there is
  bench suite robust   [-data DIR]                                  what is left of it under noise, outages and bursts
  bench suite gap      [-data DIR]                                  where what is missing to the batching bound goes
  bench exits  -stream FILE [flags]                                 controllers of early exit on a recording
  bench record -o FILE [flags]                                      make a recording with the built-in model
  bench suite exits    [-data DIR] [-fashion DIR] [-sensitivity]    Motley's controller beside Apparate's and what hindsight knows
  bench load -url URL -model M (-rate QPS | -search) [flags]        load on a server over HTTP, by the clock
  bench report FILE… -o page.html [-title TEXT] [-usd-per-h USD]    raw results of load as one HTML page
  bench workers -model M -mix TYPE=N,… [flags]                      model servers that take as long as measured instances
  bench -h                                                          print this

Inputs of sim and plan:
  -profiles CSV      latencies: model, instance_type, batch, mean_ms, p99_ms; the truth is log-normal
  -samples JSONL     latencies: raw samples, from which the truth is drawn
                     default: the built-in table of KAIROS's models ncf, rm2, wnd, mtwnd, dien
  -dilate 1          every latency, and -qos, times this: all rates are so much lower
  -prices NAME       aws, gcp or azure (built in), a CSV of instance_type, usd_per_h, or - for standard input;
                     default: KAIROS's g4dn.xlarge, c5n.2xlarge, r5n.large, t3.xlarge
  -model NAME        required
  -qos 25ms          latency target; default: KAIROS's for its models
  -percentile 99     share of the requests, in %, that must be within it
  -arrivals LAW      exponential (default), poisson-ms, constant, step:…, sine:…, burst:…, trace:FILE, counts:FILE
  -sizes LAW         kairos (default), ribbon, fixed:N, lognormal:…, normal:…, file:FILE, histogram:FILE
  -requests 20000    per seed
  -seeds 3
  -max-batch N       items that requests are merged up to; default: the largest batch that was measured
  -policy NAME       a policy (default: the router's); sim: or all
  -no-merge          requests are run one by one

Flags of sim:
  -mix TYPE=N,…      in the order in which policies see the workers; required
  -rate QPS          measure at this rate
  -search            find the allowable throughput
  -no-drop           nobody is turned away for want of time, as in published simulators
  -noise SD          every execution times a log-normal variable of mean 1; normal:SD for a normal one
  -slow TYPE,factor=1.2[,from=10s][,to=20s]        a type that is slower; may be repeated
  -drift TYPE,per-hour=0.1                         a type that gets slower; may be repeated
  -outage WORKER,from=10s[,to=20s][,notice=500ms]  a worker (TYPE-0, TYPE-1, …) that is lost; may be repeated
  -speeds FILE,test=T,sku=S[,every=5m]             measured speeds of machines
  -round 1ms         execution times are rounded to whole multiples

Flags of plan:
  -budget USD        per hour
  -rate QPS          what the mix has to carry
  -limit TYPE=N,…    the most instances of a type; default: as many as the budget buys
  -candidates 20     mixes that are simulated, at most

Flags of exits:
  -stream FILE       a recording, .csv or .csv.gz: i, conf0, …, agree0, …, more in docs/exits.md; required
  -calibration FILE  another one, which static is tuned on and motley learns from before; default: static on the first rows
  -controller NAME   all (default), static, apparate-paper, apparate-code, motley, hindsight, clairvoyant
  -mode MODE         latency or compute; default: each that the controller has
  -target 0.99       share of answers that are to agree with the full model's
  -budget 0.02       what the active ramps may add to a whole run, as a share of it
  -ramps 0,2,3       the ramps that there are; default: all, of which controllers choose within the budget
  -depths D0,D1,…    shares of a run after which the ramps stand; default: as the file says, or evenly spaced
  -ramp-cost C       what a ramp adds, as a share of a run; one for all or a list; default: as the file says, or 0.0039
  -batch 1           rows that run together and are learned of together
  -window 1000       rows over which the agreement is looked at
  -seed 1            of the chance that draws audits
  -sensitivity       Motley's controller with each parameter halved and doubled

Flags of record:
  -o FILE            .csv or .csv.gz; required
  -data DIR          the data set, MNIST's files; default: /usr/share/datasets/fashion-mnist
  -split t10k        or train
  -images FROM..TO   the pictures that are used; default: all
  -segments KIND:ROWS,…  clean, noise=DEVIATION, brightness=FACTOR, shift=PIXELS, ramp=FROM..TO (of noise)
  -video N           each picture stays for N frames while camera and light walk slowly
  -shuffle           pictures in random order, anew each time all were shown
  -seed 1            the same flags give the same bytes
  -model fashion

Flags of workers (docs/workers.md):
  -profiles, -samples, -prices, -dilate   as above; what -batching waits is dilated, too
  -model NAME[=MEASURED],…   served by that name, with the latencies of MEASURED; required
  -mix TYPE=N,…      required
  -listen 127.0.0.1:9000+    the first one's port, the others follow; with + past those that are taken
  -concurrency 1     executions at once, of each worker
  -max-batch N       rows of a request, and of an execution; default: the largest batch that was measured
  -max-queue N       requests that wait at a worker; more are answered with 503; default: any number
  -batching none     or dynamic:DELAY: a worker merges the requests that wait
  -input NAME:DATATYPE[:DIM,…]   without the batch; may be repeated; default: x:FP32:1; likewise -output; default: y:FP32:1
  -answer echo       of the inputs' rows; or zeros; or embedded: a built-in model's, of the same name
  -binary on         off: the servers do not know the binary tensor extension
  -fault WORKER,kind=K[,share=S][,from=D][,to=D]   of a worker, a type or all; may be repeated; K: delay (factor=3), hang,
                     500, 503, reset, garbage, rows, drip (every=10ms), close (after=N), down (period=D)
  -seed 1
  -config FILE       write a configuration for router -config, with -qos D, -policy NAME and -router 127.0.0.1:8000 in it

Flags of the suites:
  -data DIR          the folder with kairos/latency_samples.jsonl, ribbon/, azure_functions/, azure_vm_noise/, early_exit/;
                     default: the built-in table, and without what needs the others
  -models M,…        some of ncf,rm2,wnd,mtwnd,dien; default: all (not of ribbon and exits)
  -quick             fewer requests and seeds (not of ribbon)
  -fashion DIR       exits: the data set that streams are recorded from; default as of record
  -sensitivity       exits: every parameter halved and doubled
  -plot FILE.svg     kairos, exits: draw

Flags of load (docs/load.md):
  -url http://HOST:PORT   a target; may be repeated: they take turns
  -model NAME        may be repeated: each request is to one of them
  -rate QPS | FROM..TO[, -steps 5]    of each target; a ramp has so many steps
  -search -qos 25ms [-percentile 99]  find the allowable throughput instead
  -rounds 1          how often all of it is run, with other seeds
  -arrivals LAW, -sizes LAW           as above; default exponential, fixed:1
  -duration 10s | -requests N         what is measured of each rate
  -warmup 2s         before it, at the same rate
  -timeout 1s        of the wait for a connection, and again of the answer
  -connections 64, -threads 1, -seed 1
  -data DIR [-split test]   pictures and labels (idx, gzip): accuracy is counted
  -body FILE         an inference request as it is; may be repeated; default: random tensors by the model's metadata
  -binary            tensors in binary
  -param KEY=VALUE, -header "NAME: VALUE"   of every request; may be repeated
  -no-check          do not look into the answers
  -o FILE            raw results, for bench report

Output:
  -json              one JSON array and nothing else
  -q                 no progress on stderr

Exit status: 0 fine, 1 a fault, or a suite did not show what it must; 2 wrong usage.
`

// errUsage is a command line that makes no sense; it was explained already.
var errUsage = errors.New("wrong usage")

func main() { os.Exit(exit(run(os.Args[1:], os.Stdout, os.Stderr), os.Stderr)) }

// exit explains an error and returns the exit status.
func exit(err error, stderr io.Writer) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		return 2
	case errors.Is(err, bench.ErrUsage):
		fmt.Fprintf(stderr, "bench: %v; bench -h tells what there is\n", err)
		return 2
	}
	fmt.Fprintln(stderr, "bench:", err)
	return 1
}

func run(args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		fmt.Fprintln(stderr, "bench: no command given; bench -h tells what there is")
		return errUsage
	}
	switch args[0] {
	case "sim":
		return runSim(args[1:], stdout, stderr)
	case "plan":
		return runPlan(args[1:], stdout, stderr)
	case "suite":
		return runSuite(args[1:], stdout, stderr)
	case "exits":
		return runExits(args[1:], stdout, stderr)
	case "record":
		return runRecord(args[1:], stdout, stderr)
	case "load":
		return runLoad(args[1:], stdout, stderr)
	case "report":
		return runReport(args[1:], stdout, stderr)
	case "workers":
		return runWorkers(args[1:], stdout, stderr)
	case "help", "-h", "-help", "--help":
		fmt.Fprint(stdout, usage)
		return nil
	}
	fmt.Fprintf(stderr, "bench: unknown command %q; want sim, plan, exits, record, suite, load, report, workers or help\n", args[0])
	return errUsage
}

// command is a set of flags with those that every command has.
type command struct {
	*flag.FlagSet
	json, quiet *bool
}

func newCommand(name string) command {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	return command{fs, fs.Bool("json", false, ""), fs.Bool("q", false, "")}
}

// parse parses the flags. -h prints the usage and is no fault.
func (c command) parse(args []string, stdout, stderr io.Writer) (done bool, err error) {
	if done, err := c.parseFlags(args, stdout, stderr); done {
		return true, err
	}
	if c.NArg() > 0 {
		fmt.Fprintf(stderr, "bench: unexpected argument %q; bench -h tells what there is\n", c.Arg(0))
		return true, errUsage
	}
	return false, nil
}

// parseFlags is parse up to the first argument that is no flag.
func (c command) parseFlags(args []string, stdout, stderr io.Writer) (done bool, err error) {
	switch err := c.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, usage)
		return true, nil
	case err != nil:
		fmt.Fprintf(stderr, "bench: %v; bench -h tells what there is\n", err)
		return true, errUsage
	}
	return false, nil
}

// output is where the command writes: every line of progress on a terminal,
// one in 10 s elsewhere.
func (c command) output(stdout, stderr io.Writer) bench.Output {
	out := bench.Output{Stdout: stdout, JSON: *c.json}
	if !*c.quiet {
		every := 10 * time.Second
		if isTerminal(stderr) {
			every = 0
		}
		out.Progress = bench.NewProgress(stderr, every)
	}
	return out
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// inputs adds the flags of bench.Inputs.
func inputs(fs *flag.FlagSet, in *bench.Inputs) {
	fs.StringVar(&in.Profiles, "profiles", "", "")
	fs.StringVar(&in.Samples, "samples", "", "")
	fs.Float64Var(&in.Dilate, "dilate", 1, "")
	fs.StringVar(&in.Prices, "prices", "", "")
	fs.StringVar(&in.Model, "model", "", "")
	fs.DurationVar(&in.QoS, "qos", 0, "")
	fs.Float64Var(&in.Percentile, "percentile", 99, "")
	fs.StringVar(&in.Arrivals, "arrivals", "exponential", "")
	fs.StringVar(&in.Sizes, "sizes", "kairos", "")
	fs.IntVar(&in.Requests, "requests", 20_000, "")
	fs.IntVar(&in.Seeds, "seeds", 3, "")
	fs.IntVar(&in.MaxBatch, "max-batch", 0, "")
}

// list is a flag that may be repeated.
type list []string

func (l *list) String() string { return strings.Join(*l, " ") }

func (l *list) Set(s string) error {
	*l = append(*l, s)
	return nil
}

func runSim(args []string, stdout, stderr io.Writer) error {
	c := newCommand("sim")
	var s bench.Sim
	inputs(c.FlagSet, &s.Inputs)
	c.StringVar(&s.Mix, "mix", "", "")
	c.StringVar(&s.Policy, "policy", bench.DefaultPolicy(), "")
	c.Float64Var(&s.Rate, "rate", 0, "")
	c.BoolVar(&s.Search, "search", false, "")
	c.BoolVar(&s.Alone, "no-merge", false, "")
	c.BoolVar(&s.Late, "no-drop", false, "")
	c.StringVar(&s.Disturb.Noise, "noise", "", "")
	c.Var((*list)(&s.Disturb.Slow), "slow", "")
	c.Var((*list)(&s.Disturb.Drift), "drift", "")
	c.Var((*list)(&s.Disturb.Outages), "outage", "")
	c.StringVar(&s.Disturb.Speeds, "speeds", "", "")
	c.DurationVar(&s.Disturb.Round, "round", 0, "")
	if done, err := c.parse(args, stdout, stderr); done {
		return err
	}
	return s.Run(c.output(stdout, stderr))
}

func runPlan(args []string, stdout, stderr io.Writer) error {
	c := newCommand("plan")
	var p bench.Plan
	inputs(c.FlagSet, &p.Inputs)
	c.StringVar(&p.Policy, "policy", bench.DefaultPolicy(), "")
	c.BoolVar(&p.Alone, "no-merge", false, "")
	c.Float64Var(&p.Budget, "budget", 0, "")
	c.Float64Var(&p.Rate, "rate", 0, "")
	c.StringVar(&p.Limits, "limit", "", "")
	c.IntVar(&p.Candidates, "candidates", 0, "")
	if done, err := c.parse(args, stdout, stderr); done {
		return err
	}
	return p.Run(c.output(stdout, stderr))
}
