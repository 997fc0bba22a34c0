package backend

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"motley/internal/engine"
	"motley/internal/oip"
)

// Embedded runs batches on engines in this process.
type Embedded struct {
	models  map[string]engine.Model
	name    string
	exits   map[string]*atomic.Pointer[Exits] // of models with ramps
	scratch sync.Pool                         // of *stagedScratch
}

// NewEmbedded returns the backend of the models, by the names they are served
// under; name says which engine they are, for people. The models are closed
// with the backend.
func NewEmbedded(models map[string]engine.Model, name string) *Embedded {
	b := &Embedded{models: maps.Clone(models), name: name, exits: map[string]*atomic.Pointer[Exits]{}}
	for model, m := range models {
		if x := exitsOf(m); x != nil {
			p := new(atomic.Pointer[Exits])
			p.Store(x)
			b.exits[model] = p
		}
	}
	return b
}

// Run implements Backend. A panic of the engine fails the batch with Server.
//
// It lets every other goroutine that is ready go first: an execution holds a
// CPU for milliseconds, and requests that have been read but not queued by
// then would miss the next batch.
func (b *Embedded) Run(ctx context.Context, model string, calls []*Call) error {
	runtime.Gosched()
	m, ok := b.models[model]
	if !ok {
		return &Error{Class: Server, Status: 502, Message: fmt.Sprintf("the embedded worker has no model %q", model)}
	}
	return runModel(ctx, m, oip.ResponseInfo{Model: model, Version: version(m)}, calls)
}

// runModel decodes the calls, executes them as one batch and encodes each
// one's answer.
func runModel(ctx context.Context, m engine.Model, info oip.ResponseInfo, calls []*Call) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicked("the engine", v)
		}
	}()
	if ctx.Err() != nil {
		return ContextError(ctx)
	}
	live := new(members)
	in, err := decode(live, nil, calls, m.Metadata())
	if err != nil || len(live.calls) == 0 {
		return err
	}
	var want []string
	for _, o := range live.reqs[0].Outputs {
		want = append(want, string(o.Name))
	}
	out, err := m.Run(ctx, in, want)
	if err != nil {
		return asError(ctx, err)
	}
	if ctx.Err() != nil {
		return ContextError(ctx)
	}
	return encode(live, out, m.MaxBatch() > 0, info)
}

// members are the calls of a batch that have no error yet.
type members struct {
	calls []*Call
	reqs  []*oip.Request
}

// take makes all calls members.
func (l *members) take(calls []*Call) {
	l.calls, l.reqs = append(l.calls[:0], calls...), l.reqs[:0]
	for _, c := range calls {
		c.Err = nil
		l.reqs = append(l.reqs, c.Request)
	}
}

// fail gives the members at fault their errors and keeps the others; it
// reports whether there was one.
func (l *members) fail(some *oip.BatchError) bool {
	before, kept := len(l.calls), 0
	for i, c := range l.calls {
		if i < len(some.Errs) && some.Errs[i] != nil {
			c.Err = memberError(some.Errs[i])
			continue
		}
		l.calls[kept], l.reqs[kept] = c, l.reqs[i]
		kept++
	}
	l.calls, l.reqs = l.calls[:kept], l.reqs[:kept]
	return kept < before
}

// decode turns the calls into one batch of tensors, in the memory of in. Calls
// that cannot be decoded get their Err and are left out of l.
func decode(l *members, in []oip.Tensor, calls []*Call, meta *oip.ModelMetadata) ([]oip.Tensor, error) {
	l.take(calls)
	for len(l.reqs) > 0 {
		var err error
		if in, err = oip.Tensors(in, l.reqs, meta); err == nil {
			return in, nil
		}
		if some, ok := errors.AsType[*oip.BatchError](err); !ok || !l.fail(some) {
			return in, asError(context.Background(), err)
		}
	}
	return in, nil
}

func encode(l *members, out []oip.Tensor, batched bool, info oip.ResponseInfo) error {
	dst := make([]*oip.Message, len(l.calls))
	sizes := make([]int, len(l.calls))
	for i, c := range l.calls {
		dst[i], sizes[i] = &c.Response, c.Request.Size(batched)
	}
	err := oip.Encode(dst, out, l.reqs, sizes, info)
	if err == nil {
		return nil
	}
	if some, ok := errors.AsType[*oip.BatchError](err); ok {
		l.fail(some)
		return nil
	}
	return asError(context.Background(), err)
}

func version(m engine.Model) string {
	if meta := m.Metadata(); meta != nil && len(meta.Versions) > 0 {
		return meta.Versions[len(meta.Versions)-1]
	}
	return ""
}

// Probe implements Backend.
func (b *Embedded) Probe(_ context.Context, model string) (Status, error) {
	m, ok := b.models[model]
	if !ok {
		return Status{Binary: true, Platform: b.Describe()}, nil
	}
	b.measure(model)
	return Status{Ready: true, Metadata: m.Metadata(), MaxBatch: m.MaxBatch(), Binary: true, Platform: b.Describe()}, nil
}

// Describe implements Backend.
func (b *Embedded) Describe() string { return "embedded " + b.name }

// Close implements Backend: it closes every model.
func (b *Embedded) Close() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(b.models)) {
		if err := b.models[name].Close(); err != nil {
			errs = append(errs, fmt.Errorf("cannot close model %q: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
