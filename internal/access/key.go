package access

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
)

// Hash is what is kept of a key: its SHA-256. Keys are random, so there is
// nothing to try out, and one round is enough (docs/decisions/0016-access.md).
type Hash [sha256.Size]byte

const hashPrefix = "sha256:"

// MaxKey is the longest key, in bytes; nothing longer is even hashed.
const MaxKey = 512

// HashOf returns the hash of a key.
func HashOf(key []byte) Hash { return sha256.Sum256(key) }

// ParseHash reads the form that String writes. Its errors do not repeat the
// text: it may be a key that stands in the wrong place.
func ParseHash(text string) (Hash, error) {
	var h Hash
	digits, ok := strings.CutPrefix(text, hashPrefix)
	if b, err := hex.DecodeString(digits); ok && err == nil && copy(h[:], b) == len(b) && len(b) == len(h) {
		return h, nil
	}
	return Hash{}, errors.New("must be " + hashPrefix + " and 64 hexadecimal digits, as router key prints them")
}

// String is sha256: and 64 hexadecimal digits.
func (h Hash) String() string { return hashPrefix + hex.EncodeToString(h[:]) }

// Matches reports whether key is the one of which h was kept. It takes as long
// for a wrong one.
func (h Hash) Matches(key []byte) bool {
	other := HashOf(key)
	return subtle.ConstantTimeCompare(h[:], other[:]) == 1
}

// NewKey returns a key that nobody can guess: 256 random bits, after a word by
// which it is found where it should not be.
func NewKey() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return "motley-" + base64.RawURLEncoding.EncodeToString(b[:])
}
