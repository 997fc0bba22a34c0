package oip

import (
	"math"
	"strconv"
	"time"
)

// place is where a parameters object stands, which decides what its members
// mean.
type place uint8

const (
	ofRequest place = iota
	ofInput
	ofOutput   // a requested output
	ofResponse // an output of a response
)

// params is what the codec itself reads of a parameters object.
type params struct {
	literal        []byte
	blob           int64 // binary_data_size; −1 when absent
	binary         bool  // binary_data or binary_data_output
	binaryGiven    bool
	classification int
	timeout        time.Duration
	priority       int
	sequence       bool
	exits          ExitParams
}

// The parameters that the codec reads.
const (
	pBlob           = "binary_data_size"
	pBinary         = "binary_data"
	pBinaryOutput   = "binary_data_output"
	pClassification = "classification"
	pTimeout        = "timeout"
	pPriority       = "priority"
	pSequence       = "sequence_id"
	pSharedPrefix   = "shared_memory_"
)

// params takes a parameters object or null. Only members that mean something
// at that place are looked at; all others pass as they are.
func (s *scanner) params(p *params, at place) error {
	*p = params{blob: -1, exits: ExitParams{MaxDisagreement: -1}}
	switch s.peek() {
	case 'n':
		if !s.word("null") {
			return s.error()
		}
		return nil
	case '{':
	default:
		if !s.value() {
			return s.error()
		}
		return badRequest("Unable to parse 'parameters': must be an object")
	}
	start := s.i
	s.enter('{')
	if s.bad != "" {
		return s.error()
	}
	var seen uint16
	for first := true; s.more('}', &first); {
		key, ok := s.key()
		if !ok {
			return s.error()
		}
		lit, ok := s.literal()
		if !ok {
			return s.error()
		}
		bit, err := p.member(key, lit, at)
		if err != nil {
			return err
		}
		if seen&bit != 0 {
			return badRequest("duplicate parameter %s", quoted(key))
		}
		seen |= bit
	}
	if s.bad != "" {
		return s.error()
	}
	p.literal = s.b[start:s.i:s.i]
	return nil
}

// member reads one parameter. It returns a bit for those that mean something
// here, 0 for the others.
func (p *params) member(key, lit []byte, at place) (bit uint16, err error) {
	name := text(key)
	if (at == ofInput || at == ofOutput) && len(name) > len(pSharedPrefix) && name[:len(pSharedPrefix)] == pSharedPrefix {
		return 0, badRequest("parameter %s: shared memory is not supported, send the tensor data in the request body", quoted(key))
	}
	switch {
	case name == pBlob && (at == ofInput || at == ofResponse):
		bit = 1
	case name == pBinary && at == ofOutput, name == pBinaryOutput && at == ofRequest:
		bit = 2
	case name == pClassification && at == ofOutput:
		bit = 4
	case name == pTimeout && at == ofRequest:
		bit = 8
	case name == pPriority && at == ofRequest:
		bit = 16
	case name == pSequence && at == ofRequest:
		bit = 32
	case at == ofRequest:
		if bit = exitBit(name); bit == 0 {
			return 0, nil
		}
	default:
		return 0, nil
	}
	if lit == nil { // null: as if absent
		return bit, nil
	}
	ok := false
	want := "a non-negative integer"
	switch bit {
	case 1:
		p.blob, ok = parseCount(lit, math.MaxInt64)
	case 2:
		p.binaryGiven, want = true, "a boolean"
		p.binary = lit[0] == 't'
		ok = lit[0] == 't' || lit[0] == 'f'
	case 4:
		var n int64
		n, ok = parseCount(lit, math.MaxInt32)
		p.classification = int(n)
	case 8:
		var us int64
		us, ok = parseCount(lit, math.MaxInt64)
		p.timeout = time.Duration(min(us, math.MaxInt64/1000)) * time.Microsecond
		want = "a number of microseconds, integer and not negative"
	case 16:
		var n int64
		n, ok = parseCount(lit, math.MaxInt32)
		p.priority = int(n)
	case 32:
		want = "a string or a non-negative integer"
		if lit[0] == '"' {
			ok, p.sequence = true, len(lit) > 2
			break
		}
		id, err := strconv.ParseUint(text(lit), 10, 64)
		ok, p.sequence = err == nil, id != 0
	default:
		want, ok = p.exits.member(lit, bit)
	}
	if !ok {
		return bit, badRequest("Unable to parse parameter %s: must be %s", quoted(key), want)
	}
	return bit, nil
}

// parseCount reads a JSON number that is an integer of 0 to most.
func parseCount(lit []byte, most int64) (int64, bool) {
	if lit[0]-'0' > 9 {
		return 0, false
	}
	var n int64
	for _, c := range lit {
		c -= '0'
		if c > 9 || n > (math.MaxInt64-int64(c))/10 {
			return 0, false
		}
		n = n*10 + int64(c)
	}
	return n, n <= most
}

// walkMembers goes through a valid parameters object: it returns the name and
// the value of the member at i as they stand, and where the next one begins.
// Start with i = 0; name is nil at the end.
func walkMembers(object []byte, i int) (name, value []byte, next int) {
	s := scanner{b: object, i: i, depth: math.MaxInt, lax: true}
	if i == 0 {
		if len(object) == 0 {
			return nil, nil, 0
		}
		s.i = 1
	}
	if c := s.peek(); c == ',' {
		s.i++
		s.peek()
	} else if c != '"' {
		return nil, nil, s.i
	}
	start := s.i
	s.str()
	name = object[start:s.i]
	s.peek()
	s.i++ // the colon
	s.peek()
	start = s.i
	s.value()
	return name, object[start:s.i], s.i
}

// is tells whether a member's name, as walkMembers returns it, is key. Names
// of ours that a client wrote with escapes are resolved first.
func is(name []byte, key string) bool {
	inner := name[1 : len(name)-1]
	if string(inner) == key {
		return true
	}
	if len(inner) > 6*len(key) || unescapedLen(inner) != len(key) {
		return false
	}
	var buf [64]byte
	return string(appendUnescaped(buf[:0], inner)) == key
}

// appendMembers appends the members of a parameters object except those named
// in drop, each followed by a comma.
func appendMembers(dst, object []byte, drop ...string) []byte {
	for i := 0; ; {
		name, value, next := walkMembers(object, i)
		if name == nil {
			return dst
		}
		i = next
		dropped := false
		for _, d := range drop {
			dropped = dropped || is(name, d)
		}
		if dropped {
			continue
		}
		dst = append(dst, name...)
		dst = append(dst, ':')
		dst = append(dst, value...)
		dst = append(dst, ',')
	}
}

// hasMember tells whether a parameters object has that member, as it stands.
func hasMember(object, name, value []byte) bool {
	for at := 0; ; {
		n, v, next := walkMembers(object, at)
		if n == nil {
			return false
		}
		if string(n) == string(name) && string(v) == string(value) {
			return true
		}
		at = next
	}
}

// closeMembers ends an object that was opened with { and holds members each
// followed by a comma.
func closeMembers(dst []byte) []byte {
	if dst[len(dst)-1] == ',' {
		dst[len(dst)-1] = '}'
		return dst
	}
	return append(dst, '}')
}
