package load

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"motley/internal/oip"
	"motley/internal/workload"
)

// built is a request as it goes over the wire, taken apart by the codec.
func built(t *testing.T, b *Bodies, m *message, x shot) (*oip.Request, int) {
	t.Helper()
	rows, _ := b.build(m, []byte("POST /x HTTP/1.1\r\nContent-Length: "), x)
	head, body, ok := bytes.Cut(bytes.Join(m.parts, nil), []byte("\r\n\r\n"))
	headLength := -1
	for _, line := range strings.Split(string(head), "\r\n") {
		var n int
		if _, err := fmt.Sscanf(line, "Inference-Header-Content-Length: %d", &n); err == nil {
			headLength = n
		}
		if _, err := fmt.Sscanf(line, "Content-Length: %d", &n); err == nil && n != len(body) {
			t.Errorf("Content-Length %d for a body of %d", n, len(body))
		}
	}
	r := new(oip.Request)
	if err := r.Parse(body, headLength, nil); !ok || err != nil {
		t.Fatalf("%v: %.300s", err, body)
	}
	return r, rows
}

func TestRandom(t *testing.T) {
	var inputs []oip.TensorMetadata
	for d := oip.Bool; d <= oip.Bytes; d++ {
		inputs = append(inputs, oip.TensorMetadata{Name: "in \"" + d.String(), Datatype: d, Shape: []int64{-1, 3, -1}})
	}
	half := func(t oip.TensorMetadata) bool { return t.Datatype == oip.FP16 || t.Datatype == oip.BF16 }
	for _, binary := range []bool{false, true} {
		meta := &oip.ModelMetadata{}
		for _, in := range inputs {
			if binary || !half(in) { // these have no form in JSON
				meta.Inputs = append(meta.Inputs, in)
			}
		}
		opt := Options{Binary: binary, Params: map[string]json.RawMessage{"ee_mode": json.RawMessage(`"off"`), "timeout": json.RawMessage("5000")}}
		const largest = 4000 // so that a request goes out in parts
		b, err := Random(meta, "m", largest, workload.Stream(1, "bodies"), opt)
		if err != nil {
			t.Fatal(err)
		}
		var m message
		for _, rows := range []int{1, 2, 7, largest} {
			for _, pick := range []float64{0, 0.3, 0.999999} {
				r, n := built(t, b, &m, shot{rows: rows, pick: pick})
				if n != rows || len(r.Inputs) != len(meta.Inputs) || string(r.Exits.Mode) != "off" || r.Timeout.Milliseconds() != 5 || r.BinaryOutput != binary {
					t.Errorf("%d rows: %d, %d inputs, parameters %s", rows, n, len(r.Inputs), r.Parameters)
				}
				for i, in := range r.Inputs {
					if want := meta.Inputs[i]; string(in.Name) != want.Name || in.Datatype != want.Datatype || fmt.Sprint(in.Shape) != fmt.Sprint([]int{rows, 3, 1}) {
						t.Errorf("input %q %v %v, want %v", in.Name, in.Datatype, in.Shape, want)
					}
				}
				if err := oipCheck(r, meta); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

// oipCheck has the codec take every value apart, as an engine would.
func oipCheck(r *oip.Request, meta *oip.ModelMetadata) error {
	tensors, err := oip.Tensors(nil, []*oip.Request{r}, meta)
	if err == nil && len(tensors) != len(meta.Inputs) {
		err = fmt.Errorf("%d tensors", len(tensors))
	}
	return err
}

func TestRandomUnbatched(t *testing.T) {
	meta := &oip.ModelMetadata{Inputs: []oip.TensorMetadata{{Name: "a", Datatype: oip.FP32, Shape: []int64{4}}, {Name: "b", Datatype: oip.Int64, Shape: []int64{2, 2}}}}
	b, err := Random(meta, "m", 50, workload.Stream(1, "bodies"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var m message
	if r, n := built(t, b, &m, shot{rows: 50, pick: 0.5}); n != 1 || fmt.Sprint(r.Inputs[0].Shape, r.Inputs[1].Shape) != "[4] [2 2]" {
		t.Errorf("%d rows, shapes %v %v", n, r.Inputs[0].Shape, r.Inputs[1].Shape)
	}
	for _, inputs := range [][]oip.TensorMetadata{
		nil, {{Name: "a", Datatype: oip.FP32, Shape: []int64{-1, 1 << 40}}}, {{Name: "a", Shape: []int64{-1}}, {Name: "b"}},
	} {
		if _, err := Random(&oip.ModelMetadata{Inputs: inputs}, "m", 1, workload.Stream(1, "bodies"), Options{}); err == nil {
			t.Errorf("%v: taken", inputs)
		}
	}
}

func TestFiles(t *testing.T) {
	head := `{"inputs":[{"name":"x","datatype":"FP32","shape":[2],"parameters":{"binary_data_size":8}}]}`
	bodies := [][]byte{
		[]byte(`{"id":"}\"{","inputs":[{"name":"x","datatype":"FP32","shape":[3,1],"data":[1,2,3]}]}` + "\n"),
		append([]byte(head), "8 bytes!"...),
	}
	b, err := FromFiles("m", []string{"one", "two"}, bodies)
	if err != nil {
		t.Fatal(err)
	}
	var m message
	for i, want := range []int{3, 2} {
		if r, rows := built(t, b, &m, shot{rows: 9, pick: 0.5 * float64(i)}); rows != want || !bytes.Equal(r.Body, bodies[i]) {
			t.Errorf("%d rows: %s", rows, r.Body)
		}
	}
	for _, body := range []string{"", "{}", "[1", head, `{"inputs":[]} x`} {
		if _, err := FromFiles("m", []string{"f.json"}, [][]byte{[]byte(body)}); err == nil || !strings.HasPrefix(err.Error(), "f.json: ") {
			t.Errorf("%q: %v", body, err)
		}
	}
}

// TestBuildAllocates nothing once its memory has grown.
func TestBuildAllocates(t *testing.T) {
	meta := &oip.ModelMetadata{Inputs: []oip.TensorMetadata{{Name: "x", Datatype: oip.FP32, Shape: []int64{-1, 64}}}}
	for _, binary := range []bool{false, true} {
		b, err := Random(meta, "m", 200, workload.Stream(1, "bodies"), Options{Binary: binary})
		if err != nil {
			t.Fatal(err)
		}
		var m message
		prefix := []byte("POST / HTTP/1.1\r\nContent-Length: ")
		for _, rows := range []int{200, 1} {
			b.build(&m, prefix, shot{rows: rows})
			if n := testing.AllocsPerRun(100, func() { b.build(&m, prefix, shot{rows: rows, pick: 0.4}) }); n > 0 {
				t.Errorf("%d rows, binary %v: %v allocations", rows, binary, n)
			}
		}
	}
}

// Request makes what build makes, and dimensions that vary are as told.
func TestRequest(t *testing.T) {
	meta := &oip.ModelMetadata{Inputs: []oip.TensorMetadata{
		{Name: "a", Datatype: oip.FP32, Shape: []int64{-1, 3, -1}}, {Name: "b", Datatype: oip.Bytes, Shape: []int64{-1, -1}},
	}}
	for _, binary := range []bool{false, true} {
		for vary, want := range map[int64][2]int64{0: {1, 1}, 1: {1, 1}, 7: {7, 7}} {
			b, err := Random(meta, "m", 20, workload.Stream(1, "bodies"), Options{Binary: binary, Vary: vary})
			if err != nil {
				t.Fatal(err)
			}
			for _, rows := range []int{1, 5, 20} {
				r, err := b.Request(rows, 0.5)
				if err != nil {
					t.Fatal(err)
				}
				a, s := r.Inputs[0].Shape, r.Inputs[1].Shape
				if r.Size(true) != rows || a[2] != want[0] || s[1] != want[1] || r.Model != "m" || (r.HeadLength >= 0) != binary {
					t.Errorf("%d rows, vary %d, binary %v: %v and %v", rows, vary, binary, a, s)
				}
				if err := r.Check(meta, true, 0); err != nil {
					t.Error(err)
				}
			}
		}
	}
}
