package app

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"motley/internal/config"
)

// loadText loads a configuration with a table of profiles beside it.
func loadText(t *testing.T, text, profiles string) *config.Config {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"router.yaml": text, "profiles.csv": "model,instance_type,batch,mean_ms,p99_ms\n" + profiles} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := config.Load(filepath.Join(dir, "router.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// echoer is a router as a worker: it answers model m, of pairs of numbers, with
// what it was sent, 64 rows at once.
func echoer(t *testing.T) *served {
	return serveConfig(t, loadText(t, `
models: [{name: m, qos: {target: 30s}, batched: true, inputs: [{name: x, datatype: INT32, shape: [-1, 2]}], outputs: [{name: x, datatype: INT32, shape: [-1, 2]}]}]
instance_types: [{name: cpu}]
profiles: [profiles.csv]
workers: [{name: w, type: cpu, emulated: {profile_model: m}}]
`, "m,cpu,1,5,5\nm,cpu,64,10,10\n"), Options{})
}

// wire forwards connections to a worker until it is cut.
type wire struct {
	ln     net.Listener
	to     string
	infers atomic.Int64 // inference requests that passed
	cutAt  int64        // the wire is cut as that one comes; 0: never

	mu    sync.Mutex
	conns []net.Conn
	cut   bool
}

func newWire(t *testing.T, to string, cutAt int64) *wire {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{ln: ln, to: to, cutAt: cutAt}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { w.forward(c) })
		}
	})
	t.Cleanup(func() { w.close(); all.Wait() })
	return w
}

func (w *wire) forward(c net.Conn) {
	s, err := net.Dial("tcp", w.to)
	if err != nil || !w.keep(c, s) {
		_ = c.Close()
		return
	}
	var back sync.WaitGroup
	back.Go(func() { _, _ = io.Copy(c, s); _ = c.Close() })
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		if bytes.HasPrefix(buf[:n], []byte("POST ")) && w.infers.Add(1) == w.cutAt {
			w.close()
		}
		if _, failed := s.Write(buf[:n]); err != nil || failed != nil {
			break
		}
	}
	_ = s.Close()
	back.Wait()
}

// keep notes the ends of a connection, unless the wire is cut.
func (w *wire) keep(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns = append(w.conns, conns...)
	return !w.cut
}

func (w *wire) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
	_ = w.ln.Close()
	for _, c := range w.conns {
		_ = c.Close()
	}
}

// behind is a router over the wires.
func behind(t *testing.T, model string, wires ...*wire) *served {
	t.Helper()
	text := "models: [{name: m, qos: {target: 30s}" + model + "}]\ninstance_types: [{name: cpu}]\nworkers:\n"
	for i, w := range wires {
		text += fmt.Sprintf("  - {name: w%d, type: cpu, remote: {url: \"http://%s\"}}\n", i, w.ln.Addr())
	}
	return serveConfig(t, loadText(t, text, ""), Options{})
}

// pairs is the data of n rows, all different.
func pairs(n int) []int32 {
	var all []int32
	for i := range int32(n) {
		all = append(all, i, -7*i)
	}
	return all
}

// post sends a request as any client does.
func (s *served) post(t *testing.T, model string, body []byte, head int) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequest("POST", "http://"+s.addr+"/v2/models/"+model+"/infer", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if head > 0 {
		req.Header.Set("Inference-Header-Content-Length", strconv.Itoa(head))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, got
}

// asJSON and asBinary are requests for all rows.
func asJSON(t *testing.T, data []int32, more string) []byte {
	t.Helper()
	b, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Appendf(nil, `{"id":"large",%s"inputs":[{"name":"x","datatype":"INT32","shape":[%d,2],"data":%s}]}`, more, len(data)/2, b)
}

func asBinary(data []int32) (body []byte, head int) {
	body = fmt.Appendf(nil, `{"id":"large","inputs":[{"name":"x","datatype":"INT32","shape":[%d,2],"parameters":{"binary_data_size":%d}}],"outputs":[{"name":"x","parameters":{"binary_data":true}}]}`,
		len(data)/2, 4*len(data))
	head = len(body)
	for _, v := range data {
		body = binary.LittleEndian.AppendUint32(body, uint32(v))
	}
	return body, head
}

// wantEcho fails the test unless the answer is the rows of data.
func wantEcho(t *testing.T, resp *http.Response, body []byte, data []int32) {
	t.Helper()
	if resp.StatusCode != 200 {
		t.Fatalf("status %d: %s", resp.StatusCode, body)
	}
	head := body
	if n, err := strconv.Atoi(resp.Header.Get("Inference-Header-Content-Length")); err == nil {
		head = body[:n]
		for i := range data {
			if got := int32(binary.LittleEndian.Uint32(body[n+4*i:])); got != data[i] {
				t.Fatalf("value %d is %d, want %d", i, got, data[i])
			}
		}
	}
	var r struct {
		ID      string
		Model   string `json:"model_name"`
		Outputs []struct {
			Name  string
			Shape []int
			Data  []json.Number
		}
	}
	if err := json.Unmarshal(head, &r); err != nil {
		t.Fatalf("%v: %s", err, head)
	}
	if r.ID != "large" || r.Model != "m" || r.Outputs[0].Name != "x" || r.Outputs[0].Shape[0] != len(data)/2 {
		t.Fatalf("got %.300s", head)
	}
	if len(head) == len(body) {
		for i, v := range r.Outputs[0].Data {
			if v.String() != strconv.Itoa(int(data[i])) {
				t.Fatalf("value %d is %s, want %d", i, v, data[i])
			}
		}
	}
}

// TestParts sends 500 rows to workers that take 64 each.
func TestParts(t *testing.T) {
	s := behind(t, "", newWire(t, echoer(t).addr, 0), newWire(t, echoer(t).addr, 0))
	data := pairs(500)
	for range 3 { // while nothing is known yet, too
		resp, body := s.post(t, "m", asJSON(t, data, ""), 0)
		wantEcho(t, resp, body, data)
		if n, _ := strconv.Atoi(resp.Header.Get("X-Motley-Parts")); n < 8 {
			t.Errorf("X-Motley-Parts: %d", n)
		}
		b, head := asBinary(data)
		resp, body = s.post(t, "m", b, head)
		wantEcho(t, resp, body, data)
		if n, _ := strconv.Atoi(resp.Header.Get("X-Motley-Parts")); n < 8 {
			t.Errorf("binary, X-Motley-Parts: %d", n)
		}
	}
	// One that a worker takes is none the wiser.
	resp, body := s.post(t, "m", asJSON(t, pairs(3), ""), 0)
	wantEcho(t, resp, body, pairs(3))
	if got := resp.Header.Get("X-Motley-Parts"); got != "" {
		t.Errorf("3 rows, X-Motley-Parts: %s", got)
	}
	// Many at once, beside small ones.
	var all sync.WaitGroup
	for i := range 20 {
		n := 1 + i*17%9
		if i%3 == 0 {
			n = 65 + 40*i%300
		}
		all.Go(func() {
			resp, body := s.post(t, "m", asJSON(t, pairs(n), ""), 0)
			wantEcho(t, resp, body, pairs(n))
		})
	}
	all.Wait()
}

// TestPartsOfAWorkerThatDies cuts the wire of one of three workers as it gets
// its second batch.
func TestPartsOfAWorkerThatDies(t *testing.T) {
	dies := newWire(t, echoer(t).addr, 2)
	s := behind(t, "", newWire(t, echoer(t).addr, 0), dies, newWire(t, echoer(t).addr, 0))
	data := pairs(1500)
	resp, body := s.post(t, "m", asJSON(t, data, ""), 0)
	wantEcho(t, resp, body, data)
	if n := dies.infers.Load(); n < 2 {
		t.Errorf("the worker that was to die got %d batches", n)
	}
}

// TestPartsRefused is requests that are too large and cannot be split.
func TestPartsRefused(t *testing.T) {
	const text = `{"error":"inference request batch-size must be <= 64 for model 'm', got 500"}`
	w := newWire(t, echoer(t).addr, 0)
	for name, c := range map[string]struct{ model, more string }{
		"split: false":   {", split: false", ""},
		"batched":        {", batched: true, max_batch: 1", ""},
		"sequence":       {"", `"parameters":{"sequence_id":7,"sequence_start":true},`},
		"classification": {"", `"outputs":[{"name":"y","parameters":{"classification":1}}],`},
	} {
		t.Run(name, func(t *testing.T) {
			s := behind(t, c.model, w)
			if resp, body := s.post(t, "m", asJSON(t, pairs(500), c.more), 0); resp.StatusCode != 400 || string(body) != text {
				t.Errorf("status %d: %s", resp.StatusCode, body)
			}
		})
	}
}

// TestPartsOfPictures is 1,000 pictures for the built-in model, which takes 64 at
// once: they are what the engine itself says of them.
func TestPartsOfPictures(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds of both CPUs")
	}
	cfg, err := config.Parse("built-in", config.Default())
	if err != nil {
		t.Fatal(err)
	}
	s := serveConfig(t, cfg, Options{})
	all := pictures(t, 1000)
	head := `{"parameters":{"timeout":60000000},"inputs":[{"name":"image","shape":[1000,1,28,28],"datatype":"FP32","parameters":{"binary_data_size":3136000}}],"outputs":[{"name":"probabilities","parameters":{"binary_data":true}}]}`
	body := []byte(head)
	for _, p := range all {
		body = append(body, p.bytes()...)
	}
	start := time.Now()
	resp, got := s.post(t, "fashion", body, len(head))
	n, err := strconv.Atoi(resp.Header.Get("Inference-Header-Content-Length"))
	if resp.StatusCode != 200 || err != nil {
		t.Fatalf("status %d: %.300s", resp.StatusCode, got)
	}
	t.Logf("%s parts, %v", resp.Header.Get("X-Motley-Parts"), time.Since(start))
	flat := floats(got[n:])
	for i, w := range want(t, all) {
		for k, v := range w {
			if flat[10*i+k] != v {
				t.Fatalf("picture %d: %v, want %v", i, flat[10*i:10*i+10], w)
			}
		}
	}
}
