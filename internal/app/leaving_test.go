package app

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"motley/internal/config"
)

// scripted is a worker that tells the test of each execution, and does as it says.
type scripted struct {
	*httptest.Server
	asked chan *execution
}

type execution struct {
	rows   []float64
	answer chan struct{}
	gone   chan struct{} // closed when the router has given it up
}

func newScripted(t *testing.T) *scripted {
	s := &scripted{asked: make(chan *execution, 16)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/infer") {
			if r.URL.Path == "/v2/models/m" {
				_, _ = io.WriteString(w, `{"name":"m","inputs":[{"name":"x","datatype":"FP32","shape":[-1,1]}],"outputs":[{"name":"y","datatype":"FP32","shape":[-1,1]}]}`)
			}
			return
		}
		var q struct{ Inputs []struct{ Data []float64 } }
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil || len(q.Inputs) != 1 {
			t.Errorf("the worker cannot read its request: %v", err)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		e := &execution{rows: q.Inputs[0].Data, answer: make(chan struct{}), gone: make(chan struct{})}
		s.asked <- e
		select {
		case <-r.Context().Done():
			close(e.gone)
		case <-e.answer:
			text, _ := json.Marshal(e.rows)
			fmt.Fprintf(w, `{"model_name":"m","outputs":[{"name":"y","datatype":"FP32","shape":[%d,1],"data":%s}]}`, len(e.rows), text)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// goroutines is a listener that a front does not know.
type goroutines struct{ net.Listener }

// bothWays serves m by the worker and returns an address that reactors serve, and one that
// the HTTP library serves alone.
func bothWays(t *testing.T, worker *scripted) (*served, map[string]string) {
	cfg, err := config.Parse("scripted", fmt.Appendf(nil, `
policy: least-load
models: [{name: m, qos: {target: 20s}}]
instance_types: [{name: t}]
workers: [{name: w, type: t, models: [m], remote: {url: %q}}]
`, worker.URL))
	if err != nil {
		t.Fatal(err)
	}
	s := serveConfig(t, cfg, Options{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.app.server.Serve(goroutines{ln}) }()
	t.Cleanup(func() {
		s.stop(t)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s, map[string]string{"reactors": s.addr, "goroutines": ln.Addr().String()}
}

// asking are ways to ask for one row.
var asking = map[string]func(row int) string{
	"plain": func(row int) string { return asks("infer", "1.1", row, 0) },
	"large": func(row int) string { return asks("infer", "1.1", row, 200<<10) },
	"chunks": func(row int) string {
		body := rowBody(row, 0)
		return fmt.Sprintf("POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	},
	"HTTP/1.0":        func(row int) string { return asks("infer", "1.0", row, 0) },
	"stream":          func(row int) string { return asks("infer_stream", "1.1", row, 0) },
	"HTTP/1.0 stream": func(row int) string { return asks("infer_stream", "1.0", row, 0) },
}

func rowBody(row, pad int) string {
	return fmt.Sprintf(`{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[%d]}]}`, row) + strings.Repeat(" ", pad)
}

func asks(verb, version string, row, pad int) string {
	body := rowBody(row, pad)
	return fmt.Sprintf("POST /v2/models/m/%s HTTP/%s\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", verb, version, len(body), body)
}

var leaving = map[string]func(*net.TCPConn) error{
	"closes":      (*net.TCPConn).Close,
	"half closes": (*net.TCPConn).CloseWrite,
	"resets":      func(c *net.TCPConn) error { return errors.Join(c.SetLinger(0), c.Close()) },
}

// TestEveryLeaverIsNoticed: however a client asks, and leaves, its work upstream is given up when it
// is there for nobody else, and goes on when it is; the worker is free again.
func TestEveryLeaverIsNoticed(t *testing.T) {
	worker := newScripted(t)
	var all []time.Duration
	s, ways := bothWays(t, worker)
	for way, addr := range ways {
		for how, request := range asking {
			for leaves, leave := range leaving {
				ask := func(text string) *net.TCPConn {
					c, err := net.Dial("tcp", addr)
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { _ = c.Close() })
					_ = c.SetDeadline(time.Now().Add(20 * time.Second))
					if _, err := io.WriteString(c, text); err != nil {
						t.Fatal(err)
					}
					return c.(*net.TCPConn)
				}
				wait := func(what string, ch <-chan struct{}) time.Duration {
					t.Helper()
					start := time.Now()
					select {
					case <-ch:
					case <-time.After(10 * time.Second):
						t.Fatalf("%s, %s, %s: %s", way, how, leaves, what)
					}
					return time.Since(start)
				}
				next := func(what string) *execution {
					t.Helper()
					select {
					case e := <-worker.asked:
						return e
					case <-time.After(10 * time.Second):
						t.Fatalf("%s, %s, %s: %s", way, how, leaves, what)
						return nil
					}
				}
				// Alone.
				c := ask(request(1))
				e := next("the worker is not asked")
				if err := leave(c); err != nil {
					t.Fatal(err)
				}
				took := wait("nothing is given up", e.gone)
				all = append(all, took)
				if took > 100*time.Millisecond {
					t.Logf("%s, %s, %s: given up after %v", way, how, leaves, took) // a busy machine
				}
				// With another, in one execution: what comes while the worker is busy is merged.
				first := ask(asks("infer", "1.1", 7, 0))
				e = next("the worker is not free again")
				stays := ask(asks("infer", "1.1", 8, 0))
				c = ask(request(9))
				waiting(t, s, 2)
				close(e.answer)
				wantData(t, first, "[7]")
				e = next("the worker is not asked for the two")
				if len(e.rows) != 2 {
					// A stream is not merged with others: it goes alone, before or after.
					if !strings.Contains(how, "stream") {
						t.Fatalf("%s, %s: rows %v in one execution", way, how, e.rows)
					}
					if err := leave(c); err != nil {
						t.Fatal(err)
					}
					if e.rows[0] == 9 {
						wait("nothing is given up", e.gone)
						e = next("the other is not asked for")
					}
					close(e.answer)
					wantData(t, stays, "[8]")
					continue
				}
				if err := leave(c); err != nil {
					t.Fatal(err)
				}
				waiting(t, s, 0)
				select {
				case <-e.gone:
					t.Fatalf("%s, %s, %s: what another waits for is given up", way, how, leaves)
				default:
				}
				close(e.answer)
				wantData(t, stays, "[8]")
			}
		}
	}
	slices.Sort(all)
	if usual := all[len(all)/2]; usual > 100*time.Millisecond { // single ones may meet a busy machine
		t.Errorf("half of the leavers are noticed after %v", usual)
	} else {
		t.Logf("half of the leavers are noticed after %v, all after %v", usual, all[len(all)-1])
	}
}

// waiting returns when so many requests wait.
func waiting(t *testing.T, s *served, n int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		var state struct {
			Loop struct {
				Models []struct {
					Queued int `json:"queued_requests"`
				}
			}
		}
		err := json.Unmarshal([]byte(s.page(t, "/debug/state")), &state)
		if err != nil || len(state.Loop.Models) != 1 {
			t.Fatalf("state %+v, %v", state, err)
		}
		queued := state.Loop.Models[0].Queued
		if queued == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d requests wait, want %d", queued, n)
		}
	}
}

func wantData(t *testing.T, c net.Conn, data string) {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(res.Body); res.StatusCode != 200 || !strings.Contains(string(b), `"data":`+data) {
		t.Fatalf("status %d: %s; want %s", res.StatusCode, b, data)
	}
}
