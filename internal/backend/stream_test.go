package backend

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"motley/internal/oip"
)

const (
	doubleRamp  = "event: ramp\ndata: {\"model_name\":\"double\",\"parameters\":{\"ee_exit\":0},\"outputs\":[{\"name\":\"y\",\"datatype\":\"FP32\",\"shape\":[1,2],\"data\":[1,2]}]}\n\n"
	doubleFinal = "event: final\ndata: {\"model_name\":\"double\",\"parameters\":{\"ee_exit\":1},\"outputs\":[{\"name\":\"y\",\"datatype\":\"FP32\",\"shape\":[1,2],\"data\":[2,4]}]}\n\n"
	streamHead  = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
)

// withRamp makes r know a model "double" with one ramp.
func withRamp(r *Remote) *Remote {
	r.mu.models["double"] = &modelFacts{exits: &remoteExits{Exits: Exits{Ramps: 1}, numbers: []int{0}, stream: true}}
	return r
}

// chunked is text in chunks of n bytes.
func chunked(text string, n int) string {
	var b strings.Builder
	for part := range slices.Chunk([]byte(text), n) {
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(part), part)
	}
	return b.String() + "0\r\n\r\n"
}

// A stream may have any framing and come in any pieces; a connection whose stream
// has ended is used again.
func TestStreamFramings(t *testing.T) {
	both := doubleRamp + doubleFinal
	for name, c := range map[string]struct {
		raw   string
		reuse bool
	}{
		"chunks of 1":      {streamHead + "Transfer-Encoding: chunked\r\n\r\n" + chunked(both, 1), true},
		"chunks of 7":      {streamHead + "Transfer-Encoding: chunked\r\n\r\n" + chunked(both, 7), true},
		"one chunk":        {streamHead + "Transfer-Encoding: chunked\r\n\r\n" + chunked(both, 1<<20), true},
		"CRLF":             {streamHead + "Transfer-Encoding: chunked\r\n\r\n" + chunked(strings.ReplaceAll(both, "\n", "\r\n"), 5), true},
		"with a length":    {streamHead + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(both)) + both, true},
		"more after it":    {streamHead + "Transfer-Encoding: chunked\r\n\r\n" + chunked(both+doubleRamp+doubleFinal, 50), true},
		"until the close":  {streamHead + "Connection: close\r\n\r\n" + both, false},
		"no end of chunks": {streamHead + "Transfer-Encoding: chunked\r\n\r\n" + strings.TrimSuffix(chunked(both, 100), "0\r\n\r\n"), false},
	} {
		t.Run(name, func(t *testing.T) {
			var connections atomic.Int32
			url := rawServer(t, func(_ int, nc net.Conn, br *bufio.Reader) {
				connections.Add(1)
				for readRequest(br) {
					for part := range slices.Chunk([]byte(c.raw), 11) {
						if _, err := nc.Write(part); err != nil {
							return
						}
					}
					if strings.Contains(c.raw, "Connection: close") {
						return
					}
				}
			})
			r := withRamp(newRemote(t, RemoteConfig{URL: url}))
			for range 2 {
				call := jsonCall(t, "a", "", [2]float32{1, 2})
				w := &script{set: 1}
				if err := r.RunStaged(t.Context(), "double", []*Call{call}, w); err != nil {
					t.Fatal(err)
				}
				checkAnswer(t, call, "a", false, [2]float32{1, 2})
				if !slices.Equal(w.exits, []int{0, 1}) || call.Exit != 1 {
					t.Errorf("exits %v, %d", w.exits, call.Exit)
				}
			}
			if n := connections.Load(); (n == 1) != c.reuse {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// A broken stream is the worker's failure, whichever way it breaks, and its
// connection is not used again.
func TestStreamBreaks(t *testing.T) {
	head := streamHead + "Transfer-Encoding: chunked\r\n\r\n"
	for name, c := range map[string]struct {
		raw   string
		class Class
	}{
		"within an event":     {head + "20\r\nevent: ramp\n", Connect},
		"within the head":     {"HTTP/1.1 200 OK\r\nContent-Type", Connect},
		"between events":      {head + strings.TrimSuffix(chunked(doubleRamp, 1000), "0\r\n\r\n"), Connect},
		"a bad chunk":         {head + "zz\r\nevent: ramp\n", Protocol},
		"short of its length": {streamHead + "Content-Length: 5000\r\n\r\n" + doubleRamp, Connect},
		"compressed":          {streamHead + "Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked("x", 1), Protocol},
		"an endless line":     {head + "1000000\r\n" + strings.Repeat("x", 200_000), Protocol},
	} {
		t.Run(name, func(t *testing.T) {
			url := rawServer(t, func(_ int, nc net.Conn, br *bufio.Reader) {
				if readRequest(br) {
					_, _ = io.WriteString(nc, c.raw)
				}
			})
			r := withRamp(newRemote(t, RemoteConfig{URL: url, MaxResponse: 100_000}))
			w := &script{set: 1}
			wantClass(t, r.RunStaged(t.Context(), "double", []*Call{jsonCall(t, "a", "", [2]float32{1, 2})}, w), c.class)
			if len(w.answered) != 0 {
				t.Errorf("answered %v", w.answered)
			}
		})
	}
}

// A connection that the worker has dropped meanwhile is no failure: nothing has
// been shown yet.
func TestStreamOnStaleConnection(t *testing.T) {
	raw := streamHead + "Transfer-Encoding: chunked\r\n\r\n" + chunked(doubleRamp+doubleFinal, 64)
	url := rawServer(t, func(n int, nc net.Conn, br *bufio.Reader) {
		for i := 0; readRequest(br) && (n > 0 || i == 0); i++ { // the first closes at its second request
			_, _ = io.WriteString(nc, raw)
		}
	})
	r := withRamp(newRemote(t, RemoteConfig{URL: url}))
	for range 2 {
		w := &script{set: 1}
		if err := r.RunStaged(t.Context(), "double", []*Call{jsonCall(t, "a", "", [2]float32{1, 2})}, w); err != nil || !slices.Equal(w.exits, []int{0, 1}) {
			t.Fatalf("%v, exits %v", err, w.exits)
		}
	}
}

func TestReadExits(t *testing.T) {
	for metadata, want := range map[string]string{
		`{"properties":{"ee_mode":"decoupled","ee_ramps":"3","ee_depth":"0.15,0.34,0.6","ee_classes":"10"}}`: "3 10 [0.15 0.34 0.6] [0 1 2] true",
		`{"parameters":{"ee_mode":"decoupled","ee_ramps":3,"ee_depth":[0.15,0.34,0.6],"ee_classes":10}}`:     "3 10 [0.15 0.34 0.6] [0 1 2] true",
		`{"properties":{"ee_mode":"decoupled","ee_ramps":"3,6,9"}}`:                                          "3 0 [] [3 6 9] true",
		`{"properties":{"ee_mode":"decoupled","ee_ramps":[0]}}`:                                              "1 0 [] [0] true",
		`{"properties":{"ee_mode":"multi_output","ee_ramps":"0, 1","ee_depth":"0.1,0.2"}}`:                   "2 0 [] [0 1] false",
		`{"properties":{"ee_mode":"decoupled","ee_ramps":"2","ee_depth":"0.5,0.2"}}`:                         "2 0 [] [0 1] true", // falling
		`{"properties":{"ee_mode":"decoupled","ee_ramps":"2","ee_depth":"0.5"}}`:                             "2 0 [] [0 1] true",
		`{"properties":{"ee_mode":"decoupled","ee_ramps":"2","ee_depth":"0.5,NaN","ee_classes":"1"}}`:        "2 0 [] [0 1] true",
		`{"properties":{"ee_mode":"decoupled","ee_ramps":"32"}}`:                                             "32 0 [] [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31] true",
		`{"properties":{"ee_mode":"decoupled","ee_ramps":"33"}}`:                                             "",
		`{"properties":{"ee_mode":"decoupled","ee_ramps":"6,3"}}`:                                            "",
		`{"properties":{"ee_mode":"decoupled","ee_ramps":"3,3"}}`:                                            "",
		`{"properties":{"ee_mode":"decoupled","ee_ramps":"1,32"}}`:                                           "",
		`{"properties":{"ee_mode":"decoupled","ee_ramps":"many"}}`:                                           "",
		`{"properties":{"ee_mode":"decoupled"}}`:                                                             "",
		`{"properties":{"ee_mode":"staged","ee_ramps":"3"}}`:                                                 "",
		`{"properties":{"ee_ramps":"3"}}`:                                                                    "",
		`{}`:                                                                                                 "",
		`[`:                                                                                                  "",
	} {
		got := ""
		if x := readExits([]byte(metadata)); x != nil {
			got = fmt.Sprint(x.Ramps, x.Classes, x.Depth, x.numbers, x.stream)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", metadata, got, want)
		}
	}
	x := &remoteExits{Exits: Exits{Ramps: 3}, numbers: []int{3, 6, 31}}
	if got := x.wire(0b101 | 1<<20); got != 1<<3|1<<31 {
		t.Errorf("ramps 0 and 2 are %b on the wire", got)
	}
}

// FuzzReadExits: whatever a server says, ramps that are believed make sense.
func FuzzReadExits(f *testing.F) {
	f.Add([]byte(`{"properties":{"ee_mode":"decoupled","ee_ramps":"3,6,9","ee_depth":"0.15,0.34,0.6","ee_classes":"10"}}`))
	f.Add([]byte(`{"parameters":{"ee_mode":"multi_output","ee_ramps":[1,2],"ee_depth":[0.5,{}],"ee_classes":1e9}}`))
	f.Fuzz(func(t *testing.T, metadata []byte) {
		x := readExits(metadata)
		if x == nil {
			return
		}
		if x.Ramps < 1 || x.Ramps > 32 || len(x.numbers) != x.Ramps || !slices.IsSorted(x.numbers) || x.numbers[x.Ramps-1] > 31 || x.numbers[0] < 0 ||
			x.Depth != nil && (len(x.Depth) != x.Ramps || !slices.IsSorted(x.Depth) || x.Depth[x.Ramps-1] > 1 || math.IsNaN(x.Depth[0])) {
			t.Fatalf("%q: %+v", metadata, x)
		}
	})
}

// A worker whose ramps have numbers of its own.
func TestStreamRampNumbers(t *testing.T) {
	raw := streamHead + "Transfer-Encoding: chunked\r\n\r\n" + chunked(strings.ReplaceAll(doubleRamp, `_exit":0`, `_exit":6`)+strings.ReplaceAll(doubleFinal, `_exit":1`, `_exit":12`), 64)
	url := rawServer(t, answerWith(raw))
	r := newRemote(t, RemoteConfig{URL: url})
	r.mu.models["double"] = &modelFacts{exits: &remoteExits{Exits: Exits{Ramps: 2}, numbers: []int{3, 6}, stream: true}}
	call := jsonCall(t, "a", "", [2]float32{1, 2})
	call.Ramps = 0b10
	shown := ""
	w := &script{set: 0b10, onShow: func(_, ramp int, m oip.Message) { shown += fmt.Sprintf("%d: %s", ramp, m.Body) }}
	if err := r.RunStaged(t.Context(), "double", []*Call{call}, w); err != nil || !slices.Equal(w.exits, []int{1, 2}) {
		t.Fatalf("%v, exits %v", err, w.exits)
	}
	if want := `1: {"model_name":"double","id":"a","parameters":{"ee_exit":1,"ee_final":false},"outputs":[{"name":"y","datatype":"FP32","shape":[1,2],"data":[1,2]}]}`; shown != want {
		t.Errorf("%s, want %s", shown, want)
	}
}
