package engine

import "testing"

// The built-in model's demand, counted a second time from the ONNX file itself.
func TestDemand(t *testing.T) {
	m, err := Builtin("fashion")
	if err != nil {
		t.Fatal(err)
	}
	d, ok := DemandOf(m)
	if !ok {
		t.Fatal("nothing is known of the built-in model")
	}
	work := int64(0)
	for _, w := range m.(Staged).Work() {
		work += w.Trunk
	}
	if d.MultiplyAdds != work || work == 0 {
		t.Errorf("%d multiply-adds, the stages' are %d", d.MultiplyAdds, work)
	}
	parsed, err := parseONNX(fashion)
	if err != nil {
		t.Fatal(err)
	}
	// Every weight that a path to the outputs reads; those of ramps do not count.
	needed := map[string]bool{}
	for _, o := range parsed.graph.outputs {
		if !isRamp(o.name) {
			needed[o.name] = true
		}
	}
	weights := int64(0)
	for i := len(parsed.graph.nodes) - 1; i >= 0; i-- {
		n := parsed.graph.nodes[i]
		if !needed[n.outputs[0]] {
			continue
		}
		for _, in := range n.inputs {
			if w, ok := parsed.graph.weights[in]; ok && !needed[in] {
				weights += int64(len(w.data))
			}
			needed[in] = true
		}
	}
	if d.Weights != weights {
		t.Errorf("%d weights, the file has %d", d.Weights, weights)
	}
	// At least the picture is read and every weight's output written.
	if d.Values < 28*28+10 || d.Values > 20*d.MultiplyAdds {
		t.Errorf("%d values", d.Values)
	}
}
