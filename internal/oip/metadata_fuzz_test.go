package oip

import (
	"encoding/json"
	"testing"
)

// FuzzMetadata: whatever a worker tells of a model, a request is held against it without a
// panic, and what is let pass has a size.
func FuzzMetadata(f *testing.F) {
	const request = `{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}]}`
	f.Add([]byte(`{"name":"m","inputs":[{"name":"x","datatype":"FP32","shape":[-1,2]}],"outputs":[{"name":"y","datatype":"FP32","shape":[-1,1]}]}`), []byte(request), -1, true)
	f.Add([]byte(`{"inputs":[{"name":"x","datatype":"FP32","shape":[-1,4]}]}`), []byte("0123456789abcdef"), 0, true)
	f.Add([]byte(`{"inputs":[{"name":"x","datatype":"BYTES","shape":[1]}]}`), []byte("text"), 0, false)
	f.Add([]byte(`{"inputs":[{"name":"x","datatype":"INT8","shape":[9223372036854775807,-1,0]}]}`), []byte("text"), 0, true)
	f.Fuzz(func(t *testing.T, metadata, body []byte, head int, batched bool) {
		var meta ModelMetadata
		if json.Unmarshal(metadata, &meta) != nil {
			return
		}
		var r Request
		if r.Parse(body, head, nil) != nil || r.Check(&meta, batched, 8) != nil {
			return
		}
		if n := r.Size(batched); batched && (n < 1 || n > 8) {
			t.Fatalf("%d items", n)
		}
	})
}
