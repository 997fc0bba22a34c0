package backend

import (
	"bufio"
	"io"
	"math"
	"net"
	"net/http"
	"testing"

	"motley/internal/tracecontext"
)

func named(c *Call, id, parent, state string) *Call {
	c.ID = []byte(id)
	if c.Trace.Parse([]byte(parent)) && state != "" {
		c.Trace.State = []byte(state)
	}
	return c
}

// exampleTrace is the standard's own.
const exampleTrace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// A worker learns what an execution is called: by the first call of the batch, whatever
// becomes of that.
func TestRemoteNamesTheBatch(t *testing.T) {
	row := [2]float32{1, 2}
	odd := binaryCall(t, "odd", [2]float32{float32(math.NaN()), 0}) // it has no JSON form, and fails alone
	for name, tc := range map[string]struct {
		calls             []*Call
		id, parent, state string
	}{
		"one":            {[]*Call{named(jsonCall(t, "a", "", row), "run-7/a", exampleTrace, "x=1")}, "run-7/a", exampleTrace, "x=1"},
		"no state":       {[]*Call{named(jsonCall(t, "a", "", row), "b", exampleTrace, "")}, "b", exampleTrace, ""},
		"no trace":       {[]*Call{named(jsonCall(t, "a", "", row), "c", "", "")}, "c", "", ""},
		"no name":        {[]*Call{jsonCall(t, "a", "", row)}, "", "", ""},
		"state alone":    {[]*Call{{Request: jsonCall(t, "a", "", row).Request, Trace: tracecontext.Context{State: []byte("x=1")}}}, "", "", ""},
		"two":            {[]*Call{named(jsonCall(t, "a", "", row), "both", exampleTrace, ""), named(jsonCall(t, "b", "", row), "b", "", "x=1")}, "both", exampleTrace, ""},
		"first at fault": {[]*Call{named(odd, "still", exampleTrace, ""), jsonCall(t, "b", "", row), jsonCall(t, "c", "", row)}, "still", exampleTrace, ""},
	} {
		w := newWorker(t, false)
		if err := newRemote(t, RemoteConfig{URL: w.URL}).run(t.Context(), "double", tc.calls); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := w.requests()
		if len(got) != 1 {
			t.Fatalf("%s: %d requests", name, len(got))
		}
		h := got[0].header
		for header, want := range map[string]string{"X-Request-Id": tc.id, "Traceparent": tc.parent, "Tracestate": tc.state} {
			if v := h.Values(header); want == "" && len(v) > 0 || want != "" && (len(v) != 1 || v[0] != want) {
				t.Errorf("%s: %s is %q, want %q", name, header, v, want)
			}
		}
	}
}

// A request that is sent once more, since its connection was dead, is called the same.
func TestRemoteNamesTheBatchAgain(t *testing.T) {
	ids := make(chan string, 4)
	r := newRemote(t, RemoteConfig{URL: rawServer(t, func(n int, c net.Conn, br *bufio.Reader) {
		for k := 0; ; k++ {
			q, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, q.Body)
			ids <- q.Header.Get("X-Request-Id") + " " + q.Header.Get("Traceparent")
			if n == 0 && k == 1 {
				return // without a word
			}
			_, _ = io.WriteString(c, httpReply(200, goodAnswer))
		}
	})})
	for range 2 {
		if err := r.run(t.Context(), "double", []*Call{named(jsonCall(t, "a", "", [2]float32{1, 2}), "again", exampleTrace, "")}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		if got := <-ids; got != "again "+exampleTrace {
			t.Errorf("request %d is called %q", i, got)
		}
	}
}
