package fleet

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"motley/internal/oip"
	"motley/internal/sim"
)

// TestMany: 200 workers at once, each with requests that queue.
func TestMany(t *testing.T) {
	f, servers := startAs(t, 200, law(t, row(1, 20*ms, 25*ms)), nil)
	c := client(t)
	var all sync.WaitGroup
	began := time.Now()
	for _, s := range servers {
		all.Go(func() {
			for range 3 {
				if r, err := post(c, s.URL+"/v2/models/m/infer", -1, `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}`); err != nil || r.status != 200 {
					t.Error(s.Worker, err, r.status)
				}
			}
		})
	}
	all.Wait()
	took := time.Since(began)
	var busy time.Duration
	for i, r := range f.Report() {
		if r.Requests != 3 || r.Failed != 0 || r.Worker != servers[i].Worker {
			t.Fatalf("%+v", r)
		}
		busy += f.servers[i].queue.mu.busy
	}
	// 12 s of executions: in one after the other it would have taken that.
	if took > busy/3 || took < 50*ms {
		t.Errorf("took %v for %v of executions", took, busy)
	}
}

// TestPorts: ports follow each other; those that are taken are passed over with
// + and an error without.
func TestPorts(t *testing.T) {
	first, err := listen("127.0.0.1:0", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer first[0].Close()
	taken := first[0].Addr().String()
	if all, err := listen(taken, 2); err == nil {
		t.Errorf("listens on %v, which is taken", all[0].Addr())
	}
	all, err := listen(taken+"+", 3)
	if err != nil {
		t.Fatal(err)
	}
	last := taken
	for _, l := range all {
		if a := l.Addr().String(); len(a) < len(last) || a <= last && len(a) == len(last) {
			t.Errorf("%s comes after %s", a, last)
		} else {
			last = a
		}
		_ = l.Close()
	}
	for _, bad := range []string{"x", "127.0.0.1:x", "127.0.0.1:70000", "127.0.0.1:65535"} {
		if _, err := listen(bad, 2); err == nil {
			t.Errorf("listens on %s", bad)
		}
	}
}

// TestConfig: what makes no sense is an error.
func TestConfig(t *testing.T) {
	truth := law(t, row(1, ms, 0))
	good := func() Config {
		x := []oip.TensorMetadata{tensor("x", oip.FP32, -1)}
		return Config{
			Listen: "127.0.0.1:0", Models: []Model{{Name: "m", Inputs: x, Outputs: x}},
			Workers: []Worker{{Name: "w", Type: "t", Truth: []*sim.Truth{truth}, MaxBatch: []int{1}}},
		}
	}
	for name, change := range map[string]func(*Config){
		"no models":      func(c *Config) { c.Models = nil },
		"no workers":     func(c *Config) { c.Workers = nil },
		"bad name":       func(c *Config) { c.Models[0].Name = "a/b" },
		"no outputs":     func(c *Config) { c.Models[0].Outputs = nil },
		"no batch":       func(c *Config) { c.Models[0].Inputs = []oip.TensorMetadata{tensor("x", oip.FP32, 2)} },
		"twice":          func(c *Config) { c.Models = append(c.Models, c.Models[0]) },
		"no truth":       func(c *Config) { c.Workers[0].Truth = nil },
		"max batch":      func(c *Config) { c.Workers[0].MaxBatch[0] = 0 },
		"concurrency":    func(c *Config) { c.Concurrency = -1 },
		"fault of none":  func(c *Config) { c.Faults = []Fault{{Worker: "v", Kind: "500"}} },
		"listen address": func(c *Config) { c.Listen = "nowhere" },
	} {
		c := good()
		change(&c)
		if f, err := Start(c); err == nil {
			t.Errorf("%s: starts", name)
			_ = f.Shutdown(context.Background())
		}
	}
}

// BenchmarkRequest is a request over one connection, client and server in this
// process; the execution takes no time.
func BenchmarkRequest(b *testing.B) {
	for _, rows := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint("rows-", rows), func(b *testing.B) {
			_, servers := startAs(b, 1, law(b, row(1, 1, 0)), func(cfg *Config) {
				x := []oip.TensorMetadata{tensor("x", oip.FP32, -1, int64(rows))}
				cfg.Models[0].Inputs, cfg.Models[0].Outputs = x, x
			})
			body := fmt.Sprintf(`{"inputs":[{"name":"x","datatype":"FP32","shape":[1,%d],"data":[%s0.25]}]}`, rows, strings.Repeat("0.25,", rows-1))
			c := &fasthttp.HostClient{Addr: strings.TrimPrefix(servers[0].URL, "http://")}
			var req fasthttp.Request
			var resp fasthttp.Response
			req.SetRequestURI(servers[0].URL + "/v2/models/m/infer")
			req.Header.SetMethod(http.MethodPost)
			req.SetBodyString(body)
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if err := c.Do(&req, &resp); err != nil || resp.StatusCode() != 200 {
					b.Fatal(err, resp.StatusCode(), string(resp.Body()))
				}
			}
			c.CloseIdleConnections()
		})
	}
}
