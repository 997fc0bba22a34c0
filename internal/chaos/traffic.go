package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// Traffic is a stream of requests at an open loop's rate: it does not wait for
// answers.
type Traffic struct {
	Rate float64 // requests per second, at exponential gaps
	Mix  Mix
	Seed uint64
	// Change, if not nil, changes a request before it is sent.
	Change func(n int, a *Ask)
}

// Run is traffic under way.
type Run struct {
	client *Client
	began  time.Time
	cancel context.CancelFunc
	ended  sync.WaitGroup

	mu struct {
		sync.Mutex
		records []Record
		taken   int // of the records: before those that there are
		twice   int // outcomes of requests that had one
	}
}

// firstID keeps requests of different traffic apart.
var ids struct {
	sync.Mutex
	next int64
}

// take reserves n numbers for requests.
func take(n int64) int64 {
	ids.Lock()
	defer ids.Unlock()
	first := ids.next + 1_000_000
	ids.next = first + n
	return first
}

// Begin starts the traffic to an address. It goes on until Stop.
func Begin(address string, t Traffic) *Run {
	ctx, cancel := context.WithCancel(context.Background())
	r := &Run{client: NewClient(address), began: time.Now(), cancel: cancel}
	r.ended.Go(func() { r.send(ctx, t) })
	return r
}

func (r *Run) send(ctx context.Context, t Traffic) {
	rng := rand.New(rand.NewPCG(t.Seed, 0x74726166666963))
	first := take(10_000_000)
	due := time.Duration(0)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := 0; ; n++ {
		due += time.Duration(rng.ExpFloat64() / t.Rate * float64(time.Second))
		a := t.Mix.draw(first+int64(n), rng)
		if t.Change != nil {
			t.Change(n, &a)
		}
		timer.Reset(due - r.Now())
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		r.mu.Lock()
		i := r.mu.taken + len(r.mu.records)
		r.mu.records = append(r.mu.records, Record{Ask: a, At: due})
		r.mu.Unlock()
		rec := Record{Ask: a, At: due, Sent: r.Now()}
		r.ended.Go(func() {
			r.client.Do(&rec)
			rec.Done = r.Now()
			r.mu.Lock()
			defer r.mu.Unlock()
			old := &r.mu.records[i-r.mu.taken]
			if old.Outcome != Pending {
				r.mu.twice++
			}
			*old = rec
		})
	}
}

// Now is the time since the traffic began.
func (r *Run) Now() time.Duration { return time.Since(r.began) }

// Records are the requests until now, in the order in which they were due.
func (r *Run) Records() []Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Record(nil), r.mu.records...)
}

// take takes the first records out, up to the first that has no outcome yet, so
// that a long run does not keep them.
func (r *Run) take() []Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for n < len(r.mu.records) && r.mu.records[n].Outcome != Pending {
		n++
	}
	gone := append([]Record(nil), r.mu.records[:n]...)
	r.mu.records = append([]Record(nil), r.mu.records[n:]...)
	r.mu.taken += n
	return gone
}

// Stop ends the traffic, waits until every request has its outcome, and closes
// the connections.
func (r *Run) Stop() ([]Record, error) {
	r.cancel()
	r.ended.Wait()
	r.client.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	pending := count(r.mu.records, nil)[Pending]
	if r.mu.twice > 0 || pending > 0 {
		return r.mu.records, fmt.Errorf("%d requests have no outcome, %d have two", pending, r.mu.twice)
	}
	return r.mu.records, nil
}
