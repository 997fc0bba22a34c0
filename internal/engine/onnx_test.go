package engine

import (
	"context"
	"strings"
	"testing"

	"motley/internal/oip"
)

// convGraph is a sound little graph, changed by the arguments.
func convGraph(op string, attrs ...[]byte) *graphBuilder {
	g := &graphBuilder{}
	g.input("x", -1, 1, 4, 4)
	g.weight("w", random(1, 9), 1, 1, 3, 3)
	if len(attrs) == 0 {
		attrs = [][]byte{intsAttr("pads", 1, 1, 1, 1)}
	}
	g.node(op, []string{"x", "w"}, "y", attrs...)
	g.output("y", elemFloat, -1, 1, 4, 4)
	return g
}

// ramped is a graph with one ramp; tail is added to what it holds.
func ramped(ramp string, tail func(*graphBuilder)) *graphBuilder {
	g := &graphBuilder{}
	g.input("x", -1, 1, 2, 2)
	g.weight("w", random(1, 9), 1, 1, 3, 3)
	g.weight("fc", random(2, 8), 4, 2)
	head := func(from, to string) {
		g.node("Flatten", []string{from}, to+"_flat")
		g.node("Gemm", []string{to + "_flat", "fc"}, to)
	}
	g.node("Conv", []string{"x", "w"}, "a", intsAttr("pads", 1, 1, 1, 1))
	head("a", ramp)
	g.node("Conv", []string{"a", "w"}, "b", intsAttr("pads", 1, 1, 1, 1))
	if tail != nil {
		tail(g)
		head("c", "y")
	} else {
		head("b", "y")
	}
	g.output("y", elemFloat, -1, 2)
	g.output(ramp, elemFloat, -1, 2)
	return g
}

func TestLoadRefusesByName(t *testing.T) {
	node := func(op string, inputs []string, attrs ...[]byte) []byte {
		g := &graphBuilder{}
		g.input("x", -1, 1, 4, 4)
		g.weight("w", random(1, 9), 1, 1, 3, 3)
		g.node(op, inputs, "y", attrs...)
		g.output("y", elemFloat, -1, 1, 4, 4)
		return g.bytes()
	}
	oldOpset := convGraph("Conv")
	oldOpset.opset = 9
	twoInputs := convGraph("Conv")
	twoInputs.input("z", -1, 1, 4, 4)
	missing := convGraph("Conv")
	missing.output("nowhere", elemFloat, -1, 1, 4, 4)
	huge := &graphBuilder{}
	huge.input("x", -1, 4000, 4000, 4000)
	huge.node("Relu", []string{"x"}, "y")
	huge.output("y", elemFloat, -1, 4000, 4000, 4000)
	for _, c := range []struct {
		model []byte
		want  string
	}{
		{nil, "no graph"},
		{[]byte("not a model"), "malformed"},
		{fashion[:len(fashion)/2], "truncated"},
		{node("MaxPool", []string{"x"}), "operator MaxPool is not supported"},
		{convGraph("Conv", intsAttr("pads", 1, 1, 1, 1), intsAttr("dilations", 2, 2)).bytes(), "attribute dilations = [2 2]"},
		{convGraph("Conv", intsAttr("pads", 1, 1, 1, 1), intAttr("group", 2)).bytes(), "attribute group = 2"},
		{convGraph("Conv", intsAttr("pads", 0, 0, 0, 0)).bytes(), "attribute pads"},
		{convGraph("Conv", intsAttr("pads", 1, 1, 1, 1), intsAttr("strides", 3, 3)).bytes(), "attribute strides"},
		{convGraph("Conv", intsAttr("pads", 1, 1, 1, 1), stringAttr("auto_pad", "SAME_UPPER")).bytes(), "attribute auto_pad"},
		{convGraph("Conv", intsAttr("pads", 1, 1, 1, 1), intAttr("colour", 3)).bytes(), "attribute colour is not supported"},
		{convGraph("Conv", intsAttr("pads", 1, 1)).bytes(), "want 4 INTS"},
		{node("AveragePool", []string{"x"}, intsAttr("kernel_shape", 5, 5)), "kernel_shape"},
		{node("Softmax", []string{"x"}), "4 dimensions"},
		{node("Relu", []string{"q"}), `"q" is made by no earlier node`},
		{node("Add", []string{"x", "w"}), `"w" is a weight`},
		{oldOpset.bytes(), "opset 9"},
		{twoInputs.bytes(), "2 inputs"},
		{missing.bytes(), "nowhere"},
		{huge.bytes(), "at most"},
		{ramped("ramp1_probabilities", nil).bytes(), "numbered from 0"},
		{ramped("ramp0_probabilities", func(g *graphBuilder) { g.node("Add", []string{"b", "x"}, "c") }).bytes(), `"x" is needed later too`},
	} {
		_, err := LoadONNX(c.model)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q is wanted in the error, got %v", c.want, err)
		}
	}
	m, err := LoadONNX(ramped("ramp0_probabilities", nil).bytes())
	if err != nil || m.(Staged).Stages() != 2 {
		t.Errorf("the sound graph with a ramp: %v", err)
	}
	if _, err := Builtin("nonsense"); err == nil {
		t.Error("Builtin takes any name")
	}
}

// FuzzLoadONNX: whatever the bytes, loading ends in an error or in a model
// that runs; and a model that runs gives the same alone as in a batch.
func FuzzLoadONNX(f *testing.F) {
	f.Add(convGraph("Conv").bytes())
	f.Add(ramped("ramp0_probabilities", nil).bytes())
	for _, c := range operatorCases() {
		if len(c.model) < 4096 {
			f.Add(c.model)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := LoadONNX(data)
		if err != nil {
			return
		}
		in := m.Metadata().Inputs[0]
		size := 1
		for _, d := range in.Shape[1:] {
			size *= int(d)
		}
		if p := m.(*builtin).program; p.floats(2) > 1<<16 {
			return // sound, but slow to run
		}
		x := random(3, 2*size)
		run := func(n int, pixels []float32) []oip.Tensor {
			shape := append([]int64{int64(n)}, in.Shape[1:]...)
			out, err := m.Run(context.Background(), []oip.Tensor{{Name: in.Name, Datatype: oip.FP32, Shape: shape, Data: appendFloats(nil, pixels)}}, nil)
			if err != nil {
				t.Fatalf("a model that loads does not run: %v", err)
			}
			return out
		}
		both, alone := run(2, x), run(1, x[size:])
		for i := range both {
			if half := len(both[i].Data) / 2; string(both[i].Data[half:]) != string(alone[i].Data) {
				t.Fatalf("output %q differs alone and in a batch", both[i].Name)
			}
		}
	})
}
