package backend

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"motley/internal/oip"
)

var _ Backend = (*Remote)(nil)

func TestRemotePassesASingleRequestThrough(t *testing.T) {
	for _, tc := range []struct {
		name   string
		binary string
		call   func(t *testing.T) *Call
		form   bool
	}{
		{"JSON to a binary server", "on", func(t *testing.T) *Call { return jsonCall(t, "one", "", [2]float32{1, 2}) }, false},
		{"JSON to a JSON server", "off", func(t *testing.T) *Call { return jsonCall(t, "one", "", [2]float32{1, 2}) }, false},
		{"binary", "on", func(t *testing.T) *Call { return binaryCall(t, "one", [2]float32{1, 2}) }, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			checkGoroutines(t)
			w := newWorker(t, tc.binary == "on")
			r := newRemote(t, RemoteConfig{URL: w.URL, Binary: tc.binary, Headers: map[string]string{"Authorization": "Bearer x", "X-A": "b"}})
			c := tc.call(t)
			c.Response.Body = make([]byte, 3, 4096) // what an earlier request left
			memory := &c.Response.Body[:1][0]
			if err := r.run(t.Context(), "double", []*Call{c}); err != nil {
				t.Fatal(err)
			}
			checkAnswer(t, c, "one", tc.form, [2]float32{1, 2})
			got := w.requests()
			if len(got) != 1 || !bytes.Equal(got[0].body, c.Request.Body) || got[0].headLength != c.Request.HeadLength {
				t.Errorf("the worker got %+v, want the request's own bytes", got)
			}
			if h := got[0].header; h.Get("Authorization") != "Bearer x" || h.Get("X-A") != "b" || got[0].path != "/v2/models/double/infer" {
				t.Errorf("the worker got %s with %v", got[0].path, h)
			}
			if w.mu.Lock(); !bytes.Equal(c.Response.Body, w.mu.answers[0]) {
				t.Errorf("answer %q is not the worker's %q", c.Response.Body, w.mu.answers[0])
			}
			w.mu.Unlock()
			if &c.Response.Body[0] != memory {
				t.Error("the response is not in the caller's memory")
			}
		})
	}
}

func TestRemoteMergesAndSplits(t *testing.T) {
	for _, binaryToo := range []bool{true, false} {
		t.Run(fmt.Sprintf("binary=%t", binaryToo), func(t *testing.T) {
			checkGoroutines(t)
			w := newWorker(t, binaryToo)
			r := newRemote(t, RemoteConfig{URL: w.URL})
			if _, err := r.Probe(t.Context(), "double"); err != nil { // learns of the extension
				t.Fatal(err)
			}
			calls := []*Call{
				jsonCall(t, "a", "", [2]float32{1, 2}, [2]float32{3, 4}),
				binaryCall(t, "b", [2]float32{5, 6}),
				jsonCall(t, "c", "", [2]float32{7, 8}),
				binaryCall(t, "d", [2]float32{9, 10}, [2]float32{11, 12}, [2]float32{13, 14}),
			}
			for range 3 { // the memory of one batch serves the next
				if err := r.run(t.Context(), "double", calls); err != nil {
					t.Fatal(err)
				}
				checkAnswer(t, calls[0], "a", false, [2]float32{1, 2}, [2]float32{3, 4})
				checkAnswer(t, calls[1], "b", true, [2]float32{5, 6})
				checkAnswer(t, calls[2], "c", false, [2]float32{7, 8})
				checkAnswer(t, calls[3], "d", true, [2]float32{9, 10}, [2]float32{11, 12}, [2]float32{13, 14})
			}
			for _, q := range w.requests() {
				if q.items != 7 || (q.headLength >= 0) != binaryToo {
					t.Errorf("the worker got %d items, head %d: %q", q.items, q.headLength, q.body)
				}
			}
			if n := len(w.requests()); n != 3 {
				t.Errorf("%d requests to the worker for 3 batches", n)
			}
		})
	}
}

func TestRemoteConvertsABinaryRequestForAJSONWorker(t *testing.T) {
	w := newWorker(t, false)
	r := newRemote(t, RemoteConfig{URL: w.URL, Binary: "off"})
	c := binaryCall(t, "one", [2]float32{0.5, -2})
	if err := r.run(t.Context(), "double", []*Call{c}); err != nil {
		t.Fatal(err)
	}
	checkAnswer(t, c, "one", true, [2]float32{0.5, -2})
}

func TestRemoteAsksForTheRequestedOutputs(t *testing.T) {
	w := newWorker(t, true)
	r := newRemote(t, RemoteConfig{URL: w.URL, Binary: "on"})
	only := `,"outputs":[{"name":"sum"}]`
	calls := []*Call{jsonCall(t, "a", only, [2]float32{1, 2}), jsonCall(t, "b", only, [2]float32{3, 4})}
	if err := r.run(t.Context(), "double", calls); err != nil {
		t.Fatal(err)
	}
	for i, want := range []float32{3, 7} {
		var resp oip.Response
		if err := resp.Parse(calls[i].Response.Body, calls[i].Response.HeadLength, nil); err != nil {
			t.Fatal(err)
		}
		if len(resp.Outputs) != 1 || string(resp.Outputs[0].Name) != "sum" || !slices.Equal(jsonFloats(t, resp.Outputs[0].JSON), []float32{want}) {
			t.Errorf("answer %d: %s", i, calls[i].Response.Body)
		}
	}
}

// A member whose data has no JSON form fails alone; the others are sent.
func TestRemoteMemberWithoutJSONFormFailsAlone(t *testing.T) {
	w := newWorker(t, false)
	r := newRemote(t, RemoteConfig{URL: w.URL, Binary: "off"})
	nan := float32(0)
	nan /= nan
	calls := []*Call{jsonCall(t, "a", "", [2]float32{1, 2}), binaryCall(t, "nan", [2]float32{nan, 1}), binaryCall(t, "c", [2]float32{5, 6})}
	if err := r.run(t.Context(), "double", calls); err != nil {
		t.Fatal(err)
	}
	checkAnswer(t, calls[0], "a", false, [2]float32{1, 2})
	checkAnswer(t, calls[2], "c", true, [2]float32{5, 6})
	if e := wantClass(t, calls[1].Err, Client); e.Status != 400 || e.Message == "" {
		t.Errorf("the member's error is %+v", e)
	}
	// All at fault: nothing is sent, and the batch as a whole did not fail.
	alone := []*Call{calls[1]}
	if err := r.run(t.Context(), "double", alone); err != nil {
		t.Fatal(err)
	}
	wantClass(t, alone[0].Err, Client)
	if n := len(w.requests()); n != 1 {
		t.Errorf("the worker got %d requests, want 1", n)
	}
	// The error does not stick to the call.
	on := newRemote(t, RemoteConfig{URL: newWorker(t, true).URL, Binary: "on"})
	if err := on.run(t.Context(), "double", alone); err != nil || alone[0].Err != nil {
		t.Errorf("again on a binary worker: %v, %v", err, alone[0].Err)
	}
}

func TestRemoteRenamesTheModel(t *testing.T) {
	w := newWorker(t, true)
	r := newRemote(t, RemoteConfig{URL: w.URL + "/", Binary: "on", ModelNames: map[string]string{"mine": "double"}})
	calls := []*Call{jsonCall(t, "a", "", [2]float32{1, 2})}
	if err := r.run(t.Context(), "mine", calls); err != nil {
		t.Fatal(err)
	}
	if got := w.requests()[0].path; got != "/v2/models/double/infer" {
		t.Errorf("path %s", got)
	}
	var resp oip.Response
	if err := resp.Parse(calls[0].Response.Body, calls[0].Response.HeadLength, nil); err != nil || string(resp.ModelName) != `"mine"` {
		t.Errorf("answer %s, %v; want the name that the client used", calls[0].Response.Body, err)
	}
}

func TestRemoteForwardsTheRemainingTime(t *testing.T) {
	for _, tc := range []struct {
		name    string
		forward bool
		more    string
		sent    bool
	}{
		{"a client's timeout", false, `,"parameters":{"timeout":9000000}`, true},
		{"asked for by the configuration", true, ``, true},
		{"neither", false, ``, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorker(t, true)
			r := newRemote(t, RemoteConfig{URL: w.URL, Timeout: 3 * time.Second, ForwardTimeout: tc.forward})
			c := jsonCall(t, "a", tc.more, [2]float32{1, 2})
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			if err := r.run(ctx, "double", []*Call{c}); err != nil {
				t.Fatal(err)
			}
			checkAnswer(t, c, "a", false, [2]float32{1, 2})
			var q oip.Request
			if err := q.Parse(w.requests()[0].body, -1, nil); err != nil {
				t.Fatal(err)
			}
			if (q.Timeout > 0) != tc.sent || q.Timeout > 2*time.Second {
				t.Errorf("the worker got the timeout %v", q.Timeout)
			}
		})
	}
}

func TestRemoteConcurrentBatches(t *testing.T) {
	checkGoroutines(t)
	w := newWorker(t, true)
	// Fewer connections than batches: some wait.
	r := newRemote(t, RemoteConfig{URL: w.URL, Binary: "on", Connections: 4})
	var wg sync.WaitGroup
	for g := range 10 {
		var batches [][]*Call
		for k := range 20 {
			v := float32(1000*g + 10*k)
			batches = append(batches, []*Call{
				jsonCall(t, "a", "", [2]float32{v, v + 1}), binaryCall(t, "b", [2]float32{v + 2, v + 3}), jsonCall(t, "c", "", [2]float32{v + 4, v + 5}),
			}[:1+k%3])
		}
		wg.Go(func() {
			for k, calls := range batches {
				if err := r.run(t.Context(), "double", calls); err != nil {
					t.Error(err)
					return
				}
				for i, c := range calls {
					v := float32(1000*g + 10*k + 2*i)
					checkAnswer(t, c, string(rune('a'+i)), i == 1, [2]float32{v, v + 1})
				}
			}
		})
	}
	wg.Wait()
	if n := len(w.requests()); n != 200 {
		t.Errorf("%d requests to the worker, want 200", n)
	}
	most := 4
	if onReactor != nil {
		most = 8 // it keeps some, and so do goroutines
	}
	if n := r.idle(); n == 0 || n > most {
		t.Errorf("%d idle connections, want 1 to %d", n, most)
	}
}

func TestRemoteLargeBodies(t *testing.T) {
	checkGoroutines(t)
	for _, chunked := range []bool{false, true} {
		var got int
		url := rawServer(t, answerLarge(&got, chunked))
		r := newRemote(t, RemoteConfig{URL: url, Binary: "on"})
		rows := make([][2]float32, 64)
		for i := range rows {
			rows[i] = [2]float32{float32(i), 0.123456789}
		}
		c := jsonCall(t, "a", `,"parameters":{"pad":"`+strings.Repeat("x", 3<<20)+`"}`, rows...)
		for range 2 {
			if err := r.run(t.Context(), "double", []*Call{c}); err != nil {
				t.Fatal(err)
			}
			if n := len(c.Response.Body); n != len(largeAnswer()) || got != len(c.Request.Body) {
				t.Errorf("chunked %t: %d bytes back, %d sent of %d", chunked, n, got, len(c.Request.Body))
			}
		}
	}
}

func TestNewRemoteRefusesWhatItCannotUse(t *testing.T) {
	for _, tc := range []struct {
		cfg  RemoteConfig
		text string
	}{
		{RemoteConfig{URL: ""}, "want http://"},
		{RemoteConfig{URL: "localhost:8000"}, "want http://"},
		{RemoteConfig{URL: "ftp://h"}, "want http://"},
		{RemoteConfig{URL: "http://:80"}, "want http://"},
		{RemoteConfig{URL: "http://h/?a=b"}, "query"},
		{RemoteConfig{URL: "http://u:p@h/"}, "user"},
		{RemoteConfig{URL: "http://h\x7f"}, "cannot use worker URL"},
		{RemoteConfig{URL: "http://h", Binary: "maybe"}, "want auto, on or off"},
		{RemoteConfig{URL: "http://h", Timeout: -1}, "negative"},
		{RemoteConfig{URL: "http://h", Headers: map[string]string{"A": "b\r\nX: y"}}, `"A"`},
		{RemoteConfig{URL: "http://h", Headers: map[string]string{"A b": "c"}}, `"A b"`},
	} {
		if _, err := NewRemote(tc.cfg); err == nil || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%+v: got %v, want %q", tc.cfg, err, tc.text)
		}
	}
}

func TestRemoteBasePathAndTLS(t *testing.T) {
	checkGoroutines(t)
	w := newWorker(t, true)
	mux := http.NewServeMux()
	mux.Handle("/base/", http.StripPrefix("/base", w.Config.Handler))
	secure := newTLSServer(t, mux)
	r := newRemote(t, RemoteConfig{URL: secure.URL + "/base/", Binary: "on", TLS: func() *tls.Config { return secure.Client().Transport.(*http.Transport).TLSClientConfig }})
	c := binaryCall(t, "a", [2]float32{1, 2})
	for range 2 {
		if err := r.run(t.Context(), "double", []*Call{c}); err != nil {
			t.Fatal(err)
		}
		checkAnswer(t, c, "a", true, [2]float32{1, 2})
	}
	// An unknown authority is a failed connection, not a hang.
	stranger := newRemote(t, RemoteConfig{URL: secure.URL})
	wantClass(t, stranger.run(t.Context(), "double", []*Call{c}), Connect)
}

// A batch leaves nothing of its members in the memory that the next one gets,
// and no memory of a size that is seldom needed.
func TestRemoteScratchKeepsNothing(t *testing.T) {
	r := newRemote(t, RemoteConfig{URL: "http://127.0.0.1:1"})
	good, bad := jsonCall(t, "a", "", [2]float32{1, 2}), jsonCall(t, "b", "", [2]float32{3, 4})
	x := &remoteScratch{body: make([]byte, 20<<20)}
	x.merged.Body = make([]byte, 20<<20)
	x.resp.Body = x.body
	x.calls, x.reqs = []*Call{bad, good}, []*oip.Request{bad.Request, good.Request}
	if !x.fail(&oip.BatchError{Errs: []*oip.Error{{Status: 400, Message: "bad"}, nil}}) {
		t.Fatal("no member failed")
	}
	if bad.Err == nil || good.Err != nil || len(x.calls) != 1 || x.calls[0] != good || x.reqs[0] != good.Request {
		t.Errorf("errors %v and %v, %d calls are left", bad.Err, good.Err, len(x.calls))
	}
	x.dst = []*oip.Message{&good.Response}
	r.release(x)
	for i, c := range x.calls[:cap(x.calls)] {
		if c != nil || x.reqs[:2][i] != nil {
			t.Errorf("member %d is still held", i)
		}
	}
	if x.dst[0] != nil || x.body != nil || x.merged.Body != nil || x.resp.Body != nil {
		t.Error("a response or a large buffer is still held")
	}
}

func TestRemoteRefusesToMergeWhatDiffers(t *testing.T) {
	r := newRemote(t, RemoteConfig{URL: "http://127.0.0.1:1"})
	other := parsedOther(t)
	e := wantClass(t, r.run(t.Context(), "double", []*Call{jsonCall(t, "a", "", [2]float32{1, 2}), other}), Server)
	if e.Status != 500 {
		t.Errorf("status %d", e.Status)
	}
	if err := r.run(t.Context(), "double", nil); err != nil {
		t.Errorf("an empty batch: %v", err)
	}
	if got := r.Describe(); got != "remote http://127.0.0.1:1" {
		t.Errorf("described as %q", got)
	}
}

// parsedOther is a request to another model than the doubler.
func parsedOther(t *testing.T) *Call {
	t.Helper()
	q := &oip.Request{}
	if err := q.Parse([]byte(`{"inputs":[{"name":"z","shape":[1],"datatype":"INT64","data":[1]}]}`), -1, nil); err != nil {
		t.Fatal(err)
	}
	return &Call{Request: q}
}
