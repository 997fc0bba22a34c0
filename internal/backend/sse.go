package backend

import (
	"bytes"
	"errors"
	"io"
	"slices"
)

// events reads server-sent events off a body as they come, as the HTML standard
// (§9.2.6) says: lines end in LF, CR or CRLF, data of several lines is joined, what
// is neither event nor data is passed over, and an event that the stream's end
// cuts off is none.
type events struct {
	r      io.Reader
	limit  int    // bytes of one line, and of one event's data
	buf    []byte // buf[at:] was read and not used
	at     int
	first  bool // a line was read: no byte order mark any more
	skipLF bool // the line before ended in CR
	name   []byte
	data   []byte
}

// reset begins another stream, in the memory of the one before unless that was
// large.
func (e *events) reset(r io.Reader, limit int) {
	const keep = 1 << 20
	*e = events{r: r, limit: limit, buf: e.buf[:0], name: e.name[:0], data: e.data[:0]}
	if cap(e.buf) > keep || cap(e.data) > keep {
		e.buf, e.data = nil, nil
	}
}

var errEventTooLong = errors.New("an event is longer than the bound")

// next is the next event. The slices hold until the call after. The error is
// io.EOF at the end of the stream.
func (e *events) next() (name, data []byte, err error) {
	e.name, e.data = e.name[:0], e.data[:0]
	for {
		line, err := e.line()
		if err != nil {
			return nil, nil, err
		}
		if len(line) == 0 {
			if len(e.data) > 0 {
				return e.name, e.data[:len(e.data)-1], nil
			}
			e.name = e.name[:0]
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			e.name = append(e.name[:0], value...)
		case "data":
			if len(e.data)+len(value) > e.limit {
				return nil, nil, errEventTooLong
			}
			e.data = append(append(e.data, value...), '\n')
		}
	}
}

// line is the next line without its end; it holds until the next call.
func (e *events) line() ([]byte, error) {
	for looked := e.at; ; {
		if e.skipLF && e.at < len(e.buf) {
			if e.buf[e.at] == '\n' {
				e.at++
			}
			e.skipLF, looked = false, e.at
		}
		if i := bytes.IndexAny(e.buf[looked:], "\r\n"); i >= 0 {
			end := looked + i
			line := e.buf[e.at:end]
			e.at, e.skipLF = end+1, e.buf[end] == '\r'
			if !e.first {
				e.first = true
				line = bytes.TrimPrefix(line, []byte("\ufeff"))
			}
			return line, nil
		}
		rest := len(e.buf) - e.at
		if rest > e.limit+len("data: ") {
			return nil, errEventTooLong
		}
		if e.at > 0 {
			e.buf, e.at = e.buf[:copy(e.buf, e.buf[e.at:])], 0
		}
		looked = rest
		e.buf = slices.Grow(e.buf, 4096)
		n, err := e.r.Read(e.buf[rest:cap(e.buf)])
		e.buf = e.buf[:rest+n]
		if n == 0 && err != nil {
			return nil, err
		}
	}
}
