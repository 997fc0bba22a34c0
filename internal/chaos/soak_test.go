package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"
)

// TestSoak: steady traffic for as long as MOTLEY_SOAK says (`make soak`: 30
// minutes), with workers that are slow, broken or away for a while, one after the
// other. What the router holds, and the 99th percentile, may not grow: a trend that
// is more than chance, and more than a little, fails.
func TestSoak(t *testing.T) {
	text := os.Getenv("MOTLEY_SOAK")
	if text == "" {
		t.Skip("NOT RUN: takes half an hour; MOTLEY_SOAK=30m or make soak asks for it")
	}
	length, err := time.ParseDuration(text)
	must(t, err)
	every := max(length/60, 2*time.Second)
	w := open(t, Options{Proxied: true, Seed: seedOf(t)})
	r := Begin(w.Address, Traffic{Rate: 150, Mix: Usual, Seed: seedOf(t)})
	defer r.Stop()
	Wait(max(length/30, 5*time.Second)) // what is learned and kept at first
	_ = r.take()

	stop := make(chan struct{})
	done := make(chan error, 1)
	go func() { done <- drift(w, dice(t), stop) }()
	var samples []sample
	var all Counts
	for begin := time.Now(); time.Since(begin) < length; {
		Wait(every)
		records := r.take()
		one := newSample(records)
		one.Holding, err = w.Holding()
		must(t, err)
		samples = append(samples, one)
		fmt.Printf("%6s  %v, p99 %.1f ms (clients late by %.1f ms); %v\n", time.Since(begin).Round(time.Second), one.Holding, one.p99, one.late, one.counts)
		for o, n := range one.counts {
			all[o] += n
		}
		if bad := one.counts[Wrong] + one.counts[Silent] + one.counts[Blamed] + one.counts[Cut] + one.counts[Refused]; bad > 0 {
			t.Errorf("%s", examples(records, nil, Wrong, Silent, Blamed, Cut, Refused))
		}
	}
	close(stop)
	must(t, <-done)
	t.Logf("%v: %v", length, all)
	for _, c := range []struct {
		name          string
		of            func(s *sample) float64
		share, amount float64 // that it may grow
		timed         bool
	}{
		{"memory, MB", func(s *sample) float64 { return float64(s.RSS) / 1e6 }, 0.1, 4, false},
		{"goroutines", func(s *sample) float64 { return float64(s.Goroutines) }, 0.1, 5, false},
		{"descriptors", func(s *sample) float64 { return float64(s.Descriptors) }, 0.2, 10, false},
		{"p99, ms", func(s *sample) float64 { return s.p99 }, 0.25, 20, true},
	} {
		var v []float64
		for i := range samples {
			if c.timed && samples[i].disturbed() {
				continue
			}
			v = append(v, c.of(&samples[i]))
		}
		if len(v) < len(samples)/2 {
			t.Errorf("%s: the machine had something else to do in %d of %d samples, which says nothing of the router", c.name, len(samples)-len(v), len(samples))
			continue
		}
		tr := trend(v)
		t.Logf("%s: from %.1f to %.1f by the line through %d samples, lowest %.1f, highest %.1f; a series without a trend looks so with probability %.3f",
			c.name, tr.Start, tr.End, len(v), slices.Min(v), slices.Max(v), tr.P)
		if tr.rises(c.share, c.amount) {
			t.Errorf("%s: grows from %.1f to %.1f", c.name, tr.Start, tr.End)
		}
	}
}

// sample is a stretch of time.
type sample struct {
	Holding
	p99    float64 // ms, of the requests answered that were owed it
	late   float64 // ms, the clients' own lateness, 99th percentile
	counts Counts
}

func newSample(records []Record) (s sample) {
	s.counts = count(records, nil)
	var took, late []time.Duration
	for i := range records {
		r := &records[i]
		late = append(late, r.Sent-r.At)
		if r.Outcome == Answered && r.ordinary() {
			took = append(took, r.Done-r.Sent)
		}
	}
	p99 := func(d []time.Duration) float64 {
		if slices.Sort(d); len(d) == 0 {
			return 0
		}
		return float64(d[len(d)*99/100]) / 1e6
	}
	s.p99, s.late = p99(took), p99(late)
	return s
}

// disturbed tells whether the machine had something else to do, so that the
// percentile says little of the router.
func (s *sample) disturbed() bool { return s.late > 20 }

// drift has one worker after another be slow, broken or away, for some seconds
// each, until stop is closed.
func drift(w *World, rng *rand.Rand, stop <-chan struct{}) error {
	for {
		v := w.Workers[rng.IntN(len(w.Workers))]
		one := injury{for_: time.Duration(2+rng.IntN(4)) * time.Second, worker: slices.Index(w.Workers, v)}
		switch rng.IntN(5) {
		case 0:
			one.what = "kill"
		case 1:
			one.what = fmt.Sprintf("delay,factor=%.1f", 1.2+rng.Float64())
		case 2:
			one.what = "500,share=0.1"
		case 3:
			one.what, one.plan = "network", &Plan{Delay: time.Millisecond, Jitter: 5 * time.Millisecond, Cut: 0.005}
		case 4:
			one.what = "cut,share=0.1"
		}
		if err := one.do(v); err != nil {
			return err
		}
		select {
		case <-stop:
			return nil
		case <-time.After(time.Duration(1+rng.IntN(3)) * time.Second):
		}
	}
}
