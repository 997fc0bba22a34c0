// Package statefile keeps state in files that are whole or not there: written
// beside the old one, forced to the disk and renamed, under a first line that
// says what follows and by which it is seen whether that is all, and as it was
// written.
//
// The first line is
//
//	motley-state 1 KIND VERSION LENGTH CHECKSUM
//
// with the version of that line's own form, what the payload is, the version of
// its form, its bytes, and xxHash64 of the line before the checksum and of the
// payload, in hexadecimal.
package statefile

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/cespare/xxhash/v2"
)

const (
	magic    = "motley-state "
	form     = 1
	maxHead  = 128       // bytes of a first line
	maxState = 256 << 20 // bytes of a payload
)

// The classes of error of Read that are the content's fault, for errors.Is; see
// Damaged.
var (
	ErrTorn     = errors.New("incomplete")
	ErrChecksum = errors.New("damaged: the checksum does not match")
	ErrForeign  = errors.New("not what belongs here")
	ErrNewer    = errors.New("written by a newer version")
	ErrTooLarge = errors.New("too large")
)

// ErrNotRegular is the error of Read for a directory, a device or a pipe.
var ErrNotRegular = errors.New("not a regular file")

// Damaged reports whether an error of Read is the content's fault: the file is
// to be set aside. Any other is that of the way to it (permissions, a disk that
// fails), and what is there may be good.
func Damaged(err error) bool {
	for _, class := range []error{ErrTorn, ErrChecksum, ErrForeign, ErrNewer, ErrTooLarge} {
		if errors.Is(err, class) {
			return true
		}
	}
	return false
}

// Content is what Read found.
type Content struct {
	Payload []byte
	Version int // of the payload's form, as Write was told; 0 where Bare
	// Bare: there is no first line. All of the file is the payload, of which is known
	// nothing: earlier versions wrote such files.
	Bare bool
}

// head is the first line of a file.
func head(kind string, version int, payload []byte) []byte {
	line := fmt.Appendf(nil, "%s%d %s %d %d ", magic, form, kind, version, len(payload))
	sum := xxhash.New()
	_, _ = sum.Write(line) // it never fails
	_, _ = sum.Write(payload)
	return fmt.Appendf(line, "%016x\n", sum.Sum64())
}

// parse takes a file's content apart. version is the latest that the caller
// reads.
func parse(in []byte, kind string, version int) (Content, error) {
	if !bytes.HasPrefix(in, []byte(magic)) {
		if bytes.HasPrefix([]byte(magic), in) {
			return Content{}, fmt.Errorf("%w: %d bytes", ErrTorn, len(in))
		}
		return Content{Payload: in, Bare: true}, nil
	}
	end := bytes.IndexByte(in[:min(len(in), maxHead)], '\n')
	if end < 0 {
		if len(in) < maxHead {
			return Content{}, fmt.Errorf("line 1: %w: it does not end", ErrTorn)
		}
		return Content{}, fmt.Errorf("line 1: %w: it is longer than %d bytes", ErrForeign, maxHead)
	}
	line, payload := in[:end+1], in[end+1:]
	fields := bytes.Split(line[len(magic):end], []byte(" "))
	if own := number(fields[0]); own > form {
		return Content{}, fmt.Errorf("line 1: %w: form %d, this one reads up to %d", ErrNewer, own, form)
	}
	if len(fields) != 5 || number(fields[0]) != form {
		return Content{}, fmt.Errorf("line 1: %w: want %s%d KIND VERSION LENGTH CHECKSUM", ErrForeign, magic, form)
	}
	if string(fields[1]) != kind {
		return Content{}, fmt.Errorf("line 1: %w: it holds %.40q, not %q", ErrForeign, fields[1], kind)
	}
	has, length := number(fields[2]), number(fields[3])
	switch {
	case has < 1 || length < 0:
		return Content{}, fmt.Errorf("line 1: %w: version %.20q, length %.20q", ErrForeign, fields[2], fields[3])
	case len(payload) != length:
		return Content{}, fmt.Errorf("line 1: %w: %d bytes follow, not %d", ErrTorn, len(payload), length)
	case !bytes.Equal(line, head(kind, has, payload)):
		return Content{}, fmt.Errorf("line 1: %w", ErrChecksum)
	case has > version:
		return Content{}, fmt.Errorf("line 1: %w: version %d, this one reads up to %d", ErrNewer, has, version)
	}
	return Content{Payload: payload, Version: has}, nil
}

// number reads a decimal number without sign; −1 where it is none.
func number(b []byte) int {
	n, err := strconv.ParseUint(string(b), 10, 31)
	if err != nil {
		return -1
	}
	return int(n)
}
