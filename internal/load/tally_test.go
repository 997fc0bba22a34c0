package load

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"motley/internal/mono"
)

// TestTally holds the counts and percentiles against sorted lists, and a tally
// of two phases against those of each.
func TestTally(t *testing.T) {
	p := testPlan(t, "exponential")
	const qos = 20 * time.Millisecond
	rng := rand.New(rand.NewPCG(1, 2))
	merged := p.NewTally(qos)
	var latencies, own []time.Duration
	good, right, labelled, finished := 0, 0, 0, 0
	for range 2 {
		tally := p.NewTally(qos)
		for range 5000 {
			at := mono.Time(rng.Int64N(int64(1100 * time.Millisecond)))
			free := time.Duration(rng.IntN(2)) * time.Duration(rng.Int64N(int64(time.Millisecond)))
			sent := free + time.Duration(rng.Int64N(int64(100*time.Microsecond)))
			done := sent + time.Duration(rng.ExpFloat64()*float64(10*time.Millisecond))
			r := Record{At: at, Free: free, Sent: sent, Done: done, Rows: 3, Status: 200, Outcome: Outcome(rng.IntN(2)), Exit: int8(rng.IntN(3) - 1), Warm: at < mono.Time(p.Warmup)}
			if r.Outcome == Status {
				r.Status = 429
			}
			if r.Outcome == OK && rng.IntN(2) == 0 {
				r.Labelled, r.Right = true, uint32(rng.IntN(4))
			}
			tally.Add(&r)
			if end := at.Add(done); r.Outcome == OK && end >= mono.Time(p.Warmup) && end < mono.Time(p.Warmup+p.Duration) {
				finished++
			}
			if r.Warm {
				continue
			}
			own = append(own, sent-free)
			if r.Outcome == OK {
				latencies = append(latencies, done)
				if done <= qos {
					good++
				}
				if r.Labelled {
					right, labelled = right+int(r.Right), labelled+3
				}
			}
		}
		merged.Merge(tally)
	}
	slices.Sort(latencies)
	slices.Sort(own)
	s := merged.Summary()
	within := func(name string, got *float64, sorted []time.Duration, q float64) {
		// The histogram rounds the rank where this rounds it up.
		rank := int(math.Ceil(q * float64(len(sorted))))
		low, high := float64(sorted[max(0, rank-2)])/1e6, float64(sorted[rank-1])/1e6
		if got == nil || *got < 0.999*low || *got > 1.001*high {
			t.Errorf("%s: %v ms, want %v to %v", name, got, low, high)
		}
	}
	within("p50", s.P50MS, latencies, 0.5)
	within("p90", s.P90MS, latencies, 0.9)
	within("p95", s.P95MS, latencies, 0.95)
	within("p99", s.P99MS, latencies, 0.99)
	within("p99.9", s.P999MS, latencies, 0.999)
	within("max", s.MaxMS, latencies, 1)
	within("own p50", s.OwnP50MS, own, 0.5)
	within("own p99", s.OwnP99MS, own, 0.99)
	if s.Scheduled != len(own) || s.OK != len(latencies) || s.Sent != len(own) || s.Statuses["429"] != len(own)-len(latencies) || s.Errors["status"] != s.Statuses["429"] {
		t.Errorf("%+v, want %d of %d well", s, len(latencies), len(own))
	}
	if s.Seconds != 2 || s.AchievedQPS != float64(finished)/2 || *s.GoodputQPS != float64(good)/2 || *s.QoSOK != float64(good)/float64(len(own)) {
		t.Errorf("%v s, achieved %v, good %v, share %v; want 2, %v, %v", s.Seconds, s.AchievedQPS, *s.GoodputQPS, *s.QoSOK, float64(finished)/2, float64(good)/2)
	}
	if s.Labelled != labelled || *s.Accuracy != float64(right)/float64(labelled) || s.Exits["0"]+s.Exits["1"] != merged.Marked || len(s.Exits) != 2 {
		t.Errorf("%d labelled, accuracy %v, exits %v", s.Labelled, *s.Accuracy, s.Exits)
	}
}

// TestTallyOfNothing: what is not known is null.
func TestTallyOfNothing(t *testing.T) {
	s := testPlan(t, "constant").NewTally(time.Second).Summary()
	if s.P50MS != nil || s.QoSOK != nil || s.Accuracy != nil || s.GoodputQPS != nil || s.Seconds != 0 || s.OfferedQPS != 0 || len(s.Errors) != int(outcomes)-1 {
		t.Errorf("%+v", s)
	}
}

// TestCut: a phase that was cut short is measured until its last answer.
func TestCut(t *testing.T) {
	tally := testPlan(t, "constant").NewTally(0)
	tally.Add(&Record{At: mono.Time(300 * time.Millisecond), Sent: 1, Done: 100 * time.Millisecond})
	if got := tally.Seconds(); got != 1 {
		t.Errorf("%v s, want 1", got)
	}
	if tally.Cut(); math.Abs(tally.Seconds()-0.3) > 1e-9 {
		t.Errorf("%v s, want 0.3", tally.Seconds())
	}
}
