package backend

import (
	"testing"

	"motley/internal/oip"
)

func TestFit(t *testing.T) {
	tensor := func(name string, d oip.Datatype, shape ...int64) oip.TensorMetadata {
		return oip.TensorMetadata{Name: name, Datatype: d, Shape: shape}
	}
	batched := &oip.ModelMetadata{Inputs: []oip.TensorMetadata{tensor("x", oip.FP32, -1, 2)}, Outputs: []oip.TensorMetadata{
		tensor("y", oip.FP32, -1, 2), tensor("n", oip.Int64, -1, -1),
	}}
	other := &oip.ModelMetadata{Inputs: batched.Inputs, Outputs: batched.Outputs[:1]}
	single := &oip.ModelMetadata{Inputs: []oip.TensorMetadata{tensor("x", oip.FP32, 2)}, Outputs: []oip.TensorMetadata{tensor("y", oip.FP32, -1, 2)}}
	output := func(name string, d oip.Datatype, shape ...int64) oip.ResponseOutput {
		return oip.ResponseOutput{Name: []byte(name), Datatype: d, Shape: shape}
	}
	request := func(rows int64, classes int) *oip.Request {
		q := &oip.Request{Inputs: []oip.Input{{Name: []byte("x"), Shape: []int64{rows, 2}}}}
		if classes > 0 {
			q.Outputs = []oip.Output{{Name: []byte("y"), Classification: classes}}
		}
		return q
	}
	three := []*oip.Request{request(3, 0)}
	right := output("y", oip.FP32, 3, 2)
	for _, c := range []struct {
		name    string
		meta    *oip.ModelMetadata
		before  oip.ResponseOutput // keptFor times
		then    *oip.ModelMetadata // told before the answer, nil: nothing new
		got     oip.ResponseOutput
		reqs    []*oip.Request
		refused bool
	}{
		{"as ever", batched, right, nil, right, three, false},
		{"a row too many", batched, right, nil, output("y", oip.FP32, 4, 2), three, true},
		{"two requests' rows", batched, right, nil, output("y", oip.FP32, 4, 2), []*oip.Request{request(1, 0), request(3, 0)}, false},
		{"a column too many", batched, right, nil, output("y", oip.FP32, 3, 3), three, true},
		{"another rank", batched, right, nil, output("y", oip.FP32, 3, 2, 1), three, true},
		{"a scalar", batched, right, nil, output("y", oip.FP32), three, true},
		{"another datatype", batched, right, nil, output("y", oip.Uint8, 3, 2), three, true},
		{"not where the metadata has it", batched, right, nil, output("n", oip.Int64, 3, 9), three, false},
		{"likewise, wrong", batched, right, nil, output("n", oip.Int64, 2, 9), three, true},
		{"of unknown name", batched, right, nil, output("z", oip.Uint8, 9), three, false},
		{"classified", batched, right, nil, output("y", oip.Bytes, 3, 5), []*oip.Request{request(3, 5)}, false},
		{"metadata that never were right", batched, output("y", oip.FP64, 3), nil, output("y", oip.FP64, 2), three, false},
		{"told the same again", batched, right, batched, output("y", oip.Uint8, 3, 2), three, true},
		{"told something else", batched, right, other, output("y", oip.Uint8, 3, 2), three, false},
		{"tells nothing for once", batched, right, &oip.ModelMetadata{}, output("y", oip.Uint8, 3, 2), three, true},
		{"no batch: any number of rows", single, right, nil, output("y", oip.FP32, 7, 2), three, false},
		{"no batch: columns", single, right, nil, output("y", oip.FP32, 7, 3), three, true},
	} {
		r, err := NewRemote(RemoteConfig{URL: "http://127.0.0.1:1"})
		if err != nil {
			t.Fatal(err)
		}
		r.learnFit("m", c.meta)
		for range keptFor {
			if err := r.fits("m", &oip.Response{Outputs: []oip.ResponseOutput{c.before}}, three); err != nil {
				t.Errorf("%s: refused before it was known how the worker answers: %v", c.name, err)
			}
		}
		r.learnFit("m", c.then)
		if err := r.fits("m", &oip.Response{Outputs: []oip.ResponseOutput{c.got}}, c.reqs); (err != nil) != c.refused {
			t.Errorf("%s: %v, want it refused: %v", c.name, err, c.refused)
		}
	}
}

// TestFitOfSingleRows: answers of one row say nothing of a batch: a model that
// finds as many things as it finds may find one.
func TestFitOfSingleRows(t *testing.T) {
	r, err := NewRemote(RemoteConfig{URL: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	r.learnFit("m", doublerMetadata)
	one := []*oip.Request{{Inputs: []oip.Input{{Name: []byte("x"), Shape: []int64{1, 2}}}}}
	answer := func(rows int64) *oip.Response {
		return &oip.Response{Outputs: []oip.ResponseOutput{{Name: []byte("y"), Datatype: oip.FP32, Shape: []int64{rows, 2}}}}
	}
	for range 3 * keptFor {
		if err := r.fits("m", answer(1), one); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.fits("m", answer(2), one); err != nil {
		t.Errorf("%v, when no answer has shown yet that there is a batch", err)
	}
}
