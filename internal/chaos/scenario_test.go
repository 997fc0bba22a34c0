package chaos

import (
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// The scenarios run real processes for minutes: they are asked for by
// MOTLEY_CHAOS=1, which `make chaos` sets. With -short they are fewer and shorter.
// MOTLEY_CHAOS_SEED is the seed, 1 by default.
var (
	wanted   = os.Getenv("MOTLEY_CHAOS") != ""
	binaries Binaries
	seed     = uint64(1)
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if !wanted {
		return m.Run()
	}
	if text := os.Getenv("MOTLEY_CHAOS_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			fmt.Fprintf(os.Stderr, "MOTLEY_CHAOS_SEED: %q: must be a whole number\n", text)
			return 2
		}
	}
	dir, err := os.MkdirTemp("", "chaos")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if binaries, err = Build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Printf("seed %d: make chaos SEED=%d does the same again\n", seed, seed)
	return m.Run()
}

// asked skips a scenario that was not asked for.
func asked(t *testing.T) {
	t.Helper()
	if !wanted {
		t.Skip("NOT RUN: starts processes and takes its time; MOTLEY_CHAOS=1 or make chaos asks for it")
	}
}

// long leaves a scenario out of the short runs.
func long(t *testing.T) {
	t.Helper()
	asked(t)
	if testing.Short() {
		t.Skip("left out of short runs")
	}
}

// seedOf is the scenario's own.
func seedOf(t *testing.T) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %s", seed, t.Name())
	return h.Sum64() >> 16
}

func dice(t *testing.T) *rand.Rand { return rand.New(rand.NewPCG(seedOf(t), 0x64696365)) }

// span is d, or a half of it in short runs.
func span(d time.Duration) time.Duration {
	if testing.Short() {
		return d / 2
	}
	return d
}

// Scene is a scenario: what is injured, and what the clients may see of it.
type Scene struct {
	Options
	Traffic // zero fields: 200 requests a second of the usual mix
	// Lost is the share of all requests that are owed an answer which may be
	// rejected or fail. The others may not.
	Lost float64
	// Failing is the share that may fail, 0: as many as may be lost; negative: none.
	Failing float64
	// Broken is set where connections to the router may break.
	Broken bool
	// Within is how soon goodput is to be back, 0: 5 s.
	Within time.Duration
	// Again is set where the router that counted at first is not the last one.
	Again bool
	Slack Slack
}

// tries is how often a scenario is played where the machine has something else to
// do meanwhile, so that how much was lost says little of the router.
const tries = 3

// play runs a scenario: some calm traffic, injure, and traffic until goodput is
// back. It judges, and returns what became of the requests. What may never happen is
// judged in any case; how much was lost, and how soon goodput was back, not where
// the clients themselves were late or the calm was none: it is played again then.
func (s Scene) play(t *testing.T, injure func(w *World, r *Run)) []Record {
	t.Helper()
	asked(t)
	if s.Rate == 0 {
		s.Rate = 200
	}
	if s.Mix == (Mix{}) {
		s.Mix = Usual
	}
	if s.Within == 0 {
		s.Within = 5 * time.Second
	}
	if s.Slack == (Slack{}) {
		s.Slack = Slack{Goroutines: 12, Descriptors: 8 + 4*max(4, len(s.Types)), RSS: 2}
	}
	s.Options.Seed = seedOf(t)
	if s.Traffic.Seed == 0 {
		s.Traffic.Seed = seedOf(t)
	}
	for try := 1; ; try++ {
		w := open(t, s.Options)
		records, end := s.once(t, w, injure)
		complaints := s.losses(records, end)
		busy := disturbance(records)
		if len(complaints) == 0 || busy == "" || try == tries {
			for _, c := range complaints {
				t.Error(c)
			}
			if t.Failed() {
				t.Logf("the router's log ends: %s", w.Log("router"))
			}
			return records
		}
		t.Logf("AGAIN, since the machine was busy: %s; %s", busy, complaints)
		must(t, w.Close())
	}
}

// once plays the scenario in a world, judges what may never happen, and tells what
// became of the requests and when injure was done.
func (s Scene) once(t *testing.T, w *World, injure func(w *World, r *Run)) ([]Record, time.Duration) {
	t.Helper()
	warm := Begin(w.Address, Traffic{Rate: s.Rate, Mix: Usual, Seed: s.Traffic.Seed + 1})
	Wait(700 * time.Millisecond)
	if _, err := warm.Stop(); err != nil {
		t.Error(err)
	}
	held, before := settled(t, w)

	r := Begin(w.Address, s.Traffic)
	defer r.Stop() // where injure ends the test; else it has ended
	Wait(calmTime)
	injure(w, r)
	end := r.Now()
	for back := false; !back && r.Now() < end+s.Within+2*time.Second; {
		Wait(bucket)
		_, back = recovered(r.Records(), end, Target)
	}
	records, err := r.Stop()
	if err != nil {
		t.Error(err)
	}
	all := count(records, nil)
	t.Logf("%v; owed an answer: %v", all, count(records, (*Record).ordinary))
	t.Logf("goodput by 100 ms: %s", sketch(records, Target))
	never := []Outcome{Wrong, Silent, Blamed}
	if !s.Broken {
		never = append(never, Refused, Cut)
	}
	for _, o := range never {
		if all[o] > 0 {
			t.Errorf("%d requests are %s: %s", all[o], o, examples(records, nil, o))
		}
	}
	if !s.Again {
		if err := w.Books(before, records, 5*time.Second); err != nil {
			t.Errorf("books: %v", err)
		}
		now, err := w.Leaks(held, s.Slack, 8*time.Second)
		if err != nil {
			t.Errorf("leaks: %v", err)
		}
		t.Logf("the router held %v, and holds %v", held, now)
	}
	return records, end
}

// calmTime is how long nothing is injured at first.
const calmTime = time.Second

// losses says what more was lost than may be, and whether goodput was back too
// late after an instant.
func (s Scene) losses(records []Record, end time.Duration) (complaints []string) {
	say := func(format string, args ...any) { complaints = append(complaints, fmt.Sprintf(format, args...)) }
	if took, back := recovered(records, end, Target); !back || took > s.Within {
		say("goodput is not back %v after the end, at %v, of what was done", s.Within, end.Round(time.Millisecond))
	}
	owed := count(records, (*Record).ordinary)
	lost := owed[Rejected] + owed[Failed]
	if may := int(s.Lost * float64(owed.Total())); lost > may {
		say("%d requests of %d were rejected or failed, %d may: %s", lost, owed.Total(), may, examples(records, (*Record).ordinary, Rejected, Failed))
	}
	if may := int(max(s.Failing, 0) * float64(owed.Total())); s.Failing != 0 && owed[Failed] > may {
		say("%d requests of %d failed, %d may: %s", owed[Failed], owed.Total(), may, examples(records, (*Record).ordinary, Failed))
	}
	return complaints
}

// disturbance says how it shows that the machine had something else to do; "": it
// does not.
func disturbance(records []Record) string {
	var late time.Duration
	for i := range records {
		late = max(late, records[i].Sent-records[i].At)
	}
	if late > 100*time.Millisecond {
		return fmt.Sprintf("a client was late by %v", late.Round(time.Millisecond))
	}
	calm := count(records, func(r *Record) bool { return r.ordinary() && r.At < calmTime-Target })
	if calm[Answered] < calm.Total() {
		return fmt.Sprintf("%v before anything was done", calm)
	}
	return ""
}

// open starts a world that ends with the test.
func open(t *testing.T, o Options) *World {
	t.Helper()
	w, err := NewWorld(binaries, t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Errorf("%v; its log ends: %s", err, w.Log("router"))
		}
	})
	return w
}

// settled waits until the router is idle, and returns what it holds and has
// counted then.
func settled(t *testing.T, w *World) (Holding, Metrics) {
	t.Helper()
	var m Metrics
	for range 100 {
		var err error
		m, err = w.Metrics()
		must(t, err)
		if m.Sum("motley_queue_requests")+m.Sum("motley_in_flight_requests") == 0 {
			h, err := w.Holding()
			if err != nil {
				t.Fatal(err)
			}
			return h, m
		}
		Wait(20 * time.Millisecond)
	}
	t.Fatalf("the router does not come to rest: %v requests are queued, %v in flight, workers run %v batches", m.Sum("motley_queue_requests"),
		m.Sum("motley_in_flight_requests"), m.Sum("motley_worker_in_flight_batches"))
	return Holding{}, nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
