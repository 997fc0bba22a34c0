package router

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp/fasthttputil"

	"motley/internal/accesslog"
	"motley/internal/dispatch"
	"motley/internal/live"
	"motley/internal/oip"
	"motley/internal/pool"
	"motley/internal/reactor"
)

// fakeLoop answers requests by do, and is otherwise set by its fields.
type fakeLoop struct {
	do    func(*live.Request) error
	doCtx func(context.Context, *live.Request) error // of streams with ramps; nil: do
	down  atomic.Bool                                // no model is ready
	after atomic.Int64                               // in ns
	begun atomic.Uint64
	left  atomic.Uint64 // the last that was given up

	mu   sync.Mutex
	seen live.Request // the last request
	head oip.Request
	data []byte // a copy of its body
}

func (l *fakeLoop) Begin(r *live.Request, w live.Waiter) dispatch.RequestID {
	id := dispatch.RequestID(l.begun.Add(1)) // before anybody learns that it has begun
	go func() { w.Answered(l.Do(r)) }()
	return id
}

func (l *fakeLoop) Leave(id dispatch.RequestID, _ *reactor.Loop) { l.left.Store(uint64(id)) }

func (l *fakeLoop) Do(r *live.Request) error {
	do, _ := l.note(r)
	return do(r)
}

func (l *fakeLoop) DoContext(ctx context.Context, r *live.Request) error {
	do, doCtx := l.note(r)
	if doCtx == nil || r.Show == nil {
		return do(r)
	}
	return doCtx(ctx, r)
}

// note keeps r for last and returns what is to be done with it.
func (l *fakeLoop) note(r *live.Request) (func(*live.Request) error, func(context.Context, *live.Request) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen, l.head = *r, *r.Call.Request
	l.data = append(l.data[:0], r.Call.Request.Body...)
	return l.do, l.doCtx
}

func (l *fakeLoop) set(do func(*live.Request) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.do, l.doCtx = do, nil
}

func (l *fakeLoop) setContext(do func(context.Context, *live.Request) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doCtx = do
}

func (l *fakeLoop) last() (live.Request, []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen, bytes.Clone(l.data)
}

func (l *fakeLoop) Snapshot() live.Snapshot {
	return live.Snapshot{
		Policy:  "least-load",
		Models:  []live.ModelState{{Name: "adder", Queued: 3, QueuedItems: 5, InFlight: 2}},
		Workers: []live.WorkerState{{Name: "w0", Type: "g4dn.xlarge", Backend: "fake", State: "up", Breaker: "closed", Batches: 1, Finished: 7, Failures: 2}},
		Profiles: []live.ProfileState{
			{Model: "adder", Type: "g4dn.xlarge", Known: true, Samples: 41, Drifts: 3, Replacements: 1, Means: []live.MeanTime{{Items: 8, MS: 2.5}}},
			{Model: "adder", Type: "r5n.large", Means: []live.MeanTime{}},
		},
	}
}
func (l *fakeLoop) ModelReady(pool.ModelID) bool          { return !l.down.Load() }
func (l *fakeLoop) RetryAfter(pool.ModelID) time.Duration { return time.Duration(l.after.Load()) }
func answerWith(body string, headLength int) func(*live.Request) error {
	return func(r *live.Request) error {
		r.Call.Response.Body = append(r.Call.Response.Body[:0], body...)
		r.Call.Response.HeadLength = headLength
		r.Worker, r.Batch, r.Attempts = 0, 4, 1
		r.Queued, r.Ran = 1234*time.Microsecond, 5678*time.Microsecond
		return nil
	}
}

const jsonAnswer = `{"model_name":"adder","outputs":[{"name":"sum","shape":[1,1],"datatype":"FP32","data":[3]}]}`

var adderMetadata = &oip.ModelMetadata{
	Name: "adder", Versions: []string{"1", "3"}, Platform: "onnxruntime_onnx",
	Inputs:  []oip.TensorMetadata{{Name: "x", Datatype: oip.FP32, Shape: []int64{-1, 2}}},
	Outputs: []oip.TensorMetadata{{Name: "sum", Datatype: oip.FP32, Shape: []int64{-1, 1}}},
}

const validInfer = `{"id":"a","inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}]}`

// fixture is a server over an in-memory listener. Model adder (id 0) is known,
// model raw (id 1) takes one row at a time, model quiet (id 2) has no metadata.
type fixture struct {
	t      testing.TB
	loop   *fakeLoop
	server *Server
	ln     net.Listener
	log    *logBuffer
	served chan error

	dialTCP func() *net.TCPConn // hostile_test.go
	first   string
	access  *accesslog.Log // of all requests
	lines   logBuffer      // what it has written
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newFixture(t testing.TB, change func(*Config)) *fixture {
	t.Helper()
	f := newIdleFixture(t, change)
	go func() { f.served <- f.server.Serve(f.ln) }()
	return f
}

// newIdleFixture is a fixture that does not serve its listener: where there is
// another one, it would count as a connection.
func newIdleFixture(t testing.TB, change func(*Config)) *fixture {
	t.Helper()
	f := &fixture{t: t, loop: &fakeLoop{}, log: &logBuffer{}, served: make(chan error, 1)}
	f.loop.set(answerWith(jsonAnswer, -1))
	f.listen()
	reg := prometheus.NewRegistry()
	metrics, err := NewMetrics(MetricsConfig{
		Registerer: reg, Models: []string{"adder", "raw", "quiet"},
		Workers: []WorkerLabels{{"w0", "g4dn.xlarge"}, {"w1", "r5n.large"}}, Version: "test",
		Tenants: []string{"default", "gold", "iron"},
	})
	if err != nil {
		t.Fatal(err)
	}
	rawMetadata := &oip.ModelMetadata{
		Name: "raw", Platform: "echo_v1",
		Inputs:  []oip.TensorMetadata{{Name: "x", Datatype: oip.FP32, Shape: []int64{2}}},
		Outputs: []oip.TensorMetadata{{Name: "y", Datatype: oip.FP32, Shape: []int64{2}}},
	}
	cfg := Config{
		Loop: f.loop, Metrics: metrics, Gatherer: reg, Version: "test",
		Log: slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Models: []Model{
			{Name: "adder", ID: 0, QoS: 5 * time.Millisecond, Percentile: .99, MaxQueue: 100, Info: func() ModelInfo {
				return ModelInfo{Metadata: adderMetadata, Batched: true, MaxBatch: 8}
			}},
			{Name: "raw", ID: 1, Info: func() ModelInfo { return ModelInfo{Metadata: rawMetadata, MaxBatch: 1} }},
			{Name: "quiet", ID: 2, Info: func() ModelInfo { return ModelInfo{} }},
		},
		MaxBody: 1 << 20, Loops: f.loops(),
	}
	f.access = accesslog.New(&f.lines, cfg.Log)
	all, err := f.access.Prepare(&accesslog.Settings{File: "-", Sample: 1, Client: true})
	if err != nil {
		t.Fatal(err)
	}
	all()
	cfg.AccessLog = f.access
	t.Cleanup(f.access.Close)
	if change != nil {
		change(&cfg)
	}
	if f.server, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = f.server.Shutdown(ctx)
		_ = f.ln.Close()
	})
	return f
}

// onReactors says which of the two ways to serve the tests are run on: by reactors, over TCP, or
// by the HTTP library alone, in memory.
var onReactors bool

func TestMain(m *testing.M) {
	code := m.Run()
	if l, err := reactor.New(); err == nil {
		l.Close()
		onReactors = true
		code = max(code, m.Run())
	}
	os.Exit(code)
}

func (f *fixture) listen() {
	f.t.Helper()
	if !onReactors {
		f.ln = fasthttputil.NewInmemoryListener()
		return
	}
	var err error
	if f.ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) loops() (all []*reactor.Loop) {
	f.t.Helper()
	if !onReactors {
		return nil
	}
	for range 2 {
		l, err := reactor.New()
		if err != nil {
			f.t.Fatal(err)
		}
		f.t.Cleanup(l.Close) // after the server's end: that was registered later
		all = append(all, l)
	}
	return all
}

func (f *fixture) connect() (net.Conn, error) {
	if ln, ok := f.ln.(*fasthttputil.InmemoryListener); ok {
		return ln.Dial()
	}
	return net.Dial("tcp", f.ln.Addr().String())
}

// dial opens a connection that the test's end closes.
func (f *fixture) dial() net.Conn {
	f.t.Helper()
	c, err := f.connect()
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = c.Close() })
	return c
}

// response is what came back.
type response struct {
	status int
	header http.Header
	body   []byte
}

// raw writes bytes to a new connection and reads one response.
func (f *fixture) raw(request string) response {
	f.t.Helper()
	c, err := f.connect()
	if err != nil {
		f.t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, request); err != nil {
		f.t.Fatalf("cannot write: %v", err)
	}
	return f.read(c)
}

func (f *fixture) read(c net.Conn) response {
	f.t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		f.t.Fatalf("cannot read the response: %v", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		f.t.Fatalf("cannot read the response's body: %v", err)
	}
	return response{res.StatusCode, res.Header, body}
}

// do sends a request with headers "Name: value".
func (f *fixture) do(method, path, body string, headers ...string) response {
	f.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: motley\r\n", method, path)
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	if method == "POST" || body != "" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n" + body)
	return f.raw(b.String())
}

// errorText returns the text of an error answer.
func (r response) errorText(t testing.TB) string {
	t.Helper()
	var e map[string]string
	if err := json.Unmarshal(r.body, &e); err != nil || len(e) != 1 || e["error"] == "" {
		t.Fatalf("status %d: body %q is not an error of the protocol", r.status, r.body)
	}
	if ct := r.header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("status %d: Content-Type %q of an error, want application/json", r.status, ct)
	}
	return e["error"]
}
