package live

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"motley/internal/backend"
	"motley/internal/backend/backendtest"
	"motley/internal/dispatch"
	"motley/internal/mono"
	"motley/internal/pool"
)

// nothing is a backend that takes no time.
type nothing struct{ backendtest.Fake }

func (*nothing) Run(context.Context, string, []*backend.Call) error { return nil }

// benchSetup has four workers, so that one caller always finds one free and 64
// callers do not.
func benchSetup() setup {
	return setup{
		fakes: fakes{{}, {}, {}, {}}, state: pool.Up,
		core: dispatch.Config{Models: []dispatch.Model{{Name: "m", QoS: time.Hour}}},
	}
}

func benchLoop(tb testing.TB) *Loop {
	l := benchSetup().start(tb)
	for i := range l.table.Load().workers {
		l.worker(pool.WorkerID(i)).Backend = &nothing{}
	}
	return l
}

// spread has callers goroutines make b.N calls between them.
func spread(b *testing.B, callers int, newCall func() func()) {
	b.ReportAllocs()
	b.ResetTimer()
	var all sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(b.N))
	for range callers {
		call := newCall()
		all.Go(func() {
			for left.Add(-1) >= 0 {
				call()
			}
		})
	}
	all.Wait()
}

// BenchmarkDrivers compares two ways to own a core: behind a lock, stepped by
// whoever has an event, as Loop does; and by a goroutine of its own that is
// fed through a channel. docs/decisions/0003-loop.md says what came of it.
func BenchmarkDrivers(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("lock/callers=%d", callers), func(b *testing.B) {
			l := benchLoop(b)
			defer closed(b, l)
			spread(b, callers, func() func() {
				r := ask("x", 1)
				return func() {
					if err := l.Do(r); err != nil {
						b.Error(err)
					}
				}
			})
		})
		b.Run(fmt.Sprintf("channel/callers=%d", callers), func(b *testing.B) {
			l := benchLoop(b) // whose core it takes
			o := newOwner(l.mu.core)
			defer o.close()
			spread(b, callers, func() func() {
				t := &errand{reply: make(chan *delivery, 1)}
				return func() { o.do(t) }
			})
		})
	}
}

// TestDoAllocatesNothing holds what a request costs the heap in steady state,
// apart from what its backend does.
func TestDoAllocatesNothing(t *testing.T) {
	if raceDetector {
		t.Skip("sync.Pool drops at random under the race detector")
	}
	l := benchLoop(t)
	l.cfg.Observer = &observed{}
	r := ask("x", 1)
	n := testing.AllocsPerRun(2000, func() {
		if err := l.Do(r); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations per request, want 0", n)
	}
	closed(t, l)
}

// owner is the other way: the least that answers requests.
type owner struct {
	core    *dispatch.Core
	events  chan errandEvent
	ids     dispatch.IDs
	errands []*errand
	idle    []*delivery
	epoch   time.Time
	done    sync.WaitGroup
}

// errand is a request of an owner's caller; it is told of a batch to carry out,
// or by nil that it is answered.
type errand struct {
	id    dispatch.RequestID
	reply chan *delivery
}

type delivery struct {
	batch   dispatch.BatchID
	members []*errand
}

// errandEvent is an arrival, or the end of a batch.
type errandEvent struct {
	arrives *errand
	ended   *delivery
}

func newOwner(core *dispatch.Core) *owner {
	o := &owner{core: core, events: make(chan errandEvent, 256), epoch: time.Now()}
	o.done.Go(o.own)
	return o
}

func (o *owner) close() {
	close(o.events)
	o.done.Wait()
}

func (o *owner) do(t *errand) {
	o.events <- errandEvent{arrives: t}
	for d := <-t.reply; d != nil; d = <-t.reply {
		o.events <- errandEvent{ended: d}
	}
}

func (o *owner) own() {
	var actions []dispatch.Action
	for e := range o.events {
		ev := dispatch.Event{At: mono.Time(time.Since(o.epoch))}
		if t := e.arrives; t != nil {
			t.id = o.ids.New()
			for int(t.id.Index()) >= len(o.errands) {
				o.errands = append(o.errands, nil)
			}
			o.errands[t.id.Index()] = t
			ev.Kind, ev.Request, ev.Size, ev.MergeKey, ev.Deadline = dispatch.Arrive, t.id, 1, 1, ev.At.Add(time.Hour)
		} else {
			ev.Kind, ev.Batch = dispatch.Finish, e.ended.batch
		}
		actions = o.core.Step(ev, actions[:0])
		for i := range actions {
			o.act(&actions[i])
		}
		if e.ended != nil {
			for _, t := range e.ended.members {
				t.reply <- nil
			}
			o.idle = append(o.idle, e.ended)
		}
	}
}

func (o *owner) act(a *dispatch.Action) {
	switch a.Kind {
	case dispatch.Start:
		if len(o.idle) == 0 {
			o.idle = append(o.idle, &delivery{})
		}
		n := len(o.idle) - 1
		d := o.idle[n]
		o.idle = o.idle[:n]
		d.batch, d.members = a.Batch, d.members[:0]
		for _, id := range a.Requests {
			d.members = append(d.members, o.errands[id.Index()])
		}
		d.members[0].reply <- d
	case dispatch.Answer:
		o.ids.Free(a.Request)
	default:
		panic("BUG: a benchmark's request is not answered")
	}
}
