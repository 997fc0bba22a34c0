package load

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"motley/internal/workload"
)

// Target is a server.
type Target struct {
	URL  string // as it was given
	host string // for the Host header
	addr *net.TCPAddr
	path string // before /v2; without a slash at its end
}

// ParseTarget reads http://HOST[:PORT][/PATH] and looks the host up, once.
func ParseTarget(text string) (Target, error) {
	u, err := url.Parse(text)
	if err != nil {
		return Target{}, err // it names the URL
	}
	if u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return Target{}, fmt.Errorf("%q: want http://HOST:PORT", text)
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	addr, err := net.ResolveTCPAddr("tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return Target{}, fmt.Errorf("%s: %w", text, err)
	}
	if addr.IP == nil {
		return Target{}, fmt.Errorf("%q: want http://HOST:PORT", text)
	}
	return Target{URL: text, host: u.Host, addr: addr, path: strings.TrimRight(u.EscapedPath(), "/")}, nil
}

// Phase is one stretch of the run: one rate at one target.
type Phase struct {
	Target int     // index in the plan
	Rate   float64 // requests/s; 0: the trace's own
	Round  int     // rounds differ by their seed
}

// Plan is a whole run.
type Plan struct {
	Targets []Target
	Models  []*Bodies // each as likely as the other
	Phases  []Phase   // one after the other

	Arrivals *workload.Arrivals
	Sizes    *workload.Sizes // not for bodies from files
	Seed     uint64

	Warmup   time.Duration // at the start of each phase, not measured
	Duration time.Duration // what is measured of each phase
	Requests int           // if over 0, how many are measured in place of Duration
	Timeout  time.Duration // for the wait for a connection, and again from there to the last byte

	Connections int      // at most, all loops together
	Threads     int      // loops, each with a thread, and connections of its own
	Headers     []string // more of them, "Name: value"
	Unchecked   bool     // bodies of answers are not looked at
}

// prefix is the head of every request to a model, up to its Content-Length.
func (p *Plan) prefix(t *Target, b *Bodies) []byte {
	kind := "application/json"
	if b.binary || len(b.files) > 0 && b.files[0].headLength >= 0 {
		kind = "application/octet-stream"
	}
	head := fmt.Appendf(nil, "POST %s/v2/models/%s/infer HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\n",
		t.path, url.PathEscape(b.Model), t.host, kind)
	for _, h := range p.Headers {
		head = append(append(head, h...), "\r\n"...)
	}
	return append(head, "Content-Length: "...)
}

// ParseHeader checks a header for Plan.Headers.
func ParseHeader(text string) (string, error) {
	name, value, ok := strings.Cut(text, ":")
	bad := func(r rune) bool { return r < ' ' || r == 0x7f }
	if !ok || name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f }) || strings.ContainsFunc(value, bad) {
		return "", fmt.Errorf("%q: want Name: value", text)
	}
	for _, own := range []string{"host", "content-length", "transfer-encoding", "connection", "inference-header-content-length", "accept-encoding"} {
		if strings.EqualFold(name, own) {
			return "", fmt.Errorf("%s: it is set here, or has no place in a test of speed", name)
		}
	}
	return name + ": " + strings.TrimSpace(value), nil
}
