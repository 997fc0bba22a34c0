package oip

import (
	"encoding/binary"
	"strconv"
	"unicode/utf8"
)

// scanner walks a JSON document once, checking its syntax. Its methods report
// false after an error; the first one is kept. It allocates nothing but the
// space for names that hold escapes.
type scanner struct {
	b     []byte
	i     int
	depth int // levels of nesting that are left
	limit int // levels of nesting that there were
	// lax: the document comes from a server, whose strings need not be UTF-8
	// and whose data may hold NaN, Infinity and null.
	lax     bool
	scratch []byte // unescaped names
	// known are inputs whose data arrays stand in the document as they stand
	// here; nil where nothing is known.
	known []Input
	bad   string // the first error; "" while there is none
	at    int    // its offset
}

func (s *scanner) fail(what string) bool {
	if s.bad == "" {
		s.bad, s.at = what, min(s.i, len(s.b))
	}
	return false
}

// error is the syntax error that stopped the scanner.
func (s *scanner) error() *Error {
	what := s.bad
	if what == "" {
		what = "the document ended early"
	}
	document := "request"
	if s.lax {
		document = "response"
	}
	return badRequest("failed to parse the %s JSON buffer: %s at %d", document, what, s.at)
}

// tensor is what the document calls its tensors.
func (s *scanner) tensor() string {
	if s.lax {
		return "output"
	}
	return "input"
}

func (s *scanner) ws() {
	s.i = skipSpace(s.b, s.i)
}

// peek is the next byte that is no white space, 0 at the end.
func (s *scanner) peek() byte {
	if s.i < len(s.b) && s.b[s.i] > ' ' {
		return s.b[s.i]
	}
	s.ws()
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

// enter takes the bracket that opens an object or array.
func (s *scanner) enter(open byte) bool {
	if s.peek() != open {
		return s.unexpected()
	}
	if s.depth == 0 {
		return s.tooDeep()
	}
	s.depth--
	s.i++
	return true
}

func (s *scanner) tooDeep() bool {
	return s.fail("nesting depth exceeds the limit of " + strconv.Itoa(s.limit))
}

func (s *scanner) unexpected() bool {
	if s.i >= len(s.b) {
		return s.fail("unexpected end of the document")
	}
	return s.fail("invalid value")
}

// more tells whether another member follows, and takes the comma before it or
// the bracket that closes. It also reports false after an error.
func (s *scanner) more(closing byte, first *bool) bool {
	c := s.peek()
	switch {
	case s.bad != "":
		return false
	case c == closing:
		s.i++
		s.depth++
		return false
	case *first:
		*first = false
		return true
	case c == ',':
		s.i++
		return true
	case s.i >= len(s.b):
		return s.unexpected()
	case closing == '}':
		return s.fail("missing a comma or } after an object member")
	default:
		return s.fail("missing a comma or ] after an array element")
	}
}

// key takes a member's name and the colon after it. The name is unescaped.
func (s *scanner) key() ([]byte, bool) {
	if s.peek() != '"' {
		if s.i >= len(s.b) {
			return nil, s.unexpected()
		}
		return nil, s.fail("missing a name for an object member")
	}
	k, ok := s.unescaped()
	if !ok {
		return nil, false
	}
	if s.peek() != ':' {
		return nil, s.fail("missing a colon after the name of an object member")
	}
	s.i++
	return k, true
}

// unescaped takes a string and resolves its escapes.
func (s *scanner) unescaped() ([]byte, bool) {
	start := s.i + 1
	escaped, ok := s.str()
	if !ok {
		return nil, false
	}
	lit := s.b[start : s.i-1 : s.i-1]
	if !escaped {
		return lit, true
	}
	n := len(s.scratch)
	s.scratch = appendUnescaped(s.scratch, lit)
	return s.scratch[n:len(s.scratch):len(s.scratch)], true
}

// str takes a string, whose opening quote is next, and tells whether it holds
// escapes.
func (s *scanner) str() (escaped, ok bool) {
	b, i := s.b, s.i+1
	start := i
	wide := false
	for i < len(b) {
		c := b[i]
		switch {
		case plain[c]:
			i++
			continue
		case c == '"':
			if wide && !s.lax && !utf8.Valid(b[start:i]) {
				s.i = start
				return false, s.fail("invalid UTF-8 in a string")
			}
			s.i = i + 1
			return escaped, true
		case c == '\\':
			n := escapeLen(b[i:])
			if n == 0 {
				s.i = i
				if i+6 > len(b) {
					return false, s.fail("unterminated string")
				}
				return false, s.fail("invalid escape in a string")
			}
			escaped = true
			i += n
		case c < ' ':
			s.i = i
			return false, s.fail("control character in a string")
		default:
			wide = true
			i++
		}
	}
	s.i = i
	return false, s.fail("unterminated string")
}

// escapeLen is the length of the escape that b begins with, 0 if it is none.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) < 6 {
			return 0
		}
		for _, c := range b[2:6] {
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
				return 0
			}
		}
		return 6
	}
	return 0
}

// value takes any value.
func (s *scanner) value() bool {
	switch c := s.peek(); c {
	case '{':
		if !s.enter('{') {
			return false
		}
		for first := true; s.more('}', &first); {
			if s.peek() != '"' {
				_, ok := s.key()
				return ok
			}
			if _, ok := s.str(); !ok {
				return false
			}
			if s.peek() != ':' {
				return s.fail("missing a colon after the name of an object member")
			}
			s.i++
			if !s.value() {
				return false
			}
		}
		return s.bad == ""
	case '[':
		if !s.enter('[') {
			return false
		}
		for first := true; s.more(']', &first); {
			if !s.value() {
				return false
			}
		}
		return s.bad == ""
	case '"':
		_, ok := s.str()
		return ok
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	default:
		end, _, _ := scanNumber(s.b, s.i)
		if end < 0 {
			return s.unexpected()
		}
		s.i = end
		return true
	}
}

func (s *scanner) word(w string) bool {
	if end := s.i + len(w); end <= len(s.b) && string(s.b[s.i:end]) == w {
		s.i = end
		return true
	}
	return s.unexpected()
}

// literal takes any value and returns it as it stands; nil for null.
func (s *scanner) literal() ([]byte, bool) {
	s.peek()
	start := s.i
	if !s.value() {
		return nil, false
	}
	if s.b[start] == 'n' {
		return nil, true
	}
	return s.b[start:s.i:s.i], true
}

// end checks that nothing but white space is left.
func (s *scanner) end() bool {
	if s.peek(); s.i < len(s.b) {
		return s.fail("unexpected text after the document")
	}
	return true
}

// eightDigits reports whether all bytes of x are decimal digits: none is below '0', and
// none is over '9' or has its high bit set.
func eightDigits(x uint64) bool {
	return ((x-0x3030303030303030)|(x+0x4646464646464646)|x)&0x8080808080808080 == 0
}

// scanNumber finds the end of the number at b[i], −1 if there is none. Its
// absolute value is below 10^mag; frac tells that it has a fraction or an
// exponent.
func scanNumber(b []byte, i int) (end, mag int, frac bool) {
	if i < len(b) && b[i] == '-' {
		i++
	}
	start := i
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	if mag = i - start; mag == 0 || mag > 1 && b[start] == '0' {
		return -1, 0, false
	}
	if b[start] == '0' {
		mag = 0
	}
	if i < len(b) && b[i] == '.' {
		frac = true
		i++
		start = i
		for i+8 <= len(b) && eightDigits(binary.LittleEndian.Uint64(b[i:])) {
			i += 8
		}
		for i < len(b) && b[i]-'0' <= 9 {
			i++
		}
		if i == start {
			return -1, 0, false
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		frac = true
		i++
		neg := false
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			neg = b[i] == '-'
			i++
		}
		start = i
		exp := 0
		for i < len(b) && b[i]-'0' <= 9 {
			if exp < 1<<20 {
				exp = exp*10 + int(b[i]-'0')
			}
			i++
		}
		if i == start {
			return -1, 0, false
		}
		if neg {
			exp = -exp
		}
		mag += exp
	}
	return i, mag, frac
}
