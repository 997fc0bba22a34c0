// Package tracingtest holds a collector for tests: it takes spans by OTLP over HTTP and
// keeps them.
package tracingtest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	wire "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Collector is an http.Handler. The zero value is ready.
type Collector struct {
	mu       sync.Mutex
	spans    []*wire.Span
	resource []*common.KeyValue
	headers  []http.Header
	status   int
	answer   []byte
}

// Answer is what it answers from now on; with a status other than 200 it takes nothing.
func (c *Collector) Answer(status int, body []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status, c.answer = status, body
}

// ServeHTTP implements http.Handler.
func (c *Collector) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	status, answer := c.take(q)
	w.Header().Set("Content-Type", "application/x-protobuf")
	w.WriteHeader(status)
	_, _ = w.Write(answer)
}

func (c *Collector) take(q *http.Request) (status int, answer []byte) {
	body, err := io.ReadAll(q.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.headers = append(c.headers, q.Header.Clone())
	var all wire.TracesData
	switch {
	case err != nil || q.Method != http.MethodPost || q.URL.Path != "/v1/traces" || q.Header.Get("Content-Type") != "application/x-protobuf":
		return http.StatusNotFound, nil
	case c.status != 0 && c.status != http.StatusOK:
		return c.status, c.answer
	case proto.Unmarshal(body, &all) != nil:
		return http.StatusBadRequest, nil
	}
	for _, r := range all.ResourceSpans {
		c.resource = r.Resource.GetAttributes()
		for _, s := range r.ScopeSpans {
			c.spans = append(c.spans, s.Spans...)
		}
	}
	return http.StatusOK, c.answer
}

// RoundTrip implements http.RoundTripper: a collector that is asked without a network.
func (c *Collector) RoundTrip(q *http.Request) (*http.Response, error) {
	status, answer := c.take(q)
	return &http.Response{
		StatusCode: status, Status: fmt.Sprint(status, " ", http.StatusText(status)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(answer)), Request: q,
	}, nil
}

// Spans are those that it has taken.
func (c *Collector) Spans() []*wire.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*wire.Span(nil), c.spans...)
}

// Headers are those of every request.
func (c *Collector) Headers() []http.Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]http.Header(nil), c.headers...)
}

// Resource is what the last spans were of.
func (c *Collector) Resource() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Attributes(c.resource)
}

// Attributes are attributes as texts.
func Attributes(list []*common.KeyValue) map[string]string {
	all := map[string]string{}
	for _, a := range list {
		switch v := a.Value.Value.(type) {
		case *common.AnyValue_StringValue:
			all[a.Key] = v.StringValue
		case *common.AnyValue_IntValue:
			all[a.Key] = fmt.Sprint(v.IntValue)
		default:
			all[a.Key] = fmt.Sprint(v)
		}
	}
	return all
}
