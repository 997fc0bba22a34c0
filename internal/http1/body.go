package http1

import "bytes"

// Body follows a request's body as it comes, and says where it ends. Its zero value is at
// its end.
type Body struct {
	limits *Limits
	state  bodyState
	left   int    // bytes of the body, or of the chunk
	total  int    // bytes that were announced
	digits int    // of the size that is being read
	line   []byte // of a trailer that is being read; else the length of an extension
	spent  int    // bytes of the trailers
	fields int
}

type bodyState uint8

const (
	bodyEnd   bodyState = iota
	bodyPlain           // so many bytes
	chunkSizeLine
	chunkExtension
	chunkLF // behind the size
	chunkData
	chunkDataCR
	chunkDataLF
	trailerStart
	trailerLine
	finalLF
)

// maxExtension is the longest line before a chunk, in bytes.
const maxExtension = 256

// Begin begins with the body of a request whose head was read. The limits are in use
// until its end.
func (w *Body) Begin(length int, l *Limits) {
	*w = Body{limits: l, line: w.line[:0]}
	switch {
	case length == Chunked:
		w.state = chunkSizeLine
	case length > 0:
		w.state, w.left, w.total = bodyPlain, length, length
	}
}

// Done reports whether the body is at its end.
func (w *Body) Done() bool { return w.state == bodyEnd }

// Announced is how many bytes the body has, as far as is known, without the framing of
// chunks.
func (w *Body) Announced() int { return w.total }

// Take follows the next bytes. used is how many of b belong to the request; they are
// moved together to b[:kept], without trailers, which nobody may act upon.
func (w *Body) Take(b []byte) (kept, used int, f *Fault) {
	for used < len(b) && w.state != bodyEnd {
		if w.state == bodyPlain || w.state == chunkData {
			n := min(w.left, len(b)-used)
			if kept != used {
				copy(b[kept:], b[used:used+n])
			}
			kept, used, w.left = kept+n, used+n, w.left-n
			if w.left == 0 {
				if w.state == bodyPlain {
					w.state = bodyEnd
				} else {
					w.state = chunkDataCR
				}
			}
			continue
		}
		c := b[used]
		used++
		keep, f := w.step(c)
		if f != nil {
			return kept, used, f
		}
		if keep {
			b[kept] = c
			kept++
		}
	}
	return kept, used, nil
}

// step takes one byte of the framing.
func (w *Body) step(c byte) (keep bool, f *Fault) {
	switch w.state {
	case chunkSizeLine:
		return true, w.size(c)
	case chunkExtension:
		w.spent++
		switch {
		case c == '\r':
			w.state = chunkLF
		case c < ' ' && c != '\t', c == 0x7f, w.spent > maxExtension:
			return false, errChunkExt
		}
	case chunkLF:
		if c != '\n' {
			return false, errLineEnd
		}
		w.digits, w.spent = 0, 0
		if w.state = chunkData; w.left == 0 {
			w.state = trailerStart
		}
	case chunkDataCR:
		if c != '\r' {
			return false, errChunkEnd
		}
		w.state = chunkDataLF
	case chunkDataLF:
		if c != '\n' {
			return false, errChunkEnd
		}
		w.state = chunkSizeLine
	case trailerStart:
		if c == '\r' {
			w.state = finalLF
			return true, nil
		}
		w.state, w.line = trailerLine, w.line[:0]
		return false, w.trailer(c)
	case trailerLine:
		return false, w.trailer(c)
	case finalLF:
		if c != '\n' {
			return false, errLineEnd
		}
		w.state = bodyEnd
	}
	return true, nil
}

// size takes a byte of a chunk's size.
func (w *Body) size(c byte) *Fault {
	var v byte
	switch {
	case digit(c):
		v = c - '0'
	case c >= 'a' && c <= 'f':
		v = c - 'a' + 10
	case c >= 'A' && c <= 'F':
		v = c - 'A' + 10
	case w.digits == 0 || c != '\r' && c != ';':
		return errChunkSize
	default:
		w.total += w.left
		if most := w.limits.Body; most > 0 && w.total > most {
			return w.limits.bodyTooLarge()
		}
		if w.state = chunkLF; c == ';' {
			w.state = chunkExtension
		}
		return nil
	}
	if w.digits == 0 {
		w.left = 0
	}
	if w.digits++; w.digits > 15 { // more than any body has
		return errChunkSize
	}
	w.left = w.left<<4 | int(v)
	return nil
}

// trailer takes a byte of a trailer.
func (w *Body) trailer(c byte) *Fault {
	l := w.limits
	if w.spent++; l.Head > 0 && w.spent > l.Head {
		return l.headTooLarge()
	}
	if c != '\n' {
		w.line = append(w.line, c)
		return nil
	}
	line, ok := bytes.CutSuffix(w.line, []byte("\r"))
	if !ok || len(line) == 0 {
		return errLineEnd
	}
	name, _, _, f := field(line)
	if f != nil {
		return f
	}
	if w.fields++; l.Fields > 0 && w.fields > l.Fields {
		return l.tooManyFields()
	}
	if is(name, "content-length") || is(name, "transfer-encoding") || is(name, "host") {
		return errTrailer
	}
	w.state = trailerStart
	return nil
}
