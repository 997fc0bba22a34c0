package live

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"motley/internal/backend"
	"motley/internal/backend/backendtest"
	"motley/internal/pool"
	"motley/internal/tracecontext"
)

// sent is what a worker was told that a batch is called.
type sent struct {
	size  int
	id    string
	trace tracecontext.Context
}

// reports collects what an Observer is told of batches.
type reports struct {
	mu  sync.Mutex
	all []BatchReport
}

func (r *reports) BatchDone(b BatchReport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b.Links = append([]tracecontext.Context(nil), b.Links...)
	r.all = append(r.all, b)
}
func (r *reports) Retried(pool.ModelID)  {}
func (r *reports) Stepped(time.Duration) {}

// A batch of one is called as its request is; one of several has a name and, where
// traces are recorded, a place of its own that leads to theirs.
func TestNames(t *testing.T) {
	for _, traced := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			var told []sent
			fake := &backendtest.Fake{Latency: takes(time.Second), Started: func(_ string, calls []*backend.Call) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, sent{len(calls), string(calls[0].ID), calls[0].Trace})
			}}
			l := setup{fakes: []*backendtest.Fake{fake}, state: pool.Up}.start(t)
			var seen reports
			l.cfg.Traced, l.cfg.Observer = traced, &seen
			var all []*Request
			done := make(chan error, 3)
			for i := range 3 {
				r := ask(fmt.Sprint("request ", i), 1)
				r.Call.ID = fmt.Append(nil, "id-", i)
				if i > 0 { // the second is recorded, the third is not
					r.Call.Trace.Parse(fmt.Appendf(nil, "00-0af7651916cd43dd8448eb211c8031%02x-b7ad6b7169203331-%02x", i, 2-i))
					r.Call.Trace.State = []byte("x=1")
				}
				all = append(all, r)
				go func() {
					err := do(l, r)
					answered(t, r, err)
					done <- err
				}()
				synctest.Wait() // the first runs alone, the others wait for its end
			}
			for range 3 {
				<-done
			}
			if len(told) != 2 || told[0].size != 1 || told[1].size != 2 {
				t.Fatalf("batches %+v", told)
			}
			if told[0].id != "id-0" || told[0].trace.Valid() || all[0].Merged != 0 {
				t.Errorf("one request is called %+v, number %d", told[0], all[0].Merged)
			}
			number := all[1].Merged
			if number == 0 || number != all[2].Merged || told[1].id != string(tracecontext.AppendBatch(nil, number)) {
				t.Errorf("two requests are called %q; numbers %x, %x", told[1].id, number, all[2].Merged)
			}
			place := tracecontext.OfBatch(number)
			place.Flags |= tracecontext.Sampled
			if got := told[1].trace; traced != got.Valid() || traced && (got.Trace != place.Trace || got.Span != place.Span || got.Flags != place.Flags || got.State != nil) {
				t.Errorf("traced %v: the batch stands at %+v", traced, got)
			}
			if len(seen.all) != 2 || len(seen.all[0].Links) != 0 || seen.all[0].Merged != 0 {
				t.Fatalf("reports %+v", seen.all)
			}
			b := seen.all[1]
			if b.Merged != number || b.Ran != time.Second || !b.Started.Equal(time.Now().Add(-b.Ran)) {
				t.Errorf("report %+v", b)
			}
			if traced && (len(b.Links) != 1 || b.Links[0].Trace != all[1].Call.Trace.Trace || b.Links[0].Span != all[1].Call.Trace.Span) || !traced && len(b.Links) > 0 {
				t.Errorf("traced %v: links %+v", traced, b.Links)
			}
			closed(t, l)
		})
	}
}
