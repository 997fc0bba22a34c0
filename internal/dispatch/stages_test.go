package dispatch

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"motley/internal/mono"
	"motley/internal/pool"
)

// TestPredictsTheMix: once batches have told that three rows of four stop after
// the first half of the model, what runs next is predicted to take as much less,
// on the other instance type too; so are the costs that prices are made of, and batches of
// which no row stops take it all back.
func TestPredictsTheMix(t *testing.T) {
	pol, err := NewPolicy("priced", 1)
	if err != nil {
		t.Fatal(err)
	}
	laws := []law{{0, time.Millisecond}, {0, 2 * time.Millisecond}}
	cfg := Config{
		Models: []Model{{Name: "m", QoS: time.Second, MaxBatch: 16}}, Types: make([]pool.InstanceType, 2),
		Policy: pol, Profiles: profiles(t, 1, laws),
	}
	for i := range 2 {
		cfg.Workers = append(cfg.Workers, pool.Worker{
			Name: "w", Type: pool.TypeID(i), Concurrency: 1, State: pool.Up, Serves: []pool.Serve{{Model: 0, MaxBatch: 16}},
		})
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ids, now := IDs{}, mono.Time(0)
	// run sends four requests of 16 at once and returns what was predicted of the
	// last batch on each type. Batches take part of a whole run.
	run := func(stages []Stage, part float64) (predicted [2]time.Duration) {
		var ends []Event
		step := func(ev Event) {
			for _, a := range c.Step(ev, nil) {
				switch a.Kind {
				case Start:
					predicted[a.Worker] = c.Predicted(a.Batch)
					took := time.Duration(part * float64(16*laws[a.Worker].item))
					ends = append(ends, Event{At: ev.At.Add(took), Kind: Finish, Batch: a.Batch, Stages: stages})
				case Answer:
					ids.Free(a.Request)
				default:
					t.Fatal(a)
				}
			}
		}
		for range 4 {
			step(Event{At: now, Kind: Arrive, Request: ids.New(), Size: 16, Deadline: now.Add(time.Second), MergeKey: 1})
		}
		for len(ends) > 0 {
			slices.SortFunc(ends, func(a, b Event) int { return cmp.Compare(a.At, b.At) })
			ev := ends[0]
			ends, now = ends[1:], ev.At
			step(ev)
		}
		return predicted
	}
	want := func(when string, got [2]time.Duration, part float64) {
		t.Helper()
		for i, d := range got {
			if whole := 16 * laws[i].item; float64(d) < (part-0.03)*float64(whole) || float64(d) > (part+0.03)*float64(whole) {
				t.Errorf("%s: a batch is predicted to take %v on type %d, want %v of %v", when, d, i, part, whole)
			}
		}
	}
	want("at first", run(nil, 1), 1)
	stages := []Stage{{Share: 0.5, Rows: 16}, {Share: 0.5, Rows: 4}}
	for range 50 {
		run(stages, 0.625)
	}
	want("rows stop", run(stages, 0.625), 0.625)
	m := &c.models[0]
	if cost := m.groups[0].cost(m, 16, true, true); cost > 0.66*float64(16*time.Millisecond) {
		t.Errorf("a request of 16 costs %v of the fast type, want 0.625 of 16ms", time.Duration(cost))
	}
	for range 50 {
		run(nil, 1)
	}
	want("no rows stop", run(nil, 1), 1)
}

// TestStrings are the forms that transcripts of simulated runs print.
func TestStrings(t *testing.T) {
	for _, tc := range []struct {
		ev   Event
		want string
	}{
		{Event{At: mono.Time(time.Second), Kind: Exit, Batch: 7, Member: 2}, "1s exit b7 member=2"},
		{Event{At: mono.Time(time.Second), Kind: Finish, Batch: 7}, "1s finish b7"},
		{Event{At: mono.Time(time.Second), Kind: Finish, Batch: 7, Stages: []Stage{{Share: 0.5, Rows: 8}, {Share: 0.5, Rows: 3}}}, "1s finish b7 rows=8/3"},
	} {
		if got := tc.ev.String(); got != tc.want {
			t.Errorf("got %q, want %q", got, tc.want)
		}
	}
}
