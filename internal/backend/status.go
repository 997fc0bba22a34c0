package backend

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxMessage bounds what of a worker's text goes to the client, in bytes.
const maxMessage = 2048

// statusError classes a worker's answer other than 200. The client is to
// blame for what is wrong with its request; not for statuses that only the
// pool's configuration or the worker's load can cause: another worker may do
// better.
func statusError(status int, body []byte) *Error {
	msg := workerMessage(body)
	if msg == "" {
		msg = fmt.Sprintf("%d %s", status, http.StatusText(status))
	}
	switch {
	case status == 429 || status == 503:
		return &Error{Class: Server, Status: 503, Message: "the worker is overloaded or not ready: " + msg, Unserved: true}
	case status == 401 || status == 403 || status == 404 || status == 405 || status == 407:
		return &Error{Class: Server, Status: 502, Message: fmt.Sprintf("the worker refused the router (%d): %s", status, msg), Unserved: true}
	case status == 408 || status == 504:
		return &Error{Class: Server, Status: 504, Message: "the worker gave up: " + msg}
	case status >= 400 && status < 500:
		return &Error{Class: Client, Status: status, Message: msg}
	case status >= 500:
		return &Error{Class: Server, Status: 502, Message: fmt.Sprintf("the worker failed (%d): %s", status, msg)}
	}
	return &Error{Class: Protocol, Status: 502, Message: fmt.Sprintf("the worker answered with status %d", status)}
}

// workerMessage finds the text in the forms of error that inference servers
// use: {"error": "…"} (OIP), {"error": {"message": "…"}} (OpenAI),
// {"detail": "…"} and {"detail": [{"loc": […], "msg": "…"}]} (FastAPI), or
// plain text.
func workerMessage(body []byte) string {
	var form struct {
		Error   json.RawMessage `json:"error"`
		Detail  json.RawMessage `json:"detail"`
		Message string          `json:"message"`
	}
	if len(body) > 1<<20 || json.Unmarshal(body, &form) != nil {
		return plainText(body)
	}
	for _, raw := range []json.RawMessage{form.Error, form.Detail} {
		var text string
		var object struct {
			Message string `json:"message"`
		}
		var list []struct {
			Loc []any  `json:"loc"`
			Msg string `json:"msg"`
		}
		switch {
		case len(raw) == 0:
		case json.Unmarshal(raw, &text) == nil && text != "":
			return clip(text)
		case json.Unmarshal(raw, &object) == nil && object.Message != "":
			return clip(object.Message)
		case json.Unmarshal(raw, &list) == nil && len(list) > 0:
			parts := make([]string, len(list))
			for i, e := range list {
				where := make([]string, len(e.Loc))
				for k, l := range e.Loc {
					where[k] = fmt.Sprint(l)
				}
				parts[i] = strings.TrimPrefix(strings.Join(where, ".")+": "+e.Msg, ": ")
			}
			return clip(strings.Join(parts, "; "))
		}
	}
	return clip(form.Message)
}

// plainText is the body's first line when it is text for people: not HTML,
// not binary.
func plainText(body []byte) string {
	if len(body) > maxMessage+utf8.UTFMax {
		body = body[:maxMessage+utf8.UTFMax] // clip finds the last whole character
	}
	s, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	s = clip(strings.TrimSpace(s))
	for i, c := range s {
		if i == 0 && c == '<' || c == utf8.RuneError || !unicode.IsPrint(c) {
			return ""
		}
	}
	return s
}

// clip shortens s to maxMessage bytes, between characters.
func clip(s string) string {
	if len(s) <= maxMessage {
		return s
	}
	n := maxMessage
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
