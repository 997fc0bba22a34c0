// Package http1 reads heads of HTTP/1.1 messages where they lie, as far as one has to
// know where a message ends and how an inference server means it.
package http1

import (
	"bytes"
	"errors"
	"math"
	"strconv"

	"motley/internal/oip"
)

// maxHead is the longest head of an answer, in bytes.
const maxHead = 64 << 10

// ErrGarbled is the error of what is not an HTTP answer, or not one of the
// form that is read here.
var ErrGarbled = errors.New("not an HTTP answer")

// Reply is the state of reading one answer. It allows what RFC 9112 does and
// a server in front of models sends: a Content-Length, or chunks; an answer
// with neither, both, or two lengths is refused. Its zero value is ready.
type Reply struct {
	Status     int
	HeadLength int  // Inference-Header-Content-Length; −1: absent
	Exit       int  // X-Motley-Exit; −1: absent
	Body       int  // where it begins; 0: the head is not whole
	Length     int  // of the body; −1: chunked
	Encoded    bool // it has a Content-Encoding other than identity
	HangUp     bool // the server closes the connection
	at         int  // chunked: where the next chunk begins
}

// Parse reads what has come of the answer, b from its first byte on; it may be
// called again with more. end is where the answer ends, 0 while it is not
// whole. A body of more than most bytes is ErrGarbled.
func (r *Reply) Parse(b []byte, most int) (end int, err error) {
	if r.Body == 0 {
		if ok, err := r.head(b, most); !ok {
			return 0, err
		}
	}
	if r.Length >= 0 {
		if len(b) < r.Body+r.Length {
			return 0, nil
		}
		return r.Body + r.Length, nil
	}
	for {
		size, next, err := chunkSize(b, r.at, most)
		if next == 0 || err != nil {
			return 0, err
		}
		if size == 0 {
			return trailerEnd(b, next)
		}
		if next+size+2 > len(b) {
			return 0, nil
		}
		if b[next+size] != '\r' || b[next+size+1] != '\n' {
			return 0, ErrGarbled
		}
		if r.at = next + size + 2; r.at > r.Body+most {
			return 0, ErrGarbled
		}
	}
}

// Content is the body of a whole answer. Chunks are moved together in b.
func (r *Reply) Content(b []byte, end int) []byte {
	if r.Length >= 0 {
		return b[r.Body:end]
	}
	to := r.Body
	for at := r.Body; ; {
		size, next, _ := chunkSize(b, at, len(b))
		if size == 0 {
			return b[r.Body:to]
		}
		to += copy(b[to:], b[next:next+size])
		at = next + size + 2
	}
}

// head reads the status line and the headers; false: they are not whole.
func (r *Reply) head(b []byte, most int) (bool, error) {
	stop := bytes.Index(b, []byte("\r\n\r\n"))
	if stop < 0 {
		if len(b) > maxHead || !couldBegin(b) {
			return false, ErrGarbled
		}
		return false, nil
	}
	// HTTP/1.1 200 OK
	if stop < 12 || !couldBegin(b) || b[8] != ' ' || stop > 12 && b[12] != ' ' && b[12] != '\r' {
		return false, ErrGarbled
	}
	status, ok := digits(b[9:12])
	if !ok || status < 100 {
		return false, ErrGarbled
	}
	*r = Reply{Status: status, HeadLength: -1, Exit: -1, Length: -1, Body: stop + 4, HangUp: b[7] == '0'}
	length, chunked := -1, false
	lines := b[:stop]
	if i := bytes.Index(lines, []byte("\r\n")); i >= 0 {
		lines = lines[i+2:]
	} else {
		lines = nil
	}
	for len(lines) > 0 {
		line := lines
		if i := bytes.Index(lines, []byte("\r\n")); i >= 0 {
			line, lines = lines[:i], lines[i+2:]
		} else {
			lines = nil
		}
		colon := bytes.IndexByte(line, ':')
		if colon < 1 || line[colon-1] == ' ' {
			return false, ErrGarbled
		}
		name, value := line[:colon], bytes.Trim(line[colon+1:], " \t")
		switch {
		case is(name, "content-length"):
			n, ok := digits(value)
			if !ok || n > most || length >= 0 && n != length {
				return false, ErrGarbled
			}
			length = n
		case is(name, "transfer-encoding"):
			if chunked || !is(value, "chunked") {
				return false, ErrGarbled
			}
			chunked = true
		case is(name, "connection"):
			r.HangUp = r.HangUp && !is(value, "keep-alive") || is(value, "close")
		case is(name, "content-encoding"):
			r.Encoded = len(value) > 0 && !is(value, "identity")
		case is(name, "inference-header-content-length"):
			n, err := oip.ParseHeadLength(value)
			if err != nil {
				return false, ErrGarbled
			}
			r.HeadLength = n
		case is(name, "x-motley-exit"):
			if n, ok := digits(value); ok && n <= math.MaxInt8 {
				r.Exit = n
			}
		}
	}
	switch {
	case status < 200 || status == 204 || status == 304:
		if chunked || length > 0 {
			return false, ErrGarbled
		}
		r.Length = 0
	case chunked == (length >= 0):
		return false, ErrGarbled
	case !chunked:
		r.Length = length
	}
	r.at = r.Body
	return true, nil
}

// couldBegin tells whether an answer may begin like that.
func couldBegin(b []byte) bool {
	const start = "HTTP/1."
	if n := min(len(b), len(start)); string(b[:n]) != start[:n] {
		return false
	}
	return len(b) < 8 || b[7] == '0' || b[7] == '1'
}

// is compares with a lower-case text, whatever the case of b.
func is(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// digits reads a number of 1 to 12 digits.
func digits(b []byte) (n int, ok bool) {
	if len(b) == 0 || len(b) > 12 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, true
}

// chunkSize reads the line that begins a chunk; next is where its data
// begins, 0 while the line is not whole.
func chunkSize(b []byte, at, most int) (size, next int, err error) {
	const longest = 256 // extensions included
	line := b[at:]
	stop := bytes.Index(line[:min(len(line), longest)], []byte("\r\n"))
	if stop < 0 {
		if len(line) > longest {
			return 0, 0, ErrGarbled
		}
		return 0, 0, nil
	}
	text, _, _ := bytes.Cut(line[:stop], []byte(";"))
	n, err := strconv.ParseUint(string(bytes.TrimRight(text, " \t")), 16, 32)
	if err != nil || n > uint64(most) || text[0] == '+' {
		return 0, 0, ErrGarbled
	}
	return int(n), at + stop + 2, nil
}

// trailerEnd is where the empty line ends that closes the trailers, 0 while it
// has not come.
func trailerEnd(b []byte, at int) (int, error) {
	for {
		i := bytes.Index(b[at:], []byte("\r\n"))
		switch {
		case i == 0:
			return at + 2, nil
		case i < 0 && len(b)-at > maxHead:
			return 0, ErrGarbled
		case i < 0:
			return 0, nil
		}
		at += i + 2
	}
}
