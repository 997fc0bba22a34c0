package chaos

import (
	"slices"
	"testing"
	"time"
)

// TestOverload: ten times what the workers carry. Goodput stays at its peak, who
// is refused is told so at once, and the router does not grow.
func TestOverload(t *testing.T) {
	long(t)
	w := open(t, Options{Types: []string{"slow", "slow"}, Seed: seedOf(t)})
	mix := Mix{Binary: 0.5, Named: 0.5, Rows: 8}
	// In batches of 32 the pool carries some 380 rows a second, or 84 requests.
	peak := 0.0
	for _, rate := range []float64{70, 85, 100} {
		good, _ := load(t, w, Traffic{Rate: rate, Mix: mix, Seed: seedOf(t)}, span(4*time.Second))
		peak = max(peak, good)
	}
	before, err := w.Holding()
	must(t, err)
	over, records := load(t, w, Traffic{Rate: 10 * peak, Mix: mix, Seed: seedOf(t) + 1}, span(8*time.Second))
	after, err := w.Holding()
	must(t, err)
	t.Logf("peak %.0f requests a second in time, %.0f at %.0f a second; %v, then %v", peak, over, 10*peak, before, after)
	if over < 0.9*peak { // a short look at a small machine; benchmarks/overload measures it
		t.Errorf("goodput falls from %.1f to %.1f requests a second", peak, over)
	}
	if float64(after.RSS) > 1.5*float64(before.RSS) {
		t.Errorf("the router grows from %v to %v", before, after)
	}
	c := count(records, nil)
	if c[Answered]+c[Rejected] != c.Total() {
		t.Errorf("%v: %s", c, examples(records, nil, Wrong, Failed, Blamed, Silent, Cut, Refused))
	}
	for i := range records {
		if r := &records[i]; r.Outcome == Rejected && (r.Status != 429 || r.Retry <= 0) {
			t.Fatalf("refused with %d, to come back after %v: %s", r.Status, r.Retry, r.Detail)
		}
	}
}

// load sends traffic for so long, and returns how many of its requests per second
// were answered in time, after the first second.
func load(t *testing.T, w *World, traffic Traffic, d time.Duration) (good float64, records []Record) {
	t.Helper()
	r := Begin(w.Address, traffic)
	Wait(d)
	records, err := r.Stop()
	must(t, err)
	const skip = 500 * time.Millisecond
	n := 0
	for i := range records {
		if one := &records[i]; one.Outcome == Answered && one.At >= skip && one.Done-one.Sent <= Target {
			n++
		}
	}
	return float64(n) / (d - skip).Seconds(), records
}

// TestRetryAfter: who is refused for load and comes back when told to is
// answered, where the load has ended. The time told is of the order of the time
// that the work there is takes.
func TestRetryAfter(t *testing.T) {
	long(t)
	w := open(t, Options{Types: []string{"fast", "slow"}, Seed: seedOf(t)})
	r := Begin(w.Address, Traffic{Rate: 1200, Mix: Mix{Rows: 8}, Seed: seedOf(t)})
	Wait(1500 * time.Millisecond)
	records, err := r.Stop()
	must(t, err)
	var told []time.Duration
	var last *Record
	for i := range records {
		if one := &records[i]; one.Outcome == Rejected {
			told = append(told, one.Retry)
			if last == nil || one.Done > last.Done {
				last = one
			}
		}
	}
	if last == nil {
		t.Fatalf("nobody was refused: %v", count(records, nil))
	}
	slices.Sort(told)
	t.Logf("%d refused, to come back after %v, %v, %v (lowest, median, highest)", len(told), told[0], told[len(told)/2], told[len(told)-1])
	if most := told[len(told)-1]; most > 2*Target {
		t.Errorf("told to come back after %v, when all that waits is done within %v", most, Target)
	}
	// Stop waited for the last outcome; those who were refused last come back now.
	Wait(last.Retry)
	c := NewClient(w.Address)
	defer c.Close()
	for range 5 {
		again := Record{Ask: Ask{ID: take(1), Rows: 8}}
		if c.Do(&again); again.Outcome != Answered {
			t.Errorf("came back after %v as told, and was not answered: %s", last.Retry, examples([]Record{again}, nil, again.Outcome))
		}
	}
}
