package http1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

func TestRequest(t *testing.T) {
	const post = "POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\n"
	for _, c := range []struct {
		name, head string
		want       string // "" = not plain
	}{
		{"post", post + "Content-Length: 12\r\n\r\n{}", "POST /v2/models/m/infer 12"},
		{"get", "GET /v2 HTTP/1.1\r\nHost: h\r\n\r\n", "/v2 0"},
		{"head", "HEAD /v2?x=y HTTP/1.1\r\nhOST:h\r\n\r\n", "/v2?x=y 0"},
		{"close", post + "Connection: Close\r\nContent-Length:0\r\n\r\n", "POST /v2/models/m/infer 0 close"},
		{"keep", post + "Connection: keep-alive\r\nContent-Length: 0\r\n\r\n", "POST /v2/models/m/infer 0"},
		{"close, whatever follows", post + "Connection: close\r\nConnection: keep-alive\r\nContent-Length:0\r\n\r\n", "POST /v2/models/m/infer 0 close"},
		{"encoded", post + "Content-Encoding: gzip\r\nContent-Length: 0\r\n\r\n", "POST /v2/models/m/infer 0 encoded"},
		{"any other header", post + "X: \t a:b \"c\" \xc3\xa4\t\r\nContent-Length: 7 \r\n\r\n", "POST /v2/models/m/infer 7"},

		{"not whole", post + "Content-Length: 12\r\n", "more"},
		{"nothing", "", "more"},
		{"no length", post + "\r\n", ""},
		{"no host", "GET /v2 HTTP/1.1\r\n\r\n", ""},
		{"two hosts", "GET /v2 HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n", ""},
		{"HTTP/1.0", "GET /v2 HTTP/1.0\r\nHost: h\r\n\r\n", ""},
		{"other method", "PUT /v2 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n", ""},
		{"absolute form", "GET http://h/v2 HTTP/1.1\r\nHost: h\r\n\r\n", ""},
		{"space in the path", "GET /v2 /x HTTP/1.1\r\nHost: h\r\n\r\n", ""},
		{"path past ASCII", "GET /\xe4 HTTP/1.1\r\nHost: h\r\n\r\n", ""},
		{"bare line feed", "GET /v2 HTTP/1.1\nHost: h\r\n\r\n", ""},
		{"bare line feed in a header", "GET /v2 HTTP/1.1\r\nHost: h\nX: y\r\n\r\n", ""},
		{"carriage return in a value", "GET /v2 HTTP/1.1\r\nHost: h\rX: y\r\n\r\n", ""},
		{"folded", "GET /v2 HTTP/1.1\r\nHost: h\r\n more\r\n\r\n", ""},
		{"no colon", "GET /v2 HTTP/1.1\r\nHost\r\n\r\n", ""},
		{"no name", "GET /v2 HTTP/1.1\r\n: h\r\n\r\n", ""},
		{"space before the colon", post + "Content-Length : 1\r\n\r\n", ""},
		{"NUL", post + "X: a\x00b\r\nContent-Length: 1\r\n\r\n", ""},
		{"underscore", post + "Content_Length: 1\r\nContent-Length: 1\r\n\r\n", ""},
		{"two lengths", post + "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", ""},
		{"length with a sign", post + "Content-Length: +1\r\n\r\n", ""},
		{"length in hexadecimal", post + "Content-Length: 0x1\r\n\r\n", ""},
		{"empty length", post + "Content-Length:\r\n\r\n", ""},
		{"huge length", post + "Content-Length: 9999999999999\r\n\r\n", ""},
		{"chunks", post + "Transfer-Encoding: chunked\r\n\r\n", ""},
		{"both", post + "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", ""},
		{"expects", post + "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n", ""},
		{"upgrade", post + "Upgrade: h2c\r\nContent-Length: 1\r\n\r\n", ""},
		{"hop by hop", post + "Connection: close, TE\r\nContent-Length: 1\r\n\r\n", ""},
	} {
		var r Request
		for at := range c.head {
			if r.Parse([]byte(c.head[:at])); r.Head > at || r.Head == 0 && r.Plain {
				t.Fatalf("%s: after %d bytes: %+v", c.name, at, r)
			}
		}
		r.Parse([]byte(c.head))
		if got := show(&r); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func show(r *Request) string {
	if r.Head == 0 {
		return "more"
	}
	if !r.Plain {
		return ""
	}
	s := string(r.Path) + " " + strconv.Itoa(r.Length)
	if r.Post {
		s = "POST " + s
	}
	if r.Close {
		s += " close"
	}
	if r.Encoded {
		s += " encoded"
	}
	return s
}

// FuzzRequest: of a plain head, the standard library's server says the same.
func FuzzRequest(f *testing.F) {
	f.Add([]byte("POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"))
	f.Add([]byte("GET /v2 HTTP/1.1\r\nHost: h\r\nContent-Encoding: x\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Request
		r.Parse(b)
		if !r.Plain || r.Head > 4000 {
			return
		}
		std, err := http.ReadRequest(bufio.NewReader(io.MultiReader(bytes.NewReader(b), strings.NewReader(strings.Repeat("x", 10)))))
		if err != nil {
			if strings.Contains(err.Error(), "Host") || strings.Contains(err.Error(), "invalid URL") || strings.Contains(err.Error(), "parse ") {
				return // what a path or a host may be is for who serves it to say
			}
			t.Fatalf("%q: plain, but %v", b, err)
		}
		want := int64(r.Length)
		if std.ContentLength != want || std.Close != r.Close || (std.Method == "POST") != r.Post || std.RequestURI != string(r.Path) ||
			(std.Header.Get("Content-Encoding") != "" && !r.Encoded) {
			t.Fatalf("%q: %+v, but net/http reads length %d, close %v, %s %s", b, r, std.ContentLength, std.Close, std.Method, std.RequestURI)
		}
	})
}
