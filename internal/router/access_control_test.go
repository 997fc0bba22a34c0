package router

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"motley/internal/access"
	"motley/internal/live"
	"motley/internal/promtest"
)

const (
	aliceKey = "motley-alice-secret"
	bobKey   = "motley-bob-secret"
)

func guardOf(t testing.TB, p access.Policy) *Access {
	t.Helper()
	g, err := access.New(p, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &Access{Guard: g}
}

// aliceAndBob is a policy of two keys: alice's is for everything, bob's for the model
// raw alone, within limits.
func aliceAndBob(bob access.Limits) access.Policy {
	return access.Policy{
		Tenants: []access.Tenant{{Name: "default"}, {Name: "gold"}, {Name: "iron"}},
		Keys: []access.Key{
			{Name: "alice", Hash: access.HashOf([]byte(aliceKey)), Tenant: "gold"},
			{Name: "bob", Hash: access.HashOf([]byte(bobKey)), Tenant: "iron", Models: []string{"raw"}, Limits: bob},
		},
	}
}

const rawInfer = `{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1,2]}]}`

// Who may ask for what.
func TestAccess(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Access = guardOf(t, aliceAndBob(access.Limits{})) })
	const alice, bob, wrong = "Authorization: Bearer " + aliceKey, "x-api-key: " + bobKey, "Authorization: Bearer nonsense"
	for _, c := range []struct {
		method, path, body    string
		none, alice, bob, bad int
	}{
		{"GET", "/v2/health/live", "", 200, 200, 200, 200},
		{"GET", "/v2/health/ready", "", 200, 200, 200, 200},
		{"GET", "/v2", "", 401, 200, 200, 401},
		{"GET", "/v2/models/stats", "", 401, 200, 200, 401},
		{"POST", "/v2/repository/index", "", 401, 200, 200, 401},
		{"POST", "/v2/repository/models/raw/load", "", 401, 501, 501, 401},
		{"GET", "/v2/systemsharedmemory/status", "", 401, 501, 501, 401},
		{"GET", "/v2/logging", "", 401, 501, 501, 401},
		{"GET", "/v2/models/adder", "", 401, 200, 403, 401},
		{"GET", "/v2/models/adder/ready", "", 401, 200, 403, 401},
		{"GET", "/v2/models/adder/config", "", 401, 200, 403, 401},
		{"GET", "/v2/models/adder/stats", "", 401, 200, 403, 401},
		{"POST", "/v2/models/adder/infer", validInfer, 401, 200, 403, 401},
		{"POST", "/v2/models/adder/infer_stream", validInfer, 401, 200, 403, 401},
		{"POST", "/v2/models/adder/generate", "{}", 401, 501, 403, 401},
		{"GET", "/v2/models/raw", "", 401, 200, 200, 401},
		{"POST", "/v2/models/raw/infer", rawInfer, 401, 200, 200, 401},
		{"POST", "/v2/models/raw/versions/1/infer", rawInfer, 401, 200, 200, 401},
		{"POST", "/v2/models/nowhere/infer", rawInfer, 401, 404, 404, 401},
		{"GET", "/nowhere", "", 404, 404, 404, 404},
		{"GET", "/v2/models/raw/infer", "", 405, 405, 405, 405},
	} {
		for who, want := range map[string]int{"": c.none, alice: c.alice, bob: c.bob, wrong: c.bad} {
			var headers []string
			if who != "" {
				headers = []string{who}
			}
			res := f.do(c.method, c.path, c.body, headers...)
			if res.status != want {
				t.Errorf("%s %s with %q: %d, want %d: %s", c.method, c.path, who, res.status, want, res.body)
			}
			if (res.status == 401) != (res.header.Get("WWW-Authenticate") == "Bearer") {
				t.Errorf("%s %s: status %d, WWW-Authenticate %q", c.method, c.path, res.status, res.header.Get("WWW-Authenticate"))
			}
			if res.status == 401 || res.status == 403 {
				res.errorText(t)
				if res.header.Get("X-Should-Retry") != "false" {
					t.Errorf("%s %s: clients are told to try again", c.method, c.path)
				}
			}
		}
	}
}

// A key for some models is not told of others.
func TestAccessLists(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Access = guardOf(t, aliceAndBob(access.Limits{})) })
	for _, path := range []string{"/v2/models/stats", "/v2/repository/index"} {
		method := map[bool]string{true: "POST", false: "GET"}[strings.HasSuffix(path, "index")]
		for key, want := range map[string]bool{aliceKey: true, bobKey: false} {
			body := string(f.do(method, path, "", "x-api-key: "+key).body)
			if strings.Contains(body, `"adder"`) != want || strings.Contains(body, `"quiet"`) != want || !strings.Contains(body, `"raw"`) {
				t.Errorf("%s with %s: %s", path, key, body)
			}
		}
	}
}

// How keys are shown.
func TestAccessHeaders(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Access = guardOf(t, aliceAndBob(access.Limits{})) })
	for _, c := range []struct {
		headers []string
		status  int
	}{
		{[]string{"Authorization: Bearer " + aliceKey}, 200},
		{[]string{"authorization: bearer   " + aliceKey + "  "}, 200},
		{[]string{"AUTHORIZATION: BEARER " + aliceKey}, 200},
		{[]string{"X-API-Key: " + aliceKey}, 200},
		{[]string{"Authorization: Basic " + aliceKey}, 401},
		{[]string{"Authorization: " + aliceKey}, 401},
		{[]string{"Authorization: Bearer"}, 401},
		{[]string{"Authorization: Bearer "}, 401},
		{[]string{"Authorization: Bearer " + aliceKey + "x"}, 401},
		{[]string{"Authorization: Bearer " + aliceKey + " " + bobKey}, 401},
		{[]string{"Authorization: Bearer " + strings.ToUpper(aliceKey)}, 401},
		{[]string{"Authorization: Bearer " + access.HashOf([]byte(aliceKey)).String()}, 401},
		{[]string{"Authorization: Bearer " + strings.Repeat("k", access.MaxKey+1)}, 401},
		{[]string{"Authorization: Basic x", "x-api-key: " + aliceKey}, 200},
		{[]string{"Authorization: Bearer wrong", "x-api-key: " + aliceKey}, 401}, // the first of both counts
		{[]string{"x-api-key: " + aliceKey, "x-api-key: wrong"}, 200},
		{[]string{"x-api-key:"}, 401},
		{[]string{"Proxy-Authorization: Bearer " + aliceKey}, 401},
		{[]string{"Cookie: x-api-key=" + aliceKey}, 401},
	} {
		for _, path := range []string{"/v2/models/adder/infer", "/v2/models/adder//infer", "/v2/models/adder/infer_stream"} {
			if res := f.do("POST", path, validInfer, c.headers...); res.status != c.status {
				t.Errorf("%s, %q: %d, want %d: %s", path, c.headers, res.status, c.status, res.body)
			}
		}
	}
	if res := f.do("POST", "/v2/models/adder/infer?api_key="+aliceKey+"&key="+aliceKey, validInfer); res.status != 401 {
		t.Errorf("a key in the query: %d", res.status)
	}
}

// What a key has used up is told as it is, and its own alone.
func TestAccessLimits(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits access.Limits
		before int    // requests that are let in
		after  string // Retry-After
	}{
		{"rate", access.Limits{Requests: 0.01, Burst: 2}, 2, "100"},
		{"bytes", access.Limits{Bytes: 1}, 1, fmt.Sprint(len(rawInfer) - 1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, func(cfg *Config) { cfg.Access = guardOf(t, aliceAndBob(c.limits)) })
			ask := func() response { return f.do("POST", "/v2/models/raw/infer", rawInfer, "x-api-key: "+bobKey) }
			for range c.before {
				if res := ask(); res.status != 200 {
					t.Fatalf("%d: %s", res.status, res.body)
				}
			}
			res := ask()
			// Rounded up, and a second has not passed yet.
			if res.status != 429 || res.header.Get("Retry-After") != c.after || res.header.Get("X-Should-Retry") != "true" {
				t.Errorf("%d, Retry-After %s, want %s: %s", res.status, res.header.Get("Retry-After"), c.after, res.body)
			}
			if res := f.do("GET", "/v2/models/raw", "", "x-api-key: "+bobKey); res.status != 200 {
				t.Errorf("metadata: %d", res.status)
			}
			if res := f.do("POST", "/v2/models/raw/infer", rawInfer, "x-api-key: "+aliceKey); res.status != 200 {
				t.Errorf("another key: %d", res.status)
			}
		})
	}
}

// A place among the requests under way is free again however a request ends.
func TestAccessPlaces(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Access = guardOf(t, aliceAndBob(access.Limits{Concurrent: 1})) })
	entered, release := make(chan struct{}), make(chan error)
	hold := func(r *live.Request) error {
		entered <- struct{}{}
		if err := <-release; err != nil {
			return err
		}
		return answerWith(jsonAnswer, -1)(r)
	}
	ask := func(path string) net.Conn {
		conn := f.dial()
		send(t, conn, fmt.Sprintf("POST /v2/models/raw/%s HTTP/1.1\r\nHost: h\r\nx-api-key: %s\r\nContent-Length: %d\r\n\r\n%s", path, bobKey, len(rawInfer), rawInfer))
		return conn
	}
	free := func(what string) {
		t.Helper()
		f.loop.set(answerWith(jsonAnswer, -1))
		for until := time.Now().Add(5 * time.Second); ; runtime.Gosched() {
			if res := f.do("POST", "/v2/models/raw/infer", rawInfer, "x-api-key: "+bobKey); res.status == 200 {
				return
			} else if time.Now().After(until) {
				t.Fatalf("%s: %d", what, res.status)
			}
		}
	}
	for _, path := range []string{"infer", "infer_stream"} {
		for name, end := range map[string]error{
			"answered": nil, "an error": errors.New("no"), "refused": &live.Refusal{Reason: live.QueueFull},
		} {
			f.loop.set(hold)
			conn := ask(path)
			<-entered
			res := f.do("POST", "/v2/models/raw/infer", rawInfer, "x-api-key: "+bobKey)
			if res.status != 429 || res.header.Get("Retry-After") != "" || res.header.Get("X-Should-Retry") != "true" {
				t.Errorf("%s, %s: beside it %d %v %s", path, name, res.status, res.header, res.body)
			}
			release <- end
			f.read(conn)
			free(path + ", " + name)
		}
		if res := f.do("POST", "/v2/models/raw/"+path, "{", "x-api-key: "+bobKey); res.status != 400 {
			t.Errorf("a request that is none: %d", res.status)
		}
		free(path + ", a request that is none")
	}
	f.loop.set(hold)
	conn := ask("infer")
	<-entered
	_ = conn.Close()
	release <- nil
	free("the client left")

	f.loop.set(hold)
	conn = ask("infer_stream")
	<-entered
	_ = conn.Close()
	release <- nil
	free("the client of a stream left")
}

// Tenants are those of the key, or of the header where a proxy names them; each
// request counts for one, by what became of it.
func TestAccessTenants(t *testing.T) {
	policy := aliceAndBob(access.Limits{Requests: 1e-3})
	policy.Anonymous = true
	f := newFixture(t, func(c *Config) {
		c.Access = guardOf(t, policy)
		c.Access.TenantHeader = "X-Tenant"
	})
	const bob, gold = "x-api-key: " + bobKey, "X-TENANT: gold"
	for _, c := range []struct {
		do      func(*live.Request) error
		path    string
		headers []string
		series  string
	}{
		{nil, "raw/infer", nil, `answered",tenant="default"} 1`},
		{nil, "raw/infer", []string{"x-tenant: nobody"}, `answered",tenant="default"} 2`},
		{nil, "raw/infer", []string{gold}, `answered",tenant="gold"} 1`},
		{nil, "raw/infer_stream", []string{gold}, `answered",tenant="gold"} 2`},
		{nil, "raw//infer", []string{gold}, `answered",tenant="gold"} 3`},
		{nil, "raw/infer", []string{bob, gold}, `answered",tenant="iron"} 1`},
		{nil, "raw/infer", []string{bob}, `refused",tenant="iron"} 1`},
		{nil, "adder/infer", []string{bob}, `mistaken",tenant="iron"} 1`},
		{func(*live.Request) error { return &live.Refusal{Reason: live.NoWorker} }, "raw/infer", []string{gold}, `refused",tenant="gold"} 1`},
		{func(*live.Request) error { return errors.New("no") }, "raw/infer", []string{gold}, `failed",tenant="gold"} 1`},
		{nil, "raw/infer", []string{"x-api-key: nobody", gold}, `mistaken",tenant="gold"} 0`},
	} {
		f.loop.set(answerWith(jsonAnswer, -1))
		if c.do != nil {
			f.loop.set(c.do)
		}
		f.do("POST", "/v2/models/"+c.path, rawInfer, c.headers...)
		if seen, _ := f.loop.last(); strings.HasPrefix(c.series, "answered") && !strings.Contains(c.series, `"`+[]string{"default", "gold", "iron"}[seen.Tenant]+`"`) {
			t.Errorf("%s %q: the loop was given tenant %d", c.path, c.headers, seen.Tenant)
		}
		if page := string(f.admin("GET", "/metrics").body); !strings.Contains(page, `motley_tenant_requests_total{outcome="`+c.series+"\n") {
			t.Errorf("%s %q: no %s", c.path, c.headers, c.series)
		}
	}
	f.do("GET", "/v2/models/raw/infer", "")
	page := string(f.admin("GET", "/metrics").body)
	if !strings.Contains(page, `motley_tenant_requests_total{outcome="mistaken",tenant="default"} 0`+"\n") {
		t.Error("a request with another method counts for a tenant")
	}
	for _, want := range []string{`{reason="model"} 1`, `{reason="rate"} 1`, `{reason="wrong_key"} 1`, `{reason="no_key"} 0`} {
		if !strings.Contains(page, "motley_access_denied_total"+want+"\n") {
			t.Errorf("the metrics lack %s", want)
		}
	}
	if strings.Contains(page, "nobody") {
		t.Error("a client made a series")
	}
}

// What a client shows for a key is in no log, at no level, and in no answer.
func TestAccessKeepsSecrets(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Access = guardOf(t, aliceAndBob(access.Limits{Requests: 1e-3})) })
	for _, key := range []string{aliceKey, bobKey, "motley-nobodys-secret"} {
		for _, header := range []string{"Authorization: Bearer ", "x-api-key: ", "Authorization: Basic ", "Proxy-Authorization: "} {
			for _, path := range []string{"/v2/models/raw/infer", "/v2/models/raw/infer", "/v2/models/nowhere/infer", "/v2/models/adder/infer_stream", "/v2", "/nowhere"} {
				if res := f.do("POST", path, rawInfer, header+key); strings.Contains(string(res.body)+fmt.Sprint(res.header), "secret") {
					t.Errorf("%s: the answer tells a secret: %v %s", path, res.header, res.body)
				}
			}
		}
		f.raw("POST /v2/models/raw/infer HTTP/1.1\r\nHost: h\r\nx-api-key: " + key + "\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")
		f.raw("POST /v2/models/raw/infer HTTP/1.1\r\nHost: h\r\nx-api-key: " + key + "\r\nTransfer-Encoding: gzip\r\n\r\n")
		f.raw("POST /v2/models/raw/infer HTTP/1.1\r\nHost: h\r\nx-api-key " + key + "\r\n\r\n")
	}
	if err := f.server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.access.Close()
	log := f.log.String() + f.lines.String()
	if !strings.Contains(log, `"status":401`) || !strings.Contains(log, `"status":429`) {
		t.Fatalf("the log lacks requests:\n%.2000s", log)
	}
	pages := string(f.admin("GET", "/metrics").body) + string(f.admin("GET", "/debug/state").body)
	for _, text := range []string{log, pages} {
		for _, secret := range []string{"secret", access.HashOf([]byte(aliceKey)).String()[7:]} {
			if at := strings.Index(text, secret); at >= 0 {
				t.Errorf("a secret is told: %s", text[max(0, at-200):at+20])
			}
		}
	}
}

// Nothing is allocated for a request with a key, either way.
func TestAccessAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("allocations are not counted under the race detector")
	}
	f := newFixture(t, func(c *Config) {
		c.Loop = instant{c.Loop.(*fakeLoop)}
		c.Log = slog.New(slog.DiscardHandler)
		c.Access = guardOf(t, aliceAndBob(access.Limits{Requests: 1e6, Burst: 1e6, Concurrent: 100, Bytes: 1e12}))
		c.Access.TenantHeader = "X-Tenant"
	})
	ctx := handlerContext(rawInfer)
	ctx.Request.SetRequestURI("/v2/models/raw/infer")
	ctx.Request.Header.Set("Authorization", "Bearer "+bobKey)
	if n := testing.AllocsPerRun(1000, func() {
		f.server.Handler(ctx)
		if ctx.Response.StatusCode() != 200 {
			t.Fatalf("%d: %s", ctx.Response.StatusCode(), ctx.Response.Body())
		}
		ctx.Response.Reset()
	}); n > 0 {
		t.Errorf("%v allocations by the library's way", n)
	}
	if !onReactors {
		return
	}
	conn := f.dial()
	request := fmt.Appendf(nil, "POST /v2/models/raw/infer HTTP/1.1\r\nHost: h\r\nx-api-key: %s\r\nContent-Length: %d\r\n\r\n%s", bobKey, len(rawInfer), rawInfer)
	buffer := make([]byte, 4<<10)
	exchange := func() {
		if _, err := conn.Write(request); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(buffer); err != nil || !strings.HasPrefix(string(buffer[:12]), "HTTP/1.1 200") {
			t.Fatalf("%v: %s", err, buffer[:n])
		}
	}
	for range 100 {
		exchange()
	}
	if n := testing.AllocsPerRun(2000, exchange); n > 0 {
		t.Errorf("%v allocations on a reactor", n)
	}
}

// However many names clients think of, there is a series for none of them.
func TestClientsMakeNoSeries(t *testing.T) {
	policy := aliceAndBob(access.Limits{})
	policy.Anonymous = true
	f := newFixture(t, func(c *Config) {
		c.Access = guardOf(t, policy)
		c.Access.TenantHeader = "X-Tenant"
		c.Log = slog.New(slog.DiscardHandler)
	})
	conn := f.dial()
	ask := func(i int) {
		t.Helper()
		name := fmt.Sprintf("n%d", i)
		paths := []string{"/v2/models/" + name + "/infer", "/v2/models/" + name, "/v2/models/adder/versions/" + fmt.Sprint(i+10) + "/infer", "/" + name,
			"/v2/models/adder/infer?" + name, "/v2/models/" + name + "/infer_stream", "/v2/repository/" + name + "/index", "/v2/models/adder/infer"}
		body := strings.Replace(validInfer, `"a"`, `"`+name+`"`, 1)
		if i%7 == 0 {
			body = `{"parameters":{"` + name + `":1},"inputs":[{"name":"` + name + `"}]}`
		}
		method := []string{"POST", "POST", "GET", "BREW"}[i%4]
		send(t, conn, fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nX-Tenant: %s\r\nx-api-key: %s\r\nUser-Agent: %s\r\nx-request-id: %s\r\ntraceparent: %s\r\nContent-Length: %d\r\n\r\n%s",
			method, paths[i%len(paths)], name, name, map[bool]string{true: name, false: aliceKey}[i%3 == 0], name, name, name, len(body), body))
	}
	series := func() int {
		page := string(f.admin("GET", "/metrics").body)
		promtest.Check(t, page, "")
		n := 0
		for line := range strings.Lines(page) {
			if !strings.HasPrefix(line, "#") {
				n++
			}
		}
		return n
	}
	for i := range 200 { // one of each kind
		ask(i)
		f.read(conn)
	}
	before := series()
	for i := range 10_000 {
		ask(i)
		f.read(conn)
	}
	if after := series(); after != before {
		t.Errorf("%d series, and %d after 10,000 names", before, after)
	}
}

// Of who will be turned away no large body is taken in: the answer does not wait for it.
func TestAccessLargeBodies(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Access = guardOf(t, aliceAndBob(access.Limits{})) })
	large := strings.Repeat(" ", 512<<10) + validInfer
	for key, want := range map[string]int{aliceKey: 200, "nonsense": 401, "": 401} {
		for _, c := range []struct{ head, body string }{
			{fmt.Sprintf("Content-Length: %d\r\n\r\n", len(large)), large},
			{fmt.Sprintf("Content-Length: %d\r\n\r\n", len(large)), large[:100]}, // the rest does not come
			{"Transfer-Encoding: chunked\r\n\r\n", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(large), large)},
		} {
			if len(c.body) == 100 && key == aliceKey {
				continue
			}
			conn := f.dial()
			go func() { // the answer may come before all of it is written
				_, _ = io.WriteString(conn, "POST /v2/models/adder/infer HTTP/1.1\r\nHost: h\r\nx-api-key: "+key+"\r\n"+c.head+c.body)
			}()
			if res := f.read(conn); res.status != want {
				t.Errorf("key %q, %d bytes: %d, want %d: %s", key, len(c.body), res.status, want, res.body)
			}
		}
	}
}
