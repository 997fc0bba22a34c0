package backend

import (
	"fmt"
	"slices"
	"sync/atomic"

	"motley/internal/oip"
)

// keptFor is how many answers in a row have to fit the model's metadata before
// one that does not is refused.
const keptFor = 8

// fit holds a worker's answers to what it says of a model: the datatypes,
// ranks and fixed dimensions of the outputs and, where the first dimension of
// every tensor is the batch, as many rows as were sent. Servers whose metadata
// say something else than they do, and there are some, are left alone: only a
// worker that has kept to its metadata is held to them.
type fit struct {
	outputs []oip.TensorMetadata
	batched bool
	kept    atomic.Int32 // answers of at least two rows that fitted, in a row; up to keptFor
}

// learnFit takes note of a model's metadata. What is known of how the worker
// keeps to them stays while they do.
func (r *Remote) learnFit(model string, meta *oip.ModelMetadata) {
	if meta == nil || len(meta.Outputs) == 0 {
		return
	}
	f := &fit{outputs: meta.Outputs, batched: true}
	for _, t := range slices.Concat(meta.Inputs, meta.Outputs) {
		f.batched = f.batched && len(t.Shape) > 0 && t.Shape[0] == -1
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.mu.fits[model]; old == nil || old.batched != f.batched || !slices.EqualFunc(old.outputs, f.outputs, func(a, b oip.TensorMetadata) bool {
		return a.Name == b.Name && a.Datatype == b.Datatype && slices.Equal(a.Shape, b.Shape)
	}) {
		r.mu.fits[model] = f
	}
}

// fits tells what is wrong with an answer to the requests, for a worker that
// keeps to its metadata.
func (r *Remote) fits(model string, resp *oip.Response, reqs []*oip.Request) error {
	r.mu.Lock()
	f := r.mu.fits[model]
	r.mu.Unlock()
	if f == nil {
		return nil
	}
	rows := 0
	for _, q := range reqs {
		rows += q.Size(true)
		if slices.ContainsFunc(q.Outputs, func(o oip.Output) bool { return o.Classification > 0 }) {
			return nil // the outputs are texts then
		}
	}
	err := f.check(resp, rows)
	switch {
	case err != nil && f.kept.Load() >= keptFor:
		return err
	case err != nil:
		f.kept.Store(0)
	case rows > 1 && f.kept.Load() < keptFor:
		f.kept.Add(1)
	}
	return nil
}

func (f *fit) check(resp *oip.Response, rows int) error {
	for n := range resp.Outputs {
		o := &resp.Outputs[n]
		k := n // where it most likely stands
		if k >= len(f.outputs) || f.outputs[k].Name != string(o.Name) {
			k = slices.IndexFunc(f.outputs, func(t oip.TensorMetadata) bool { return t.Name == string(o.Name) })
		}
		if k < 0 {
			continue
		}
		want := &f.outputs[k]
		fits := o.Datatype == want.Datatype && len(o.Shape) == len(want.Shape) && !(f.batched && o.Shape[0] != int64(rows))
		for d := 1; fits && d < len(o.Shape); d++ {
			fits = want.Shape[d] < 0 || o.Shape[d] == want.Shape[d]
		}
		if !fits {
			return fmt.Errorf("output %s is %v %v for %d rows, the model's is %v %v", o.Name, o.Datatype, o.Shape, rows, want.Datatype, want.Shape)
		}
	}
	return nil
}
