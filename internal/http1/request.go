package http1

import (
	"bytes"
	"math"
)

// Request is what a request's head says of where it ends, and what it is for.
type Request struct {
	Head   int    // bytes of the head, the empty line included; 0: it is not whole
	Length int    // bytes of the body that follows; Chunked: not known
	Path   []byte // the target; points into the head; no query string is cut off
	Post   bool
	Old    bool // HTTP/1.0
	// Plain reports a head that asks for nothing unusual: HTTP/1.1, GET, HEAD or POST, a
	// path, at most one length, no chunks, no upgrade, nothing that is to be waited for,
	// names of letters, digits and dashes.
	Plain bool
	// Encoded reports a body with a Content-Encoding, Close that the connection is to be closed
	// after the answer; Close is told of plain heads alone.
	Encoded, Close bool
	Fields         []Field // all headers, in order
}

// Chunked is the Length of a body that comes in chunks.
const Chunked = -1

// Field is a header; the slices point into the head.
type Field struct{ Name, Value []byte }

// Is reports whether the field has a name, which is given in lower case.
func (f *Field) Is(lower string) bool { return is(f.Name, lower) }

// Parse reads a request's head at the beginning of b. It may be called again
// with more. It is stricter than RFC 9112 wherever two servers might disagree about where
// the message ends, or what it is: a head that it does not refuse can be
// understood in one way only. A fault is found with the line that has it, so that it does not
// depend on how much has come.
func (r *Request) Parse(b []byte, l *Limits) *Fault {
	*r = Request{Fields: r.Fields[:0]}
	if len(b) == 0 {
		return nil
	}
	at := 0
	switch {
	case tokens[b[0]] != 0:
	case b[0] != '\r':
		return errFirstByte
	default: // one empty line is left of the last request by some clients
		if len(b) < 2 {
			return nil
		}
		if b[1] != '\n' {
			return errLineEnd
		}
		if at = 2; len(b) == 2 {
			return nil
		}
		if tokens[b[2]] == 0 {
			return errFirstByte
		}
	}
	s := sight{plain: at == 0}
	most := len(b)
	if l.Head > 0 {
		most = min(most, l.Head)
	}
	for first := true; ; first = false {
		end := bytes.IndexByte(b[at:most], '\n')
		if end < 0 {
			if l.Head > 0 && len(b) >= l.Head {
				return l.headTooLarge()
			}
			return nil
		}
		line := b[at : at+end]
		at += end + 1
		if end == 0 || line[end-1] != '\r' {
			return errLineEnd
		}
		line = line[:end-1]
		switch {
		case first:
			if f := r.line(line, &s); f != nil {
				return f
			}
		case len(line) == 0:
			if f := r.whole(&s, l); f != nil {
				return f
			}
			r.Head = at
			return nil
		default:
			if l.Fields > 0 && len(r.Fields) == l.Fields {
				return l.tooManyFields()
			}
			if f := r.field(line, &s); f != nil {
				return f
			}
		}
	}
}

// sight is what has been seen of a head.
type sight struct {
	plain, host, length, chunked bool
	authority                    []byte // of a target that is a URL
	named                        []byte // Host
}

// line reads the request line.
func (r *Request) line(b []byte, s *sight) *Fault {
	if len(b) > len("POST / HTTP/1.1") && string(b[:6]) == "POST /" && string(b[len(b)-9:]) == " HTTP/1.1" { // as nearly all are
		r.Post, r.Path = true, b[5:len(b)-9]
		return visible(r.Path)
	}
	method, rest, ok := bytes.Cut(b, []byte(" "))
	target, version, ok2 := bytes.Cut(rest, []byte(" "))
	switch {
	case !ok || !ok2 || len(method) == 0 || len(target) == 0:
		return errRequestLine
	case bytes.ContainsAny(version, " \t"):
		return errRequestLine
	}
	for _, c := range method {
		if tokens[c] == 0 {
			return errMethod
		}
	}
	if f := visible(target); f != nil {
		return f
	}
	switch string(version) {
	case "HTTP/1.1":
	case "HTTP/1.0":
		r.Old, s.plain = true, false
	default:
		if len(version) == len("HTTP/1.1") && string(version[:5]) == "HTTP/" && version[6] == '.' && digit(version[5]) && digit(version[7]) {
			return errVersion
		}
		return errRequestLine
	}
	r.Path = target
	switch string(method) {
	case "GET", "HEAD":
	case "POST":
		r.Post = true
	case "CONNECT":
		return errConnect
	default:
		s.plain = false
	}
	if target[0] == '/' {
		return nil
	}
	s.plain = false
	scheme, rest, ok := bytes.Cut(target, []byte("://"))
	host, _, _ := bytes.Cut(rest, []byte("/"))
	if !ok || !is(scheme, "http") && !is(scheme, "https") || len(host) == 0 || !hostname(host) {
		return errTarget
	}
	s.authority = host
	return nil
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// visible holds a target to visible ASCII without a fragment.
func visible(b []byte) *Fault {
	for _, c := range b {
		if c <= ' ' || c >= 0x7f || c == '#' {
			return errTargetChars
		}
	}
	return nil
}

// field reads a header's line, and what it says of the message.
func (r *Request) field(line []byte, s *sight) *Fault {
	name, value, odd, f := field(line)
	if f != nil {
		return f
	}
	if odd {
		s.plain = false // some servers and proxies take the name for another
	}
	r.Fields = append(r.Fields, Field{name, value})
	// By length first: few headers need a closer look.
	switch len(name) {
	case 4:
		if is(name, "host") {
			if s.host {
				return errTwoHosts
			}
			if len(value) == 0 && !r.Old {
				return errNoHost
			}
			if !hostname(value) {
				return errHost
			}
			s.host, s.named = true, value
		}
	case 6:
		if is(name, "expect") {
			s.plain = false
			if !is(value, "100-continue") && !r.Old {
				return errExpect
			}
		}
	case 7:
		if is(name, "upgrade") || is(name, "trailer") {
			s.plain = false
		}
	case 10:
		if is(name, "connection") {
			last := is(value, "close")
			if !last && !is(value, "keep-alive") {
				s.plain = false
			}
			r.Close = r.Close || last
		}
	case 14:
		if is(name, "content-length") {
			n, ok := length(value)
			ok = ok && bytes.IndexByte(line, '\t') < 0 // which some do not take for a space
			switch {
			case s.length:
				return errTwoLengths
			case !ok:
				return errLength
			case s.chunked:
				return errBoth
			}
			r.Length, s.length = n, true
		}
	case 16:
		if is(name, "content-encoding") {
			r.Encoded = true
		}
	case 17:
		if is(name, "transfer-encoding") {
			switch {
			case r.Old:
				return errCoding10
			case s.chunked || !is(value, "chunked") || bytes.IndexByte(line, '\t') >= 0:
				return errCoding
			case s.length:
				return errBoth
			}
			r.Length, s.chunked, s.plain = Chunked, true, false
		}
	}
	return nil
}

// whole is called with the head's last line.
func (r *Request) whole(s *sight, l *Limits) *Fault {
	switch {
	case !s.host && !r.Old:
		return errNoHost
	case s.authority != nil && s.host && !same(s.authority, s.named):
		return errOtherHost
	case l.Body > 0 && r.Length > l.Body:
		return l.bodyTooLarge()
	}
	r.Plain = s.plain && (s.length || !r.Post)
	return nil
}

// same compares two hosts; 80 and 443 are the ports that need not be named.
func same(a, b []byte) bool {
	bare := func(h []byte) []byte {
		h = bytes.TrimSuffix(h, []byte(":80"))
		return bytes.TrimSuffix(h, []byte(":443"))
	}
	return bytes.EqualFold(bare(a), bare(b))
}

// field takes a header line apart; odd: the name has characters that are rare in one.
func field(b []byte) (name, value []byte, odd bool, f *Fault) {
	if b[0] == ' ' || b[0] == '\t' {
		return nil, nil, false, errFolded
	}
	colon, all := 0, uint8(0)
	for colon < len(b) && tokens[b[colon]] != 0 {
		all |= tokens[b[colon]]
		colon++
	}
	if colon == 0 || colon == len(b) || b[colon] != ':' {
		return nil, nil, false, errName
	}
	name, value = b[:colon], b[colon+1:]
	for len(value) > 0 && (value[0] == ' ' || value[0] == '\t') {
		value = value[1:]
	}
	for len(value) > 0 && (value[len(value)-1] == ' ' || value[len(value)-1] == '\t') {
		value = value[:len(value)-1]
	}
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return nil, nil, false, errValue
		}
	}
	return name, value, all&oddToken != 0, nil
}

// length reads a Content-Length: digits alone, of a number that an int64 holds.
func length(b []byte) (n int, ok bool) {
	for _, c := range b {
		if !digit(c) || n > (math.MaxInt64-int(c-'0'))/10 {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, len(b) > 0
}

// hostname reports whether b has only characters that a host and a port may have; it
// may be empty.
func hostname(b []byte) bool {
	for _, c := range b {
		if tokens[c] != plainToken && !inHost[c] {
			return false
		}
	}
	return true
}

var inHost = func() (t [256]bool) {
	for _, c := range ".:[]_~!$&'()*+;=%" {
		t[c] = true
	}
	return t
}()

const (
	plainToken = 1 // letters, digits, dash
	oddToken   = 2
)

// tokens are the characters of a header's name and of a method, RFC 9110, section
// 5.6.2.
var tokens = func() (t [256]uint8) {
	for c := range t {
		switch {
		case c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-':
			t[c] = plainToken
		case bytes.IndexByte([]byte("!#$%&'*+.^_`|~"), byte(c)) >= 0 && c != 0:
			t[c] = oddToken
		}
	}
	return t
}()
