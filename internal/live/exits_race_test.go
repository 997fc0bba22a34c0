package live

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"motley/internal/backend"
	"motley/internal/dispatch"
	"motley/internal/earlyexit"
	"motley/internal/oip"
	"motley/internal/pool"
)

// TestExitsRaced has many clients in real time on staged workers that fail,
// hang and lose rows on the way: some rows may leave early and some may not,
// some requests are cut into parts, some are streamed, some clients leave. Every
// request ends once, with its own rows or with an error; of every row that was
// to be decided on and whose answer a client got the controller learns once, and of
// no other row of a request that ran whole.
func TestExitsRaced(t *testing.T) {
	const clients, rounds = 24, 120
	var mu sync.Mutex // of rng
	rng := rand.New(rand.NewPCG(1, 2))
	draw := func(n int) int { mu.Lock(); defer mu.Unlock(); return rng.IntN(n) }
	var workers []*stagedFake
	for w := range 4 {
		f := &stagedFake{ramps: 2, stage: 50 * time.Microsecond, together: w == 1, early: w == 2}
		f.says = func(row, exit int) earlyexit.Signal {
			g := sure(row, exit)
			g.Class = int32(row) // so that what is learned tells the row
			return g
		}
		f.breaks = func(int, int) error {
			switch k := draw(200); {
			case k < 6:
				return &backend.Error{Class: backend.Server, Status: 500, Message: "told to fail"}
			case k < 8:
				return &backend.Error{Class: backend.Client, Status: 422, Message: "told to refuse"}
			case k < 10:
				return errHangs
			}
			return nil
		}
		workers = append(workers, f)
	}
	policy, err := dispatch.NewPolicy("priced", 1)
	if err != nil {
		t.Fatal(err)
	}
	core := dispatch.Config{Policy: policy, Hang: 2 * time.Millisecond}
	for range workers {
		core.Workers = append(core.Workers, pool.Worker{
			Concurrency: 2, State: pool.Up, Serves: []pool.Serve{{Model: 0, MaxBatch: 8}},
			Breaker: pool.NewBreaker(pool.BreakerConfig{Failures: 3, Open: time.Millisecond, MaxOpen: 2 * time.Millisecond}),
		})
	}
	c := newChooser(earlyexit.Compute, 2, 0.3)
	l := stagedLoop(t, c, core, workers...)

	type fate struct {
		rows    []int
		decided bool
		parts   int
		err     error
	}
	fates := make([][]fate, clients)
	var all sync.WaitGroup
	for k := range clients {
		all.Go(func() {
			for i := range rounds {
				var rows []int
				for n := range 1 + draw(3)*draw(3) + draw(12)/11*16 {
					rows = append(rows, ((k*rounds+i)*32+n)*100+draw(2)*9+draw(2)*90)
				}
				r := askRows(t, rows...)
				r.Mode = earlyexit.Mode(draw(3))
				if draw(8) == 0 {
					r.Ramps = uint32(1 + draw(3))
					r.Show = func(ramp int, m oip.Message) {
						if want := answerOf(rows, slices.Repeat([]int{ramp}, len(rows))); string(m.Body) != want {
							t.Errorf("shown ramp %d: %s", ramp, m.Body)
						}
					}
				}
				ctx, cancel := t.Context(), context.CancelFunc(func() {})
				if draw(4) == 0 {
					ctx, cancel = context.WithTimeout(ctx, time.Duration(draw(1000))*time.Microsecond)
				}
				err := l.DoContext(ctx, r)
				cancel()
				fates[k] = append(fates[k], fate{rows, r.Mode > earlyexit.Off && r.Ramps == 0, r.Parts, err})
				if err != nil {
					continue
				}
				got, exits, _ := parse(t, r)
				if !slices.Equal(got, rows) {
					t.Errorf("rows %v are answered %v", rows, got)
				}
				if latest := slices.Max(exits); r.Exit != latest && (r.Exit != -1 || latest != 2) {
					t.Errorf("rows left by exits %v, and the request is told %d", exits, r.Exit)
				}
				if (r.Mode == earlyexit.Off || r.Ramps > 0) && slices.Min(exits) < 2 {
					t.Errorf("rows left by exits %v, and may not (mode %v, ramps %b)", exits, r.Mode, r.Ramps)
				}
			}
		})
	}
	all.Wait()
	closed(t, l)

	times := map[int]int{} // by row
	early, lost := 0, 0
	for _, o := range c.learned {
		times[int(max(o.Signals[0].Class, o.Signals[1].Class, o.Class))]++
		if o.Exit >= 0 {
			early++
		}
		if o.Lost {
			lost++
		}
		if o.Exit < 0 && !o.Ran || o.Ran && o.Agree&(1<<2-1) != 3 || o.Ran && o.Lost {
			t.Errorf("learned %+v", o)
		}
	}
	ends := map[string]int{}
	for _, f := range slices.Concat(fates...) {
		var none *Refusal
		var own *backend.Error
		switch {
		case f.err == nil:
			ends["answered"]++
			if f.parts > 1 {
				ends["in parts"]++
			}
		case isCanceled(f.err):
			ends["left"]++
		case errors.As(f.err, &none):
			ends[none.Error()]++
		case errors.As(f.err, &own):
			ends["refused"]++
		default:
			t.Errorf("ended with %v", f.err)
		}
		for _, row := range f.rows {
			switch n := times[row]; {
			case n > 1, n == 1 && !f.decided, n == 0 && f.decided && f.err == nil, n == 1 && f.err != nil && len(f.rows) == 1:
				t.Errorf("learned %d times of row %d of %+v", n, row, f)
			}
		}
	}
	n := l.mu.core.Counts()
	if n.Arrived != n.Answered+n.Rejected+n.Failed+n.Cancelled || n.Answered != uint64(ends["answered"]) {
		t.Errorf("the core has counted %+v, the clients %v", n, ends)
	}
	for _, what := range []string{"answered", "in parts", "left", "refused"} {
		if ends[what] < 3 {
			t.Errorf("only %d requests ended as %q: %v", ends[what], what, ends)
		}
	}
	if early < 100 || lost < 5 || n.Retried < 20 || c.twice > 0 {
		t.Errorf("%d rows left early, %d of them lost for audits, %d retries, %d learned twice", early, lost, n.Retried, c.twice)
	}
	t.Logf("ends %v, %d rows left early, %d audits lost, %d retries", ends, early, lost, n.Retried)
}
