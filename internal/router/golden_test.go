package router

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"motley/internal/backend"
	"motley/internal/live"
	"motley/internal/oip"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files instead of comparing with them")

// TestGolden plays the transcripts of testdata. A case is
//
//	== title
//	@what the loop does, optional
//	METHOD path
//	Header: value
//
//	body, or "a Go string" for one with bytes that are not text
//	--
//	the response
//
// A request's Host and Content-Length, and a response's Date, Server and
// Content-Length, are left out; a request id that the server made is "(new)".
func TestGolden(t *testing.T) {
	playFiles(t, "testdata/*.txt", nil, (*fixture).play)
}

// playFiles plays transcripts, each file on a fixture of its own, and compares
// them with what they were.
func playFiles(t *testing.T, pattern string, change func(*Config), play func(*fixture, string) string) {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			f := newFixture(t, change)
			var got bytes.Buffer
			for i, c := range strings.Split(string(want), "== ") {
				if i == 0 {
					got.WriteString(c)
					continue
				}
				request, _, _ := strings.Cut(c, "\n--\n")
				request = strings.TrimRight(request, "\n")
				fmt.Fprintf(&got, "== %s\n--\n%s\n", request, play(f, request))
			}
			text := strings.TrimRight(got.String(), "\n") + "\n"
			if *rewrite {
				if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if text != string(want) {
				t.Errorf("transcript differs from %s (run with -rewrite and read the diff):\n%s", file, firstDifference(text, string(want)))
			}
		})
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			other := "(end)"
			if i < len(w) {
				other = w[i]
			}
			return fmt.Sprintf("line %d\n got  %s\n want %s", i+1, g[i], other)
		}
	}
	return fmt.Sprintf("it ends at line %d of %d", len(g), len(w))
}

// play sends one request of a transcript and prints the response.
func (f *fixture) play(text string) string {
	f.t.Helper()
	lines := f.prepare(text)
	method, path, _ := strings.Cut(lines[0], " ")
	var headers []string
	body, ownID := "", ""
	for i, l := range lines[1:] {
		if l == "" {
			body = strings.Join(lines[i+2:], "\n")
			break
		}
		headers = append(headers, l)
		if name, value, _ := strings.Cut(l, ": "); strings.EqualFold(name, "x-request-id") {
			ownID = value
		}
	}
	if strings.HasPrefix(body, `"`) {
		s, err := strconv.Unquote(body)
		if err != nil {
			f.t.Fatalf("body %s: %v", body, err)
		}
		body = s
	}
	return f.transcribe(method, path, body, headers, ownID)
}

// prepare sets what the loop does in a case and returns its other lines.
func (f *fixture) prepare(text string) []string {
	f.t.Helper()
	lines := strings.Split(text, "\n")[1:]
	f.loop.set(answerWith(jsonAnswer, -1))
	f.loop.down.Store(false)
	f.loop.after.Store(0)
	for len(lines) > 0 && strings.HasPrefix(lines[0], "@") {
		f.behave(strings.TrimPrefix(lines[0], "@"))
		lines = lines[1:]
	}
	return lines
}

// transcribe sends a request and prints the response.
func (f *fixture) transcribe(method, path, body string, headers []string, ownID string) string {
	var res response
	if method == "HEAD" {
		res = f.head(path)
	} else {
		res = f.do(method, path, body, headers...)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s\n", res.status, http.StatusText(res.status))
	names := make([]string, 0, len(res.header))
	for name := range res.header {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		value := res.header.Get(name)
		switch {
		case name == "Date" || name == "Server" || name == "Content-Length":
			continue
		case name == "X-Request-Id" && value != ownID:
			if len(value) != 32 {
				f.t.Errorf("request id %q, want 32 digits", value)
			}
			value = "(new)"
		}
		fmt.Fprintf(&b, "%s: %s\n", name, value)
	}
	if len(res.body) > 0 {
		out := string(res.body)
		if !utf8.Valid(res.body) || strings.ContainsAny(out, "\x00\n") {
			out = strconv.Quote(out)
		}
		fmt.Fprintf(&b, "\n%s\n", out)
	}
	return b.String()
}

// head sends a HEAD request; its response has a length and no body.
func (f *fixture) head(path string) response {
	c := f.dial()
	fmt.Fprintf(c, "HEAD %s HTTP/1.1\r\nHost: motley\r\nConnection: close\r\n\r\n", path)
	var b bytes.Buffer
	if _, err := b.ReadFrom(c); err != nil {
		f.t.Fatal(err)
	}
	head, rest, ok := strings.Cut(b.String(), "\r\n\r\n")
	if !ok || rest != "" {
		f.t.Fatalf("HEAD %s: answer %q has a body", path, b.String())
	}
	status, err := strconv.Atoi(strings.Fields(head)[1])
	if err != nil {
		f.t.Fatal(err)
	}
	return response{status: status, header: http.Header{"X-Request-Id": {strings.Repeat("0", 32)}}}
}

// behave sets what the loop does with the next request.
func (f *fixture) behave(what string) {
	word, arg, _ := strings.Cut(what, " ")
	refuse := func(r live.Reason, cause error) {
		after := time.Duration(0)
		if arg != "" {
			var err error
			if after, err = time.ParseDuration(arg); err != nil {
				f.t.Fatal(err)
			}
		}
		f.loop.set(func(q *live.Request) error {
			q.Attempts = 2
			return &live.Refusal{Reason: r, RetryAfter: after, Cause: cause}
		})
	}
	for _, r := range live.Reasons() {
		if r != live.Failed && r.String() == word {
			var cause error
			if r == live.Poisoned || r == live.OverBudget {
				cause = &backend.Error{Class: backend.Server, Status: 502, Message: "the worker failed (500): out of memory"}
			}
			refuse(r, cause)
			return
		}
	}
	switch word {
	case "down":
		f.loop.down.Store(true)
	case "after":
		d, err := time.ParseDuration(arg)
		if err != nil {
			f.t.Fatal(err)
		}
		f.loop.after.Store(int64(d))
	case "failed":
		class, status, ok := strings.Cut(arg, " ")
		code, err := strconv.Atoi(status)
		if !ok || err != nil {
			f.t.Fatalf("@failed wants class and status, got %q", arg)
		}
		arg = ""
		refuse(live.Failed, &backend.Error{Class: map[string]backend.Class{
			"connect": backend.Connect, "timeout": backend.Timeout, "server": backend.Server, "protocol": backend.Protocol,
		}[class], Status: code, Message: "worker w0: " + class})
	case "failed_unknown":
		refuse(live.Failed, errors.New("something else"))
	case "client":
		f.loop.set(func(*live.Request) error {
			return &backend.Error{Class: backend.Client, Status: 422, Message: "the worker does not like it"}
		})
	case "protocol":
		f.loop.set(func(*live.Request) error {
			return fmt.Errorf("wrapped: %w", &oip.Error{Status: 400, Message: "sending FP16 data via JSON is not supported"})
		})
	case "strange":
		f.loop.set(func(*live.Request) error { return errors.New("something strange") })
	case "ramps": // shown before whatever else the loop does
		f.loop.setContext(showing(f.loop.do, strings.Fields(arg)))
	case "exit":
		ramp, err := strconv.Atoi(arg)
		if err != nil {
			f.t.Fatal(err)
		}
		f.loop.set(func(r *live.Request) error {
			r.Exit = ramp
			return answerWith(jsonAnswer, -1)(r)
		})
	case "pretty":
		f.loop.set(answerWith("{\r\n  \"model_name\": \"adder\",\n  \"outputs\": []\r}", -1))
	case "binary":
		const head = `{"model_name":"adder","outputs":[{"name":"sum","shape":[1,1],"datatype":"FP32","parameters":{"binary_data_size":4}}]}`
		f.loop.set(answerWith(head+"\x00\x00\x40\x40", len(head)))
	default:
		f.t.Fatalf("unknown behaviour %q", what)
	}
}
