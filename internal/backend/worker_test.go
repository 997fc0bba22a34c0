package backend

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"motley/internal/oip"
)

// doubler is an engine.Model: input x FP32 [n,2], outputs y = 2x FP32 [n,2]
// and sum = int(x0+x1) INT64 [n,1].
type doubler struct {
	run    func(ctx context.Context) error // asked before every batch; nil = go on
	closed bool
}

var doublerMetadata = &oip.ModelMetadata{
	Name: "double", Versions: []string{"1", "2"}, Platform: "test",
	Inputs: []oip.TensorMetadata{{Name: "x", Datatype: oip.FP32, Shape: []int64{-1, 2}}},
	Outputs: []oip.TensorMetadata{
		{Name: "y", Datatype: oip.FP32, Shape: []int64{-1, 2}},
		{Name: "sum", Datatype: oip.Int64, Shape: []int64{-1, 1}},
	},
}

func (d *doubler) Metadata() *oip.ModelMetadata { return doublerMetadata }
func (d *doubler) MaxBatch() int                { return 64 }
func (d *doubler) Close() error                 { d.closed = true; return nil }

func (d *doubler) Run(ctx context.Context, in []oip.Tensor, want []string) ([]oip.Tensor, error) {
	if d.run != nil {
		if err := d.run(ctx); err != nil {
			return nil, err
		}
	}
	x := floats(in[0].Data)
	y := oip.Tensor{Name: "y", Datatype: oip.FP32, Shape: in[0].Shape}
	sum := oip.Tensor{Name: "sum", Datatype: oip.Int64, Shape: []int64{in[0].Shape[0], 1}}
	for i := 0; i < len(x); i += 2 {
		y.Data = appendFloats(y.Data, 2*x[i], 2*x[i+1])
		sum.Data = binary.LittleEndian.AppendUint64(sum.Data, uint64(x[i]+x[i+1]))
	}
	if len(want) == 0 {
		return []oip.Tensor{y, sum}, nil
	}
	var out []oip.Tensor
	for _, name := range want {
		out = append(out, map[string]oip.Tensor{"y": y, "sum": sum}[name])
	}
	return out, nil
}

func floats(b []byte) []float32 {
	var v []float32
	for ; len(b) > 0; b = b[4:] {
		v = append(v, math.Float32frombits(binary.LittleEndian.Uint32(b)))
	}
	return v
}

func appendFloats(b []byte, v ...float32) []byte {
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

// received is one inference request as it came over the wire.
type received struct {
	path       string
	header     http.Header
	body       []byte
	headLength int
	items      int
}

// worker is an OIP server of the doubler over a loopback socket.
type worker struct {
	*httptest.Server
	mu struct {
		sync.Mutex
		got     []received
		answers [][]byte
	}
}

// newWorker starts a server; one without the binary extension refuses every
// trace of it, as a strict JSON server does.
func newWorker(t *testing.T, binaryToo bool) *worker {
	t.Helper()
	w := &worker{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2", func(rw http.ResponseWriter, _ *http.Request) {
		m := oip.ServerMetadata{Name: "testserver", Version: "1.5", Extensions: []string{}}
		if binaryToo {
			m.Extensions = []string{"model_repository", "binary_tensor_data"}
		}
		_ = json.NewEncoder(rw).Encode(m)
	})
	mux.HandleFunc("GET /v2/models/double", func(rw http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(rw).Encode(doublerMetadata)
	})
	mux.HandleFunc("GET /v2/models/double/config", func(rw http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(rw).Encode(oip.ModelConfig{Name: "double", MaxBatchSize: 64})
	})
	mux.HandleFunc("GET /v2/models/double/ready", func(rw http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(rw).Encode(oip.ModelReadyResponse{Name: "double", Ready: true})
	})
	mux.HandleFunc("POST /v2/models/double/infer", func(rw http.ResponseWriter, q *http.Request) {
		w.infer(rw, q, binaryToo)
	})
	w.Server = httptest.NewServer(mux)
	t.Cleanup(w.Close)
	return w
}

func (w *worker) infer(rw http.ResponseWriter, q *http.Request, binaryToo bool) {
	refuse := func(err error) {
		rw.WriteHeader(http.StatusBadRequest)
		_, _ = rw.Write(oip.AppendError(nil, err.Error()))
	}
	body, err := io.ReadAll(q.Body)
	if err != nil {
		refuse(err)
		return
	}
	head, err := oip.ParseHeadLength([]byte(q.Header.Get(headLengthHeader)))
	if err != nil {
		refuse(err)
		return
	}
	var req oip.Request
	if err := req.Parse(body, head, nil); err != nil {
		refuse(err)
		return
	}
	if err := req.Check(doublerMetadata, true, 64); err != nil {
		refuse(err)
		return
	}
	asksBinary := req.BinaryOutput || slices.ContainsFunc(req.Outputs, func(o oip.Output) bool { return o.Binary })
	if !binaryToo && (head >= 0 || asksBinary) {
		refuse(fmt.Errorf("this server knows no binary tensors"))
		return
	}
	in, err := oip.Tensors(nil, []*oip.Request{&req}, doublerMetadata)
	if err != nil {
		refuse(err)
		return
	}
	var want []string
	for _, o := range req.Outputs {
		want = append(want, string(o.Name))
	}
	out, _ := new(doubler).Run(q.Context(), in, want)
	var answer oip.Message
	if err := oip.Encode([]*oip.Message{&answer}, out, []*oip.Request{&req}, nil, oip.ResponseInfo{Model: "double", Version: "2"}); err != nil {
		refuse(err)
		return
	}
	w.mu.Lock()
	w.mu.got = append(w.mu.got, received{q.URL.Path, q.Header, body, head, req.Size(true)})
	w.mu.answers = append(w.mu.answers, answer.Body)
	w.mu.Unlock()
	if answer.HeadLength >= 0 {
		rw.Header().Set(headLengthHeader, strconv.Itoa(answer.HeadLength))
	}
	_, _ = rw.Write(answer.Body)
}

// requests returns what the inference endpoint has taken.
func (w *worker) requests() []received {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.mu.got)
}

// newRemote returns a backend of url that is closed with the test.
func newRemote(t *testing.T, cfg RemoteConfig) *Remote {
	t.Helper()
	r, err := NewRemote(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// jsonCall is a request of rows [a,b] in JSON; more is put into the request's
// object.
func jsonCall(t *testing.T, id string, more string, rows ...[2]float32) *Call {
	t.Helper()
	data, err := json.Marshal(rows)
	if err != nil {
		t.Fatal(err)
	}
	return parsedCall(t, fmt.Appendf(nil, `{"id":%q,"inputs":[{"name":"x","shape":[%d,2],"datatype":"FP32","data":%s}]%s}`, id, len(rows), data, more), -1)
}

// binaryCall sends and asks for binary data.
func binaryCall(t *testing.T, id string, rows ...[2]float32) *Call {
	t.Helper()
	head := fmt.Appendf(nil, `{"id":%q,"parameters":{"binary_data_output":true},"inputs":[{"name":"x","shape":[%d,2],"datatype":"FP32","parameters":{"binary_data_size":%d}}]}`, id, len(rows), 8*len(rows))
	n := len(head)
	for _, row := range rows {
		head = appendFloats(head, row[:]...)
	}
	return parsedCall(t, head, n)
}

func parsedCall(t *testing.T, body []byte, headLength int) *Call {
	t.Helper()
	q := &oip.Request{Model: "double"}
	if err := q.Parse(body, headLength, nil); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	if err := q.Check(doublerMetadata, true, 64); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return &Call{Request: q}
}

// checkAnswer holds a call's response against the doubler, with id, form and
// row count.
func checkAnswer(t *testing.T, c *Call, id string, inBinary bool, rows ...[2]float32) {
	t.Helper()
	if c.Err != nil {
		t.Errorf("call %s failed: %v", id, c.Err)
		return
	}
	var resp oip.Response
	if err := resp.Parse(c.Response.Body, c.Response.HeadLength, nil); err != nil {
		t.Errorf("call %s: %v in %s", id, err, c.Response.Body)
		return
	}
	if string(resp.ID) != strconv.Quote(id) || string(resp.ModelName) != `"double"` {
		t.Errorf("call %s: answer of id %s, model %s", id, resp.ID, resp.ModelName)
	}
	if len(resp.Outputs) == 0 || string(resp.Outputs[0].Name) != "y" {
		t.Errorf("call %s: no output y in %s", id, c.Response.Body)
		return
	}
	y := resp.Outputs[0]
	if !slices.Equal(y.Shape, []int64{int64(len(rows)), 2}) || (y.Binary != nil) != inBinary {
		t.Errorf("call %s: shape %v, binary %t; want %d rows, %t", id, y.Shape, y.Binary != nil, len(rows), inBinary)
		return
	}
	var want []float32
	for _, r := range rows {
		want = append(want, 2*r[0], 2*r[1])
	}
	got := floats(y.Binary)
	if !inBinary {
		got = jsonFloats(t, y.JSON)
	}
	if !slices.Equal(got, want) {
		t.Errorf("call %s: y = %v, want %v", id, got, want)
	}
}

// jsonFloats reads a flat or nested array of numbers.
func jsonFloats(t *testing.T, b []byte) []float32 {
	t.Helper()
	var tree any
	if err := json.Unmarshal(b, &tree); err != nil {
		t.Errorf("%v in %s", err, b)
	}
	var flat []float32
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case float64:
			flat = append(flat, float32(v))
		}
	}
	walk(tree)
	return flat
}

// rawServer accepts connections on a loopback socket and gives each, with its
// number from 0, to serve, in a goroutine of its own. The connection is closed
// after serve. The test ends when all have returned.
func rawServer(t *testing.T, serve func(n int, c net.Conn, br *bufio.Reader)) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				serve(n, c, bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return "http://" + l.Addr().String()
}

// readRequest reads one request with its body; false at the connection's end.
func readRequest(br *bufio.Reader) bool {
	q, err := http.ReadRequest(br)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, q.Body)
	return err == nil
}

// answerWith serves every request with the same bytes.
func answerWith(raw string) func(int, net.Conn, *bufio.Reader) {
	return func(_ int, c net.Conn, br *bufio.Reader) {
		for readRequest(br) {
			if _, err := io.WriteString(c, raw); err != nil {
				return
			}
		}
	}
}

// httpReply is a whole response with a length.
func httpReply(status int, body string) string {
	return fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
}

// wantClass checks that err is an *Error of the class.
func wantClass(t *testing.T, err error, class Class) *Error {
	t.Helper()
	e, ok := err.(*Error)
	if !ok || e.Class != class {
		t.Fatalf("got %#v, want class %v", err, class)
	}
	return e
}

// checkGoroutines makes the test fail when it leaves goroutines behind. Call
// it first: cleanups run in reverse.
func checkGoroutines(t *testing.T) {
	t.Helper()
	http.DefaultClient.CloseIdleConnections()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for range 5000 { // those that were told to end need a moment
			if runtime.NumGoroutine() <= before {
				return
			}
			<-tick.C
		}
		buf := make([]byte, 1<<20)
		t.Errorf("%d goroutines, %d before the test:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
	})
}

// newTLSServer starts an HTTPS server that says nothing of clients that break
// off.
func newTLSServer(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(func() {
		s.Client().CloseIdleConnections()
		s.Close()
	})
	return s
}

// largeAnswer is a response of a few megabytes.
func largeAnswer() string {
	return `{"model_name":"double","id":"a","parameters":{"pad":"` + strings.Repeat("y", 5<<20) + `"},"outputs":[{"name":"y","datatype":"FP32","shape":[1,1],"data":[1]}]}`
}

// answerLarge notes the length of each request's body and answers with
// largeAnswer, whole or in chunks with a trailer.
func answerLarge(got *int, chunked bool) func(int, net.Conn, *bufio.Reader) {
	return func(_ int, c net.Conn, br *bufio.Reader) {
		for {
			q, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			n, err := io.Copy(io.Discard, q.Body)
			if err != nil {
				return
			}
			*got = int(n)
			body := largeAnswer()
			if !chunked {
				_, _ = io.WriteString(c, httpReply(200, body))
				continue
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			for part := range slices.Chunk([]byte(body), 100_000) {
				_, _ = fmt.Fprintf(c, "%x\r\n%s\r\n", len(part), part)
			}
			_, _ = io.WriteString(c, "0\r\nX-Checksum: 1\r\n\r\n")
		}
	}
}

// testTLS is the configuration of a TLS server.
func testTLS(t *testing.T) *tls.Config {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	return &tls.Config{Certificates: s.TLS.Certificates}
}
