package app

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"motley/internal/config"
	"motley/internal/tlstest"
)

// overTLS is one TLS connection, one request on it, and the certificate that the
// server showed.
func overTLS(address string, c *tls.Config, request string) (answer string, shown *x509.Certificate, err error) {
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 10 * time.Second}, Config: c}
	conn, err := d.Dial("tcp", address)
	if err != nil {
		return "", nil, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		return "", nil, err
	}
	b, err := io.ReadAll(conn)
	state := conn.(*tls.Conn).ConnectionState()
	if len(b) > 0 {
		return string(b), state.PeerCertificates[0], nil
	}
	return "", nil, fmt.Errorf("no answer: %w", err)
}

const aliveRequest = "GET /v2/health/live HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"

// Who may speak to the router, by what it asks of them.
func TestTLSForClients(t *testing.T) {
	ours, others := tlstest.New(t), tlstest.New(t)
	cert, key := ours.Issue("127.0.0.1")
	for _, c := range []struct {
		name       string
		auth       string // empty: no client_ca_file
		client     *tls.Config
		max        uint16
		min        string
		wellFormed bool
	}{
		{"no certificate is asked for", "", ours.Client(""), 0, "1.2", true},
		{"one is shown all the same", "", mixed(ours, others), 0, "1.2", true},
		{"the server is another's", "", others.Client(""), 0, "1.2", false},
		{"required, none", "required", ours.Client(""), 0, "1.2", false},
		{"required, ours", "required", ours.Client("somebody"), 0, "1.2", true},
		{"required, another's", "required", mixed(ours, others), 0, "1.2", false},
		{"optional, none", "optional", ours.Client(""), 0, "1.2", true},
		{"optional, ours", "optional", ours.Client("somebody"), 0, "1.2", true},
		{"optional, another's", "optional", mixed(ours, others), 0, "1.2", false},
		{"TLS 1.1", "", ours.Client(""), tls.VersionTLS11, "1.2", false},
		{"TLS 1.2", "", ours.Client(""), tls.VersionTLS12, "1.2", true},
		{"TLS 1.2 where 1.3 is the least", "", ours.Client(""), tls.VersionTLS12, "1.3", false},
		{"TLS 1.3", "required", ours.Client("somebody"), tls.VersionTLS13, "1.3", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := quickstart(t, "")
			cfg.TLS = &config.ServerTLS{CertFile: cert, KeyFile: key, MinVersion: c.min, ClientAuth: c.auth}
			if c.auth != "" {
				cfg.TLS.ClientCAFile = ours.CA
			}
			s := serveConfig(t, cfg, Options{})
			c.client.MaxVersion = c.max
			if c.max == tls.VersionTLS11 {
				c.client.MinVersion = tls.VersionTLS10
			}
			c.client.NextProtos = []string{"h2", "http/1.1"}
			answer, _, err := overTLS(s.addr, c.client, aliveRequest)
			if (err == nil) != c.wellFormed {
				t.Errorf("answer %q, %v", answer, err)
			}
			if c.wellFormed && !strings.HasPrefix(answer, "HTTP/1.1 200") {
				t.Errorf("answer %q", answer)
			}
		})
	}
}

// Who does not get so far as to send a request has sent none that is malformed.
func TestTLSFailedHandshakes(t *testing.T) {
	cfg := quickstart(t, "")
	cert, key := tlstest.New(t).Issue("127.0.0.1")
	cfg.TLS = &config.ServerTLS{CertFile: cert, KeyFile: key, MinVersion: "1.2"}
	s := serveConfig(t, cfg, Options{})
	for _, first := range []string{"", aliveRequest, "\x16\x03\x01\x00\x05hello"} {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.WriteString(c, first); err != nil {
			t.Fatal(err)
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, c) // until it is closed
		_ = c.Close()
	}
	if page := s.page(t, "/metrics"); !strings.Contains(page, "\nmotley_malformed_requests_total 0\n") {
		t.Error("they count as malformed requests")
	}
}

// mixed trusts the first authority and shows a certificate of the second.
func mixed(trusts, shows *tlstest.Authority) *tls.Config {
	c := trusts.Client("")
	c.Certificates = shows.Client("somebody").Certificates
	return c
}

// The admin listener speaks TLS as well, and asks for certificates.
func TestTLSForOperators(t *testing.T) {
	ours := tlstest.New(t)
	cfg := quickstart(t, "")
	cert, key := ours.Issue("127.0.0.1")
	cfg.Admin.TLS = &config.ServerTLS{CertFile: cert, KeyFile: key, ClientCAFile: ours.CA, MinVersion: "1.2"}
	s := serveConfig(t, cfg, Options{})
	request := strings.Replace(aliveRequest, "/v2/health/live", "/metrics", 1)
	request = strings.Replace(request, "Host: h", "Host: localhost", 1)
	if answer, _, err := overTLS(s.admin, ours.Client("prometheus"), request); err != nil || !strings.HasPrefix(answer, "HTTP/1.1 200") {
		t.Errorf("with a certificate: %v: %.100s", err, answer)
	}
	if answer, _, err := overTLS(s.admin, ours.Client(""), request); err == nil {
		t.Errorf("without one: %.100s", answer)
	}
	if status, _ := get(t, "GET", "http://"+s.addr+"/v2/health/live", ""); status != 200 {
		t.Errorf("clients without TLS: %d", status)
	}
}

// New certificates are taken in without a lost request, broken ones are not.
func TestTLSReload(t *testing.T) {
	ours := tlstest.New(t)
	cfg := quickstart(t, "")
	cert, key := ours.Issue("127.0.0.1", "first")
	cfg.TLS = &config.ServerTLS{CertFile: cert, KeyFile: key, MinVersion: "1.2"}
	s := serveConfig(t, cfg, Options{})
	names := func() string {
		_, shown, err := overTLS(s.addr, ours.Client(""), aliveRequest)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(shown.DNSNames)
	}
	copyFile := func(from, to string) {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stop, failures := make(chan struct{}), atomic.Int64{}
	var clients sync.WaitGroup
	trust := ours.Client("")
	clients.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if _, _, err := overTLS(s.addr, trust, aliveRequest); err != nil {
					failures.Add(1)
				}
			}
		}
	})
	if got := names(); got != "[first]" {
		t.Errorf("at first %s", got)
	}
	for i := range 20 {
		name := fmt.Sprintf("n%d", i)
		c, k := ours.Issue("127.0.0.1", name)
		copyFile(c, cert) // and the key does not match
		if _, err := s.app.prepareTLS(cfg); err == nil || !strings.Contains(err.Error(), "tls: ") {
			t.Fatalf("a certificate without its key: %v", err)
		}
		copyFile(k, key)
		commit, err := s.app.prepareTLS(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if got := names(); got == "["+name+"]" {
			t.Errorf("%s before it was committed", got)
		}
		commit()
		if got := names(); got != "["+name+"]" {
			t.Errorf("got %s, want %s", got, name)
		}
	}
	close(stop)
	clients.Wait()
	if n := failures.Load(); n > 0 {
		t.Errorf("%d connections failed", n)
	}
	off := *cfg
	off.TLS = nil
	if _, err := s.app.prepareTLS(&off); err == nil || !strings.Contains(err.Error(), "tls: cannot be switched") {
		t.Errorf("TLS switched off: %v", err)
	}
}

// A client that begins a handshake and says no more holds nobody up, and neither
// does one that is turned away.
func TestTLSSilentClients(t *testing.T) {
	ours := tlstest.New(t)
	cfg := quickstart(t, "")
	cert, key := ours.Issue("127.0.0.1")
	cfg.TLS = &config.ServerTLS{CertFile: cert, KeyFile: key, MinVersion: "1.2"}
	cfg.Limits.MaxConnections = 8
	s := serveConfig(t, cfg, Options{})
	var silent []net.Conn
	open := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	for range 7 {
		c := open()
		_, _ = c.Write([]byte{22, 3, 1, 2, 0}) // the head of a record
		silent = append(silent, c)
	}
	if answer, _, err := overTLS(s.addr, ours.Client(""), aliveRequest); err != nil || !strings.HasPrefix(answer, "HTTP/1.1 200") {
		t.Errorf("beside silent clients: %v: %s", err, answer)
	}
	for until := time.Now().Add(10 * time.Second); !strings.Contains(s.page(t, "/metrics"), "motley_client_connections 7\n"); {
		if time.Now().After(until) {
			t.Fatal("the connection that was answered is not closed")
		}
	}
	silent = append(silent, open())
	// The next ones are over the limit, and are cut off rather than waited for.
	for range 4 {
		c := open()
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
			t.Errorf("over the limit: %v", err)
		}
	}
	for _, c := range silent {
		_ = c.Close()
	}
}

// A worker behind TLS: its name is verified, it may ask for the router's
// certificate, and new certificates are for new connections.
func TestTLSForWorkers(t *testing.T) {
	ours, others := tlstest.New(t), tlstest.New(t)
	cert, key := ours.Issue("worker.example")
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	var shown atomic.Value
	w := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) > 0 {
			shown.Store(r.TLS.PeerCertificates[0].Subject.CommonName)
		}
		_, _ = io.WriteString(w, `{"name":"m","inputs":[{"name":"x","datatype":"FP32","shape":[-1,1]}],"outputs":[{"name":"y","datatype":"FP32","shape":[-1,1]}]}`)
	}))
	w.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ours.Client("").RootCAs}
	w.Config.ErrorLog = log.New(io.Discard, "", 0)
	w.StartTLS()
	defer w.Close()
	own, ownKey := ours.Issue("router")
	for _, c := range []struct {
		name string
		tls  config.RemoteTLS
		up   bool
	}{
		{"all is right", config.RemoteTLS{CAFile: ours.CA, CertFile: own, KeyFile: ownKey, ServerName: "worker.example"}, true},
		{"another name", config.RemoteTLS{CAFile: ours.CA, CertFile: own, KeyFile: ownKey}, false},
		{"another authority", config.RemoteTLS{CAFile: others.CA, CertFile: own, KeyFile: ownKey, ServerName: "worker.example"}, false},
		{"the system's authorities", config.RemoteTLS{CertFile: own, KeyFile: ownKey, ServerName: "worker.example"}, false},
		{"no certificate of its own", config.RemoteTLS{CAFile: ours.CA, ServerName: "worker.example"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, err := config.Parse("test", fmt.Appendf(nil, "models: [{name: m}]\ninstance_types: [{name: t}]\nworkers: [{name: w, type: t, remote: {url: %q}}]\n", w.URL))
			if err != nil {
				t.Fatal(err)
			}
			cfg.Workers[0].Remote.TLS = &c.tls
			s := serveConfig(t, cfg, Options{})
			if up := strings.Contains(s.page(t, "/metrics"), `motley_worker_up{instance_type="t",worker="w"} 1`); up != c.up {
				t.Errorf("up: %v", up)
			}
			if _, err := s.app.prepareTLS(cfg); err != nil {
				t.Errorf("a reload: %v", err)
			}
		})
	}
	if shown.Load() != "router" {
		t.Errorf("the worker saw %v", shown.Load())
	}
}

// A handshake that does not get on is ended after its time, however the client drips.
func TestTLSHandshakeIsBounded(t *testing.T) {
	cert, key := tlstest.New(t).Issue("127.0.0.1")
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		dripped := make(chan struct{})
		defer func() {
			_ = client.Close()
			<-dripped
		}()
		c := &fastConn{Conn: tls.Server(server, &tls.Config{Certificates: []tls.Certificate{pair}})}
		go func() {
			defer close(dripped)
			for _, b := range []byte{22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0} {
				if _, err := client.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		began := time.Now()
		if n, err := c.Read(make([]byte, 1)); err == nil || time.Since(began) != handshakeTime {
			t.Errorf("%d bytes, %v after %v", n, err, time.Since(began))
		}
		if _, err := c.Write([]byte("x")); err == nil {
			t.Error("written without a handshake")
		}
	})
}

// Streams and plain requests follow each other on one connection, as without TLS: who looks
// whether the client leaves does not take what it sends next.
func TestTLSStreamsAndRequests(t *testing.T) {
	ours := tlstest.New(t)
	cfg := quickstart(t, "")
	cfg.Models[0].QoS.Target = 20 * time.Second
	cert, key := ours.Issue("127.0.0.1")
	cfg.TLS = &config.ServerTLS{CertFile: cert, KeyFile: key, MinVersion: "1.2"}
	s := serveConfig(t, cfg, Options{})
	body, err := os.ReadFile("../../examples/infer.json")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", s.addr, ours.Client(""))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(60 * time.Second))
	in := bufio.NewReader(conn)
	for i := range 10 {
		verb := []string{"infer_stream", "infer"}[i%2]
		if _, err := fmt.Fprintf(conn, "POST /v2/models/fashion/%s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", verb, len(body), body); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != 200 || !strings.Contains(string(answer), `"expect-9"`) {
			t.Fatalf("%s: %d, %v: %.200s", verb, res.StatusCode, err, answer)
		}
	}
}
