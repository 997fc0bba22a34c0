package oip

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// texts are the strings that escaping goes wrong with.
func texts() []string {
	list := []string{
		"", "plain", `"`, `\`, `\"`, `\\`, `\u0041`, "</script>&'", "\u2028\u2029", "ünï", "😀", "\x7f", "\ufffd",
		"\xff", "a\xc3", "\xc3(", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc0\x80", "ok\xe2\x82", "\xf0\x9f\x98", "\x80\x80\"\x80",
		strings.Repeat("long \n", 100),
	}
	for c := range 0x100 {
		list = append(list, string([]byte{byte(c)}), "a"+string([]byte{byte(c)})+"b", string(rune(c)))
	}
	return list
}

// AppendError is held against encoding/json, which reads what it wrote and
// writes the same text.
func TestAppendError(t *testing.T) {
	for _, msg := range texts() {
		got := AppendError([]byte("before"), msg)
		body, ok := strings.CutPrefix(string(got), "before")
		if !ok {
			t.Fatalf("AppendError(%q) = %q, want it after what was there", msg, got)
		}
		if !utf8.ValidString(body) || !json.Valid([]byte(body)) {
			t.Errorf("AppendError(%q) = %q, which is not JSON", msg, body)
		}
		var r map[string]string
		if err := json.Unmarshal([]byte(body), &r); err != nil {
			t.Errorf("AppendError(%q) = %q: %v", msg, body, err)
		}
		if want := eachInvalid(msg); len(r) != 1 || r["error"] != want {
			t.Errorf("AppendError(%q) reads as %q, want %q", msg, r, want)
		}
		var form ErrorResponse
		if err := json.Unmarshal([]byte(body), &form); err != nil || form.Error != r["error"] {
			t.Errorf("AppendError(%q) is not an ErrorResponse: %q, %v", msg, body, err)
		}
	}
	for msg, want := range map[string]string{
		"a \"b\"\n": `{"error":"a \"b\"\n"}`,
		"\x00\x1f":  `{"error":"\u0000\u001f"}`,
		`\"/`:       `{"error":"\\\"/"}`,
		"a\xff":     "{\"error\":\"a\ufffd\"}",
		"":          `{"error":""}`,
	} {
		if got := string(AppendError(nil, msg)); got != want {
			t.Errorf("AppendError(%q) = %s, want %s", msg, got, want)
		}
	}
}

// eachInvalid puts U+FFFD in the place of each byte that is not UTF-8.
func eachInvalid(s string) string {
	var b strings.Builder
	for _, r := range s { // range gives U+FFFD for each such byte
		b.WriteRune(r)
	}
	return b.String()
}

// Unescaping is held against encoding/json as well.
func TestUnescape(t *testing.T) {
	list := []string{
		`\ud83d\ude00`, `\ud83d`, `\ude00`, `\ud83d\ud83d\ude00`, `\ud83dx`, `\ud83d\n`, `\ud83d\u0041`, `\u0041\u00e9\u20ac`, `\/\b\f\n\r\t\"\\`,
		`\uD83D\uDE00`, `\u0000`, `\uffff`, `a\u0062c`,
	}
	for _, s := range texts() {
		if utf8.ValidString(s) {
			b, _ := json.Marshal(s)
			list = append(list, string(b[1:len(b)-1]))
			ours := appendString(nil, s)
			list = append(list, string(ours[1:len(ours)-1]))
		}
	}
	for _, s := range list {
		var want string
		if err := json.Unmarshal([]byte(`"`+s+`"`), &want); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if got := appendUnescaped(nil, []byte(s)); string(got) != want {
			t.Errorf("%s reads as %q, want %q", s, got, want)
		}
		if n := unescapedLen([]byte(s)); n != len(want) {
			t.Errorf("the length of %s is %d, want %d", s, n, len(want))
		}
	}
}

func TestParseHeadLength(t *testing.T) {
	for _, c := range []struct {
		in   string
		want int
		err  string
	}{
		{"", -1, ""},
		{"0", 0, ""},
		{"007", 7, ""},
		{"4611686018427387904", 1 << 62, ""},
		{"4611686018427387905", 0, "Unable to parse Inference-Header-Content-Length, got: 4611686018427387905"},
		{"9223372036854775808", 0, "Unable to parse Inference-Header-Content-Length, got: 9223372036854775808"},
		{"-1", 0, "Unable to parse Inference-Header-Content-Length, got: -1"},
		{"+1", 0, "Unable to parse Inference-Header-Content-Length, got: +1"},
		{" 1", 0, "Unable to parse Inference-Header-Content-Length, got:  1"},
		{"1.0", 0, "Unable to parse Inference-Header-Content-Length, got: 1.0"},
		{"x", 0, "Unable to parse Inference-Header-Content-Length, got: x"},
		{strings.Repeat("9", 99), 0, "Unable to parse Inference-Header-Content-Length, got: " + strings.Repeat("9", 64)},
	} {
		got, err := ParseHeadLength([]byte(c.in))
		if c.err == "" {
			if err != nil || got != c.want {
				t.Errorf("ParseHeadLength(%q) = %d, %v; want %d", c.in, got, err, c.want)
			}
			continue
		}
		if e, ok := err.(*Error); !ok || e.Status != 400 || e.Message != c.err {
			t.Errorf("ParseHeadLength(%q) = %d, %#v; want %q", c.in, got, err, c.err)
		}
	}
}
