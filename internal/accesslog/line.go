package accesslog

import (
	"strconv"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// maxText is how much of a text a line has, in bytes before they are escaped.
const maxText = 256

// line is a line that is being made: a JSON object, or words key=value.
type line struct {
	b    []byte
	text bool
	some bool // it has a field
}

func (w *line) begin() {
	if !w.text {
		w.b = append(w.b, '{')
	}
}

func (w *line) end() []byte {
	if !w.text {
		w.b = append(w.b, '}')
	}
	return append(w.b, '\n')
}

// key begins a field.
func (w *line) key(name string) {
	if w.text {
		if w.some {
			w.b = append(w.b, ' ')
		}
		w.b = append(append(w.b, name...), '=')
	} else {
		if w.some {
			w.b = append(w.b, ',')
		}
		w.b = append(append(append(w.b, '"'), name...), '"', ':')
	}
	w.some = true
}

// quoted begins a field of characters that need no escape, which follow; unquote ends
// it.
func (w *line) quoted(name string) []byte {
	w.key(name)
	w.unquote()
	return w.b
}

func (w *line) unquote() {
	if !w.text {
		w.b = append(w.b, '"')
	}
}

func (w *line) null(name string) {
	if !w.text {
		w.key(name)
		w.b = append(w.b, "null"...)
	}
}

func (w *line) number(name string, n int) {
	w.key(name)
	w.b = strconv.AppendInt(w.b, int64(n), 10)
}

// count is a number of which 0 says that there is none.
func (w *line) count(name string, n int) {
	if n == 0 {
		w.null(name)
		return
	}
	w.number(name, n)
}

// millis writes d in milliseconds with three decimals.
func (w *line) millis(name string, d time.Duration) {
	w.key(name)
	w.b = strconv.AppendFloat(w.b, max(d, 0).Seconds()*1e3, 'f', 3, 64)
}

func (w *line) time(name string, t time.Time) {
	w.b = t.UTC().AppendFormat(w.quoted(name), "2006-01-02T15:04:05.000000Z")
	w.unquote()
}

func (w *line) string(name, v string) { w.bytes(name, unsafe.Slice(unsafe.StringData(v), len(v))) }

// bytes writes a text that may hold anything.
func (w *line) bytes(name string, v []byte) {
	if len(v) == 0 {
		w.null(name)
		return
	}
	w.key(name)
	v = v[:min(len(v), maxText)]
	bare := w.text
	for _, c := range v {
		bare = bare && c > ' ' && c <= '~' && c != '"' && c != '=' && c != '\\'
	}
	if bare {
		w.b = append(w.b, v...)
		return
	}
	w.b = append(w.b, '"')
	w.b = appendEscaped(w.b, v)
	w.b = append(w.b, '"')
}

// appendEscaped appends v for the inside of a JSON string. What is not printable, by
// which terminals could be told something and lines be broken, is written as \u…
// besides what JSON itself wants escaped; bytes that are no UTF-8 become U+FFFD.
func appendEscaped(dst, v []byte) []byte {
	for len(v) > 0 {
		c := v[0]
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
			v = v[1:]
		case c >= ' ' && c <= '~':
			dst = append(dst, c)
			v = v[1:]
		case c < utf8.RuneSelf:
			dst = appendUnit(dst, rune(c))
			v = v[1:]
		default:
			r, n := utf8.DecodeRune(v)
			switch {
			case unicode.IsPrint(r): // U+FFFD is
				dst = utf8.AppendRune(dst, r)
			case r < 0x10000:
				dst = appendUnit(dst, r)
			default:
				high, low := utf16.EncodeRune(r)
				dst = appendUnit(appendUnit(dst, high), low)
			}
			v = v[n:]
		}
	}
	return dst
}

func appendUnit(dst []byte, r rune) []byte {
	const hex = "0123456789abcdef"
	return append(dst, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}
