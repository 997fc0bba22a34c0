//go:build cgo

package ort

import (
	"fmt"
	"slices"

	onnx "github.com/yalue/onnxruntime_go"

	"motley/internal/oip"
)

// datatype is an element type in both worlds.
type datatype struct {
	onnx  onnx.TensorElementDataType
	oip   oip.Datatype
	size  int64 // bytes per element; 0 for BYTES
	label string
}

// datatypes pairs ONNX's element types with OIP's. What is not here (complex
// numbers, 8-bit floats, 4-bit integers) OIP cannot carry.
var datatypes = []datatype{
	{onnx.TensorElementDataTypeBool, oip.Bool, 1, "BOOL"},
	{onnx.TensorElementDataTypeUint8, oip.Uint8, 1, "UINT8"},
	{onnx.TensorElementDataTypeUint16, oip.Uint16, 2, "UINT16"},
	{onnx.TensorElementDataTypeUint32, oip.Uint32, 4, "UINT32"},
	{onnx.TensorElementDataTypeUint64, oip.Uint64, 8, "UINT64"},
	{onnx.TensorElementDataTypeInt8, oip.Int8, 1, "INT8"},
	{onnx.TensorElementDataTypeInt16, oip.Int16, 2, "INT16"},
	{onnx.TensorElementDataTypeInt32, oip.Int32, 4, "INT32"},
	{onnx.TensorElementDataTypeInt64, oip.Int64, 8, "INT64"},
	{onnx.TensorElementDataTypeFloat16, oip.FP16, 2, "FP16"},
	{onnx.TensorElementDataTypeBFloat16, oip.BF16, 2, "BF16"},
	{onnx.TensorElementDataTypeFloat, oip.FP32, 4, "FP32"},
	{onnx.TensorElementDataTypeDouble, oip.FP64, 8, "FP64"},
	{onnx.TensorElementDataTypeString, oip.Bytes, 0, "BYTES"},
}

func is16bitFloat(d oip.Datatype) bool { return d == oip.FP16 || d == oip.BF16 }

// label is the datatype's name on the wire.
func label(d oip.Datatype) string {
	for _, t := range datatypes {
		if t.oip == d {
			return t.label
		}
	}
	return fmt.Sprintf("datatype %d", d)
}

// tensorInfo is one input or output of the model.
type tensorInfo struct {
	name  string
	onnx  onnx.TensorElementDataType
	oip   oip.Datatype
	size  int64   // bytes per element; 0 for BYTES
	shape []int64 // −1 = variable
}

func (t *tensorInfo) label() string { return label(t.oip) }

// tensorInfos translates what ONNX Runtime says of a model's tensors.
func tensorInfos(kind string, infos []onnx.InputOutputInfo) ([]tensorInfo, error) {
	out := make([]tensorInfo, 0, len(infos))
	for _, info := range infos {
		if info.OrtValueType != onnx.ONNXTypeTensor {
			return nil, fmt.Errorf("%s %q is no tensor but %s, which OIP cannot carry", kind, info.Name, info.OrtValueType)
		}
		// The binding reports a scalar and a tensor of unknown rank alike.
		if len(info.Dimensions) == 0 {
			return nil, fmt.Errorf("%s %q has no dimensions (a scalar, or its rank is unknown): give it a shape in the model", kind, info.Name)
		}
		t := tensorInfo{name: info.Name, onnx: info.DataType, shape: slices.Clone(info.Dimensions)}
		for i, d := range t.shape {
			t.shape[i] = max(d, -1)
		}
		i := slices.IndexFunc(datatypes, func(d datatype) bool { return d.onnx == info.DataType })
		if i < 0 {
			return nil, fmt.Errorf("%s %q has element type %s, which OIP cannot carry", kind, info.Name, info.DataType)
		}
		t.oip, t.size = datatypes[i].oip, datatypes[i].size
		out = append(out, t)
	}
	return out, nil
}

func names(infos []tensorInfo) []string {
	out := make([]string, len(infos))
	for i := range infos {
		out[i] = infos[i].name
	}
	return out
}

func metadataOf(infos []tensorInfo) []oip.TensorMetadata {
	out := make([]oip.TensorMetadata, len(infos))
	for i, t := range infos {
		out[i] = oip.TensorMetadata{Name: t.name, Datatype: t.oip, Shape: t.shape}
	}
	return out
}

// batches says whether the first dimension of every tensor is variable.
func batches(infos []tensorInfo) bool {
	return !slices.ContainsFunc(infos, func(t tensorInfo) bool { return t.shape[0] != -1 })
}

// elements multiplies shape out; ok is false when a dimension is negative or
// the product, in elements of size bytes, does not fit.
func elements(shape []int64, size int64) (n int64, ok bool) {
	const limit = 1 << 46
	n = 1
	zero := false
	for _, d := range shape {
		switch {
		case d < 0:
			return 0, false
		case d == 0:
			zero = true
			continue
		case n > limit/d:
			return 0, false
		}
		n *= d
	}
	if zero {
		return 0, true
	}
	return n, n <= limit/max(size, 1)
}
