package chaos

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// script is a server that gives each request of a connection the next of its
// answers, and then ends the connection. ECHO is the right answer; HANG none.
func script(t *testing.T, answers ...string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for _, a := range answers {
					q, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					body, err := io.ReadAll(q.Body)
					if err != nil {
						return
					}
					id := q.Header.Get("x-request-id")
					switch {
					case a == "HANG":
						_, _ = r.ReadByte()
						return
					case strings.HasPrefix(a, "ECHO"):
						text := `{"model_name":"m",` + strings.NewReplacer(`"inputs"`, `"outputs"`, `"name":"x"`, `"name":"y"`, `"name":"t"`, `"name":"u"`).Replace(string(body))[1:]
						a = fmt.Sprintf("HTTP/1.1 200 OK\r\nx-request-id: ID\r\nContent-Length: %d\r\n\r\n%s", len(text), text) + a[len("ECHO"):]
					}
					_, _ = io.WriteString(c, strings.ReplaceAll(a, "ID", id))
				}
			})
		}
	})
	t.Cleanup(func() { _ = ln.Close(); all.Wait() })
	return ln.Addr().String()
}

// TestClient holds which outcome each behaviour of a server is.
func TestClient(t *testing.T) {
	for _, c := range []struct {
		name    string
		answers []string
		leave   time.Duration
		want    []Outcome
	}{
		{"answers", []string{"ECHO", "ECHO"}, 0, []Outcome{Answered, Answered}},
		{"answers twice", []string{"ECHOHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"}, 0, []Outcome{Wrong}},
		{"answers somebody else", []string{"HTTP/1.1 200 OK\r\nx-request-id: other\r\nContent-Length: 2\r\n\r\n{}"}, 0, []Outcome{Wrong}},
		{"answers nothing to the point", []string{"HTTP/1.1 200 OK\r\nx-request-id: ID\r\nContent-Length: 2\r\n\r\n{}"}, 0, []Outcome{Wrong}},
		{"speaks no HTTP", []string{"hello\r\n\r\n"}, 0, []Outcome{Wrong}},
		{"refuses", []string{"HTTP/1.1 429 No\r\nx-request-id: ID\r\nRetry-After-Ms: 70\r\nContent-Length: 2\r\n\r\n{}"}, 0, []Outcome{Rejected}},
		{"fails", []string{"HTTP/1.1 502 No\r\nx-request-id: ID\r\nContent-Length: 2\r\n\r\n{}"}, 0, []Outcome{Failed}},
		{"blames", []string{"HTTP/1.1 400 No\r\nx-request-id: ID\r\nContent-Length: 2\r\n\r\n{}"}, 0, []Outcome{Blamed}},
		{"ends", []string{""}, 0, []Outcome{Cut}},
		{"ends in the middle", []string{"HTTP/1.1 200 OK\r\nx-request-id: ID\r\nContent-Length: 20\r\n\r\n{}"}, 0, []Outcome{Cut}},
		{"hangs", []string{"HANG"}, 20 * time.Millisecond, []Outcome{Left}},
		{"ends after an answer: another connection", []string{"ECHO"}, 0, []Outcome{Answered, Answered, Answered}},
	} {
		address := script(t, c.answers...)
		client := NewClient(address)
		for i, want := range c.want {
			r := Record{Ask: Ask{ID: take(1), Rows: 2, Leave: c.leave}}
			client.Do(&r)
			if r.Outcome != want {
				t.Errorf("%s, request %d: %s, want %s: %s", c.name, i, r.Outcome, want, r.Detail)
			}
			if want == Rejected && r.Retry != 70*time.Millisecond {
				t.Errorf("%s: to come back after %v", c.name, r.Retry)
			}
			for len(c.want) > len(c.answers) && !client.seesEnd() {
			}
		}
		client.Close()
	}
	gone := NewClient("127.0.0.1:1")
	r := Record{Ask: Ask{ID: take(1), Rows: 1}}
	if gone.Do(&r); r.Outcome != Refused {
		t.Errorf("nobody listens: %s", r.Outcome)
	}
}

// seesEnd tells whether the idle connection's end has come.
func (c *Client) seesEnd() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.mu.idle) == 0 || !c.mu.idle[0].quiet()
}
