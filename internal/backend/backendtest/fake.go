// Package backendtest holds a Backend for tests: its delays are timers, so it
// runs on the clock of testing/synctest, and it records every batch.
package backendtest

import (
	"context"
	"slices"
	"sync"
	"time"

	"motley/internal/backend"
)

// Batch is the record of one execution.
type Batch struct {
	Model   string
	Members []*backend.Call // in the order handed to Run
	Sizes   []int           // items of each member, by Fake.Items
	Start   time.Time       // when Run was entered
	End     time.Time       // when Run returned; zero while it runs
	Err     error           // what Run returned
}

// Items sums the members' sizes.
func (b Batch) Items() int {
	n := 0
	for _, s := range b.Sizes {
		n += s
	}
	return n
}

// Fake is a programmable Backend. Set the fields before the first call; the
// zero value answers at once, with an echo of every request's body.
type Fake struct {
	Name string // Describe; default "fake"

	// Items says how many items a member carries. Default: the first
	// dimension of its first input, and 1 where there is none.
	Items func(c *backend.Call) int
	// Latency is how long a batch of so many items takes. Default 0.
	Latency func(model string, items int) time.Duration
	// Fail is asked when the latency is over; an error that it returns is
	// Run's. It may set Err of single calls and return nil.
	Fail func(model string, calls []*backend.Call) error
	// Answer fills in the responses of the calls whose Err is nil. Default
	// EchoBody, which is not an OIP response.
	Answer func(model string, calls []*backend.Call) error
	// Started, when set, is called as Run begins, before the latency.
	Started func(model string, calls []*backend.Call)

	mu struct {
		sync.Mutex
		status  map[string]probe
		batches []Batch
		running int
		peak    int
		probes  int
		dead    chan struct{} // closed by Kill; nil before the first use
		closed  bool
	}
}

type probe struct {
	status backend.Status
	err    error
}

// Run implements backend.Backend.
func (f *Fake) Run(ctx context.Context, model string, calls []*backend.Call) error {
	items := f.Items
	if items == nil {
		items = FirstDimension
	}
	b := Batch{Model: model, Members: slices.Clone(calls), Start: time.Now()}
	for _, c := range calls {
		b.Sizes = append(b.Sizes, items(c))
	}
	f.mu.Lock()
	at := len(f.mu.batches)
	f.mu.batches = append(f.mu.batches, b)
	f.mu.running++
	f.mu.peak = max(f.mu.peak, f.mu.running)
	dead := f.deadLocked()
	f.mu.Unlock()

	err := f.run(ctx, dead, model, b.Items(), calls)

	f.mu.Lock()
	f.mu.running--
	f.mu.batches[at].End = time.Now()
	f.mu.batches[at].Err = err
	f.mu.Unlock()
	return err
}

func (f *Fake) run(ctx context.Context, dead <-chan struct{}, model string, items int, calls []*backend.Call) error {
	if f.Started != nil {
		f.Started(model, calls)
	}
	if isClosed(dead) {
		return killed()
	}
	if f.Latency != nil {
		if d := f.Latency(model, items); d > 0 {
			t := time.NewTimer(d)
			defer t.Stop()
			select {
			case <-t.C:
			case <-dead:
				return killed()
			case <-ctx.Done():
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return backend.ContextError(ctx)
	}
	if f.Fail != nil {
		if err := f.Fail(model, calls); err != nil {
			return err
		}
	}
	if f.Answer != nil {
		return f.Answer(model, calls)
	}
	return EchoBody(model, calls)
}

// Probe implements backend.Backend: ready, unless SetStatus said otherwise.
func (f *Fake) Probe(ctx context.Context, model string) (backend.Status, error) {
	if ctx.Err() != nil {
		return backend.Status{}, backend.ContextError(ctx)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.probes++
	if isClosed(f.deadLocked()) {
		return backend.Status{}, killed()
	}
	if p, ok := f.mu.status[model]; ok {
		return p.status, p.err
	}
	return backend.Status{Ready: true, Binary: true, Platform: "fake"}, nil
}

// SetStatus makes Probe of the model return s and err from now on.
func (f *Fake) SetStatus(model string, s backend.Status, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.status == nil {
		f.mu.status = map[string]probe{}
	}
	f.mu.status[model] = probe{s, err}
}

// Kill makes the running and all further batches and probes fail with
// Connect, until Revive.
func (f *Fake) Kill() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if dead := f.deadLocked(); !isClosed(dead) {
		close(dead)
	}
}

// Revive ends what Kill began.
func (f *Fake) Revive() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if isClosed(f.mu.dead) {
		f.mu.dead = make(chan struct{})
	}
}

// Batches returns the record, in the order in which the batches began.
func (f *Fake) Batches() []Batch {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.mu.batches)
}

// Sizes returns the items of each member of each batch, in the order in which
// the batches began.
func (f *Fake) Sizes() [][]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([][]int, len(f.mu.batches))
	for i, b := range f.mu.batches {
		out[i] = b.Sizes
	}
	return out
}

// Running returns how many batches run now, and the most that ever ran at
// once.
func (f *Fake) Running() (now, peak int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.running, f.mu.peak
}

// Probes returns how often Probe was called.
func (f *Fake) Probes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.probes
}

// Describe implements backend.Backend.
func (f *Fake) Describe() string {
	if f.Name == "" {
		return "fake"
	}
	return f.Name
}

// Close implements backend.Backend.
func (f *Fake) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.closed = true
	return nil
}

// Closed reports whether Close was called.
func (f *Fake) Closed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.closed
}

// deadLocked returns the channel that Kill closes.
func (f *Fake) deadLocked() chan struct{} {
	if f.mu.dead == nil {
		f.mu.dead = make(chan struct{})
	}
	return f.mu.dead
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func killed() error {
	return &backend.Error{Class: backend.Connect, Status: 502, Message: "the fake worker is dead"}
}
