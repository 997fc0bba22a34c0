package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"motley/internal/oip"
)

var errUnanswered = errors.New("cannot answer: no exit was evaluated in the last stage")

// Outputs makes the model's output tensors for the given rows from the exit
// evaluated last: a ramp's answer has the form of the model's own. It must be
// called before the next Next; rows dropped since by Keep may be asked for.
// want is as in Model.Run; the tensors are the caller's.
func (e *Execution) Outputs(rows []int, want []string) ([]oip.Tensor, error) {
	if e.x == nil {
		return nil, errClosed
	}
	if e.answered == nil {
		return nil, errUnanswered
	}
	outputs, err := e.model.choose(want)
	if err != nil {
		return nil, err
	}
	at := make([]int, len(rows))
	for i, r := range rows {
		p, there := slices.BinarySearch(e.answer, r)
		if !there {
			return nil, fmt.Errorf("cannot answer row %d: the exit saw rows %v", r, e.answer)
		}
		at[i] = p
	}
	tensors, err := e.model.Store(nil, len(rows), want)
	if err != nil {
		return nil, err
	}
	for k, o := range outputs {
		data := tensors[k].Data[:0]
		for _, i := range at {
			data = e.appendRow(data, o, i)
		}
	}
	return tensors, nil
}

// Answer writes the outputs of the given rows, as the exit evaluated last has
// them, to their places in store, which Store made for the whole batch and with
// the same want. What holds for Outputs holds here.
func (e *Execution) Answer(store []oip.Tensor, rows []int, want []string) error {
	if e.x == nil {
		return errClosed
	}
	if e.answered == nil {
		return errUnanswered
	}
	outputs, err := e.model.choose(want)
	if err != nil {
		return err
	}
	if len(store) != len(outputs) {
		return fmt.Errorf("cannot answer: room for %d outputs, want %d", len(store), len(outputs))
	}
	for _, r := range rows {
		i, there := slices.BinarySearch(e.answer, r)
		if !there {
			return fmt.Errorf("cannot answer row %d: the exit saw rows %v", r, e.answer)
		}
		for k, o := range outputs {
			width := o.rowBytes()
			if len(store[k].Data) < (r+1)*width {
				return fmt.Errorf("cannot answer row %d: output '%s' has room for %d", r, o.name, len(store[k].Data)/width)
			}
			e.appendRow(store[k].Data[r*width:r*width:(r+1)*width], o, i)
		}
	}
	return nil
}

func (m *builtin) Store(dst []oip.Tensor, n int, want []string) ([]oip.Tensor, error) {
	outputs, err := m.choose(want)
	if err != nil {
		return nil, err
	}
	dst = slices.Grow(dst[:0], len(outputs))[:len(outputs)]
	for k, o := range outputs {
		size := n * o.rowBytes()
		t := oip.Tensor{Name: o.name, Datatype: oip.FP32, Shape: append(dst[k].Shape[:0], o.shape(int64(n))...)}
		if o.kind == intsValue {
			t.Datatype = oip.Int64
		}
		t.Data = slices.Grow(dst[k].Data[:0], size)[:size]
		dst[k] = t
	}
	return dst, nil
}

// rowBytes is the length of one row of an output.
func (v *value) rowBytes() int {
	switch v.kind {
	case intsValue:
		return 8
	case rowsValue:
		return 4 * v.columns
	}
	return 4 * v.extent.elements()
}

// appendRow copies output o of the item at position i among the exit's.
func (e *Execution) appendRow(dst []byte, o *value, i int) []byte {
	ramp := e.answered.live != nil
	switch o.kind {
	case intsValue:
		label := e.x.ints[i]
		if ramp {
			says := e.answered.says
			label = argmax(e.x.slots[says.slot][i*says.columns:][:says.columns])
		}
		return binary.LittleEndian.AppendUint64(dst, uint64(label))
	case rowsValue:
		v := o
		if ramp {
			v = e.answered.says
		}
		return appendFloats(dst, e.x.slots[v.slot][i*v.columns:][:v.columns])
	}
	for c := range o.extent.c {
		for y := range o.extent.h {
			row := o.extent.row(len(e.answer), c, i, y)
			dst = appendFloats(dst, e.x.slots[o.slot][row:row+o.extent.w])
		}
	}
	return dst
}

func appendFloats(dst []byte, f []float32) []byte {
	for _, v := range f {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
	}
	return dst
}
