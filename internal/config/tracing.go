package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Tracing says where OpenTelemetry spans go, and of which requests.
type Tracing struct {
	Endpoint    string            `yaml:"endpoint"` // the collector's URL, OTLP over HTTP; empty = nothing is traced
	Sample      float64           `yaml:"sample"`   // share of the traces that begin here which are recorded
	Headers     map[string]string `yaml:"headers"`  // sent to the collector; their values are secret
	Timeout     time.Duration     `yaml:"timeout"`  // for one batch of spans
	ServiceName string            `yaml:"service_name"`
}

func (t *Tracing) setDefaults() {
	t.Sample, t.Timeout, t.ServiceName = 0.01, 10*time.Second, "motley"
}

func (t *Tracing) check(f *faults) {
	if t.Endpoint != "" {
		checkURL(f, "tracing.endpoint", t.Endpoint)
	}
	share(f, "tracing.sample", t.Sample, 0, 1)
	duration(f, "tracing.timeout", t.Timeout, time.Millisecond)
	if t.ServiceName == "" || len(t.ServiceName) > 255 {
		f.add("tracing.service_name", t.ServiceName, "must have 1 to 255 characters")
	}
	for _, name := range slices.Sorted(maps.Keys(t.Headers)) {
		if !token(name) {
			f.add("tracing.headers", name, "must have names of letters, digits and dashes")
		}
		if v := t.Headers[name]; strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > '~' }) {
			f.add("tracing.headers."+name, nil, "must have printable characters of ASCII only") // the value is secret
		}
	}
}

// token holds a header's name to what needs no thought.
func token(s string) bool {
	for _, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-') {
			return false
		}
	}
	return s != ""
}

// Differs names what is another in now that cannot change while the router runs; "" =
// nothing. The share that is sampled can.
func (t *Tracing) Differs(now *Tracing) string {
	switch {
	case t.Endpoint != now.Endpoint:
		return "tracing.endpoint"
	case !maps.Equal(t.Headers, now.Headers):
		return "tracing.headers"
	case t.Timeout != now.Timeout:
		return "tracing.timeout"
	case t.ServiceName != now.ServiceName:
		return "tracing.service_name"
	}
	return ""
}

// String is without the headers' values.
func (t Tracing) String() string {
	return fmt.Sprintf("%s sample=%v headers=%q", t.Endpoint, t.Sample, slices.Sorted(maps.Keys(t.Headers)))
}
