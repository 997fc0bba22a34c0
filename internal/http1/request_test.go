package http1

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestRequest(t *testing.T) {
	const post = "POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\n"
	limits := Limits{Head: 200, Fields: 4, Body: 1000}
	for _, c := range []struct {
		name, head string
		want       string
	}{
		{"post", post + "Content-Length: 12\r\n\r\n{}", "plain POST /v2/models/m/infer 12"},
		{"get", "GET /v2 HTTP/1.1\r\nHost: h\r\n\r\n", "plain /v2 0"},
		{"head", "HEAD /v2?x=y HTTP/1.1\r\nhOST:h\r\n\r\n", "plain /v2?x=y 0"},
		{"close", post + "Connection: Close\r\nContent-Length:0\r\n\r\n", "plain POST /v2/models/m/infer 0 close"},
		{"keep", post + "Connection: keep-alive\r\nContent-Length: 0\r\n\r\n", "plain POST /v2/models/m/infer 0"},
		{"close, whatever follows", post + "Connection: close\r\nConnection: keep-alive\r\nContent-Length:0\r\n\r\n", "plain POST /v2/models/m/infer 0 close"},
		{"encoded", post + "Content-Encoding: gzip\r\nContent-Length: 0\r\n\r\n", "plain POST /v2/models/m/infer 0 encoded"},
		{"any other header", post + "X: \t a:b \"c\" \xc3\xa4\t\r\nContent-Length: 7 \r\n\r\n", "plain POST /v2/models/m/infer 7"},
		{"empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", errNoHost.Text},
		{"empty host of old", "GET / HTTP/1.0\r\nHost:\r\n\r\n", "old / 0"},
		{"zeros before a length", post + "Content-Length: 007\r\n\r\n", "plain POST /v2/models/m/infer 7"},

		{"nothing", "", "more"},
		{"not whole", post + "Content-Length: 12\r\n", "more"},
		{"half an empty line", "\r", "more"},
		{"an empty line", "\r\n", "more"},
		{"an empty line before", "\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", "/ 0"},
		{"no length", post + "\r\n", "POST /v2/models/m/infer 0"},
		{"HTTP/1.0", "GET /v2 HTTP/1.0\r\n\r\n", "old /v2 0"},
		{"other method", "PUT /v2 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n", "/v2 1"},
		{"absolute form", "GET HTTP://h:80/v2 HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP://h:80/v2 0"},
		{"absolute form of old", "GET http://h/v2 HTTP/1.0\r\n\r\n", "old http://h/v2 0"},
		{"underscore", post + "Content_Length: 1\r\nContent-Length: 2\r\n\r\n", "POST /v2/models/m/infer 2"},
		{"chunks", post + "Transfer-Encoding: Chunked\r\n\r\n", "POST /v2/models/m/infer -1"},
		{"expects", post + "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n", "POST /v2/models/m/infer 1"},
		{"upgrade", post + "Upgrade: h2c\r\nContent-Length: 1\r\n\r\n", "POST /v2/models/m/infer 1"},
		{"hop by hop", post + "Connection: close, TE\r\nContent-Length: 1\r\n\r\n", "POST /v2/models/m/infer 1"},

		{"two empty lines before", "\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", errFirstByte.Text},
		{"noise", "\x16\x03\x01", errFirstByte.Text},
		{"space first", " GET / HTTP/1.1\r\n", errFirstByte.Text},
		{"half an empty line, and something else", "\rG", errLineEnd.Text},
		{"no version", "GET /v2\r\n", errRequestLine.Text},
		{"two spaces", "GET  /v2 HTTP/1.1\r\n", errRequestLine.Text},
		{"space in the path", "GET /v2 /x HTTP/1.1\r\n", errRequestLine.Text},
		{"space in a post's path", "POST /v2 /x HTTP/1.1\r\n", errTargetChars.Text},
		{"odd version", "GET /v2 HTTP/1.1x\r\n", errRequestLine.Text},
		{"lower case version", "GET /v2 http/1.1\r\n", errRequestLine.Text},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", errVersion.Text},
		{"HTTP/1.2", "GET / HTTP/1.2\r\n", errVersion.Text},
		{"method with brackets", "G[T] / HTTP/1.1\r\n", errMethod.Text},
		{"connect", "CONNECT h:80 HTTP/1.1\r\n", errConnect.Text},
		{"authority form", "GET h:80 HTTP/1.1\r\n", errTarget.Text},
		{"user in the target", "GET http://u@h/ HTTP/1.1\r\n", errTarget.Text},
		{"other scheme", "GET ftp://h/ HTTP/1.1\r\n", errTarget.Text},
		{"asterisk", "OPTIONS * HTTP/1.1\r\n", errTarget.Text},
		{"other host", "GET http://h/ HTTP/1.1\r\nHost: i\r\n\r\n", errOtherHost.Text},
		{"tab before a length", post + "Content-Length:\t1\r\n", errLength.Text},
		{"tab behind a coding", post + "Transfer-Encoding: chunked\t\r\n", errCoding.Text},
		{"asterisk of another method", "GET * HTTP/1.1\r\n", errTarget.Text},
		{"path past ASCII", "GET /\xe4 HTTP/1.1\r\n", errTargetChars.Text},
		{"NUL in the path", "GET /a\x00b HTTP/1.1\r\n", errTargetChars.Text},
		{"fragment", "GET /a#b HTTP/1.1\r\n", errTargetChars.Text},
		{"no host", "GET /v2 HTTP/1.1\r\n\r\n", errNoHost.Text},
		{"two hosts", "GET /v2 HTTP/1.1\r\nHost: h\r\nHost: h\r\n", errTwoHosts.Text},
		{"two hosts of old", "GET /v2 HTTP/1.0\r\nHost: h\r\nHost: h\r\n", errTwoHosts.Text},
		{"list of hosts", "GET /v2 HTTP/1.1\r\nHost: h, i/j\r\n", errHost.Text},
		{"bare line feed", "GET /v2 HTTP/1.1\n", errLineEnd.Text},
		{"bare line feed in a header", "GET /v2 HTTP/1.1\r\nHost: h\nX: y\r\n\r\n", errLineEnd.Text},
		{"carriage return in a value", "GET /v2 HTTP/1.1\r\nHost: h\rX: y\r\n\r\n", errValue.Text},
		{"folded", "GET /v2 HTTP/1.1\r\nHost: h\r\n more\r\n", errFolded.Text},
		{"folded first", "GET /v2 HTTP/1.1\r\n\tHost: h\r\n", errFolded.Text},
		{"no colon", "GET /v2 HTTP/1.1\r\nHost\r\n", errName.Text},
		{"no name", "GET /v2 HTTP/1.1\r\n: h\r\n", errName.Text},
		{"space before the colon", post + "Content-Length : 1\r\n", errName.Text},
		{"NUL in a name", post + "a\x00: 1\r\n", errName.Text},
		{"NUL in a value", post + "X: a\x00b\r\n", errValue.Text},
		{"DEL in a value", post + "X: a\x7fb\r\n", errValue.Text},
		{"two lengths", post + "Content-Length: 1\r\nContent-Length: 1\r\n", errTwoLengths.Text},
		{"length with a sign", post + "Content-Length: +1\r\n", errLength.Text},
		{"negative length", post + "Content-Length: -1\r\n", errLength.Text},
		{"length in hexadecimal", post + "Content-Length: 0x1\r\n", errLength.Text},
		{"list of lengths", post + "Content-Length: 1, 1\r\n", errLength.Text},
		{"empty length", post + "Content-Length:\r\n", errLength.Text},
		{"length beyond 64 bits", post + "Content-Length: 18446744073709551617\r\n", errLength.Text},
		{"huge length", post + "Content-Length: 9999999999999\r\n\r\n", "request body is over the limit of 1000 bytes"},
		{"both", post + "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", errBoth.Text},
		{"both, the other way", post + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", errBoth.Text},
		{"chunks twice", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", errCoding.Text},
		{"list of codings", post + "Transfer-Encoding: gzip, chunked\r\n", errCoding.Text},
		{"identity", post + "Transfer-Encoding: identity\r\n", errCoding.Text},
		{"chunks of old", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n", errCoding10.Text},
		{"expects what is not there", post + "Expect: 200-ok\r\n", errExpect.Text},
		{"as many headers as may be", "GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n", "plain / 0"},
		{"one more", "GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n\r\n", "request head has more than the limit of 4 headers"},
		{"as long as may be", "GET / HTTP/1.1\r\nHost: h\r\nA: " + strings.Repeat("a", 200-32) + "\r\n\r\n", "plain / 0"},
		{"longer", "GET / HTTP/1.1\r\nHost: h\r\nA: " + strings.Repeat("a", 200-31) + "\r\n\r\n", "request head is over the limit of 200 bytes"},
		{"a line that is longer", "GET /" + strings.Repeat("a", 200), "request head is over the limit of 200 bytes"},
	} {
		// A request comes in pieces: what is said of it does not change with them.
		said := ""
		for at := range len(c.head) + 1 {
			var r Request
			f := r.Parse([]byte(c.head[:at]), &limits)
			switch got := show(&r, f); {
			case said == "" && (got == "more" || at == len(c.head)):
			case said == "":
				said = got
			case got != said:
				t.Errorf("%s: after %d bytes %q, and before %q", c.name, at, got, said)
			}
		}
		var r Request
		f := r.Parse([]byte(c.head), &limits)
		if got := show(&r, f); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func show(r *Request, f *Fault) string {
	switch {
	case f != nil:
		return f.Text
	case r.Head == 0:
		return "more"
	}
	s := fmt.Sprintf("%s %d", r.Path, r.Length)
	if r.Post {
		s = "POST " + s
	}
	if r.Old {
		s = "old " + s
	}
	if !r.Plain {
		return s
	}
	if r.Close {
		s += " close"
	}
	if r.Encoded {
		s += " encoded"
	}
	return "plain " + s
}

// FuzzRequest: of a head that is not refused, the standard library's server says the
// same, and however it is cut, so does this.
func FuzzRequest(f *testing.F) {
	f.Add([]byte("POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"), 20)
	f.Add([]byte("GET /v2 HTTP/1.1\r\nHost: h\r\nContent-Encoding: x\r\n\r\n"), 3)
	f.Add([]byte("POST /v2 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"), 45)
	f.Add([]byte("\r\nOPTIONS * HTTP/1.0\r\nA:\r\n\r\n"), 1)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		limits := Limits{Head: 4000, Fields: 50}
		var r Request
		fault := r.Parse(b, &limits)
		if cut >= 0 && cut < len(b) {
			var part Request
			if f := part.Parse(b[:cut], &limits); (f != nil || part.Head > 0) && show(&part, f) != show(&r, fault) {
				t.Fatalf("%q: %q, and cut at %d %q", b, show(&r, fault), cut, show(&part, f))
			}
		}
		if fault != nil || r.Head == 0 {
			return
		}
		std, err := http.ReadRequest(bufio.NewReader(io.MultiReader(bytes.NewReader(bytes.TrimPrefix(b, []byte("\r\n"))), strings.NewReader(strings.Repeat("x", 10)))))
		if err != nil {
			if strings.Contains(err.Error(), "Host") || strings.Contains(err.Error(), "invalid URL") || strings.Contains(err.Error(), "parse ") ||
				strings.Contains(err.Error(), "trailer") {
				return // what a path or a host may be is for who serves it to say
			}
			t.Fatalf("%q: not refused, but %v", b, err)
		}
		chunked := len(std.TransferEncoding) > 0
		if chunked != (r.Length == Chunked) || !chunked && std.ContentLength != int64(r.Length) ||
			r.Plain && std.Close != r.Close || (std.Method == "POST") != r.Post || std.RequestURI != string(r.Path) ||
			(std.Header.Get("Content-Encoding") != "" && !r.Encoded) {
			t.Fatalf("%q: %+v, but net/http reads length %d, close %v, %s %s", b, r, std.ContentLength, std.Close, std.Method, std.RequestURI)
		}
	})
}

func BenchmarkRequest(b *testing.B) {
	head := []byte("POST /v2/models/m/infer HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nUser-Agent: bench\r\nContent-Type: application/json\r\nAccept: */*\r\nContent-Length: 79\r\n\r\n")
	l := Limits{Head: 8 << 10, Fields: 100, Body: 64 << 20}
	var r Request
	b.ReportAllocs()
	for b.Loop() {
		if r.Parse(head, &l); !r.Plain {
			b.Fatal("not plain")
		}
	}
}
