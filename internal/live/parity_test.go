package live

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"motley/internal/backend"
	"motley/internal/dispatch"
	"motley/internal/earlyexit"
	"motley/internal/gate"
	"motley/internal/gpu/device"
	"motley/internal/gpu/health"
	"motley/internal/mono"
	"motley/internal/oip"
	"motley/internal/pool"
	"motley/internal/sim"
	"motley/internal/triage"
)

// TestParity runs random workloads through the simulator and through the loop
// and compares the logs: every event and every action, instants included. All
// instants are drawn to the nanosecond, so that no two goroutines of the loop
// wake at one; only the executions that one event calls off end together, in the
// order of their start. In every other workload some members of an execution have
// their answers before it ends.
func TestParity(t *testing.T) {
	const seeds, requests = 60, 300
	seen := map[string]int{}
	for seed := range uint64(seeds) {
		x := newExperiment(seed, requests)
		want, wantEnds := x.simulate(t)
		got, gotEnds := x.live(t)
		compareLogs(t, seed, want.lines(), got.lines())
		if !slices.Equal(wantEnds, gotEnds) {
			t.Errorf("seed %d: the clients were told otherwise than in the simulation", seed)
		}
		if t.Failed() {
			return
		}
		want.count(seen)
		seen["split"] += int(x.split.Load())
	}
	// A comparison of histories in which nothing happens would prove nothing.
	for _, what := range []string{
		"merged", "split", "answer", "exit", "cancel-batch", "fault=worker", "fault=request", "fault=lost", "fault=unserved", "worker-state", "worker-limit", "worker-health", "tick",
		"reject queue_full", "reject deadline", "reject no_worker", "reject too_large",
		"give-up deadline", "give-up refused", "give-up exhausted",
	} {
		if seen[what] < 10 {
			t.Errorf("%q came %d times in %d histories: the workload is too tame (%v)", what, seen[what], seeds, seen)
		}
	}
}

// experiment is one random workload on one random pool.
type experiment struct {
	judged   bool           // workers are
	told     map[string]int // how often which state was
	seed     uint64
	early    bool // answers come before the end
	arrivals []sim.Arrival
	changes  []dispatch.Event
	split    atomic.Int64 // answers that were put together of parts
}

func newExperiment(seed uint64, requests int) *experiment {
	rng := rand.New(rand.NewPCG(seed, 0x706172697479))
	x := &experiment{seed: seed, early: seed/uint64(len(dispatch.Policies()))%2 == 1}
	taken := map[mono.Time]bool{}
	instant := func(at mono.Time) mono.Time { // an even one; executions have the odd ones
		at &^= 1
		for taken[at] {
			at += 2
		}
		taken[at] = true
		return at
	}
	var now mono.Time
	for range requests {
		now = instant(now.Add(1 + time.Duration(rng.ExpFloat64()*float64(450*time.Microsecond))))
		a := sim.Arrival{
			At: now, Model: pool.ModelID(rng.IntN(3)), Size: 1 + rng.IntN(6), Priority: rng.IntN(4), MergeKey: rng.Uint64N(4),
		}
		if rng.IntN(4) > 0 {
			a.Timeout = 2*time.Millisecond + time.Duration(rng.Int64N(int64(60*time.Millisecond)))
		}
		if rng.IntN(40) == 0 {
			a.Size = 20 + rng.IntN(100)
		}
		x.arrivals = append(x.arrivals, a)
	}
	for range 24 {
		at := instant(1 + mono.Time(rng.Int64N(int64(now))))
		w := pool.WorkerID(rng.IntN(workersInParity))
		ev := dispatch.Event{At: at, Kind: dispatch.WorkerState, Worker: w, State: pool.State(rng.IntN(4))}
		if rng.IntN(4) == 0 {
			ev = dispatch.Event{At: at, Kind: dispatch.WorkerLimit, Worker: w, Model: pool.ModelID(rng.IntN(2)), Size: rng.IntN(20)}
		}
		x.changes = append(x.changes, ev)
		if rng.IntN(4) == 0 {
			ev = dispatch.Event{At: at, Kind: dispatch.WorkerHealth, Worker: w, Health: dispatch.Health{
				Slowdown: 1 + float64(rng.IntN(3)), Uncertainty: 1 + float64(rng.IntN(2)), Ramp: float64(1+rng.IntN(4)) / 4, Takes: rng.IntN(3) > 0,
			}}
			x.changes[len(x.changes)-1] = ev
		}
		if ev.Kind == dispatch.WorkerState && ev.State != pool.Up { // not for good
			back := instant(at.Add(time.Duration(rng.Int64N(int64(25 * time.Millisecond)))))
			x.changes = append(x.changes, dispatch.Event{At: back, Kind: dispatch.WorkerState, Worker: w, State: pool.Up})
		}
	}
	slices.SortFunc(x.changes, func(a, b dispatch.Event) int { return int(a.At - b.At) })
	return x
}

const workersInParity = 6

// core is made anew for each driver: policies and profiles change as they are
// used.
func (x *experiment) core(t *testing.T) dispatch.Config {
	policies := dispatch.Policies()
	policy, err := dispatch.NewPolicy(policies[x.seed%uint64(len(policies))], x.seed)
	if err != nil {
		t.Fatal(err)
	}
	measured := func(fixed, item time.Duration) *pool.Profile {
		p, err := pool.NewProfile([]pool.Point{{Batch: 1, Mean: fixed + item}, {Batch: 32, Mean: fixed + 32*item}})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	cfg := dispatch.Config{
		Models: []dispatch.Model{
			{Name: "a", QoS: 30 * time.Millisecond, MaxQueue: 5},
			{Name: "b", QoS: 90 * time.Millisecond, MaxBatch: 8, MaxAttempts: 2},
			{Name: "c", QoS: 50 * time.Millisecond, Quantile: 0.95, MaxQueue: 20},
		},
		Types: []pool.InstanceType{{Name: "x"}, {Name: "y"}, {Name: "z"}}, Policy: policy, Hang: 17 * time.Millisecond,
		Failures: dispatch.Failures{Hedge: 1, HedgeBudget: 0.5, PoisonedAfter: 2},
		// Some profiles know something, some start unknown, all learn.
		Profiles: [][]*pool.Profile{
			{measured(2*time.Millisecond, 200*time.Microsecond), nil, measured(4*time.Millisecond, 50*time.Microsecond)},
			{nil, measured(time.Millisecond, 500*time.Microsecond), nil},
		},
	}
	for i := range workersInParity {
		w := pool.Worker{
			Name: strconv.Itoa(i), Type: pool.TypeID(i % 3), Concurrency: 1 + i/4, State: pool.Up,
			Breaker: pool.NewBreaker(pool.BreakerConfig{Failures: 2, Open: 9_000_001}),
			Serves:  []pool.Serve{{Model: 0, MaxBatch: 4 << (i % 3)}, {Model: 1, MaxBatch: 32}},
		}
		if i == 4 {
			w.Serves = append(w.Serves, pool.Serve{Model: 2, MaxBatch: 16})
		}
		if i == 5 {
			w.State = pool.Starting
		}
		cfg.Workers = append(cfg.Workers, w)
	}
	return cfg
}

// outcome draws how an execution goes, from nothing but what it is, so that
// both drivers find the same truth in whatever order they ask.
func (x *experiment) outcome(w pool.WorkerID, m pool.ModelID, at mono.Time, members []int, items int) sim.Outcome {
	h := x.seed
	for _, v := range append([]int{int(w), int(m), int(at)}, members...) {
		h = (h ^ uint64(v)) * 0x9e3779b97f4a7c15
		h ^= h >> 29
	}
	rng := rand.New(rand.NewPCG(h, x.seed))
	base := time.Duration(2+w%3)*time.Millisecond + time.Duration(items)*300*time.Microsecond
	o := sim.Outcome{Took: base/2 + time.Duration(rng.Int64N(int64(base)))}
	if last := x.arrivals[len(x.arrivals)-1].At; x.judged && (w == 0 && at > last/2 || w == 1 && at > last/3) {
		o.Took *= 3
	}
	for k := range members {
		if x.early && rng.IntN(3) == 0 {
			o.Early = append(o.Early, sim.Early{Member: k, After: 1 + time.Duration(rng.Int64N(int64(o.Took)))})
		}
	}
	slices.SortFunc(o.Early, func(a, b sim.Early) int { return int(a.After - b.After) })
	switch k := rng.IntN(100); {
	case k < 8:
		o.Fault = dispatch.WorkerFault
	case k < 10:
		o.Fault = dispatch.Lost
	case k < 12:
		o.Fault = dispatch.Unserved
	case k < 16:
		o.Fault = dispatch.RequestFault
	case k < 20:
		o.Took += 10 * time.Second // hangs
	}
	odd := func(d time.Duration) time.Duration { return d + time.Duration((at+mono.Time(d)+1)&1) }
	o.Took = odd(o.Took)
	for i := range o.Early {
		o.Early[i].After = odd(o.Early[i].After)
	}
	return o
}

// end is what a client is told: 0 an answer, a Reason of live, or 255 where
// the worker's own error is handed on.
type end uint8

const refused end = 255

var endOf = map[dispatch.Reason]end{
	0: 0, dispatch.QueueFull: end(QueueFull), dispatch.Deadline: end(Deadline), dispatch.NoWorker: end(NoWorker),
	dispatch.TooLarge: end(TooLarge), dispatch.Exhausted: end(Failed), dispatch.Refused: refused,
	dispatch.Poisoned: end(Poisoned), dispatch.OverBudget: end(OverBudget),
}

func (x *experiment) simulate(t *testing.T) (*history, []end) {
	h := newHistory()
	ends := make([]end, len(x.arrivals))
	var watch *sim.Watch
	if x.told = map[string]int{}; x.judged {
		devices := map[pool.WorkerID]device.Device{1: {ID: "g"}, 3: {ID: "g"}, 4: {ID: "g"}, 5: {ID: "g"}}
		watch = &sim.Watch{Every: judgedEvery, Devices: devices, Health: x.health(), Read: x.telemetry, Told: func(_ mono.Time, _ triage.Change, j health.Judgement) { x.told[j.State.String()]++ }}
	}
	_, err := sim.Run(sim.Config{
		Core: x.core(t), Changes: x.anew(), Trace: h.trace, Watch: watch,
		Serve: func(e sim.Execution) sim.Outcome {
			o := x.outcome(e.Worker, e.Model, e.At, h.starts[0], e.Items)
			h.starts = h.starts[1:]
			return o
		},
		Done: func(e sim.Ended) { ends[e.Arrival] = endOf[e.Reason] },
	}, x.arrivals)
	if err != nil {
		t.Fatal(err)
	}
	return h, ends
}

func (x *experiment) live(t *testing.T) (*history, []end) {
	h := newHistory()
	ends := make([]end, len(x.arrivals))
	synctest.Test(t, func(t *testing.T) {
		line := newLine()
		cfg := Config{Core: x.core(t), Trace: func(ev dispatch.Event, actions []dispatch.Action) {
			h.trace(ev, actions)
			line.trace(ev, actions, h.starts)
		}}
		for w := range pool.WorkerID(workersInParity) {
			b := drawn{x: x, worker: w, epoch: time.Now(), line: line}
			if x.early {
				cfg.Backends = append(cfg.Backends, drawnEarly{b})
			} else {
				cfg.Backends = append(cfg.Backends, b)
			}
		}
		if x.early {
			for range cfg.Core.Models {
				cfg.Gates = append(cfg.Gates, gate.New(&always{}, 1))
			}
		}
		if x.judged {
			cfg.Log = slog.New(slog.DiscardHandler)
			cfg.Health = &HealthConfig{Judge: x.health(), Every: judgedEvery}
			for w := range pool.WorkerID(workersInParity) {
				cfg.Health.Telemetry = append(cfg.Health.Telemetry, nil)
				if w == 1 || w >= 3 {
					cfg.Health.Telemetry[w] = heard{x, w, time.Now()}
				}
			}
		}
		l, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		l.done.Go(l.clinic.run)
		var all sync.WaitGroup
		for i, a := range x.arrivals {
			all.Go(func() {
				time.Sleep(time.Duration(a.At))
				ends[i] = x.ask(t, l, i)
			})
		}
		for _, ev := range x.anew() {
			all.Go(func() {
				time.Sleep(time.Duration(ev.At))
				x.happen(l, ev, line)
			})
		}
		all.Wait()
		if err := l.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return h, ends
}

// ask sends arrival i through the loop and checks its answer by content.
func (x *experiment) ask(t *testing.T, l *Loop, i int) end {
	a := &x.arrivals[i]
	r := &Request{Model: a.Model, Size: a.Size, Timeout: a.Timeout, Priority: a.Priority, MergeKey: a.MergeKey, Mode: earlyexit.Latency}
	r.Call.Request = new(oip.Request)
	if err := r.Call.Request.Parse(rowsOf(i, 0, a.Size, ""), -1, nil); err != nil {
		t.Error(err)
	}
	err := do(l, r)
	var none *Refusal
	switch {
	case err == nil:
		version := fmt.Sprint(r.Worker)
		if r.Parts > 1 {
			version = "" // the workers do not agree on it
			x.split.Add(1)
		}
		if got, want := string(r.Call.Response.Body), string(rowsOf(i, 0, a.Size, version)); got != want && r.Parts == 1 || rowsIn(got) != rowsIn(want) {
			t.Errorf("request %d is answered %q in %d parts, want %q", i, got, r.Parts, want)
		}
		return 0
	case errors.As(err, &none):
		return end(none.Reason)
	}
	return refused
}

// rowsEach keeps the rows of different requests apart.
const rowsEach = 1000

// rowsOf is a request for n rows of arrival i, or with a version the response,
// which echoes them.
func rowsOf(i, from, n int, version string) []byte {
	rows := make([]string, n)
	for k := range rows {
		rows[k] = strconv.Itoa(i*rowsEach + from + k)
	}
	tensor := fmt.Sprintf(`[{"name":"x","datatype":"INT32","shape":[%d],"data":[%s]}]`, n, strings.Join(rows, ","))
	if version == "" {
		return fmt.Appendf(nil, `{"inputs":%s}`, tensor)
	}
	return fmt.Appendf(nil, `{"model_name":"m","model_version":"%s","outputs":%s}`, version, tensor)
}

// rowsIn is the data of a body.
func rowsIn(body string) string {
	_, rows, _ := strings.Cut(body, `"data":[`)
	return strings.TrimRight(rows, "]}")
}

// drawn is a backend that goes as the experiment draws it.
type drawn struct {
	x      *experiment
	worker pool.WorkerID
	epoch  time.Time
	line   *line
}

// line lets executions that are called off at one instant end in the order of
// their start, as they do in the simulator: what starts in their place, and on
// which worker, depends on it.
type line struct {
	mu      sync.Mutex
	moved   *sync.Cond
	started map[execKey]int
	order   map[dispatch.BatchID]int
	waiting []int // that are called off, by the order of their start
}

// execKey names an execution in terms that a backend knows.
type execKey struct {
	worker pool.WorkerID
	at     mono.Time
	row    int
}

func newLine() *line {
	l := &line{started: map[execKey]int{}, order: map[dispatch.BatchID]int{}}
	l.moved = sync.NewCond(&l.mu)
	return l
}

func (l *line) trace(ev dispatch.Event, actions []dispatch.Action, starts [][]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ev.Kind == dispatch.Fail || ev.Kind == dispatch.Finish {
		n := l.order[ev.Batch]
		l.waiting = slices.DeleteFunc(l.waiting, func(w int) bool { return w == n })
	}
	for _, a := range actions {
		switch a.Kind {
		case dispatch.Start:
			n := len(l.started)
			l.order[a.Batch], l.started[execKey{a.Worker, ev.At, starts[0][0]}] = n, n
			starts = starts[1:]
		case dispatch.CancelBatch:
			l.waiting = append(l.waiting, l.order[a.Batch])
			slices.Sort(l.waiting)
		}
	}
	l.moved.Broadcast()
}

// wait returns when it is the execution's turn to end.
func (l *line) wait(k execKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := l.started[k]; len(l.waiting) > 0 && l.waiting[0] != n; {
		l.moved.Wait()
	}
}

func (b drawn) Run(ctx context.Context, model string, calls []*backend.Call) error {
	return b.run(ctx, model, calls, nil)
}

// drawnEarly is drawn with answers that come before the end.
type drawnEarly struct{ drawn }

func (drawnEarly) Exits(string) *backend.Exits { return &backend.Exits{Ramps: 2} }

func (b drawnEarly) RunStaged(ctx context.Context, model string, calls []*backend.Call, w backend.Watcher) error {
	var sizes []int
	for _, c := range calls {
		sizes = append(sizes, int(c.Request.Inputs[0].Shape[0]))
	}
	w.Begin(sizes)
	return b.run(ctx, model, calls, w)
}

// run carries out an execution as it is drawn, and tells w of early answers.
func (b drawn) run(ctx context.Context, model string, calls []*backend.Call, w backend.Watcher) error {
	at := mono.Time(time.Since(b.epoch))
	var members []int
	items := 0
	for _, c := range calls {
		first, _, _ := strings.Cut(strings.Trim(string(c.Request.Inputs[0].JSON), "[] "), ",")
		row, err := strconv.Atoi(strings.TrimSpace(first))
		if err != nil {
			panic(err)
		}
		members = append(members, row)
		items += int(c.Request.Inputs[0].Shape[0])
	}
	o := b.x.outcome(b.worker, pool.ModelID(model[0]-'a'), at, members, items)
	answer := func(k int) {
		c := calls[k]
		n := int(c.Request.Inputs[0].Shape[0])
		c.Response.Body = append(c.Response.Body[:0], rowsOf(members[k]/rowsEach, members[k]%rowsEach, n, fmt.Sprint(b.worker))...)
		c.Response.HeadLength = -1
	}
	left := map[int]bool{}
	waits := append(slices.Clone(o.Early), sim.Early{Member: -1, After: o.Took})
	for _, e := range waits {
		select {
		case <-time.After(e.After - time.Since(b.epoch) + time.Duration(at)):
		case <-ctx.Done():
			b.line.wait(execKey{b.worker, at, members[0]})
			return backend.ContextError(ctx)
		}
		if e.Member >= 0 && e.After < o.Took {
			answer(e.Member)
			left[e.Member] = true
			w.Answered(e.Member)
		}
	}
	switch o.Fault {
	case dispatch.WorkerFault:
		return &backend.Error{Class: backend.Server, Status: 500, Message: "drawn"}
	case dispatch.RequestFault:
		return &backend.Error{Class: backend.Client, Status: 400, Message: "drawn"}
	case dispatch.Lost:
		return &backend.Error{Class: backend.Connect, Status: 502, Message: "drawn"}
	case dispatch.Unserved:
		return &backend.Error{Class: backend.Connect, Status: 502, Message: "drawn", Unserved: true}
	}
	for k := range calls {
		if !left[k] {
			answer(k)
		}
	}
	return nil
}

func (b drawn) Probe(context.Context, string) (backend.Status, error) { return backend.Status{}, nil }
func (b drawn) Describe() string                                      { return "drawn" }
func (b drawn) Close() error                                          { return nil }
