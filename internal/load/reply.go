package load

import (
	"bytes"
	"errors"
	"math"
	"strconv"

	"motley/internal/oip"
)

// Bounds of what is read of an answer.
const (
	maxHead = 64 << 10
	maxBody = 256 << 20
)

var errGarbled = errors.New("not an HTTP answer")

// reply is the state of reading one answer. It allows what RFC 9112 does and
// a server in front of models sends: a Content-Length, or chunks; an answer
// with neither, both, or two lengths is refused.
type reply struct {
	status     int
	headLength int // Inference-Header-Content-Length; −1: absent
	exit       int // X-Motley-Exit; −1: absent
	body       int // where it begins; 0: the head is not whole
	length     int // −1: chunked
	at         int // chunked: where the next chunk begins
	hangUp     bool
}

// parse reads what has come of the answer, b from its first byte on; it may be
// called again with more. end is where the answer ends, 0 while it is not
// whole.
func (r *reply) parse(b []byte) (end int, err error) {
	if r.body == 0 {
		if ok, err := r.head(b); !ok {
			return 0, err
		}
	}
	if r.length >= 0 {
		if len(b) < r.body+r.length {
			return 0, nil
		}
		return r.body + r.length, nil
	}
	for {
		size, next, err := chunkSize(b, r.at)
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
			return 0, errGarbled
		}
		if r.at = next + size + 2; r.at > maxBody {
			return 0, errGarbled
		}
	}
}

// content is the body of a whole answer. Chunks are moved together in b.
func (r *reply) content(b []byte, end int) []byte {
	if r.length >= 0 {
		return b[r.body:end]
	}
	to := r.body
	for at := r.body; ; {
		size, next, _ := chunkSize(b, at)
		if size == 0 {
			return b[r.body:to]
		}
		to += copy(b[to:], b[next:next+size])
		at = next + size + 2
	}
}

// head reads the status line and the headers; false: they are not whole.
func (r *reply) head(b []byte) (bool, error) {
	stop := bytes.Index(b, []byte("\r\n\r\n"))
	if stop < 0 {
		if len(b) > maxHead || !couldBegin(b) {
			return false, errGarbled
		}
		return false, nil
	}
	// HTTP/1.1 200 OK
	if stop < 12 || !couldBegin(b) || b[8] != ' ' || stop > 12 && b[12] != ' ' && b[12] != '\r' {
		return false, errGarbled
	}
	status, ok := digits(b[9:12])
	if !ok || status < 100 {
		return false, errGarbled
	}
	*r = reply{status: status, headLength: -1, exit: -1, length: -1, body: stop + 4, hangUp: b[7] == '0'}
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
			return false, errGarbled
		}
		name, value := line[:colon], bytes.Trim(line[colon+1:], " \t")
		switch {
		case is(name, "content-length"):
			n, ok := digits(value)
			if !ok || n > maxBody || length >= 0 && n != length {
				return false, errGarbled
			}
			length = n
		case is(name, "transfer-encoding"):
			if chunked || !is(value, "chunked") {
				return false, errGarbled
			}
			chunked = true
		case is(name, "connection"):
			r.hangUp = r.hangUp && !is(value, "keep-alive") || is(value, "close")
		case is(name, "inference-header-content-length"):
			n, err := oip.ParseHeadLength(value)
			if err != nil {
				return false, errGarbled
			}
			r.headLength = n
		case is(name, "x-motley-exit"):
			if n, ok := digits(value); ok && n <= math.MaxInt8 {
				r.exit = n
			}
		}
	}
	switch {
	case status < 200 || status == 204 || status == 304:
		if chunked || length > 0 {
			return false, errGarbled
		}
		r.length = 0
	case chunked == (length >= 0):
		return false, errGarbled
	case !chunked:
		r.length = length
	}
	r.at = r.body
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
func chunkSize(b []byte, at int) (size, next int, err error) {
	const longest = 256 // extensions included
	line := b[at:]
	stop := bytes.Index(line[:min(len(line), longest)], []byte("\r\n"))
	if stop < 0 {
		if len(line) > longest {
			return 0, 0, errGarbled
		}
		return 0, 0, nil
	}
	text, _, _ := bytes.Cut(line[:stop], []byte(";"))
	n, err := strconv.ParseUint(string(bytes.TrimRight(text, " \t")), 16, 32)
	if err != nil || n > maxBody || text[0] == '+' {
		return 0, 0, errGarbled
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
			return 0, errGarbled
		case i < 0:
			return 0, nil
		}
		at += i + 2
	}
}
