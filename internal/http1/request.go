package http1

import "bytes"

// Request is what a request's head says of where it ends, and what it is for.
type Request struct {
	Head   int    // bytes of the head, the empty line included; 0: it is not whole
	Length int    // bytes of the body that follows
	Path   []byte // points into the head; no query string is cut off
	Post   bool
	// Plain reports a head about which no two servers disagree: HTTP/1.1, GET, HEAD
	// or POST, a path, headers of the plainest form, at most one length, no transfer
	// encoding, no upgrade, nothing that is to be waited for. Nothing else here
	// counts for a head that is not.
	Plain bool
	// Encoded reports a body with a Content-Encoding, Close that the connection is to be closed
	// after the answer.
	Encoded, Close bool
	Fields         []Field // all headers, in order
}

// Field is a header; the slices point into the head.
type Field struct{ Name, Value []byte }

// Is reports whether the field has a name, which is given in lower case.
func (f *Field) Is(lower string) bool { return is(f.Name, lower) }

// Parse reads a request's head at the beginning of b. It may be called again
// with more.
func (r *Request) Parse(b []byte) {
	*r = Request{Fields: r.Fields[:0]}
	stop := bytes.Index(b, []byte("\r\n\r\n"))
	if stop < 0 {
		return
	}
	r.Head = stop + 4
	lines := b[:stop+2]
	end := bytes.IndexByte(lines, '\n')
	if !r.line(lines[:end]) {
		return
	}
	length, host := false, false
	for lines = lines[end+1:]; len(lines) > 0; lines = lines[end+1:] {
		end = bytes.IndexByte(lines, '\n')
		name, value, ok := field(lines[:end])
		if !ok {
			return
		}
		r.Fields = append(r.Fields, Field{name, value})
		// By length first: few headers need a closer look.
		switch len(name) {
		case 4:
			if is(name, "host") {
				if host {
					return
				}
				host = true
			}
		case 6:
			if is(name, "expect") {
				return
			}
		case 7:
			if is(name, "upgrade") || is(name, "trailer") {
				return
			}
		case 10:
			if is(name, "connection") {
				last := is(value, "close")
				if !last && !is(value, "keep-alive") {
					return
				}
				r.Close = r.Close || last
			}
		case 14:
			if is(name, "content-length") {
				n, ok := digits(value)
				if !ok || length {
					return
				}
				r.Length, length = n, true
			}
		case 16:
			if is(name, "content-encoding") {
				r.Encoded = true
			}
		case 17:
			if is(name, "transfer-encoding") {
				return
			}
		}
	}
	r.Plain = host && (length || !r.Post)
}

// line reads the request line, up to its CR.
func (r *Request) line(b []byte) bool {
	const version = " HTTP/1.1\r"
	if !bytes.HasSuffix(b, []byte(version)) {
		return false
	}
	b = b[:len(b)-len(version)]
	switch {
	case bytes.HasPrefix(b, []byte("POST /")):
		r.Post, r.Path = true, b[5:]
	case bytes.HasPrefix(b, []byte("GET /")):
		r.Path = b[4:]
	case bytes.HasPrefix(b, []byte("HEAD /")):
		r.Path = b[5:]
	default:
		return false
	}
	for _, c := range r.Path {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// field takes a header line apart, up to its CR.
func field(b []byte) (name, value []byte, ok bool) {
	if len(b) == 0 || b[len(b)-1] != '\r' {
		return nil, nil, false
	}
	b = b[:len(b)-1]
	colon := bytes.IndexByte(b, ':')
	if colon < 1 {
		return nil, nil, false
	}
	name, value = b[:colon], b[colon+1:]
	for _, c := range name {
		if !tokens[c] {
			return nil, nil, false
		}
	}
	for len(value) > 0 && (value[0] == ' ' || value[0] == '\t') {
		value = value[1:]
	}
	for len(value) > 0 && (value[len(value)-1] == ' ' || value[len(value)-1] == '\t') {
		value = value[:len(value)-1]
	}
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return nil, nil, false
		}
	}
	return name, value, true
}

// tokens are the characters of a header's name, RFC 9110, section 5.6.2, without
// those that some servers and proxies take for others.
var tokens = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-'
	}
	return t
}()
