package tracecontext

import "bytes"

// The bounds of a tracestate: the standard's of its members (§3.3.1.1), and of
// its length, of which everybody must hand on 512 characters and may drop the
// rest (§3.3.1.5).
const (
	maxMembers = 32
	maxState   = 512
)

// ValidState reports whether v is a tracestate that may be handed on: at most 32
// members key=value, no key twice, no more than 512 characters. An empty one is not.
func ValidState(v []byte) bool {
	if len(v) > maxState {
		return false
	}
	var keys [maxMembers][]byte
	n := 0
	for rest, more := v, true; more; {
		var member []byte
		member, rest, more = bytes.Cut(rest, []byte(","))
		member = bytes.Trim(member, " \t")
		if len(member) == 0 { // allowed, and counts for nothing
			continue
		}
		key, value, ok := bytes.Cut(member, []byte("="))
		if !ok || n == maxMembers || !validKey(key) || !validValue(value) {
			return false
		}
		for _, k := range keys[:n] {
			if bytes.Equal(k, key) {
				return false
			}
		}
		keys[n] = key
		n++
	}
	return n > 0
}

// validKey holds a key to simple-key or multi-tenant-key (§3.3.1.3.1): the second is
// tenant@system.
func validKey(key []byte) bool {
	tenant, system, multi := bytes.Cut(key, []byte("@"))
	if !multi {
		return len(key) <= 256 && keyChars(key) && letter(key[0])
	}
	return keyChars(tenant) && len(tenant) <= 241 && keyChars(system) && len(system) <= 14 && letter(system[0])
}

func letter(c byte) bool { return 'a' <= c && c <= 'z' }

// keyChars reports whether b is one or more of the characters of a key, beginning
// with a letter or a digit.
func keyChars(b []byte) bool {
	for i, c := range b {
		switch {
		case letter(c), '0' <= c && c <= '9':
		case i > 0 && (c == '_' || c == '-' || c == '*' || c == '/'):
		default:
			return false
		}
	}
	return len(b) > 0
}

// validValue: up to 256 printable characters of ASCII but for comma and equals sign,
// not ending in a space (§3.3.1.3.2); it may not be empty.
func validValue(b []byte) bool {
	for _, c := range b {
		if c < 0x20 || c > 0x7e || c == ',' || c == '=' {
			return false
		}
	}
	return len(b) >= 1 && len(b) <= 256 && b[len(b)-1] != ' '
}
