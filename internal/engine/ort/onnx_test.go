//go:build cgo

package ort

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// The tests write their models themselves: an ONNX file is a protobuf of few
// fields. Numbers in comments and calls are the field numbers of onnx.proto.

// ONNX element types, as TensorProto.DataType numbers them.
const (
	elemFloat  = 1
	elemUint8  = 2
	elemInt8   = 3
	elemUint16 = 4
	elemInt16  = 5
	elemInt32  = 6
	elemInt64  = 7
	elemString = 8
	elemBool   = 9
	elemHalf   = 10
	elemDouble = 11
	elemUint32 = 12
	elemUint64 = 13
	elemFloat8 = 17
	elemBF16   = 16
)

// value is an input or output of a graph; −1 in dims is a dimension with a
// name, dims nil a tensor of unknown rank.
type value struct {
	name string
	elem uint64
	dims []int64
}

// node is one operator.
type node struct {
	op      string
	in, out []string
	attrs   map[string]int64
}

type graph struct {
	nodes           []node
	inputs, outputs []value
}

func message(b []byte, field protowire.Number, m []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), m)
}

func text(b []byte, field protowire.Number, s string) []byte { return message(b, field, []byte(s)) }

func number(b []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

func (n node) encode() []byte {
	var b []byte
	for _, s := range n.in {
		b = text(b, 1, s)
	}
	for _, s := range n.out {
		b = text(b, 2, s)
	}
	b = text(b, 4, n.op)
	for name, v := range n.attrs {
		a := number(text(nil, 1, name), 3, uint64(v))
		b = message(b, 5, number(a, 20, 2)) // type INT
	}
	return b
}

func (v value) encode() []byte {
	tensor := number(nil, 1, v.elem)
	if v.dims != nil {
		var shape []byte
		for i, d := range v.dims {
			if d < 0 {
				shape = message(shape, 1, text(nil, 2, fmt.Sprintf("%s_d%d", v.name, i)))
			} else {
				shape = message(shape, 1, number(nil, 1, uint64(d)))
			}
		}
		tensor = message(tensor, 2, shape)
	}
	return message(text(nil, 1, v.name), 2, message(nil, 1, tensor))
}

// encode makes a ModelProto of the graph, for opset 19.
func (g graph) encode() []byte {
	var b []byte
	for _, n := range g.nodes {
		b = message(b, 1, n.encode())
	}
	b = text(b, 2, "test")
	for _, v := range g.inputs {
		b = message(b, 11, v.encode())
	}
	for _, v := range g.outputs {
		b = message(b, 12, v.encode())
	}
	m := number(nil, 1, 8) // IR version
	m = message(m, 7, b)
	return message(m, 8, number(text(nil, 1, ""), 2, 19))
}

// write puts the graph into a file of its own and returns its path.
func (g graph) write(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, g.encode(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// identity is a graph that returns its input.
func identity(elem uint64, dims ...int64) graph {
	return graph{
		nodes:   []node{{op: "Identity", in: []string{"x"}, out: []string{"y"}}},
		inputs:  []value{{"x", elem, dims}},
		outputs: []value{{"y", elem, dims}},
	}
}

// arithmetic takes a and b and returns their sum and their difference.
func arithmetic() graph {
	dims := []int64{-1, 3}
	return graph{
		nodes: []node{
			{op: "Add", in: []string{"a", "b"}, out: []string{"sum"}},
			{op: "Sub", in: []string{"a", "b"}, out: []string{"difference"}},
		},
		inputs:  []value{{"a", elemFloat, dims}, {"b", elemFloat, dims}},
		outputs: []value{{"sum", elemFloat, dims}, {"difference", elemFloat, dims}},
	}
}
