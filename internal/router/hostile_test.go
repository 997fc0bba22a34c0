package router

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// canary follows a hostile request on its connection: its answer shows that the connection is in
// order, and that nobody took a part of the request for one of its own.
const canary = "GET /v2/models/canary HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"

// TestHostile plays testdata/hostile/*.txt over sockets, on reactors and by the HTTP library alone. A case is
//
//	== title
//	@alone: no canary follows; @end: the client ends its sending; both optional
//	"bytes", or 100*"bytes", or gzip 100*"bytes", one after the other
//	body: what follows is a body, whose Content-Length is put here
//	--
//	the answers until the connection's end, one a line
func TestHostile(t *testing.T) {
	playFiles(t, "testdata/hostile/*.txt", hostileConfig, func(f *fixture, text string) string {
		h := parseHostile(f.t, text)
		dial := f.tcpDial()
		return hear(f.t, h, func(c *net.TCPConn) {
			_, _ = io.WriteString(c, h.wire) // it may be answered, and cut off, before it is whole
		}, dial)
	})
}

func hostileConfig(c *Config) {
	c.Log, c.MaxHeaders, c.MaxRatio = nil, 20, 100
}

// hostile is a case of a transcript.
type hostile struct {
	wire string
	end  bool
}

func parseHostile(t testing.TB, text string) hostile {
	t.Helper()
	var h hostile
	var parts [2]string
	at, alone := 0, false
	for _, l := range strings.Split(text, "\n")[1:] {
		switch l {
		case "@alone":
			alone = true
		case "@end":
			h.end = true
		case "body":
			at = 1
		default:
			parts[at] += hostileBytes(t, l)
		}
	}
	h.wire = parts[0]
	if at == 1 {
		h.wire += fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(parts[1]), parts[1])
	}
	if !alone {
		h.wire += canary
	}
	return h
}

func hostileBytes(t testing.TB, l string) string {
	t.Helper()
	text, zipped := strings.CutPrefix(l, "gzip ")
	n := 1
	if count, rest, ok := strings.Cut(text, "*"); ok && !strings.HasPrefix(text, `"`) {
		var err error
		if n, err = strconv.Atoi(count); err != nil {
			t.Fatalf("line %s: %v", l, err)
		}
		text = rest
	}
	s, err := strconv.Unquote(text)
	if err != nil {
		t.Fatalf("line %s: %v", l, err)
	}
	s = strings.Repeat(s, n)
	if zipped {
		s = gz(t, s)
	}
	return s
}

// hear sends a case and prints the answers until the connection's end.
func hear(t testing.TB, h hostile, send func(*net.TCPConn), dial func() *net.TCPConn) string {
	t.Helper()
	c := dial()
	defer c.Close()
	go func() {
		send(c)
		if h.end {
			_ = c.CloseWrite() // it may be closed
		}
	}()
	return answersOf(t, c)
}

func answersOf(t testing.TB, c io.Reader) string {
	t.Helper()
	var b strings.Builder
	for r := bufio.NewReader(c); ; {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			switch {
			case errors.Is(err, syscall.ECONNRESET):
				b.WriteString("reset\n")
			case errors.Is(err, os.ErrDeadlineExceeded):
				b.WriteString("silence\n")
			case err != io.EOF && err != io.ErrUnexpectedEOF || r.Buffered() > 0:
				fmt.Fprintf(&b, "%v\n", err)
			default:
				b.WriteString("end\n")
			}
			return strings.TrimRight(b.String(), "\n")
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Errorf("an answer's body: %v", err)
		}
		fmt.Fprintf(&b, "%d", res.StatusCode)
		if res.Close {
			b.WriteString(" close")
		}
		for _, name := range []string{"Retry-After", "Allow", "Accept-Encoding"} {
			if v := res.Header.Get(name); v != "" {
				fmt.Fprintf(&b, " %s: %s", name, v)
			}
		}
		var e map[string]string
		switch {
		case json.Unmarshal(body, &e) == nil && len(e) == 1 && e["error"] != "":
			fmt.Fprintf(&b, " %q", e["error"])
		case string(body) == jsonAnswer:
			b.WriteString(" answer")
		case len(body) > 0:
			fmt.Fprintf(&b, " %d bytes", len(body))
		}
		b.WriteString("\n")
	}
}

// tcpDial is how to connect over TCP, whatever the fixture listens on.
func (f *fixture) tcpDial() func() *net.TCPConn {
	if !onReactors {
		if f.dialTCP == nil {
			f.dialTCP = f.tcp()
		}
		return f.dialTCP
	}
	return func() *net.TCPConn {
		c := f.dial().(*net.TCPConn)
		_ = c.SetDeadline(time.Now().Add(patience))
		return c
	}
}

// TestHostileInPieces cuts hostile requests at every byte: the answers are the same.
func TestHostileInPieces(t *testing.T) {
	text, err := os.ReadFile("testdata/hostile/framing.txt")
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, hostileConfig)
	step := 1
	if onReactors {
		step = 3 // each is a connection: not every case is cut everywhere
	}
	if testing.Short() {
		step = 17
	}
	cuts := 0
	for i, c := range strings.Split(string(text), "== ")[1:] {
		request, want, _ := strings.Cut(c, "\n--\n")
		title, _, _ := strings.Cut(request, "\n")
		h := parseHostile(t, request)
		if len(h.wire) > 600 || h.end && !onReactors { // a pipe cannot be closed by half
			continue
		}
		for at := 1 + i%step; at < len(h.wire); at += step {
			cuts++
			if got := f.inPieces(h, at); got != strings.TrimSpace(want) {
				t.Fatalf("%s, cut at %d, before %.20q:\n%s\nin one piece:\n%s", title, at, h.wire[at:], got, want)
			}
		}
	}
	t.Logf("%d cuts", cuts)
}

// inPieces sends a case so that the server reads the first bytes before the others come.
func (f *fixture) inPieces(h hostile, at int) string {
	if onReactors {
		c := f.tcpDial()()
		defer c.Close()
		_, _ = io.WriteString(c, post(validInfer)) // from its answer on the connection is watched
		if _, err := io.ReadFull(c, make([]byte, len(f.firstAnswer()))); err != nil {
			f.t.Fatal(err)
		}
		_, _ = io.WriteString(c, h.wire[:at])
		f.quiet()
		_, _ = io.WriteString(c, h.wire[at:])
		if h.end {
			_ = c.CloseWrite()
		}
		return answersOf(f.t, c)
	}
	// Each write to a pipe waits until it was read.
	client, server := net.Pipe()
	defer client.Close()
	go func() { _ = f.server.fast.ServeConn(newClientConn(server, f.server)) }()
	go func() {
		_, _ = io.WriteString(client, h.wire[:at])
		_, _ = io.WriteString(client, h.wire[at:])
	}()
	_ = client.SetReadDeadline(time.Now().Add(patience))
	return answersOf(f.t, client)
}

// quiet returns when the reactors have read what was sent before.
func (f *fixture) quiet() {
	for _, l := range f.server.cfg.Loops {
		done := make(chan struct{})
		l.Post(taskFunc(func() { close(done) }))
		<-done
	}
}

type taskFunc func()

func (f taskFunc) Run() { f() }

// firstAnswer is an answer to post(validInfer), of which all have the same length.
func (f *fixture) firstAnswer() string {
	f.t.Helper()
	if f.first == "" {
		c := f.dial()
		_, _ = io.WriteString(c, post(validInfer, "Connection: close"))
		all, err := io.ReadAll(c)
		if err != nil {
			f.t.Fatal(err)
		}
		f.first = strings.Replace(string(all), "Connection: close\r\n", "", 1)
	}
	return f.first
}
