package oip

import (
	"fmt"
	"unicode/utf8"
)

// The HTTP statuses that this package gives its errors.
const (
	statusBadRequest = 400 // the client's fault
	statusTooLarge   = 413 // past one of the Limits
	statusInternal   = 500 // the caller's fault: a bug of ours
	statusBadGateway = 502 // the worker's fault
)

// BatchError tells which members of a batch failed when the others are
// whole: Errs[i] belongs to request i and is nil where that one is fine. It
// unwraps to the first member's *Error.
type BatchError struct {
	Errs []*Error
}

func (e *BatchError) Error() string {
	for i, m := range e.Errs {
		if m != nil {
			return fmt.Sprintf("request %d of %d in the batch: %s", i, len(e.Errs), m.Message)
		}
	}
	return "no request of the batch failed"
}

func (e *BatchError) Unwrap() error {
	for _, m := range e.Errs {
		if m != nil {
			return m
		}
	}
	return nil
}

// set records the failure of member i of n and returns e, made on first use.
func (e *BatchError) set(i, n int, err *Error) *BatchError {
	if e == nil {
		e = &BatchError{Errs: make([]*Error, n)}
	}
	e.Errs[i] = err
	return e
}

func errorf(status int, format string, args ...any) *Error {
	return &Error{Status: status, Message: fmt.Sprintf(format, args...)}
}

func badRequest(format string, args ...any) *Error {
	return errorf(statusBadRequest, format, args...)
}

// maxQuoted bounds how much of a client's name an error repeats, in bytes.
const maxQuoted = 128

// quoted is a client's name as errors show it: in single quotes, cut when it
// is long.
func quoted(name []byte) string {
	if len(name) > maxQuoted {
		cut := maxQuoted
		for cut > 0 && !utf8.RuneStart(name[cut]) {
			cut--
		}
		return "'" + string(name[:cut]) + "…'"
	}
	return "'" + string(name) + "'"
}

// AppendError appends {"error":"msg"} with the text escaped.
func AppendError(dst []byte, msg string) []byte {
	dst = append(dst, `{"error":`...)
	dst = appendString(dst, msg)
	return append(dst, '}')
}
