//go:build cgo

package ort

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	onnx "github.com/yalue/onnxruntime_go"

	"motley/internal/oip"
)

// model is a loaded model; it implements engine.Model. Everything in it is
// fixed after Load, so that Run needs no lock.
type model struct {
	metadata        oip.ModelMetadata
	inputs, outputs []tensorInfo
	maxBatch        int // 0: the model does not batch
	session         *onnx.DynamicAdvancedSession
}

// Metadata describes the model; its properties name ONNX Runtime's version and
// the execution provider in use.
func (m *model) Metadata() *oip.ModelMetadata { return &m.metadata }

// MaxBatch is the largest first dimension, 0 when the model does not batch.
func (m *model) MaxBatch() int { return m.maxBatch }

// Close frees the session, and ONNX Runtime with the last open model.
func (m *model) Close() error {
	return errors.Join(m.session.Destroy(), release())
}

// Run executes one batch. Cancelling ctx stops it between two operators.
func (m *model) Run(ctx context.Context, in []oip.Tensor, want []string) ([]oip.Tensor, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	chosen, err := m.choose(want)
	if err != nil {
		return nil, err
	}
	ordered, batch, err := m.check(in)
	if err != nil {
		return nil, err
	}
	var call call
	defer call.destroy()
	if err := call.prepare(m, ordered, batch); err != nil {
		return nil, err
	}
	if err := call.run(ctx, m); err != nil {
		// ONNX Runtime reports a stopped run as a failure of its own.
		if cause := ctx.Err(); cause != nil {
			return nil, cause
		}
		return nil, fmt.Errorf("cannot run model %s: %w", m.metadata.Name, err)
	}
	out := make([]oip.Tensor, len(chosen))
	for i, o := range chosen {
		t, err := call.output(m, o)
		if err != nil {
			return nil, fmt.Errorf("cannot run model %s: %w", m.metadata.Name, err)
		}
		if m.maxBatch > 0 && t.Shape[0] != batch {
			return nil, fmt.Errorf("cannot run model %s: output %q has %d rows for a batch of %d: it does not batch", m.metadata.Name, t.Name, t.Shape[0], batch)
		}
		out[i] = t
	}
	return out, nil
}

// choose turns wanted names into indices of outputs, all of them where want is
// empty.
func (m *model) choose(want []string) ([]int, error) {
	if len(want) == 0 {
		chosen := make([]int, len(m.outputs))
		for i := range chosen {
			chosen[i] = i
		}
		return chosen, nil
	}
	chosen := make([]int, len(want))
	for i, name := range want {
		chosen[i] = slices.IndexFunc(m.outputs, func(t tensorInfo) bool { return t.name == name })
		if chosen[i] < 0 {
			return nil, m.refuse("unknown output %q", name)
		}
	}
	return chosen, nil
}

// check holds the inputs against the model's description and returns them in
// the session's order. It reads no tensor values but the lengths of BYTES.
func (m *model) check(in []oip.Tensor) (ordered []*oip.Tensor, batch int64, err error) {
	ordered = make([]*oip.Tensor, len(m.inputs))
	for i := range in {
		t := &in[i]
		k := slices.IndexFunc(m.inputs, func(info tensorInfo) bool { return info.name == t.Name })
		switch {
		case k < 0:
			return nil, 0, m.refuse("unknown input %q", t.Name)
		case ordered[k] != nil:
			return nil, 0, m.refuse("input %q is given twice", t.Name)
		}
		if err := m.checkInput(t, &m.inputs[k]); err != nil {
			return nil, 0, err
		}
		ordered[k] = t
	}
	for k, t := range ordered {
		if t == nil {
			return nil, 0, m.refuse("input %q is missing", m.inputs[k].name)
		}
	}
	if m.maxBatch == 0 {
		return ordered, 0, nil
	}
	batch = ordered[0].Shape[0]
	for _, t := range ordered {
		if t.Shape[0] != batch {
			return nil, 0, m.refuse("input %q has %d rows, input %q has %d", t.Name, t.Shape[0], ordered[0].Name, batch)
		}
	}
	if batch < 1 || batch > int64(m.maxBatch) {
		return nil, 0, m.refuse("a batch of %d, must be 1 to %d", batch, m.maxBatch)
	}
	return ordered, batch, nil
}

func (m *model) checkInput(t *oip.Tensor, info *tensorInfo) error {
	if t.Datatype != info.oip {
		return m.refuse("input %q is %s, must be %s", t.Name, label(t.Datatype), info.label())
	}
	fits := len(t.Shape) == len(info.shape)
	for i := 0; fits && i < len(t.Shape); i++ {
		fits = info.shape[i] == -1 || info.shape[i] == t.Shape[i]
	}
	if !fits {
		return m.refuse("input %q has shape %v, must be %v", t.Name, t.Shape, info.shape)
	}
	n, ok := elements(t.Shape, info.size)
	switch {
	case !ok:
		return m.refuse("input %q has the impossible shape %v", t.Name, t.Shape)
	case info.size > 0 && n*info.size != int64(len(t.Data)):
		return m.refuse("input %q of shape %v needs %d bytes, has %d", t.Name, t.Shape, n*info.size, len(t.Data))
	}
	return nil
}

func (m *model) refuse(format string, args ...any) error {
	return &oip.Error{Status: http.StatusBadRequest, Message: "model " + m.metadata.Name + ": " + fmt.Sprintf(format, args...)}
}

// sized says whether the size of output t follows from the batch alone.
func (m *model) sized(t tensorInfo) bool {
	shape := t.shape
	if m.maxBatch > 0 {
		shape = shape[1:]
	}
	return !slices.Contains(shape, -1)
}
