package load

import (
	"fmt"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"motley/internal/mono"
)

// Tally counts records and keeps the laws of their times. Its memory does not
// grow with them.
type Tally struct {
	Latency *hdr.Histogram // ns, of what was answered well, from the scheduled instant
	Own     *hdr.Histogram // ns, of what was sent: see Record.Own
	Wait    *hdr.Histogram // ns, of what had to wait for a connection

	Scheduled int
	By        [outcomes]int
	Statuses  map[uint16]int // of Status
	Good      int            // answered well within QoS
	Finished  int            // answered well in the window, whenever they were scheduled
	Rows      int            // of what was answered well
	Labelled  int            // rows whose label is known
	Right     int            // of them, classified as labelled
	Exits     [128]int       // by exit
	Marked    int            // answers that named their exit

	qos, warm, span time.Duration
	last            mono.Time // something ended
	merged          float64   // s of the tallies that were merged into this one
}

// NewTally counts what becomes of one phase of the plan. qos 0: no target.
func (p *Plan) NewTally(qos time.Duration) *Tally {
	t := newTally(2*p.Timeout + time.Second) // the timeout counts twice, and a loop may come late
	t.qos, t.warm = qos, p.Warmup
	if p.Requests == 0 {
		t.span = p.Duration
	}
	return t
}

// newTally keeps times up to longest, to three digits.
func newTally(longest time.Duration) *Tally {
	h := func() *hdr.Histogram { return hdr.New(1, int64(longest), 3) }
	return &Tally{Latency: h(), Own: h(), Wait: h(), Statuses: map[uint16]int{}}
}

// Cut says that the phase was ended before its time: it was measured until the
// last request ended.
func (t *Tally) Cut() { t.span = 0 }

// Seconds is how long was measured. Where a number of requests was asked for,
// it is until the last one ended.
func (t *Tally) Seconds() float64 {
	switch {
	case t.last == 0:
		return t.merged
	case t.span > 0:
		return t.merged + t.span.Seconds()
	}
	return t.merged + max(0, t.last.Sub(mono.Time(t.warm)).Seconds())
}

func note(h *hdr.Histogram, d time.Duration) {
	if h.RecordValue(max(0, int64(d))) != nil {
		_ = h.RecordValue(h.HighestTrackableValue()) // it is in range
	}
}

// Add counts a record.
func (t *Tally) Add(r *Record) {
	end := r.At.Add(r.Done)
	t.last = max(t.last, end)
	if since := end.Sub(mono.Time(t.warm)); r.Outcome == OK && since >= 0 && (t.span == 0 || since < t.span) {
		t.Finished++
	}
	if r.Warm {
		return
	}
	t.Scheduled++
	t.By[r.Outcome]++
	if r.Outcome.Sent() {
		note(t.Own, r.Own())
		if r.Free > 0 {
			note(t.Wait, r.Free)
		}
	}
	switch r.Outcome {
	case Status:
		t.Statuses[r.Status]++
	case OK:
		note(t.Latency, r.Done)
		if t.qos > 0 && r.Done <= t.qos {
			t.Good++
		}
		t.Rows += int(r.Rows)
		if r.Labelled {
			t.Labelled += int(r.Rows)
			t.Right += int(r.Right)
		}
		if r.Exit >= 0 {
			t.Exits[r.Exit]++
			t.Marked++
		}
	}
}

// Share is the part of all scheduled requests, 0 … 1, that was answered well
// within QoS.
func (t *Tally) Share() float64 {
	if t.Scheduled == 0 {
		return 0
	}
	return float64(t.Good) / float64(t.Scheduled)
}

// Brief is a few words on where the phase stands.
func (t *Tally) Brief() string {
	return fmt.Sprintf("%d requests, %d failed, p50 %.4g ms, p99 %.4g ms", t.Scheduled, t.Scheduled-t.By[OK],
		float64(t.Latency.ValueAtQuantile(50))/1e6, float64(t.Latency.ValueAtQuantile(99))/1e6)
}
