package chaos

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestIdleAndSlow: 10,000 connections on which nothing comes and 1,000 on which a
// request comes byte by byte cost the others nothing, and the router little.
func TestIdleAndSlow(t *testing.T) {
	long(t)
	const idle, slow = 10_000, 1_000
	w := open(t, Options{Seed: seedOf(t)})
	quiet := percentiles(t, w, 1)
	before, err := w.Holding()
	must(t, err)

	conns := make([]net.Conn, 0, idle+slow)
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	for len(conns) < cap(conns) {
		c, err := net.Dial("tcp", w.Address)
		if err != nil {
			t.Skipf("NOT RUN: only %d connections can be had here: %v", len(conns), err)
		}
		conns = append(conns, c)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var senders sync.WaitGroup
	cut := make(chan error, slow)
	for i, c := range conns[idle:] {
		ask := Ask{ID: take(1), Rows: 3}
		senders.Go(func() {
			wire := ask.wire(w.Address)
			Wait(time.Duration(i) * time.Millisecond / 2) // not all at one instant
			ticker := time.NewTicker(500 * time.Millisecond)
			defer ticker.Stop()
			for at := range wire {
				if _, err := c.Write(wire[at : at+1]); err != nil {
					cut <- err
					return
				}
				select {
				case <-ticker.C:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	Wait(time.Second)
	crowded := percentiles(t, w, 2)
	after, err := w.Holding()
	must(t, err)
	cancel()
	senders.Wait()
	t.Logf("p50 and p99: %v alone, %v beside %d idle and %d slow clients; the router held %v and holds %v", quiet, crowded, idle, slow, before, after)
	if len(cut) > 0 {
		t.Errorf("%d slow senders were cut off within seconds: %v", len(cut), <-cut)
	}
	for i, name := range []string{"p50", "p99"} {
		if crowded[i] > 2*quiet[i]+20*time.Millisecond {
			t.Errorf("%s: %v, and %v alone", name, crowded[i], quiet[i])
		}
	}
	if each := float64(after.RSS-before.RSS) / (idle + slow); each > 20<<10 {
		t.Errorf("a connection costs %.1f KB", each/1024)
	}
}

// percentiles are how long the requests of some seconds of usual traffic took,
// p50 and p99. All of them are to be answered.
func percentiles(t *testing.T, w *World, nth uint64) (p [2]time.Duration) {
	t.Helper()
	r := Begin(w.Address, Traffic{Rate: 150, Mix: Mix{Binary: 0.4, Named: 0.5}, Seed: seedOf(t) + nth})
	Wait(4 * time.Second)
	records, err := r.Stop()
	must(t, err)
	var took []time.Duration
	for i := range records {
		if one := &records[i]; one.Outcome == Answered {
			took = append(took, one.Done-one.Sent)
		}
	}
	if len(took) < len(records) {
		t.Errorf("%v: %s", count(records, nil), examples(records, nil, Wrong, Failed, Rejected, Blamed, Silent, Cut, Refused))
	}
	slices.Sort(took)
	return [2]time.Duration{took[len(took)/2], took[len(took)*99/100]}
}
