package backend

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"motley/internal/oip"
)

// StatusClientClosed is the status of a request whose caller went away: never
// sent, only logged, as nginx does.
const StatusClientClosed = 499

// String names the class as metrics and logs print it.
func (c Class) String() string {
	switch c {
	case Connect:
		return "connect"
	case Timeout:
		return "timeout"
	case Server:
		return "server"
	case Client:
		return "client"
	case Protocol:
		return "protocol"
	case Canceled:
		return "canceled"
	}
	return fmt.Sprintf("class(%d)", uint8(c))
}

// ContextError turns the end of ctx into an *Error: Timeout when its deadline
// passed, Canceled otherwise. ctx must be done.
func ContextError(ctx context.Context) *Error {
	err := context.Cause(ctx)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &Error{Class: Timeout, Status: 504, Message: "the deadline passed before the answer came", Cause: err}
	}
	return &Error{Class: Canceled, Status: StatusClientClosed, Message: "the request was cancelled", Cause: err}
}

// asError classes what an engine or the codec returned: an *oip.Error is the
// request's fault, the end of ctx the caller's wish, anything else the
// worker's fault.
func asError(ctx context.Context, err error) *Error {
	if own, ok := errors.AsType[*Error](err); ok {
		return own
	}
	if bad, ok := errors.AsType[*oip.Error](err); ok {
		if bad.Status >= 500 {
			return &Error{Class: Server, Status: bad.Status, Message: bad.Message, Cause: err}
		}
		return &Error{Class: Client, Status: bad.Status, Message: bad.Message, Cause: err}
	}
	if ctx.Err() != nil {
		return ContextError(ctx)
	}
	return &Error{Class: Server, Status: 500, Message: err.Error(), Cause: err}
}

// panicked describes a recovered panic. The stack goes to the cause, which is
// logged and never sent.
func panicked(what string, v any) *Error {
	return &Error{
		Class: Server, Status: 500,
		Message: fmt.Sprintf("%s panicked: %v", what, v),
		Cause:   fmt.Errorf("panic: %v\n%s", v, debug.Stack()),
	}
}

// memberError is the Err of one call whose request cannot be sent, or whose
// answer cannot be given in the form it asked for.
func memberError(err *oip.Error) *Error {
	return &Error{Class: Client, Status: err.Status, Message: err.Message, Cause: err}
}

func protocolError(err error) *Error {
	return &Error{Class: Protocol, Status: 502, Message: "the worker's answer is not understood: " + err.Error(), Cause: err}
}
