package engine

import (
	"google.golang.org/protobuf/encoding/protowire"
)

// graphBuilder writes small ONNX files for tests.
type graphBuilder struct {
	graph []byte
	opset uint64
}

func field(dst []byte, num protowire.Number, b []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(dst, num, protowire.BytesType), b)
}

func varint(dst []byte, num protowire.Number, v int64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(dst, num, protowire.VarintType), uint64(v))
}

func (g *graphBuilder) value(num protowire.Number, name string, elem int64, dims ...int64) {
	var shape []byte
	for _, d := range dims {
		if d < 0 {
			shape = field(shape, 1, field(nil, 2, []byte("n")))
		} else {
			shape = field(shape, 1, varint(nil, 1, d))
		}
	}
	tensor := field(varint(nil, 1, elem), 2, shape)
	g.graph = field(g.graph, num, field(field(nil, 1, []byte(name)), 2, field(nil, 1, tensor)))
}

func (g *graphBuilder) input(name string, dims ...int64) { g.value(11, name, elemFloat, dims...) }
func (g *graphBuilder) output(name string, elem int64, dims ...int64) {
	g.value(12, name, elem, dims...)
}

func (g *graphBuilder) weight(name string, f []float32, dims ...int64) {
	var t []byte
	for _, d := range dims {
		t = varint(t, 1, d)
	}
	t = field(field(varint(t, 2, elemFloat), 8, []byte(name)), 9, appendFloats(nil, f))
	g.graph = field(g.graph, 5, t)
}

func intAttr(name string, v int64) []byte {
	return varint(varint(field(nil, 1, []byte(name)), 3, v), 20, 2)
}

func intsAttr(name string, v ...int64) []byte {
	a := field(nil, 1, []byte(name))
	for _, i := range v {
		a = varint(a, 8, i)
	}
	return varint(a, 20, 7)
}

func stringAttr(name, v string) []byte {
	return varint(field(field(nil, 1, []byte(name)), 4, []byte(v)), 20, 3)
}

func (g *graphBuilder) node(op string, inputs []string, output string, attrs ...[]byte) {
	var n []byte
	for _, i := range inputs {
		n = field(n, 1, []byte(i))
	}
	n = field(field(n, 2, []byte(output)), 4, []byte(op))
	for _, a := range attrs {
		n = field(n, 5, a)
	}
	g.graph = field(g.graph, 1, n)
}

func (g *graphBuilder) bytes() []byte {
	opset := g.opset
	if opset == 0 {
		opset = 13
	}
	m := varint(nil, 1, 7)
	m = field(m, 7, field(g.graph, 2, []byte("test")))
	return field(m, 8, varint(nil, 2, int64(opset)))
}
