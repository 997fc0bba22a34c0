package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// Limits of the ONNX reader. A model that is read holds no more memory than a
// small multiple of its own bytes.
const (
	maxModelBytes = 64 << 20
	maxNodes      = 4096
	maxDims       = 8
)

// onnxModel is the part of an ONNX file that the built-in engine understands.
type onnxModel struct {
	opset int64 // of the default domain
	graph onnxGraph
}

type onnxGraph struct {
	name            string
	nodes           []onnxNode
	weights         map[string]onnxTensor
	inputs, outputs []onnxValue // inputs include those that are also weights
}

type onnxNode struct {
	name, op, domain string
	inputs, outputs  []string
	attributes       []onnxAttribute
}

// label names a node in errors.
func (n *onnxNode) label() string {
	if n.name != "" {
		return fmt.Sprintf("%s %q", n.op, n.name)
	}
	if len(n.outputs) > 0 {
		return fmt.Sprintf("%s making %q", n.op, n.outputs[0])
	}
	return n.op
}

type onnxAttribute struct {
	name string
	kind int64 // AttributeProto.type: 1 FLOAT, 2 INT, 3 STRING, 7 INTS; others are refused where used
	f    float32
	i    int64
	s    string
	ints []int64
}

type onnxTensor struct {
	name string
	dims []int64
	data []float32
}

type onnxValue struct {
	name string
	elem int64   // TensorProto.DataType
	dims []int64 // −1 where variable
}

// TensorProto.DataType
const (
	elemFloat = 1
	elemInt64 = 7
)

var errTruncated = errors.New("the protobuf is truncated or malformed")

// fields calls f for each field of a protobuf message; f gets the varint or
// fixed value in v, or the bytes of a length-delimited field in b.
func fields(msg []byte, f func(num protowire.Number, typ protowire.Type, v uint64, b []byte) error) error {
	for len(msg) > 0 {
		num, typ, n := protowire.ConsumeTag(msg)
		if n < 0 {
			return errTruncated
		}
		msg = msg[n:]
		var v uint64
		var b []byte
		switch typ {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(msg)
		case protowire.Fixed32Type:
			var w uint32
			w, n = protowire.ConsumeFixed32(msg)
			v = uint64(w)
		case protowire.Fixed64Type:
			v, n = protowire.ConsumeFixed64(msg)
		case protowire.BytesType:
			b, n = protowire.ConsumeBytes(msg)
		default: // groups: ONNX has none
			return errTruncated
		}
		if n < 0 {
			return errTruncated
		}
		msg = msg[n:]
		if err := f(num, typ, v, b); err != nil {
			return err
		}
	}
	return nil
}

// wire says that a field came with another wire type than its schema's.
func wire(what string, typ, want protowire.Type) error {
	if typ != want {
		return fmt.Errorf("%s has protobuf wire type %d, want %d", what, typ, want)
	}
	return nil
}

func parseONNX(data []byte) (*onnxModel, error) {
	if len(data) > maxModelBytes {
		return nil, fmt.Errorf("the file has %d bytes, the built-in engine reads at most %d", len(data), maxModelBytes)
	}
	m := &onnxModel{}
	seen := false
	err := fields(data, func(num protowire.Number, typ protowire.Type, _ uint64, b []byte) error {
		switch num {
		case 7: // graph
			if err := wire("graph", typ, protowire.BytesType); err != nil {
				return err
			}
			if seen {
				return errors.New("the file holds two graphs")
			}
			seen = true
			return m.graph.parse(b)
		case 8: // opset_import
			domain, version, err := parseOpset(b)
			if err == nil && (domain == "" || domain == "ai.onnx") {
				m.opset = version
			}
			return err
		case 25:
			return errors.New("model-local functions are not supported")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !seen {
		return nil, errors.New("there is no graph in the file: is it an ONNX model?")
	}
	return m, nil
}

func parseOpset(msg []byte) (domain string, version int64, err error) {
	err = fields(msg, func(num protowire.Number, _ protowire.Type, v uint64, b []byte) error {
		switch num {
		case 1:
			domain = string(b)
		case 2:
			version = int64(v)
		}
		return nil
	})
	return domain, version, err
}

func (g *onnxGraph) parse(msg []byte) error {
	g.weights = map[string]onnxTensor{}
	return fields(msg, func(num protowire.Number, typ protowire.Type, _ uint64, b []byte) error {
		switch num {
		case 1, 2, 5, 11, 12, 15:
			if err := wire("a graph field", typ, protowire.BytesType); err != nil {
				return err
			}
		}
		switch num {
		case 1: // node
			if len(g.nodes) == maxNodes {
				return fmt.Errorf("the graph has more than %d nodes", maxNodes)
			}
			n, err := parseNode(b)
			if err != nil {
				return fmt.Errorf("node %d: %w", len(g.nodes), err)
			}
			g.nodes = append(g.nodes, n)
		case 2:
			g.name = string(b)
		case 5: // initializer
			t, err := parseTensor(b)
			if err != nil {
				return fmt.Errorf("weight %q: %w", t.name, err)
			}
			if _, twice := g.weights[t.name]; twice {
				return fmt.Errorf("weight %q is there twice", t.name)
			}
			g.weights[t.name] = t
		case 11, 12: // input, output
			v, err := parseValue(b)
			if err != nil {
				return err
			}
			if num == 11 {
				g.inputs = append(g.inputs, v)
			} else {
				g.outputs = append(g.outputs, v)
			}
		case 15:
			return errors.New("sparse weights are not supported")
		}
		return nil
	})
}

func parseNode(msg []byte) (onnxNode, error) {
	var n onnxNode
	err := fields(msg, func(num protowire.Number, _ protowire.Type, _ uint64, b []byte) error {
		switch num {
		case 1:
			n.inputs = append(n.inputs, string(b))
		case 2:
			n.outputs = append(n.outputs, string(b))
		case 3:
			n.name = string(b)
		case 4:
			n.op = string(b)
		case 5:
			a, err := parseAttribute(b)
			if err != nil {
				return fmt.Errorf("attribute %q: %w", a.name, err)
			}
			n.attributes = append(n.attributes, a)
		case 7:
			n.domain = string(b)
		}
		return nil
	})
	return n, err
}

func parseAttribute(msg []byte) (onnxAttribute, error) {
	var a onnxAttribute
	err := fields(msg, func(num protowire.Number, typ protowire.Type, v uint64, b []byte) error {
		switch num {
		case 1:
			a.name = string(b)
		case 2:
			a.f = math.Float32frombits(uint32(v))
		case 3:
			a.i = int64(v)
		case 4:
			a.s = string(b)
		case 8:
			var err error
			a.ints, err = appendInts(a.ints, typ, v, b)
			return err
		case 20:
			a.kind = int64(v)
		}
		return nil
	})
	return a, err
}

// appendInts adds one value, or a packed run of them.
func appendInts(dst []int64, typ protowire.Type, v uint64, b []byte) ([]int64, error) {
	if typ == protowire.VarintType {
		return append(dst, int64(v)), nil
	}
	for len(b) > 0 {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return dst, errTruncated
		}
		dst, b = append(dst, int64(v)), b[n:]
	}
	return dst, nil
}

func parseTensor(msg []byte) (onnxTensor, error) {
	var t onnxTensor
	var elem int64
	var raw []byte // little-endian floats, from raw_data or packed float_data
	var loose []float32
	err := fields(msg, func(num protowire.Number, typ protowire.Type, v uint64, b []byte) error {
		var err error
		switch num {
		case 1:
			t.dims, err = appendInts(t.dims, typ, v, b)
		case 2:
			elem = int64(v)
		case 4:
			if typ == protowire.BytesType {
				raw = b
			} else {
				loose = append(loose, math.Float32frombits(uint32(v)))
			}
		case 8:
			t.name = string(b)
		case 9:
			raw = b
		case 13, 14:
			if num == 13 || v != 0 {
				err = errors.New("data outside the file is not supported")
			}
		}
		return err
	})
	if err != nil {
		return t, err
	}
	if elem != elemFloat {
		return t, fmt.Errorf("element type %d is not supported, only FLOAT (1)", elem)
	}
	count, err := product(t.dims)
	if err != nil {
		return t, err
	}
	if raw == nil && int64(len(loose)) == count {
		t.data = loose
		return t, nil
	}
	if len(loose) > 0 || int64(len(raw)) != 4*count {
		return t, fmt.Errorf("shape %v wants %d values, the file holds %d bytes", t.dims, count, len(raw)+4*len(loose))
	}
	t.data = make([]float32, count)
	for i := range t.data {
		t.data[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return t, nil
}

// product multiplies dimensions; the result is at most maxModelBytes.
func product(dims []int64) (int64, error) {
	if len(dims) > maxDims {
		return 0, fmt.Errorf("%d dimensions, at most %d are supported", len(dims), maxDims)
	}
	n := int64(1)
	for _, d := range dims {
		if d < 0 || d > maxModelBytes {
			return 0, fmt.Errorf("dimension %d in shape %v is out of range", d, dims)
		}
		if n *= d; n > maxModelBytes { // each factor is < 2^27, so no overflow before this
			return 0, fmt.Errorf("shape %v is too large", dims)
		}
	}
	return n, nil
}

func parseValue(msg []byte) (onnxValue, error) {
	v := onnxValue{}
	err := fields(msg, func(num protowire.Number, _ protowire.Type, _ uint64, b []byte) error {
		switch num {
		case 1:
			v.name = string(b)
		case 2: // type
			return fields(b, func(num protowire.Number, _ protowire.Type, _ uint64, b []byte) error {
				if num != 1 { // tensor_type
					return errors.New("a graph input or output is no tensor")
				}
				return v.parseTensorType(b)
			})
		}
		return nil
	})
	return v, err
}

func (v *onnxValue) parseTensorType(msg []byte) error {
	return fields(msg, func(num protowire.Number, _ protowire.Type, n uint64, b []byte) error {
		switch num {
		case 1:
			v.elem = int64(n)
		case 2: // shape
			return fields(b, func(_ protowire.Number, _ protowire.Type, _ uint64, b []byte) error {
				if len(v.dims) == maxDims {
					return fmt.Errorf("%q has more than %d dimensions", v.name, maxDims)
				}
				d := int64(-1)
				err := fields(b, func(num protowire.Number, _ protowire.Type, n uint64, _ []byte) error {
					if num == 1 {
						d = int64(n)
					}
					return nil
				})
				v.dims = append(v.dims, d)
				return err
			})
		}
		return nil
	})
}
