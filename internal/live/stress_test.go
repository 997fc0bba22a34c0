package live

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"motley/internal/backend/backendtest"
	"motley/internal/dispatch"
	"motley/internal/pool"
)

// TestStress has 2,000 clients at once, in real time; it is of most use under
// the race detector. Every client gets its own answer, none is lost, and what
// waits is merged.
func TestStress(t *testing.T) {
	const clients, rounds, workers = 2000, 3, 4
	var s setup
	for range workers {
		s.fakes = append(s.fakes, &backendtest.Fake{Latency: takes(time.Millisecond)})
	}
	s.core.Models = []dispatch.Model{{Name: "m", QoS: 5 * time.Minute}}
	s.state = pool.Up
	l := s.start(t)
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			r := ask("", 1) // used again, response buffer included, as the router does
			for i := range rounds {
				r.Call.Request.Body = strconv.AppendInt(fmt.Appendf(r.Call.Request.Body[:0], "client %d, request ", c), int64(i), 10)
				err := do(l, r)
				if answered(t, r, err); t.Failed() {
					return
				}
			}
		})
	}
	all.Wait()
	batches, items := 0, 0
	for w, f := range s.fakes {
		mine := f.Batches()
		batches += len(mine)
		for _, b := range mine {
			items += b.Items()
		}
		if now, peak := f.Running(); now != 0 || peak != 1 || len(mine) == 0 {
			t.Errorf("worker %d ran %d batches, at most %d at once; %d still run", w, len(mine), peak, now)
		}
	}
	if items != clients*rounds {
		t.Errorf("%d items were run, want %d", items, clients*rounds)
	}
	if mean := float64(items) / float64(max(batches, 1)); mean <= 8 {
		t.Errorf("mean batch %.1f items, want more than 8", mean)
	} else {
		t.Logf("%d requests in %d batches, %.1f items each", items, batches, mean)
	}
	if n := l.mu.core.Counts(); n.Arrived != clients*rounds || n.Answered != n.Arrived {
		t.Errorf("counts %+v, want everything answered", n)
	}
	closed(t, l)
}
