package backend_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"motley/internal/backend"
	"motley/internal/backend/backendtest"
	"motley/internal/earlyexit"
	"motley/internal/oip"
)

// watcher lets calls leave as the test says and counts how each ends.
type watcher struct {
	set   uint32
	leave func(exit, row int) (leave, stop bool)
	after func(exit int) // called at the end of At
	calls []*backend.Call

	rows     []int
	exits    []int
	seen     [][]int
	signals  [][]earlyexit.Signal
	apart    bool
	answered []int
	early    map[int]backend.Call // as they were answered
	shown    map[string]oip.Message
}

func (w *watcher) Begin(rows []int) uint32 {
	w.rows = slices.Clone(rows)
	return w.set
}

func (w *watcher) At(s *backend.Sight) {
	w.exits, w.seen, w.signals = append(w.exits, s.Exit), append(w.seen, slices.Clone(s.Rows)), append(w.signals, slices.Clone(s.Signals))
	w.apart = w.apart || !s.Together
	for k, r := range s.Rows {
		if w.leave != nil {
			s.Leave[k], s.Stop[k] = w.leave(s.Exit, r)
		}
	}
	if w.after != nil {
		w.after(s.Exit)
	}
}

func (w *watcher) Answered(i int) {
	if w.early == nil {
		w.early = map[int]backend.Call{}
	}
	w.answered = append(w.answered, i)
	w.early[i] = *w.calls[i]
	*w.calls[i] = backend.Call{} // whoever touches it now fails
}

func (w *watcher) Show(i, ramp int, m oip.Message) {
	if w.shown == nil {
		w.shown = map[string]oip.Message{}
	}
	w.shown[fmt.Sprint(i, "/", ramp)] = m
}

// ramped is a started worker and a probed backend of it.
func ramped(t *testing.T, f *backendtest.Ramped, cfg backend.RemoteConfig) *backend.Remote {
	t.Helper()
	f.Start()
	t.Cleanup(f.Close)
	cfg.URL = f.URL()
	r, err := backend.NewRemote(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	if _, err := r.Probe(t.Context(), "ramped"); err != nil {
		t.Fatal(err)
	}
	return r
}

// four is a row x whose largest class is c, surer with height.
func four(c int, height float32) []float32 {
	x := make([]float32, 4)
	x[c] = height
	return x
}

func rampedCall(t *testing.T, inBinary bool, more string, rows ...[]float32) *backend.Call {
	t.Helper()
	var body []byte
	head := -1
	if inBinary {
		body = fmt.Appendf(nil, `{"id":"b","parameters":{"binary_data_output":true},"inputs":[{"name":"x","shape":[%d,4],"datatype":"FP32","parameters":{"binary_data_size":%d}}]%s}`, len(rows), 16*len(rows), more)
		head = len(body)
		for _, v := range slices.Concat(rows...) {
			body = binary.LittleEndian.AppendUint32(body, math.Float32bits(v))
		}
	} else {
		data, err := json.Marshal(slices.Concat(rows...))
		if err != nil {
			t.Fatal(err)
		}
		body = fmt.Appendf(nil, `{"id":"j","inputs":[{"name":"x","shape":[%d,4],"datatype":"FP32","data":%s}]%s}`, len(rows), data, more)
	}
	q := &oip.Request{Model: "ramped"}
	if err := q.Parse(body, head, nil); err != nil {
		t.Fatal(err)
	}
	return &backend.Call{Request: q}
}

// checkCall holds an answer against what the worker says at an exit.
func checkCall(t *testing.T, what string, m oip.Message, f *backendtest.Ramped, exit int, inBinary bool, rows ...[]float32) (mark oip.ExitMark, marked bool) {
	t.Helper()
	var r oip.Response
	if err := r.Parse(m.Body, m.HeadLength, nil); err != nil {
		t.Errorf("%s: %v in %q", what, err, m.Body)
		return mark, false
	}
	var want []float32
	for _, x := range rows {
		want = append(want, f.Says(exit, x)...)
	}
	got, err := r.Outputs[0].Floats(nil)
	if err != nil || string(r.Outputs[0].Name) != "probabilities" || !slices.Equal(got, want) || !slices.Equal(r.Outputs[0].Shape, []int64{int64(len(rows)), 4}) {
		t.Errorf("%s: %v %v (%v), want exit %d: %v", what, got, r.Outputs[0].Shape, err, exit, want)
	}
	if (m.HeadLength >= 0) != inBinary || string(r.ID) != map[bool]string{true: `"b"`, false: `"j"`}[inBinary] {
		t.Errorf("%s: head length %d, id %s", what, m.HeadLength, r.ID)
	}
	return r.ExitMark()
}

func class(err error) backend.Class {
	if e, ok := errors.AsType[*backend.Error](err); ok {
		return e.Class
	}
	return 0
}

func TestRemoteStaged(t *testing.T) {
	f := &backendtest.Ramped{}
	r := ramped(t, f, backend.RemoteConfig{})
	if x := r.Exits("ramped"); x == nil || x.Ramps != 3 || x.Classes != 4 || !slices.Equal(x.Depth, []float64{0.25, 0.5, 0.75}) || r.Exits("other") != nil {
		t.Fatalf("exits %+v", x)
	}
	for range 2 {
		a, b, c := four(0, 3), [][]float32{four(1, 2), four(2, 1)}, four(3, 1)
		calls := []*backend.Call{rampedCall(t, false, "", a), rampedCall(t, true, "", b...), rampedCall(t, false, "", c)}
		calls[0].Mark, calls[2].Mark = true, true
		w := &watcher{set: 0b111, calls: calls, leave: func(exit, row int) (bool, bool) {
			// The first leaves and stops at once, the second leaves at ramp 1 and runs
			// on; of its rows one alone would leave at ramp 0, which it cannot.
			return exit == 0 && row < 2 || exit == 1 && row > 0 && row < 3, exit == 0 && row == 0
		}}
		if err := r.RunStaged(t.Context(), "ramped", calls, w); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(w.rows, []int{1, 2, 1}) || w.apart || fmt.Sprint(w.exits, w.seen) != "[0 1 2 3] [[0 1 2 3] [1 2 3] [1 2 3] [1 2 3]]" {
			t.Errorf("rows %v, exits %v, seen %v", w.rows, w.exits, w.seen)
		}
		for n, exit := range w.exits {
			for k, row := range w.seen[n] {
				if want := earlyexit.SignalOf(f.Says(exit, append([][]float32{a}, append(slices.Clone(b), c)...)[row])); w.signals[n][k] != want {
					t.Errorf("exit %d, row %d: %+v, want %+v", exit, row, w.signals[n][k], want)
				}
			}
		}
		if !slices.Equal(w.answered, []int{0, 1}) {
			t.Fatalf("answered early: %v", w.answered)
		}
		sure := func(exit int, x []float32) float32 { return earlyexit.SignalOf(f.Says(exit, x)).Confidence }
		if mark, _ := checkCall(t, "first", w.early[0].Response, f, 0, false, a); mark != (oip.ExitMark{Exit: 0, Final: true, Confidence: sure(0, a)}) || w.early[0].Exit != 0 || w.early[0].Confidence != mark.Confidence {
			t.Errorf("first: %+v, %d", mark, w.early[0].Exit)
		}
		if _, marked := checkCall(t, "second", w.early[1].Response, f, 1, true, b...); marked || w.early[1].Exit != 1 || w.early[1].Confidence != sure(1, b[1]) {
			t.Errorf("second: marked %t, exit %d, %v", marked, w.early[1].Exit, w.early[1].Confidence)
		}
		if mark, _ := checkCall(t, "third", calls[2].Response, f, 3, false, c); mark != (oip.ExitMark{Exit: 3, Final: true, Confidence: sure(3, c)}) || calls[2].Exit != 3 {
			t.Errorf("third: %+v, %d", mark, calls[2].Exit)
		}
	}
	for _, got := range f.Requests() {
		if got.Path != "/v2/models/ramped/infer_stream" || got.Accept != "text/event-stream" || got.Rows != 4 || !got.Binary || got.Sent != 4 || got.Left ||
			!got.Exits.RampsGiven || got.Exits.Ramps != 0b111 || !got.Exits.Audit {
			t.Errorf("the worker got %+v", got)
		}
	}
}

// When nobody is to run on, the worker learns it at once.
func TestRemoteStagedClosesTheStream(t *testing.T) {
	never := make(chan struct{})
	f := &backendtest.Ramped{Events: func(int, []int) []backendtest.Event {
		return []backendtest.Event{{Exit: 0}, {Exit: 2, After: never}, {Exit: 3}}
	}}
	r := ramped(t, f, backend.RemoteConfig{})
	calls := []*backend.Call{rampedCall(t, false, "", four(0, 3)), rampedCall(t, false, "", four(1, 3))}
	w := &watcher{set: 0b101, calls: calls, leave: func(int, int) (bool, bool) { return true, true }}
	if err := r.RunStaged(t.Context(), "ramped", calls, w); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(w.answered, []int{0, 1}) || !slices.Equal(w.exits, []int{0}) {
		t.Errorf("answered %v at %v", w.answered, w.exits)
	}
	if got := f.Requests(); len(got) != 1 || !got[0].Left || got[0].Sent != 1 || got[0].Exits.Ramps != 0b101 {
		t.Errorf("the worker got %+v", got)
	}
}

// Whatever a worker does, each call ends once: early, with the batch, or with an
// error.
func TestRemoteStagedAdversaries(t *testing.T) {
	nan := float32(math.NaN())
	row := func(v ...float32) [][]float32 { return [][]float32{v, v, v} }
	ev := func(list ...backendtest.Event) func(int, []int) []backendtest.Event {
		return func(int, []int) []backendtest.Event { return list }
	}
	raw := func(s string) backendtest.Event { return backendtest.Event{Raw: s} }
	exit := func(k int) backendtest.Event { return backendtest.Event{Exit: k} }
	plain := func(status int, kind, body string) func(http.ResponseWriter, *http.Request) {
		return func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", kind)
			rw.WriteHeader(status)
			_, _ = rw.Write([]byte(body))
		}
	}
	const wrongRows = "event: ramp\ndata: {\"model_name\":\"ramped\",\"parameters\":{\"ee_exit\":1},\"outputs\":[{\"name\":\"probabilities\",\"datatype\":\"FP32\",\"shape\":[2,4],\"data\":[1,0,0,0,1,0,0,0]}]}\n\n"
	const wrongLast = "event: final\ndata: {\"model_name\":\"ramped\",\"parameters\":{\"ee_exit\":3},\"outputs\":[{\"name\":\"probabilities\",\"datatype\":\"FP32\",\"shape\":[2,4],\"data\":[1,0,0,0,1,0,0,0]}]}\n\n"
	for name, c := range map[string]struct {
		events   func(int, []int) []backendtest.Event
		answer   func(http.ResponseWriter, *http.Request)
		class    backend.Class // 0: all is answered
		message  string
		exits    []int // that the watcher sees
		unusable bool  // the ramps say nothing, so nobody leaves
	}{
		"in order":                     {events: ev(exit(0), exit(1), exit(2), exit(3)), exits: []int{0, 1, 2, 3}},
		"out of order":                 {events: ev(exit(1), exit(0), exit(2), exit(3)), exits: []int{1, 2, 3}},
		"twice":                        {events: ev(exit(0), exit(0), exit(1), exit(1), exit(3)), exits: []int{0, 1, 3}},
		"after the last":               {events: ev(exit(0), exit(3), exit(1), exit(2), exit(3)), exits: []int{0, 3}},
		"only the last":                {events: ev(exit(3)), exits: []int{3}},
		"a ramp that there is not":     {events: ev(raw(strings.ReplaceAll(wrongRows, `_exit":1`, `_exit":9`)), exit(3)), exits: []int{3}},
		"NaN":                          {events: ev(backendtest.Event{Exit: 0, Says: row(nan, 0, 0, 1)}, exit(3)), exits: []int{0, 3}, unusable: true},
		"no probabilities":             {events: ev(backendtest.Event{Exit: 0, Says: row(7, -1, 3, 2)}, exit(3)), exits: []int{0, 3}, unusable: true},
		"only confidences":             {events: ev(backendtest.Event{Exit: 0, Sure: true}, exit(3)), exits: []int{0, 3}},
		"comments, other events":       {events: ev(raw(": hello\n\nevent: ping\ndata: {}\n\n"), exit(0), raw("id: 7\nretry: 1\n\n"), exit(3)), exits: []int{0, 3}},
		"rows of a ramp":               {events: ev(raw(wrongRows), exit(3)), exits: []int{1, 3}, unusable: true},
		"rows of the last":             {events: ev(exit(0), raw(wrongLast)), class: backend.Protocol, message: "for a batch of 3", exits: []int{0, 3}},
		"nothing":                      {events: ev(), class: backend.Connect, message: "without a last answer"},
		"no last":                      {events: ev(exit(0), exit(1)), class: backend.Connect, message: "without a last answer", exits: []int{0, 1}},
		"cut within an event":          {events: ev(exit(0), raw("event: final\ndata: {\"model_name\"")), class: backend.Connect, message: "without a last answer", exits: []int{0}},
		"an error":                     {events: ev(exit(0), raw("event: error\ndata: {\"error\":\"out of memory\"}\n\n")), class: backend.Server, message: "out of memory", exits: []int{0}},
		"an error without a text":      {events: ev(raw("event: error\ndata: \n\n")), class: backend.Server, message: "does not say why"},
		"garbage":                      {events: ev(exit(0), raw("data: \x00\xff{[\n\n")), class: backend.Protocol, message: "not understood", exits: []int{0}},
		"no exit named":                {events: ev(raw(strings.ReplaceAll(wrongRows, `"ee_exit":1`, ``))), class: backend.Protocol, message: "which exit"},
		"too long":                     {events: ev(raw("data: " + strings.Repeat("x", 1<<17) + "\n\n")), class: backend.Protocol, message: "longer than the bound"},
		"400":                          {answer: plain(400, "application/json", `{"error":"no such input"}`), class: backend.Client, message: "no such input"},
		"404":                          {answer: plain(404, "text/plain", `gone`), class: backend.Server, message: "gone"},
		"500":                          {answer: plain(500, "application/json", `{"error":"boom"}`), class: backend.Server, message: "boom"},
		"503":                          {answer: plain(503, "application/json", `{}`), class: backend.Server, message: "overloaded"},
		"not a stream":                 {answer: plain(200, "application/json", `{"model_name":"ramped","outputs":[]}`), class: backend.Protocol, message: "text/event-stream"},
		"a stream of nothing with 200": {answer: plain(200, "text/event-stream", ``), class: backend.Connect, message: "without a last answer"},
		"the connection is closed":     {answer: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, class: backend.Connect},
	} {
		t.Run(name, func(t *testing.T) {
			f := &backendtest.Ramped{Events: c.events, Answer: c.answer}
			r := ramped(t, f, backend.RemoteConfig{MaxResponse: 1 << 16})
			calls := []*backend.Call{rampedCall(t, false, "", four(0, 3)), rampedCall(t, true, "", four(1, 2), four(2, 1))}
			w := &watcher{set: 0b111, calls: calls}
			// The first call leaves at the first ramp that says something, and runs on.
			left := -1
			w.leave = func(exit, row int) (bool, bool) {
				s := w.signals[len(w.signals)-1][slices.Index(w.seen[len(w.seen)-1], row)]
				if exit < 3 && row == 0 && left < 0 && s.Seen() {
					left = exit
					return true, false
				}
				return exit == 3, false
			}
			err := r.RunStaged(t.Context(), "ramped", calls, w)
			if class(err) != c.class || err != nil && !strings.Contains(err.Error(), c.message) {
				t.Fatalf("%v, want class %v with %q", err, c.class, c.message)
			}
			if !slices.Equal(w.exits, c.exits) {
				t.Errorf("exits %v, want %v", w.exits, c.exits)
			}
			early := len(c.exits) > 0 && c.exits[0] < 3 && !c.unusable
			if early != slices.Equal(w.answered, []int{0}) || !early && len(w.answered) > 0 {
				t.Fatalf("answered early: %v", w.answered)
			}
			if early && name != "only confidences" {
				checkCall(t, "early", w.early[0].Response, f, c.exits[0], false, four(0, 3))
			}
			if err != nil {
				return
			}
			if !early {
				checkCall(t, "first", calls[0].Response, f, 3, false, four(0, 3))
			}
			checkCall(t, "second", calls[1].Response, f, 3, true, four(1, 2), four(2, 1))
			// The backend is as good as before.
			if err := r.RunStaged(t.Context(), "ramped", []*backend.Call{rampedCall(t, false, "", four(0, 3))}, &watcher{}); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// A worker that says no more is given up with the caller or at the deadline; who
// was answered stays so.
func TestRemoteStagedHangs(t *testing.T) {
	for name, timeout := range map[string]time.Duration{"cancelled": time.Hour, "deadline": 50 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			never := make(chan struct{})
			f := &backendtest.Ramped{Events: func(int, []int) []backendtest.Event {
				return []backendtest.Event{{Exit: 0}, {Exit: 3, After: never}}
			}}
			r := ramped(t, f, backend.RemoteConfig{})
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			calls := []*backend.Call{rampedCall(t, false, "", four(0, 3)), rampedCall(t, false, "", four(1, 3))}
			w := &watcher{set: 1, calls: calls, leave: func(_, row int) (bool, bool) { return row == 0, true }}
			want := backend.Timeout
			if name == "cancelled" {
				want = backend.Canceled
				w.after = func(int) { cancel() }
			}
			if err := r.RunStaged(ctx, "ramped", calls, w); class(err) != want {
				t.Fatalf("%v, want %v", err, want)
			}
			if !slices.Equal(w.answered, []int{0}) {
				t.Errorf("answered %v", w.answered)
			}
			if got := f.Requests(); !got[0].Left {
				t.Errorf("the worker got %+v", got)
			}
		})
	}
}

func TestRemoteStagedShowsAndHides(t *testing.T) {
	f := &backendtest.Ramped{Events: func(int, []int) []backendtest.Event {
		return []backendtest.Event{{Exit: 0}, {Exit: 1}, {Exit: 2, Sure: true}, {Exit: 3}}
	}}
	r := ramped(t, f, backend.RemoteConfig{ModelNames: map[string]string{"here": "ramped"}})
	if _, err := r.Probe(t.Context(), "here"); err != nil {
		t.Fatal(err)
	}
	calls := []*backend.Call{rampedCall(t, true, "", four(0, 3), four(1, 2)), rampedCall(t, false, "", four(2, 3))}
	calls[0].Ramps, calls[0].Mark = 0b101, true
	w := &watcher{set: 0b111, calls: calls, leave: func(exit, row int) (bool, bool) { return exit == 1 && row == 2, exit == 1 && row == 2 }}
	if err := r.RunStaged(t.Context(), "here", calls, w); err != nil {
		t.Fatal(err)
	}
	if len(w.shown) != 2 || !slices.Equal(w.answered, []int{1}) {
		t.Fatalf("shown %v, answered %v", w.shown, w.answered)
	}
	m := w.shown["0/0"]
	var got oip.Response
	if err := got.Parse(m.Body, m.HeadLength, nil); err != nil || m.HeadLength >= 0 || string(got.ModelName) != `"here"` || string(got.ID) != `"b"` {
		t.Errorf("%v: %s", err, m.Body)
	}
	least := earlyexit.SignalOf(f.Says(0, four(1, 2))).Confidence
	if mark, _ := got.ExitMark(); mark != (oip.ExitMark{Exit: 0, Confidence: least}) {
		t.Errorf("mark %+v, want %v", mark, least)
	}
	// The confidence is between the worker and us.
	if m = w.shown["0/2"]; strings.Contains(string(m.Body), `"confidence"`) || !strings.Contains(string(m.Body), `"label"`) || !strings.Contains(string(m.Body), `"ee_exit":2`) {
		t.Errorf("%s", m.Body)
	}
	if mark, _ := checkCall(t, "final", calls[0].Response, f, 3, true, four(0, 3), four(1, 2)); mark.Exit != 3 || !mark.Final {
		t.Errorf("mark %+v", mark)
	}
}

// A call that the worker cannot take is told so before the batch begins.
func TestRemoteStagedMemberAtFault(t *testing.T) {
	f := &backendtest.Ramped{}
	r := ramped(t, f, backend.RemoteConfig{Binary: "off"})
	bad := rampedCall(t, true, "", four(0, float32(math.NaN())))
	good := rampedCall(t, true, "", four(1, 2), four(2, 2))
	calls := []*backend.Call{bad, good}
	w := &watcher{set: 0b1, calls: calls, leave: func(int, int) (bool, bool) { return true, true }}
	if err := r.RunStaged(t.Context(), "ramped", calls, w); err != nil {
		t.Fatal(err)
	}
	if class(bad.Err) != backend.Client || !slices.Equal(w.rows, []int{0, 2}) || !slices.Equal(w.answered, []int{1}) {
		t.Errorf("%v, rows %v, answered %v", bad.Err, w.rows, w.answered)
	}
	checkCall(t, "good", w.early[1].Response, f, 0, true, four(1, 2), four(2, 2))
}

// Requests that ask for some outputs are judged by the others all the same.
func TestRemoteStagedRequestedOutputs(t *testing.T) {
	f := &backendtest.Ramped{}
	r := ramped(t, f, backend.RemoteConfig{})
	calls := []*backend.Call{rampedCall(t, false, `,"outputs":[{"name":"label"}]`, four(3, 3))}
	w := &watcher{set: 0b10, calls: calls, leave: func(exit, _ int) (bool, bool) { return exit == 1, true }}
	if err := r.RunStaged(t.Context(), "ramped", calls, w); err != nil {
		t.Fatal(err)
	}
	const want = `{"model_name":"ramped","model_version":"1","id":"j","outputs":[{"name":"label","datatype":"INT64","shape":[1],"data":[3]}]}`
	if got := string(w.early[0].Response.Body); got != want || !w.signals[0][0].Seen() {
		t.Errorf("%s, signals %+v", got, w.signals)
	}
}

// All exits in one answer: the watcher sees them in order, with every row, and
// the client gets the last.
func TestRemoteMultiOutput(t *testing.T) {
	f := &backendtest.Ramped{Mode: oip.ModeMultiOutput}
	r := ramped(t, f, backend.RemoteConfig{})
	if x := r.Exits("ramped"); x == nil || x.Depth != nil || x.Ramps != 3 {
		t.Fatalf("%+v", x)
	}
	calls := []*backend.Call{rampedCall(t, false, "", four(0, 3)), rampedCall(t, true, "", four(1, 2), four(2, 1))}
	calls[0].Mark, calls[1].Ramps = true, 0b111
	w := &watcher{set: 0b101, calls: calls, leave: func(int, int) (bool, bool) { return true, true }}
	if err := r.RunStaged(t.Context(), "ramped", calls, w); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(w.exits, w.seen, w.answered, w.shown) != "[0 2 3] [[0 1 2] [0 1 2] [0 1 2]] [] map[]" {
		t.Errorf("exits %v, rows %v, answered %v, shown %v", w.exits, w.seen, w.answered, w.shown)
	}
	for n, exit := range w.exits {
		if want := earlyexit.SignalOf(f.Says(exit, four(2, 1))); w.signals[n][2] != want {
			t.Errorf("exit %d: %+v, want %+v", exit, w.signals[n][2], want)
		}
	}
	if mark, _ := checkCall(t, "first", calls[0].Response, f, 3, false, four(0, 3)); mark.Exit != 3 || !mark.Final || strings.Contains(string(calls[0].Response.Body), "ramp0") {
		t.Errorf("%+v: %s", mark, calls[0].Response.Body)
	}
	checkCall(t, "second", calls[1].Response, f, 3, true, four(1, 2), four(2, 1))
	if got := f.Requests(); got[0].Path != "/v2/models/ramped/infer" || got[0].Exits.RampsGiven {
		t.Errorf("the worker got %+v", got)
	}
}

// A model without ramps is run whole.
func TestRemoteStagedWithoutRamps(t *testing.T) {
	f := &backendtest.Ramped{Properties: map[string]string{oip.MetaMode: ""}}
	r := ramped(t, f, backend.RemoteConfig{})
	calls := []*backend.Call{rampedCall(t, false, "", four(0, 3))}
	w := &watcher{calls: calls}
	if err := r.RunStaged(t.Context(), "ramped", calls, w); err != nil || r.Exits("ramped") != nil || w.rows != nil {
		t.Fatal(err, r.Exits("ramped"), w.rows)
	}
	checkCall(t, "whole", calls[0].Response, f, 3, false, four(0, 3))
}

// What is not staged counts as the full model's answer. A worker that may answer
// early by itself is told that, one without ramps gets the request as it stands.
func TestRemoteRunIsFull(t *testing.T) {
	for _, tc := range []struct {
		mode, want string
	}{{oip.ModeDecoupled, "off"}, {oip.ModeMultiOutput, ""}, {"", ""}} {
		f := &backendtest.Ramped{Properties: map[string]string{oip.MetaMode: tc.mode}, Eager: tc.mode == oip.ModeDecoupled}
		r := ramped(t, f, backend.RemoteConfig{})
		for _, calls := range [][]*backend.Call{
			{rampedCall(t, false, "", four(0, 3))},
			{rampedCall(t, false, `,"parameters":{"ee_mode":"compute"}`, four(0, 3)), rampedCall(t, true, "", four(0, 3))},
		} {
			if err := r.Run(t.Context(), "ramped", calls); err != nil {
				t.Fatal(err)
			}
			for _, c := range calls {
				checkCall(t, tc.mode, c.Response, f, 3, c.Request.HeadLength >= 0, four(0, 3))
			}
		}
		for _, got := range f.Requests() {
			if string(got.Exits.Mode) != tc.want || got.Exits.RampsGiven || got.Exits.Audit {
				t.Errorf("mode %q: the worker got %+v", tc.mode, got)
			}
		}
	}
}
