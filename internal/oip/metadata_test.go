package oip

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// The answers of the endpoints other than infer, to the letter: clients read
// members by these names, and members that must be there are there when they
// are empty.
func TestMetadataForms(t *testing.T) {
	for _, c := range []struct {
		v    any
		want string
	}{
		{ServerMetadata{Name: "motley", Version: "1", Extensions: []string{"binary_tensor_data"}},
			`{"name":"motley","version":"1","extensions":["binary_tensor_data"]}`},
		{LiveResponse{Live: true}, `{"live":true}`},
		{ReadyResponse{}, `{"ready":false}`},
		{ModelReadyResponse{Name: "m", Ready: true}, `{"name":"m","ready":true}`},
		{ErrorResponse{Error: "e"}, `{"error":"e"}`},
		{ModelMetadata{
			Name: "m", Versions: []string{"1"}, Platform: "onnx_onnxv1",
			Inputs:     []TensorMetadata{{Name: "i", Datatype: FP32, Shape: []int64{-1, 28}}},
			Outputs:    []TensorMetadata{{Name: "o", Datatype: Bytes, Shape: []int64{}}},
			Properties: map[string]string{"b": "2", "a": "1"},
		}, `{"name":"m","versions":["1"],"platform":"onnx_onnxv1","inputs":[{"name":"i","datatype":"FP32","shape":[-1,28]}],` +
			`"outputs":[{"name":"o","datatype":"BYTES","shape":[]}],"properties":{"a":"1","b":"2"}}`},
		{ModelMetadata{Name: "m", Platform: "p", Inputs: []TensorMetadata{}, Outputs: []TensorMetadata{}},
			`{"name":"m","platform":"p","inputs":[],"outputs":[]}`},
		{StatsResponse{ModelStats: []ModelStats{{
			Name: "m", Version: "1", LastInference: 7, InferenceCount: 8, ExecutionCount: 9,
			InferenceStats: InferenceStats{Success: Stat{1, 2}, CacheMiss: Stat{3, 4}},
			BatchStats:     []BatchStats{{BatchSize: 4, ComputeInput: Stat{1, 1}, ComputeInfer: Stat{2, 2}, ComputeOutput: Stat{3, 3}}},
		}}},
			`{"model_stats":[{"name":"m","version":"1","last_inference":7,"inference_count":8,"execution_count":9,` +
				`"inference_stats":{"success":{"count":1,"ns":2},"fail":{"count":0,"ns":0},"queue":{"count":0,"ns":0},` +
				`"compute_input":{"count":0,"ns":0},"compute_infer":{"count":0,"ns":0},"compute_output":{"count":0,"ns":0},` +
				`"cache_hit":{"count":0,"ns":0},"cache_miss":{"count":3,"ns":4}},` +
				`"batch_stats":[{"batch_size":4,"compute_input":{"count":1,"ns":1},"compute_infer":{"count":2,"ns":2},"compute_output":{"count":3,"ns":3}}]}]}`},
		{RepositoryIndexRequest{}, `{}`},
		{RepositoryIndexRequest{Ready: true}, `{"ready":true}`},
		{[]RepositoryIndexEntry{{Name: "m", Version: "1", State: StateReady}, {Name: "n", State: StateUnavailable, Reason: "r"}},
			`[{"name":"m","version":"1","state":"READY","reason":""},{"name":"n","state":"UNAVAILABLE","reason":"r"}]`},
		{ModelConfig{
			Name: "m", Platform: "onnxruntime_onnx", Backend: "onnxruntime", MaxBatchSize: 64,
			Input:           []ConfigTensor{{Name: "i", DataType: ConfigDatatype(FP32), Dims: []int64{1, 28}}},
			Output:          []ConfigTensor{{Name: "o", DataType: ConfigDatatype(Bytes), Dims: []int64{}}},
			DynamicBatching: &DynamicBatching{MaxQueueDelayMicroseconds: 100},
		}, `{"name":"m","platform":"onnxruntime_onnx","backend":"onnxruntime","max_batch_size":64,` +
			`"input":[{"name":"i","data_type":"TYPE_FP32","dims":[1,28]}],"output":[{"name":"o","data_type":"TYPE_STRING","dims":[]}],` +
			`"dynamic_batching":{"max_queue_delay_microseconds":100}}`},
	} {
		got, err := json.Marshal(c.v)
		if err != nil || string(got) != c.want {
			t.Errorf("%T: %v\ngot  %s\nwant %s", c.v, err, got, c.want)
		}
		back := reflect.New(reflect.TypeOf(c.v))
		if err := json.Unmarshal(got, back.Interface()); err != nil || !reflect.DeepEqual(back.Elem().Interface(), c.v) {
			t.Errorf("%s reads as %+v, %v", got, back.Elem(), err)
		}
	}
}

func TestMetadataOfAnUnknownModel(t *testing.T) {
	got, err := json.Marshal(&ModelMetadata{Name: "m"})
	if want := `{"name":"m","platform":"","inputs":[],"outputs":[]}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
}

func TestDatatypeNames(t *testing.T) {
	names := strings.Fields("BOOL UINT8 UINT16 UINT32 UINT64 INT8 INT16 INT32 INT64 FP16 BF16 FP32 FP64 BYTES")
	sizes := []int{1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 2, 4, 8, 0}
	for i, name := range names {
		d, ok := ParseDatatype([]byte(name))
		if !ok || d != Datatype(i+1) || d.String() != name || d.Size() != sizes[i] {
			t.Errorf("%s = %d, %t: %s of %d bytes, want %d of %d bytes", name, d, ok, d, d.Size(), i+1, sizes[i])
		}
		config := "TYPE_" + strings.Replace(name, "BYTES", "STRING", 1)
		b, err := json.Marshal(ConfigDatatype(d))
		if err != nil || string(b) != `"`+config+`"` {
			t.Errorf("%s as a configuration's = %s, %v, want %s", name, b, err, config)
		}
		var back ConfigDatatype
		if err := json.Unmarshal(b, &back); err != nil || back != ConfigDatatype(d) {
			t.Errorf("%s reads as %d, %v", b, back, err)
		}
	}
	for _, bad := range []string{"", "fp32", "FP8", "INVALID", "TYPE_FP32", "FP32 ", "STRING"} {
		if d, ok := ParseDatatype([]byte(bad)); ok || d != Invalid {
			t.Errorf("ParseDatatype(%q) = %s, %t", bad, d, ok)
		}
		var d Datatype
		err := json.Unmarshal(fmt.Appendf(nil, "%q", bad), &d)
		if err == nil || !strings.Contains(err.Error(), "is not one of OIP's") {
			t.Errorf("unmarshal %q: %s, %v", bad, d, err)
		}
	}
	for _, bad := range []string{`"FP32"`, `"TYPE_BYTES"`, `"TYPE_"`, `"TYPE_FP8"`, `""`, `7`, `{}`} {
		var d ConfigDatatype
		if err := json.Unmarshal([]byte(bad), &d); err == nil || !strings.HasPrefix(err.Error(), "cannot read data_type: ") {
			t.Errorf("unmarshal %s as a configuration's: %d, %v", bad, d, err)
		}
	}
	for _, bad := range []string{`7`, `null`, `{}`} {
		d := FP32
		if err := d.UnmarshalJSON([]byte(bad)); err == nil {
			t.Errorf("unmarshal %s: %s, no error", bad, d)
		}
	}
	for _, d := range []Datatype{Invalid, Bytes + 1, 255} {
		if d.String() != "INVALID" || d.Size() != 0 {
			t.Errorf("datatype %d is %s of %d bytes", uint8(d), d, d.Size())
		}
		if b, err := json.Marshal(d); err == nil {
			t.Errorf("datatype %d marshals as %s", uint8(d), b)
		}
	}
	var d ConfigDatatype = 5
	if err := json.Unmarshal([]byte(`"TYPE_INVALID"`), &d); err != nil || d != ConfigDatatype(Invalid) {
		t.Errorf("TYPE_INVALID reads as %d, %v", d, err)
	}
}
