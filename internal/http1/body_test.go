package http1

import (
	"bufio"
	"bytes"
	"io"
	"net/http/httputil"
	"strings"
	"testing"
)

// follow gives Take the bytes in pieces of so many, and returns what is left of them.
func follow(length int, l *Limits, text string, piece int) (kept string, used int, w *Body, f *Fault) {
	w = new(Body)
	w.Begin(length, l)
	b := []byte(text)
	for len(b) > 0 && !w.Done() {
		k, u, f := w.Take(b[:min(piece, len(b))])
		kept, used = kept+string(b[:k]), used+u
		if f != nil {
			return kept, used, w, f
		}
		b = b[u:]
	}
	return kept, used, w, nil
}

func TestBody(t *testing.T) {
	limits := Limits{Head: 40, Fields: 2, Body: 32}
	for _, c := range []struct {
		name   string
		length int
		text   string
		kept   string // "=": all of it
		rest   string
		want   string // fault; "more"
	}{
		{"none", 0, "GET", "", "GET", ""},
		{"plain", 3, "abcGET", "abc", "GET", ""},
		{"cut", 4, "abc", "=", "", "more"},
		{"chunks", Chunked, "3\r\nabc\r\n0A\r\n0123456789\r\n0\r\n\r\nGET", "3\r\nabc\r\n0A\r\n0123456789\r\n0\r\n\r\n", "GET", ""},
		{"extension", Chunked, "1;a=\"b;c\"\r\nx\r\n000;z\r\n\r\n", "=", "", ""},
		{"trailers are left out", Chunked, "1\r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\nGET", "1\r\nx\r\n0\r\n\r\n", "GET", ""},
		{"as much as may be", Chunked, "20\r\n" + strings.Repeat("x", 32) + "\r\n0\r\n\r\n", "=", "", ""},

		{"chunk over the limit", Chunked, "21\r\n", "", "", "request body is over the limit of 32 bytes"},
		{"chunks over the limit", Chunked, "1\r\nx\r\n20\r\n", "", "", "request body is over the limit of 32 bytes"},
		{"huge chunk", Chunked, "fffffffffffffff\r\n", "", "", "request body is over the limit of 32 bytes"},
		{"chunk size beyond 64 bits", Chunked, "10000000000000001\r\n", "", "", errChunkSize.Text},
		{"no size", Chunked, "\r\nx", "", "", errChunkSize.Text},
		{"no hexadecimal size", Chunked, "g\r\n", "", "", errChunkSize.Text},
		{"0x", Chunked, "0x1\r\n", "", "", errChunkSize.Text},
		{"sign", Chunked, "+1\r\n", "", "", errChunkSize.Text},
		{"space before", Chunked, " 1\r\n", "", "", errChunkSize.Text},
		{"space behind", Chunked, "1 \r\n", "", "", errChunkSize.Text},
		{"bare line feed behind a size", Chunked, "1\nx", "", "", errChunkSize.Text},
		{"carriage return alone", Chunked, "1\rx", "", "", errLineEnd.Text},
		{"line feed in an extension", Chunked, "1;a\nx", "", "", errChunkExt.Text},
		{"NUL in an extension", Chunked, "1;\x00\r\nx", "", "", errChunkExt.Text},
		{"long extension", Chunked, "1;" + strings.Repeat("a", 300), "", "", errChunkExt.Text},
		{"longer than it says", Chunked, "1\r\nxy\r\n", "", "", errChunkEnd.Text},
		{"bare line feed behind a chunk", Chunked, "1\r\nx\n0\r\n", "", "", errChunkEnd.Text},
		{"carriage return alone behind a chunk", Chunked, "1\r\nx\r0\r\n", "", "", errChunkEnd.Text},
		{"length in a trailer", Chunked, "0\r\nContent-Length: 5\r\n\r\n", "", "", errTrailer.Text},
		{"coding in a trailer", Chunked, "0\r\nTransfer-encoding: chunked\r\n\r\n", "", "", errTrailer.Text},
		{"folded trailer", Chunked, "0\r\nA: b\r\n c\r\n\r\n", "", "", errFolded.Text},
		{"trailer without a colon", Chunked, "0\r\nabc\r\n\r\n", "", "", errName.Text},
		{"trailer with a bare line feed", Chunked, "0\r\nA: b\n\r\n", "", "", errLineEnd.Text},
		{"bare line feed at the end", Chunked, "0\r\n\n", "", "", errLineEnd.Text},
		{"carriage return alone at the end", Chunked, "0\r\n\rG", "", "", errLineEnd.Text},
		{"too many trailers", Chunked, "0\r\nA: b\r\nA: b\r\nA: b\r\n\r\n", "", "", "request head has more than the limit of 2 headers"},
		{"too long trailers", Chunked, "0\r\nA: " + strings.Repeat("b", 40) + "\r\n\r\n", "", "", "request head is over the limit of 40 bytes"},
	} {
		for _, piece := range []int{1, 2, 3, 7, 1000} {
			kept, used, w, f := follow(c.length, &limits, c.text, piece)
			got := ""
			if f != nil {
				got = f.Text
			} else if !w.Done() {
				got = "more"
			}
			if got != c.want {
				t.Errorf("%s, in pieces of %d: %q, want %q", c.name, piece, got, c.want)
			}
			if f != nil {
				continue
			}
			if c.kept == "=" {
				c.kept = c.text
			}
			if kept != c.kept || c.text[used:] != c.rest {
				t.Errorf("%s, in pieces of %d: kept %q, left %q; want %q, %q", c.name, piece, kept, c.text[used:], c.kept, c.rest)
			}
		}
	}
}

// FuzzBody: what is kept of a body is one for the standard library, too, and comes to as many
// bytes; however it is cut, the same is kept.
func FuzzBody(f *testing.F) {
	f.Add("3\r\nabc\r\n0A;x\r\n0123456789\r\n0\r\nA: b\r\n\r\nGET", 3)
	f.Add("0\r\n\r\n", 1)
	f.Fuzz(func(t *testing.T, text string, piece int) {
		limits := Limits{Head: 300, Fields: 5, Body: 1 << 16}
		kept, used, w, fault := follow(Chunked, &limits, text, len(text)+1)
		if piece > 0 {
			kept2, used2, w2, fault2 := follow(Chunked, &limits, text, piece)
			if fault != fault2 && (fault == nil || fault2 == nil || *fault != *fault2) || kept2 != kept || used2 != used || w2.Done() != w.Done() {
				t.Fatalf("%q, in pieces of %d: %q %d %v, in one %q %d %v", text, piece, kept2, used2, fault2, kept, used, fault)
			}
		}
		if fault != nil || !w.Done() {
			return
		}
		body, err := io.ReadAll(httputil.NewChunkedReader(bufio.NewReader(bytes.NewReader([]byte(kept)))))
		if err != nil || len(body) != w.Announced() {
			t.Fatalf("%q: %d bytes are announced, the standard library reads %d, %v", kept, w.Announced(), len(body), err)
		}
	})
}
