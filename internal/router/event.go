package router

import (
	"net/http"

	"motley/internal/oip"
)

// event is one of a stream's: a kind with its JSON, or the error that ends the
// stream.
type event struct {
	kind string
	data []byte
	err  error // of an eventError, whose data is made of it
}

// The kinds of events.
const (
	eventRamp  = "ramp"  // the whole answer of one ramp
	eventFinal = "final" // the request's answer, the last event
	eventError = "error" // {"error": …}, the last event
)

// answerEvent is the event of an answer: an error where the answer cannot
// stand in one.
func answerEvent(kind string, m oip.Message) event {
	if m.HeadLength >= 0 {
		return event{kind: eventError, err: &oip.Error{
			Status: http.StatusBadGateway, Message: "a worker answered with binary data, which has no place in a stream",
		}}
	}
	return event{kind: kind, data: m.Body}
}

// appendTo appends the event as the WHATWG's specification of server-sent
// events has it. Line breaks in the data, which JSON has only between its
// tokens, become spaces, so that it is one line.
func (e event) appendTo(dst, id []byte) []byte {
	dst = append(dst, "event: "...)
	dst = append(dst, e.kind...)
	dst = append(dst, "\nid: "...)
	dst = append(dst, id...)
	dst = append(dst, "\ndata: "...)
	start := len(dst)
	dst = append(dst, e.data...)
	for i, c := range dst[start:] {
		if c == '\n' || c == '\r' {
			dst[start+i] = ' '
		}
	}
	return append(dst, "\n\n"...)
}
