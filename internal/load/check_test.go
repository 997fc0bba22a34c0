package load

import (
	"encoding/binary"
	"math"
	"testing"
)

func TestJudge(t *testing.T) {
	b := &Bodies{Model: "m/ü", nameLiteral: []byte(`"m/ü"`), batched: true}
	const outputs = `"outputs":[{"name":"y","datatype":"FP32","shape":[2,1],"data":[1,2]}]}`
	blob := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, math.Float32bits(1)), math.Float32bits(2))
	head := `{"model_name":"m/ü","outputs":[{"name":"y","datatype":"FP32","shape":[2,1],"parameters":{"binary_data_size":8}}]}`
	for _, c := range []struct {
		body       string
		headLength int
		want       Outcome
		exit       int
	}{
		{`{"model_name":"m/ü",` + outputs, -1, OK, -1},
		{`{"model_name":"m\/\u00fc",` + outputs, -1, OK, -1},
		{`{"model_name":"m/ü","parameters":{"ee_exit":4,"ee_final":true},` + outputs, -1, OK, 4},
		{head + string(blob), len(head), OK, -1},
		{head + string(blob), -1, Wrong, -1},
		{head + string(blob[:7]), len(head), Wrong, -1},
		{`{"model_name":"m",` + outputs, -1, Wrong, -1},
		{`{` + outputs, -1, Wrong, -1},
		{`{"model_name":null,` + outputs, -1, Wrong, -1},
		{`{"model_name":"m/ü","outputs":[{"name":"y","datatype":"FP32","shape":[2],"data":[1,2]},{"name":"z","datatype":"FP32","shape":[1],"data":[1]}]}`, -1, Wrong, -1},
		{`{"model_name":"m/ü","outputs":[{"name":"y","datatype":"FP32","shape":[2],"data":[1]}]}`, -1, Wrong, -1},
		{`{"model_name":"m/ü","outputs":[{"name":"y","datatype":"FP32","shape":[],"data":[1]}]}`, -1, Wrong, -1},
		{``, -1, Wrong, -1},
	} {
		var k checker
		if got, exit := k.judge(b, []byte(c.body), c.headLength, 2); got != c.want || exit != c.exit {
			t.Errorf("%s: %v by %d, want %v by %d", c.body, got, exit, c.want, c.exit)
		}
	}
}

func TestRight(t *testing.T) {
	b := &Bodies{Model: "m", nameLiteral: []byte(`"m"`), batched: true}
	labels := []uint8{2, 0, 1}
	for _, c := range []struct {
		output string
		right  int
		known  bool
	}{
		{`"datatype":"FP32","shape":[3,3],"data":[0.1,0.2,0.7,0.9,0,0.1,0.3,0.3,0.4]`, 2, true},
		{`"datatype":"FP64","shape":[3,3],"data":[0,0,1,-1,-2,-3,0,1,0]`, 3, true},
		{`"datatype":"FP32","shape":[3,2],"data":[0,1,1,0,0,1]`, 2, true}, // a class 2 is never answered
		{`"datatype":"FP32","shape":[3,1],"data":[2,0,1]`, 0, false},
		{`"datatype":"INT64","shape":[3,2],"data":[0,1,1,0,0,1]`, 0, false},
	} {
		var k checker
		body := `{"model_name":"m","outputs":[{"name":"skipped","datatype":"BYTES","shape":[3,1],"data":["a","b","c"]},{"name":"y",` + c.output + `}]}`
		if o, _ := k.judge(b, []byte(body), -1, 3); o != OK {
			t.Fatalf("%s: %v", body, o)
		}
		if right, known := k.right(labels); right != c.right || known != c.known {
			t.Errorf("%s: %d, %v; want %d, %v", c.output, right, known, c.right, c.known)
		}
	}
}

// TestJudgeAllocates nothing in steady state.
func TestJudgeAllocates(t *testing.T) {
	b := &Bodies{Model: "m", nameLiteral: []byte(`"m"`), batched: true}
	body := []byte(response("m", 4))
	labels := []uint8{1, 0, 1, 1}
	var k checker
	judge := func() {
		if o, _ := k.judge(b, body, -1, 4); o != OK {
			t.Fatal(o)
		}
		if n, ok := k.right(labels); n != 3 || !ok {
			t.Fatal(n, ok)
		}
	}
	judge()
	if n := testing.AllocsPerRun(100, judge); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
