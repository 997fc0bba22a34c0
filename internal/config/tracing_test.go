package config

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestTracing(t *testing.T) {
	parse := func(text string) (*Tracing, error) {
		c, err := Parse("test", []byte(text+"\n"+string(Default())))
		if err != nil {
			return nil, err
		}
		return &c.Tracing, nil
	}
	got, err := parse("")
	if err != nil || got.Differs(&Tracing{Timeout: 10 * time.Second, ServiceName: "motley"}) != "" || got.Sample != .01 {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = parse(`tracing: {endpoint: "http://127.0.0.1:4318", sample: 1, headers: {x-api-key: sesame}, timeout: 2s, service_name: front}`)
	want := &Tracing{"http://127.0.0.1:4318", 1, map[string]string{"x-api-key": "sesame"}, 2 * time.Second, "front"}
	if err != nil || got.Differs(want) != "" || got.Sample != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if text := fmt.Sprint(*got); strings.Contains(text, "sesame") || !strings.Contains(text, "x-api-key") {
		t.Errorf("printed as %s", text)
	}
	for text, field := range map[string]string{
		"endpoint: localhost:4318": "tracing.endpoint", "endpoint: ftp://x": "tracing.endpoint", "endpoint: http://u:p@x": "tracing.endpoint",
		"sample: 1.5": "tracing.sample", "sample: -1": "tracing.sample", "timeout: 0s": "tracing.timeout", `service_name: ""`: "tracing.service_name",
		"headers: {a b: x}": "tracing.headers", `headers: {k: "sesame\n"}`: "tracing.headers.k", "sampling: 1": "tracing.sampling",
	} {
		_, err := parse("tracing: {" + text + "}")
		if err == nil || !strings.Contains(err.Error(), field) || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%s: %v", text, err)
		}
	}
	for field, other := range map[string]Tracing{
		"tracing.endpoint": {Endpoint: "x"}, "tracing.headers": {Headers: map[string]string{"a": "b"}}, "tracing.timeout": {Timeout: 1},
		"tracing.service_name": {ServiceName: "x"}, "": {Sample: .5},
	} {
		if got := (&Tracing{}).Differs(&other); got != field {
			t.Errorf("%+v differs in %q, want %q", other, got, field)
		}
	}
}
