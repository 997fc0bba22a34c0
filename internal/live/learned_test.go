package live

import (
	"testing"
	"testing/synctest"
	"time"

	"motley/internal/backend/backendtest"
	"motley/internal/dispatch"
	"motley/internal/pool"
)

// Learned gives copies of what has learned something, after Close too.
func TestLearned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		untaught, err := pool.NewProfile([]pool.Point{{Batch: 1, Mean: time.Millisecond}})
		if err != nil {
			t.Fatal(err)
		}
		l := setup{
			fakes: []*backendtest.Fake{{Latency: takes(4 * time.Millisecond)}},
			core: dispatch.Config{
				Models:   []dispatch.Model{{Name: "a", QoS: time.Minute}, {Name: "b", QoS: time.Minute}},
				Profiles: [][]*pool.Profile{nil, {untaught}},
			},
			state: pool.Up,
		}.start(t)
		if got := l.Learned(); len(got) != 0 {
			t.Errorf("before the first batch: %+v", got)
		}
		r := ask("x", 1)
		answered(t, r, do(l, r))
		first := l.Learned()
		if len(first) != 1 || first[0].Model != "a" || first[0].Profile.Samples() != 1 || first[0].Profile.Mean(1) != 4*time.Millisecond {
			t.Fatalf("after one batch of 4ms: %+v", first)
		}
		first[0].Profile.Observe(1, time.Hour) // a copy: nobody else's business
		r = ask("y", 1)
		answered(t, r, do(l, r))
		closed(t, l)
		last := l.Learned()
		if len(last) != 1 || last[0].Profile.Samples() != 2 || last[0].Profile.Mean(1) != 4*time.Millisecond {
			t.Errorf("after Close: %+v", last)
		}
		for _, p := range l.Snapshot().Profiles {
			want := ProfileState{Model: "b", Known: true, FixedMS: 0.5, PerItemMS: 0.5}
			if p.Model == "a" {
				want = ProfileState{Model: "a", Known: true, Samples: 2}
			}
			if p.Model != want.Model || p.Known != want.Known || p.Samples != want.Samples || p.Drifts != 0 || p.Supposed || len(p.Means) != len(meanSizes) {
				t.Errorf("snapshot %+v, want %+v", p, want)
			}
		}
	})
}

// An unknown profile shows no estimates, and one that drifts tells how often.
func TestProfileState(t *testing.T) {
	p, err := pool.NewProfile(nil)
	if err != nil {
		t.Fatal(err)
	}
	if s := profileState("m", "t", p); s.Known || s.Supposed || len(s.Means) != 0 || s.Means == nil {
		t.Errorf("nothing known: %+v", s)
	}
	for i := range 200 {
		took := 4 * time.Millisecond
		if i >= 100 {
			took *= 10
		}
		p.Observe(8, took)
	}
	s := profileState("m", "t", p)
	if !s.Known || s.Samples != 200 || s.Replacements != 1 || len(s.Means) != 3 || s.Means[1].Items != 8 || s.Means[1].MS < 39 || s.Means[1].MS > 41 {
		t.Errorf("ten times slower from batch 100 on: %+v", s)
	}
}
