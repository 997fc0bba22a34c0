package backend

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"motley/internal/oip"
)

// Whatever a worker says, what goes to the client is text, is bounded, and
// can be put into an error's JSON.
func FuzzWorkerMessage(f *testing.F) {
	for _, s := range []string{
		`{"error":"a"}`, `{"error":{"message":"b"}}`, `{"detail":"c"}`, `{"detail":[{"loc":["body",0],"msg":"d"}]}`,
		`{"message":"e"}`, "plain text\nmore", "<html>", "\x00\xff", `{"error":"\ud800"}`, `{"error":7,"detail":[],"message":"f"}`,
		strings.Repeat("é", 2000), `{"detail":[{"msg":"` + strings.Repeat("ü", 3000) + `"}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s := workerMessage(body)
		if !utf8.ValidString(s) || len(s) > maxMessage+len("…") {
			t.Errorf("%d bytes from %q: %q", len(s), body, s)
		}
		if !json.Valid(oip.AppendError(nil, s)) {
			t.Errorf("no JSON of %q", s)
		}
		if len(body) < maxMessage && utf8.Valid(body) && json.Valid(body) {
			return // one of the forms, or none
		}
		if s != "" && !strings.HasPrefix(strings.TrimSpace(string(body)), strings.TrimSuffix(s, "…")) && !json.Valid(body) {
			t.Errorf("%q is not the beginning of %q", s, body)
		}
	})
}

func TestClassNames(t *testing.T) {
	for c, want := range map[Class]string{
		Connect: "connect", Timeout: "timeout", Server: "server", Client: "client", Protocol: "protocol", Canceled: "canceled", 0: "class(0)",
	} {
		if got := c.String(); got != want {
			t.Errorf("class %d is %q, want %q", c, got, want)
		}
	}
}
