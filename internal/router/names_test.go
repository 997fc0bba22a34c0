package router

import (
	"fmt"
	"strings"
	"testing"

	"motley/internal/live"
)

const exampleTrace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// What a client calls its request goes on to the worker, if it is fit for a header, in both
// ways to read it, and so does its place in a trace, as the standard says.
func TestNames(t *testing.T) {
	f := newFixture(t, nil)
	type names struct{ id, trace, state string }
	told := make(chan names, 1)
	f.loop.set(func(r *live.Request) error {
		n := names{id: string(r.Call.ID), state: string(r.Call.Trace.State)}
		if r.Call.Trace.Valid() {
			n.trace = string(r.Call.Trace.Append(nil))
		}
		told <- n
		return answerWith(jsonAnswer, -1)(r)
	})
	for _, c := range []struct {
		headers          []string
		id, trace, state string // id: "" = a new one
	}{
		{nil, "", "", ""},
		{[]string{"X-Request-Id: run-7/a"}, "run-7/a", "", ""},
		{[]string{`x-request-id: {8d3f}"<a>;\,'`}, `{8d3f}"<a>;\,'`, "", ""},
		{[]string{"X-Request-Id: " + strings.Repeat("x", 128)}, strings.Repeat("x", 128), "", ""},
		{[]string{"X-Request-Id: " + strings.Repeat("x", 129)}, "", "", ""},
		{[]string{"X-Request-Id: a b"}, "", "", ""},
		{[]string{"X-Request-Id: \xff\xfe"}, "", "", ""},
		{[]string{"X-Request-Id: é"}, "", "", ""},
		{[]string{"X-Request-Id: a", "X-Request-Id: b"}, "a", "", ""},
		{[]string{"traceparent: " + exampleTrace}, "", exampleTrace, ""},
		{[]string{"traceparent: " + exampleTrace, "tracestate: a=1,b=2"}, "", exampleTrace, "a=1,b=2"},
		{[]string{"tracestate: a=1", "traceparent: " + exampleTrace, "Tracestate: b=2"}, "", exampleTrace, "a=1,b=2"},
		{[]string{"tracestate: a=1", "traceparent: " + exampleTrace, "Tracestate: a=2"}, "", exampleTrace, ""},
		{[]string{"tracestate: a=\xff", "traceparent: " + exampleTrace}, "", exampleTrace, ""},
		{[]string{"tracestate: a=1"}, "", "", ""},
		{[]string{"traceparent: " + exampleTrace, "traceparent: " + exampleTrace}, "", "", ""},
		{[]string{"traceparent: " + strings.ToUpper(exampleTrace), "tracestate: a=1"}, "", "", ""},
		{[]string{"traceparent: cc" + exampleTrace[2:] + "-later"}, "", exampleTrace, ""},
		{[]string{"traceparent: 00-00000000000000000000000000000000-b7ad6b7169203331-01"}, "", "", ""},
	} {
		for _, path := range []string{"/v2/models/adder/infer", "//v2/models/adder/infer", "/v2/models/adder/infer_stream"} {
			res := f.do("POST", path, validInfer, c.headers...)
			what := fmt.Sprintf("%s %q", path, c.headers)
			if res.status != 200 {
				t.Errorf("%s: status %d: %s", what, res.status, res.body)
				continue
			}
			n := <-told
			if echoed := res.header.Get("X-Request-Id"); echoed != n.id || c.id == "" && len(n.id) != 32 || c.id != "" && n.id != c.id {
				t.Errorf("%s: %+v, echoed %q", what, n, echoed)
			}
			if echoed := res.header.Get("Traceparent"); echoed != n.trace || n.trace != c.trace || n.state != c.state {
				t.Errorf("%s: %+v, echoed %q", what, n, echoed)
			}
		}
	}
}
