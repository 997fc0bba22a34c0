package router

import (
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"motley/internal/access"
)

// TestAccessLogOfDenied: what a client that is not let in was told is in its line, whether its body
// was read or not.
func TestAccessLogOfDenied(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Access = guardOf(t, aliceAndBob(access.Limits{Requests: 1e-2})) })
	large := validInfer + strings.Repeat(" ", maxInPlace)
	f.do("POST", "/v2/models/adder/infer", large, "x-request-id: large", "x-api-key: nonsense")
	for _, id := range []string{"first", "limited"} {
		f.do("POST", "/v2/models/raw/infer", rawInfer, "x-request-id: "+id, "x-api-key: "+bobKey)
	}
	f.do("GET", "/v2/models/quiet", "", "x-request-id: unknown", "x-api-key: "+aliceKey)
	page := string(f.admin("GET", "/metrics").body)
	if !strings.Contains(page, `motley_requests_total{code="401",model="adder"} 1`) {
		t.Error("the one with a large body is not counted")
	}
	byID := map[any]map[string]any{}
	for _, l := range f.logged() {
		byID[l["id"]] = l
	}
	for id, want := range map[string]map[string]any{
		"large":   {"status": 401., "path": "/v2/models/adder/infer", "error": "the key is not known", "reason": "unauthorized"},
		"limited": {"status": 429., "retry_after_ms": 100000., "tenant": "iron"},
		"unknown": {"status": 503., "retry_after_ms": 1000.},
	} {
		l := byID[id]
		if l == nil {
			t.Errorf("%s: no line", id)
			continue
		}
		for field, v := range want {
			got := l[field]
			if ms, ok := got.(float64); ok && field == "retry_after_ms" { // a little less is left by then
				got = math.Round(ms/1000) * 1000
			}
			if got != v {
				t.Errorf("%s: %s is %v, want %v", id, field, l[field], v)
			}
		}
	}
}

// What a client that is turned away has announced is room for others at once, even while it goes on
// sending.
func TestAccessDeniedHoldNothing(t *testing.T) { onEither(t, testDeniedHoldNothing) }

func testDeniedHoldNothing(t *testing.T, change func(*Config)) {
	f := newFixture(t, func(c *Config) {
		change(c)
		c.Access = guardOf(t, aliceAndBob(access.Limits{}))
		c.MaxBuffered = 1 << 20
	})
	conn := f.dial()
	send(t, conn, "POST /v2/models/adder/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 500000\r\n\r\n"+validInfer)
	if res := f.read(conn); res.status != 401 {
		t.Fatalf("%d: %s", res.status, res.body)
	}
	for answered := time.Now(); f.server.budget.held.Load() > 0; runtime.Gosched() {
		if time.Since(answered) > lingerFor*3/4 {
			t.Fatal("its bytes are held until it is gone")
		}
	}
}
