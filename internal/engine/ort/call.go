//go:build cgo

package ort

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	onnx "github.com/yalue/onnxruntime_go"

	"motley/internal/oip"
)

// call is one execution: the values that ONNX Runtime works on, and the pins
// that keep Go's memory under them in place.
type call struct {
	inputs, outputs []onnx.Value
	pins            runtime.Pinner
}

// destroy frees the values. Outputs that were taken stay valid: they lie in
// Go's memory.
func (c *call) destroy() {
	for _, v := range slices.Concat(c.inputs, c.outputs) {
		if v != nil {
			// Destroy only ever fails on values that were not made.
			_ = v.Destroy()
		}
	}
	c.pins.Unpin()
}

// prepare wraps the inputs, without copying where they are aligned, and
// allocates those outputs that ONNX Runtime cannot.
func (c *call) prepare(m *model, in []*oip.Tensor, batch int64) error {
	c.inputs = make([]onnx.Value, len(in))
	for i, t := range in {
		v, err := c.wrap(m, t, &m.inputs[i])
		if err != nil {
			return err
		}
		c.inputs[i] = v
	}
	c.outputs = make([]onnx.Value, len(m.outputs))
	for i := range m.outputs {
		if !is16bitFloat(m.outputs[i].oip) {
			continue // ONNX Runtime allocates, the binding copies
		}
		v, err := c.allocate(&m.outputs[i], batch)
		if err != nil {
			return err
		}
		c.outputs[i] = v
	}
	return nil
}

func (c *call) wrap(m *model, t *oip.Tensor, info *tensorInfo) (onnx.Value, error) {
	if info.oip != oip.Bytes {
		return c.custom(t.Shape, aligned(t.Data, info.size), info.onnx)
	}
	n, _ := elements(t.Shape, 0) // checked before
	strings, err := decodeStrings(t.Data, n)
	if err != nil {
		return nil, m.refuse("input %q %v", t.Name, err)
	}
	v, err := onnx.NewStringTensor(slices.Clone(t.Shape))
	if err != nil {
		return nil, err
	}
	if err := v.SetContents(strings); err != nil {
		_ = v.Destroy()
		return nil, err
	}
	return v, nil
}

// allocate makes room for an output whose shape follows from the batch. The
// binding copies too few bytes of 16-bit floats that ONNX Runtime allocated
// itself, so those must always have room made for them.
func (c *call) allocate(info *tensorInfo, batch int64) (onnx.Value, error) {
	shape := slices.Clone(info.shape)
	if shape[0] == -1 {
		shape[0] = batch
	}
	n, ok := elements(shape, info.size)
	if !ok {
		return nil, fmt.Errorf("output %q would have the impossible shape %v", info.name, shape)
	}
	return c.custom(shape, alignedBytes(n*info.size), info.onnx)
}

// custom makes a tensor over data, which must be aligned, and pins it: ONNX
// Runtime keeps the pointer after the call that hands it over has returned.
func (c *call) custom(shape []int64, data []byte, kind onnx.TensorElementDataType) (onnx.Value, error) {
	if len(data) == 0 {
		data = alignedBytes(1) // a tensor without elements still needs an address
	}
	c.pins.Pin(&data[0])
	return onnx.NewCustomDataTensor(slices.Clone(shape), data, kind)
}

func (c *call) run(ctx context.Context, m *model) error {
	if ctx.Done() == nil {
		return m.session.Run(c.inputs, c.outputs)
	}
	options, err := onnx.NewRunOptions()
	if err != nil {
		return err
	}
	defer options.Destroy()
	terminated := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(terminated)
		// The run goes on to its end if this fails; its result is dropped then.
		_ = options.Terminate()
	})
	err = m.session.RunWithOptions(c.inputs, c.outputs, options)
	if !stop() {
		<-terminated // options must outlive the goroutine that uses them
	}
	return err
}

// output takes output o over as an OIP tensor.
func (c *call) output(m *model, o int) (oip.Tensor, error) {
	info := &m.outputs[o]
	t := oip.Tensor{Name: info.name, Datatype: info.oip, Shape: c.outputs[o].GetShape()}
	switch v := c.outputs[o].(type) {
	case *onnx.CustomDataTensor:
		n, _ := elements(t.Shape, info.size)
		t.Data = v.GetData()[:n*info.size]
	case *onnx.StringTensor:
		elements, err := v.GetContents()
		if err != nil {
			return t, fmt.Errorf("cannot read output %q: %w", info.name, err)
		}
		t.Data = encodeStrings(elements)
	case *onnx.Tensor[bool]:
		t.Data = bytesOf(v.GetData())
	case *onnx.Tensor[uint8]:
		t.Data = v.GetData()
	case *onnx.Tensor[uint16]:
		t.Data = bytesOf(v.GetData())
	case *onnx.Tensor[uint32]:
		t.Data = bytesOf(v.GetData())
	case *onnx.Tensor[uint64]:
		t.Data = bytesOf(v.GetData())
	case *onnx.Tensor[int8]:
		t.Data = bytesOf(v.GetData())
	case *onnx.Tensor[int16]:
		t.Data = bytesOf(v.GetData())
	case *onnx.Tensor[int32]:
		t.Data = bytesOf(v.GetData())
	case *onnx.Tensor[int64]:
		t.Data = bytesOf(v.GetData())
	case *onnx.Tensor[float32]:
		t.Data = bytesOf(v.GetData())
	case *onnx.Tensor[float64]:
		t.Data = bytesOf(v.GetData())
	default:
		return t, fmt.Errorf("output %q came back as %T", info.name, v)
	}
	return t, nil
}

// bytesOf views elements as bytes. All systems that ONNX Runtime is built for
// are little-endian, as OIP's binary layout is.
func bytesOf[T any](elements []T) []byte {
	if len(elements) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&elements[0])), len(elements)*int(unsafe.Sizeof(elements[0])))
}

// aligned returns data at an address that elements of size bytes may stand at:
// tensors cut out of a request's body stand anywhere.
func aligned(data []byte, size int64) []byte {
	if len(data) == 0 || uintptr(unsafe.Pointer(&data[0]))%uintptr(size) == 0 {
		return data
	}
	out := alignedBytes(int64(len(data)))
	copy(out, data)
	return out
}

// alignedBytes allocates n bytes at a multiple of eight.
func alignedBytes(n int64) []byte {
	return bytesOf(make([]uint64, (n+7)/8))[:n]
}
