package remote

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"motley/internal/gpu/device"
)

func page(t testing.TB, file string) string {
	t.Helper()
	data, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// serve answers every request with what f writes.
func serve(t *testing.T, f http.HandlerFunc) Options {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return Options{URL: s.URL + "/metrics", Limit: 5 * time.Second}
}

func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) }
}

func TestDCGM(t *testing.T) {
	e, err := NewExporter(serve(t, text(page(t, "dcgm.txt"))))
	if err != nil {
		t.Fatal(err)
	}
	p, err := e.Read(t.Context())
	if err != nil || len(p.Devices) != 2 {
		t.Fatalf("%+v, %v", p, err)
	}
	d, s := p.Devices[0], p.Samples[0]
	if d.ID != "GPU-aaa" || d.MemoryBytes != 3072<<20 {
		t.Errorf("%+v", d)
	}
	if s.SMClockMHz != device.Of(1410) || s.TemperatureC != device.Of(71) || s.Utilisation != device.Of(0.97) || s.MemoryUsed != device.Of(2048<<20) ||
		s.Throttle != device.HWSlowdown|device.HWThermal || s.ECC.VolatileUncorrected != device.Of(1) || !s.Rows.Failed || len(s.XIDs) != 1 || s.XIDs[0] != (device.XID{Seq: 1, Code: 94}) {
		t.Errorf("%+v", s)
	}
	d, s = p.Devices[1], p.Samples[1]
	if d.ID != "GPU-bbb/2" || d.Parent != "GPU-bbb" || d.Kind != device.MIG || d.Slice.GPUInstance != 2 {
		t.Errorf("%+v", d)
	}
	if s.TemperatureC.Known || len(s.XIDs) != 0 || strings.Join(s.Missing, " ") != "utilisation memory_used temperature power ecc_volatile_uncorrected pcie_replay" {
		t.Errorf("%+v", s)
	}
}

// The last XID stays on a DCGM exporter's page: only a change is a new one.
func TestStickyXID(t *testing.T) {
	code := "94"
	e, err := NewExporter(serve(t, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `DCGM_FI_DEV_XID_ERRORS{gpu="0",UUID="GPU-a"} `+code+"\n")
	}))
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		code string
		seq  uint64
	}{{"94", 1}, {"94", 1}, {"79", 2}, {"79", 2}, {"94", 3}, {"0", 0}, {"94", 4}} {
		code = c.code
		p, err := e.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var seq uint64
		if x := p.Samples[0].XIDs; len(x) > 0 {
			seq = x[0].Seq
		}
		if seq != c.seq {
			t.Errorf("step %d, XID %s: number %d, want %d", i, c.code, seq, c.seq)
		}
	}
}

func TestTriton(t *testing.T) {
	e, err := NewExporter(serve(t, text(page(t, "triton.txt"))))
	if err != nil {
		t.Fatal(err)
	}
	p, err := e.Read(t.Context())
	if err != nil || len(p.Devices) != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	s := p.Samples[0]
	if p.Devices[0].ID != "GPU-ccc" || p.Devices[0].MemoryBytes != 40<<30 || s.Utilisation != device.Of(0.25) ||
		s.MemoryUsed != device.Of(33763098624) || s.PowerW != device.Of(51.091) || s.PowerLimitW != device.Of(400) {
		t.Errorf("%+v %+v", p.Devices[0], s)
	}
}

// endless writes forever.
type endless struct{ line []byte }

func (e endless) writeTo(w io.Writer, n int) {
	for sent := 0; sent < n; sent += len(e.line) {
		if _, err := w.Write(e.line); err != nil {
			return
		}
	}
}

// Whatever a page does, it is an error within its time, for both kinds.
func TestBadPages(t *testing.T) {
	whole := page(t, "dcgm.txt")
	long := endless{bytes.Repeat([]byte("# filler\n"), 8192)}
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	for _, c := range []struct {
		name, want string
		serve      http.HandlerFunc
	}{
		{"100 MB, no length", "4 MiB", func(w http.ResponseWriter, _ *http.Request) { long.writeTo(w, 100<<20) }},
		{"100 MB, by its length", "4 MiB", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "104857600")
			long.writeTo(w, 100<<20)
		}},
		{"cut in a line", "cannot", text(whole[:len(whole)-30])},
		{"cut at a line, against its length", "too early", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100000")
			io.WriteString(w, whole)
		}},
		{"nothing", "cannot", text("")},
		{"no GPU", "cannot", text("up 1\n")},
		{"a web page", "cannot", text("<html>hello</html>")},
		{"error", "status 503", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }},
		{"elsewhere", "status 302", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/else", http.StatusFound) }},
		{"no answer", "deadline", func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}},
	} {
		opt := serve(t, c.serve)
		if c.name == "no answer" {
			opt.Limit = 50 * time.Millisecond
		}
		e, err1 := NewExporter(opt)
		a, err2 := NewAgent(opt)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		for _, source := range []interface {
			Read(context.Context) (device.Page, error)
		}{e, a} {
			p, err := source.Read(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) || len(p.Devices) > 0 {
				t.Errorf("%s, %T: %v, want %q", c.name, source, err, c.want)
			}
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, u := range []string{"", "host:9400", "ftp://host/", "http://", "http://a b/"} {
		_, err1 := NewAgent(Options{URL: u})
		_, err2 := NewExporter(Options{URL: u})
		if err1 == nil || err2 == nil {
			t.Errorf("%q: %v, %v", u, err1, err2)
		}
	}
}

// An agent behind TLS is asked only with a certificate that is trusted.
func TestTLS(t *testing.T) {
	want := device.Page{Devices: []device.Device{{ID: "GPU-a", Kind: device.GPU}}, Samples: []device.Sample{{Device: "GPU-a", Access: device.Lost}}}
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := json.NewEncoder(w).Encode(want); err != nil {
			t.Error(err)
		}
	}))
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	trusting := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
	a, err := NewAgent(Options{URL: s.URL + "/v1/devices", Client: trusting})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := a.Read(t.Context()); err != nil || len(p.Samples) != 1 || p.Samples[0].Access != device.Lost {
		t.Errorf("%+v, %v", p, err)
	}
	a, err = NewAgent(Options{URL: s.URL + "/v1/devices"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Read(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown certificate: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(page(f, "dcgm.txt")))
	f.Add([]byte(page(f, "triton.txt")))
	f.Add([]byte("DCGM_FI_DEV_FB_TOTAL{UUID=\"x\"} 1e300\nDCGM_FI_DEV_XID_ERRORS{UUID=\"x\"} NaN\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parse(data)
		if err != nil {
			return
		}
		// What is accepted can be handed on.
		out, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := device.ParsePage(out); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	})
}
