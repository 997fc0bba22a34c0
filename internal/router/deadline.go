package router

import (
	"fmt"
	"net/http"
	"time"

	"motley/internal/oip"
)

// maxTimeout is the longest deadline a client may ask for; longer ones are cut
// to it.
const maxTimeout = 24 * time.Hour

// deadlineHeader is a header that carries the time a client is ready to wait.
type deadlineHeader struct {
	name string
	unit time.Duration // of the number; 0 = gRPC's form with a unit letter
}

// deadlineHeaders are the headers recognised, the first present one counts.
// headers.read fills them in this order.
var deadlineHeaders = [...]deadlineHeader{
	{"grpc-timeout", 0},
	{"x-envoy-expected-rq-timeout-ms", time.Millisecond},
	{"x-envoy-upstream-rq-timeout-ms", time.Millisecond},
	{"x-request-timeout-seconds", time.Second},
	{"x-request-timeout-ms", time.Millisecond},
	{"x-stainless-timeout", time.Second},
	{"x-llm-d-slo-ttft-ms", time.Millisecond},
}

// timeout returns the time from now to the request's deadline: the body's
// parameters.timeout, else the first deadline header with a value above 0,
// else 0, which stands for the model's QoS target. A header that is not a
// number is an error, whether or not it would have counted: a client whose
// deadline is not understood must be told.
func (h *headers) timeout(body time.Duration) (time.Duration, error) {
	found := min(body, maxTimeout)
	for i, v := range h.deadlines {
		if v == nil {
			continue
		}
		d, ok := parseDeadline(v, deadlineHeaders[i].unit)
		if !ok {
			return 0, badDeadline(deadlineHeaders[i], v)
		}
		if found <= 0 {
			found = d
		}
	}
	return max(found, 0), nil
}

func badDeadline(h deadlineHeader, v []byte) error {
	form := "a number of milliseconds, such as 250"
	switch h.unit {
	case 0:
		form = "1 to 8 digits and one of H M S m u n, such as 250m"
	case time.Second:
		form = "a number of seconds, such as 0.25"
	}
	return &oip.Error{
		Status:  http.StatusBadRequest,
		Message: fmt.Sprintf("cannot parse header %s: got %s, want %s", h.name, quote(v), form),
	}
}

// parseDeadline parses a decimal number of units, or gRPC's timeout where unit
// is 0. Results are cut to maxTimeout.
func parseDeadline(v []byte, unit time.Duration) (time.Duration, bool) {
	if unit == 0 {
		return parseGRPCTimeout(v)
	}
	var whole, fraction, scale time.Duration = 0, 0, 1
	i := 0
	for ; i < len(v) && '0' <= v[i] && v[i] <= '9'; i++ {
		whole = min(whole*10+time.Duration(v[i]-'0'), maxTimeout)
	}
	if i == 0 {
		return 0, false
	}
	if i < len(v) && v[i] == '.' {
		dot := i
		for i++; i < len(v) && '0' <= v[i] && v[i] <= '9'; i++ {
			if scale < 1_000_000 {
				fraction, scale = fraction*10+time.Duration(v[i]-'0'), scale*10
			}
		}
		if i == dot+1 {
			return 0, false
		}
	}
	if i != len(v) {
		return 0, false
	}
	if whole >= maxTimeout/unit {
		return maxTimeout, true
	}
	return whole*unit + fraction*unit/scale, true
}

// parseGRPCTimeout parses the grpc-timeout header: 1 to 8 digits and a unit.
func parseGRPCTimeout(v []byte) (time.Duration, bool) {
	if len(v) < 2 || len(v) > 9 || !digits(v[:len(v)-1]) {
		return 0, false
	}
	var unit time.Duration
	switch v[len(v)-1] {
	case 'H':
		unit = time.Hour
	case 'M':
		unit = time.Minute
	case 'S':
		unit = time.Second
	case 'm':
		unit = time.Millisecond
	case 'u':
		unit = time.Microsecond
	case 'n':
		unit = time.Nanosecond
	default:
		return 0, false
	}
	var n time.Duration
	for _, c := range v[:len(v)-1] {
		n = n*10 + time.Duration(c-'0')
	}
	if n >= maxTimeout/unit {
		return maxTimeout, true
	}
	return n * unit, true
}

// quote prints what a client sent, cut to a length that suits an error text.
func quote(v []byte) string {
	const most = 64
	if len(v) > most {
		return fmt.Sprintf("%q…", v[:most])
	}
	return fmt.Sprintf("%q", v)
}
