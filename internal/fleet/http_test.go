package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"motley/internal/engine"
	"motley/internal/oip"
	"motley/internal/promtest"
	"motley/internal/sim"
)

// start starts a fleet of quick workers, w0, w1, …, on free ports.
func start(t testing.TB, workers int, change func(*Config)) (*Fleet, []Server) {
	t.Helper()
	return startAs(t, workers, law(t, row(1, 200*time.Microsecond, 0), row(8, 300*time.Microsecond, 0)), change)
}

func startAs(t testing.TB, workers int, truth *sim.Truth, change func(*Config)) (*Fleet, []Server) {
	t.Helper()
	cfg := Config{Listen: "127.0.0.1:0", Binary: true, Seed: 1, Models: []Model{{
		Name:   "m",
		Inputs: []oip.TensorMetadata{{Name: "x", Datatype: oip.FP32, Shape: []int64{-1, 2}}}, Outputs: []oip.TensorMetadata{{Name: "y", Datatype: oip.FP32, Shape: []int64{-1, 2}}},
	}}}
	if change != nil {
		change(&cfg)
	}
	for i := range workers {
		w := Worker{Name: fmt.Sprint("w", i), Type: "t"}
		for range cfg.Models {
			w.Truth, w.MaxBatch = append(w.Truth, truth), append(w.MaxBatch, 8)
		}
		cfg.Workers = append(cfg.Workers, w)
	}
	f, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := f.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return f, f.Servers()
}

// client keeps its connections to itself.
func client(t testing.TB) *http.Client {
	tr := &http.Transport{MaxIdleConnsPerHost: 16}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 10 * time.Second}
}

type reply struct {
	status int
	body   []byte
	head   int // of the answer; −1: none
}

func post(c *http.Client, url string, head int, body string) (reply, error) {
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	if head >= 0 {
		req.Header.Set(headLength, strconv.Itoa(head))
	}
	resp, err := c.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	r := reply{status: resp.StatusCode, head: -1}
	if resp.ContentLength < 0 {
		return r, fmt.Errorf("status %d without a length", r.status)
	}
	if v := resp.Header.Get(headLength); v != "" {
		if r.head, err = strconv.Atoi(v); err != nil {
			return r, err
		}
	}
	r.body, err = io.ReadAll(resp.Body)
	return r, err
}

func tensor(name string, d oip.Datatype, shape ...int64) oip.TensorMetadata {
	return oip.TensorMetadata{Name: name, Datatype: d, Shape: shape}
}

// TestAnswers holds the answers' rows, shapes and forms.
func TestAnswers(t *testing.T) {
	fp32 := func(v ...float64) string {
		b, _ := oip.AppendValues(nil, v, oip.FP32)
		return string(b)
	}
	x2 := []oip.TensorMetadata{tensor("x", oip.FP32, -1, 2)}
	type model = Model
	for _, c := range []struct {
		name  string
		model model
		in    string // JSON of inputs and what follows them
		blob  string
		want  string // JSON of outputs
		blobs string
	}{
		{
			name: "echo, the text as it is", model: model{Inputs: x2, Outputs: x2},
			in:   `[{"name":"x","datatype":"FP32","shape":[2,2],"data":[1.50, 2,3,4e0]}]`,
			want: `[{"name":"x","datatype":"FP32","shape":[2,2],"data":[1.50, 2,3,4e0]}]`,
		},
		{
			name: "echo, nested", model: model{Inputs: x2, Outputs: x2},
			in:   `[{"name":"x","datatype":"FP32","shape":[2,2],"data":[ [1.5,2],[3,4]]}]`,
			want: `[{"name":"x","datatype":"FP32","shape":[2,2],"data":[1.5,2.0,3.0,4.0]}]`,
		},
		{
			name: "echo, cut and repeated", model: model{Inputs: x2, Outputs: []oip.TensorMetadata{tensor("short", oip.FP32, -1, 1), tensor("long", oip.FP32, -1, 5)}},
			in:   `[{"name":"x","datatype":"FP32","shape":[2,2],"data":[1.5,2.5,3.5,4.5]}]`,
			want: `[{"name":"short","datatype":"FP32","shape":[2,1],"data":[1.5,3.5]},{"name":"long","datatype":"FP32","shape":[2,5],"data":[1.5,2.5,1.5,2.5,1.5,3.5,4.5,3.5,4.5,3.5]}]`,
		},
		{
			name: "echo, the input of the datatype", model: model{
				Inputs:  []oip.TensorMetadata{tensor("a", oip.Int64, -1), tensor("s", oip.Bytes, -1, -1)},
				Outputs: []oip.TensorMetadata{tensor("o", oip.Bytes, -1, -1), tensor("n", oip.Int64, -1), tensor("z", oip.FP64, -1, 2)},
			},
			in:   `[{"name":"a","datatype":"INT64","shape":[2],"data":[7,8]},{"name":"s","datatype":"BYTES","shape":[2,2],"data":["a","bb","","d"]}]`,
			want: `[{"name":"o","datatype":"BYTES","shape":[2,2],"data":["a","bb","","d"]},{"name":"n","datatype":"INT64","shape":[2],"data":[7,8]},{"name":"z","datatype":"FP64","shape":[2,2],"data":[0.0,0.0,0.0,0.0]}]`,
		},
		{
			name: "echo, binary", model: model{Inputs: x2, Outputs: x2},
			in:   `[{"name":"x","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}],"outputs":[{"name":"x","parameters":{"binary_data":true}}]`,
			blob: fp32(1.5, 2), want: `[{"name":"x","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}]`, blobs: fp32(1.5, 2),
		},
		{
			name: "zeros", model: model{Inputs: x2, Outputs: []oip.TensorMetadata{tensor("y", oip.Int32, -1, 3), tensor("s", oip.Bytes, -1)}, Zeros: true},
			in:   `[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]`,
			want: `[{"name":"y","datatype":"INT32","shape":[1,3],"data":[0,0,0]},{"name":"s","datatype":"BYTES","shape":[1],"data":[""]}]`,
		},
		{
			name: "zeros, the output that is asked for", model: model{Inputs: x2, Outputs: []oip.TensorMetadata{tensor("y", oip.Int32, -1, 3), tensor("z", oip.Bool, -1)}, Zeros: true},
			in:   `[{"name":"x","datatype":"FP32","shape":[2,2],"data":[1,2,3,4]}],"outputs":[{"name":"z"}]`,
			want: `[{"name":"z","datatype":"BOOL","shape":[2],"data":[false,false]}]`,
		},
	} {
		c.model.Name = "m"
		_, servers := start(t, 1, func(cfg *Config) { cfg.Models = []Model{c.model} })
		head, body := -1, `{"id":"7","inputs":`+c.in+`}`
		if c.blob != "" {
			head = len(body)
		}
		got, err := post(client(t), servers[0].URL+"/v2/models/m/infer", head, body+c.blob)
		if err != nil {
			t.Fatal(err)
		}
		text, blobs := string(got.body), ""
		if got.head >= 0 {
			text, blobs = text[:got.head], text[got.head:]
		}
		want := `{"model_name":"m","model_version":"1","id":"7","outputs":` + c.want + `}`
		if got.status != 200 || !sameJSON(t, text, want) || blobs != c.blobs {
			t.Errorf("%s: %d %s %q\nwant %s %q", c.name, got.status, text, blobs, want, c.blobs)
		}
	}
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var va, vb any
	if err := json.Unmarshal([]byte(a), &va); err != nil {
		t.Errorf("%v in %s", err, a)
		return false
	}
	if err := json.Unmarshal([]byte(b), &vb); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(va, vb)
}

// TestEmbedded: a real model's answer.
func TestEmbedded(t *testing.T) {
	m, err := engine.Builtin("fashion")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	_, servers := start(t, 1, func(cfg *Config) { cfg.Models = []Model{{Name: "fashion", Engine: m}} })
	meta := m.Metadata()
	n := elements(meta.Inputs[0].Shape[1:])
	shape, _ := json.Marshal(append([]int64{1}, meta.Inputs[0].Shape[1:]...))
	body := fmt.Sprintf(`{"inputs":[{"name":%q,"datatype":%q,"shape":%s,"data":[%s0]}]}`, meta.Inputs[0].Name, meta.Inputs[0].Datatype, shape, strings.Repeat("0,", n-1))
	got, err := post(client(t), servers[0].URL+"/v2/models/fashion/infer", -1, body)
	if err != nil || got.status != 200 {
		t.Fatalf("%v, %d %s", err, got.status, got.body)
	}
	var resp oip.Response
	if err := resp.Parse(got.body, -1, nil); err != nil || len(resp.Outputs) != len(meta.Outputs) {
		t.Errorf("%v, %d outputs", err, len(resp.Outputs))
	}
}

// TestEndpoints holds what else the servers answer.
func TestEndpoints(t *testing.T) {
	_, servers := start(t, 1, func(cfg *Config) { cfg.Batching, cfg.Delay = true, ms })
	c := client(t)
	const infer = `{"inputs":[{"name":"x","datatype":"FP32","shape":[3,2],"data":[1,2,3,4,5,6]}]}`
	for range 2 {
		if r, err := post(c, servers[0].URL+"/v2/models/m/versions/1/infer", -1, infer); err != nil || r.status != 200 {
			t.Fatal(err, r.status, string(r.body))
		}
	}
	for _, e := range []struct {
		method, path, body string
		status             int
		want               string // part of the answer
	}{
		{"GET", "/v2", "", 200, `"binary_tensor_data"`},
		{"GET", "/v2/health/live", "", 200, ""},
		{"GET", "/v2/health/ready", "", 200, ""},
		{"GET", "/v2/models/m", "", 200, `"inputs":[{"name":"x","datatype":"FP32","shape":[-1,2]}]`},
		{"GET", "/v2/models/m/versions/1", "", 200, `"versions":["1"]`},
		{"GET", "/v2/models/m/ready", "", 200, ""},
		{"GET", "/v2/models/m/config", "", 200, `"max_batch_size":8`},
		{"GET", "/v2/models/m/config", "", 200, `"dims":[2]`},
		{"GET", "/v2/models/m/config", "", 200, `"dynamic_batching":{"max_queue_delay_microseconds":1000}`},
		{"GET", "/v2/models/m/stats", "", 200, `"inference_count":6,"execution_count":2,`},
		{"GET", "/v2/models/m/stats", "", 200, `"batch_stats":[{"batch_size":3,`},
		{"GET", "/v2/models/stats", "", 200, `"success":{"count":2,`},
		{"POST", "/v2/repository/index", "{}", 200, `{"name":"m","version":"1","state":"READY","reason":""}`},
		{"GET", "/metrics", "", 200, "nv_inference_count{model=\"m\",version=\"1\"} 6\n"},
		{"GET", "/metrics", "", 200, "nv_inference_exec_count{model=\"m\",version=\"1\"} 2\n"},
		{"GET", "/v2/models/n", "", 404, "unknown model"},
		{"GET", "/v2/models/m/versions/2", "", 404, "version 2 is not found"},
		{"GET", "/v2/models/m/other", "", 404, "Not Found"},
		{"GET", "/v1", "", 404, "Not Found"},
		{"GET", "/v2/models/m/infer", "", 405, "Not Allowed"},
		{"POST", "/v2", "", 405, "Not Allowed"},
		{"POST", "/v2/models/m/infer", "{", 400, "error"},
		{"POST", "/v2/models/m/infer", `{"inputs":[{"name":"y","datatype":"FP32","shape":[1,2],"data":[1,2]}]}`, 400, "unexpected inference input 'y'"},
		{"POST", "/v2/models/m/infer", `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,3],"data":[1,2,3]}]}`, 400, "unexpected shape"},
		{"POST", "/v2/models/m/infer", `{"inputs":[{"name":"x","datatype":"FP32","shape":[9,2],"data":[1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9]}]}`, 400, "batch-size must be <= 8"},
		{"POST", "/v2/models/m/infer", `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}],"outputs":[{"name":"z"}]}`, 400, "z"},
		{"GET", "/metrics", "", 200, "nv_inference_request_failure{model=\"m\",version=\"1\"} 5\n"},
	} {
		req, err := http.NewRequest(e.method, servers[0].URL+e.path, strings.NewReader(e.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != e.status || !bytes.Contains(body, []byte(e.want)) {
			t.Errorf("%s %s %s: %v, %d %s, want %d with %s", e.method, e.path, e.body, err, resp.StatusCode, body, e.status, e.want)
		}
		if e.path == "/metrics" {
			promtest.Check(t, string(body), "nv_") // Triton's names
		}
	}
}

// TestBinaryOff: a server without the extension refuses it.
func TestBinaryOff(t *testing.T) {
	_, servers := start(t, 1, func(cfg *Config) { cfg.Binary = false })
	body := `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}]}`
	r, err := post(client(t), servers[0].URL+"/v2/models/m/infer", len(body), body+"12345678")
	if err != nil || r.status != 400 {
		t.Errorf("%v, %d %s", err, r.status, r.body)
	}
}

// TestPace: over HTTP, requests one after the other take what was drawn, and
// never less. What they take more is the machine's and the client's.
func TestPace(t *testing.T) {
	f, servers := startAs(t, 1, law(t, row(1, 5*ms, 9*ms)), nil)
	c := client(t)
	const n = 100
	began := time.Now()
	for range n {
		if r, err := post(c, servers[0].URL+"/v2/models/m/infer", -1, `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}`); err != nil || r.status != 200 {
			t.Fatal(err, r.status)
		}
	}
	took := time.Since(began)
	drawn := time.Duration(f.servers[0].stats()[0].InferenceStats.ComputeInfer.Ns)
	if took < drawn || took > drawn+drawn/2+time.Second {
		t.Errorf("%d requests took %v, %v were drawn", n, took, drawn)
	}
	if mean := drawn / n; mean < 4*ms || mean > 6*ms {
		t.Errorf("%v were drawn on average, want about 5 ms", mean)
	}
	if r := f.Report()[0]; r.Requests != n || r.Busy <= 0 || r.Busy > 1 || f.Lateness(0.5) <= 0 {
		t.Errorf("%+v, late %v", r, f.Lateness(0.5))
	}
}
