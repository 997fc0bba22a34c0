package chaos

import (
	"testing"
	"time"
)

// stream is 100 requests a second for some seconds, of which those due in bad are lost.
func stream(seconds int, bad func(at time.Duration) bool) (all []Record) {
	for i := range 100 * seconds {
		at := time.Duration(i) * 10 * time.Millisecond
		r := Record{Ask: Ask{ID: int64(i + 1), Rows: 1}, At: at, Sent: at + time.Millisecond, Done: at + 5*time.Millisecond, Outcome: Answered}
		if bad(r.At) {
			r.Outcome = Failed
		}
		all = append(all, r)
	}
	return all
}

func TestRecovered(t *testing.T) {
	ms := time.Millisecond
	for _, c := range []struct {
		name       string
		bad        func(at time.Duration) bool
		after      time.Duration
		took       time.Duration
		ok         bool
		unsettled  bool // the last two seconds
		late       bool // answered after the target
		leaversBad bool
	}{
		{name: "nothing happened", bad: func(time.Duration) bool { return false }, after: 2000 * ms, ok: true},
		{name: "back at once", bad: func(at time.Duration) bool { return at >= 1000*ms && at < 2000*ms }, after: 2000 * ms, ok: true},
		{name: "back after 1.5 s", bad: func(at time.Duration) bool { return at >= 1000*ms && at < 3500*ms }, after: 2000 * ms, took: 1500 * ms, ok: true},
		{name: "lost again", bad: func(at time.Duration) bool { return at >= 1000*ms && at < 2000*ms || at >= 5000*ms }, after: 2000 * ms},
		{name: "one in ten lost", bad: func(at time.Duration) bool { return at/(10*ms)%10 == 0 }, after: 2000 * ms},
		{name: "one in a hundred lost", bad: func(at time.Duration) bool { return at%time.Second == 0 }, after: 2000 * ms, ok: true},
		{name: "not known yet", bad: func(time.Duration) bool { return false }, after: 4500 * ms, unsettled: true},
		{name: "answered too late", bad: func(time.Duration) bool { return false }, after: 2000 * ms, late: true},
	} {
		all := stream(6, c.bad)
		for i := range all {
			if c.unsettled && all[i].At >= 4*time.Second {
				all[i].Outcome = Pending
			}
			if c.late {
				all[i].Done = all[i].At + time.Second
			}
		}
		took, ok := recovered(all, c.after, 500*ms)
		if ok != c.ok || took < c.took-50*ms || took > c.took+50*ms {
			t.Errorf("%s: %v, %v, want %v, %v", c.name, took, ok, c.took, c.ok)
		}
	}
}

func TestSketch(t *testing.T) {
	all := stream(2, func(at time.Duration) bool { return at >= 500*time.Millisecond && at < time.Second })
	all[3].Outcome = Cut
	if got, want := sketch(all, time.Second), "9FFFF00000 FFFFFFFFFF"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
