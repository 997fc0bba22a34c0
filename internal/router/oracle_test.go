package router

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestStricterThanProxies sends the transcript of framing through nginx and HAProxy: what either of them
// refuses to pass on, this server must refuse, too.
func TestStricterThanProxies(t *testing.T) {
	if onReactors || testing.Short() {
		t.Skip("once is enough, and not in short runs: what this server answers is in the transcripts")
	}
	f := newFixture(t, hostileConfig)
	dial := f.tcp()
	upstream := dial().RemoteAddr().String()
	text, err := os.ReadFile("testdata/hostile/framing.txt")
	if err != nil {
		t.Fatal(err)
	}
	// Refused by a proxy for reasons that have nothing to do with where a request ends.
	ours := map[string][]string{
		"nginx": {
			"head: bytes past ASCII in a value",
		},
		"haproxy": {},
	}
	for _, proxy := range []struct {
		name, conf string
		args       []string
	}{
		{"nginx", `daemon off; pid DIR/pid; error_log DIR/log crit; worker_processes 1; USER
events {}
http { access_log off; client_body_temp_path DIR/a; proxy_temp_path DIR/b; fastcgi_temp_path DIR/c; uwsgi_temp_path DIR/d; scgi_temp_path DIR/e;
 server { listen ADDR; location / { proxy_pass http://UPSTREAM; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host h; } } }
`, []string{"-p", "DIR", "-c", "DIR/conf"}},
		{"haproxy", `defaults
 mode http
 timeout connect 2s
 timeout client 2s
 timeout server 2s
 option http-buffer-request
frontend f
 bind ADDR
 default_backend b
backend b
 server s UPSTREAM
`, []string{"-db", "-f", "DIR/conf"}},
	} {
		t.Run(proxy.name, func(t *testing.T) {
			bin, err := exec.LookPath(proxy.name)
			if err != nil {
				t.Skipf("%s is not there: nothing to compare with", proxy.name)
			}
			addr := startProxy(t, bin, proxy.conf, upstream, proxy.args)
			refused, stricter := 0, 0
			for _, c := range strings.Split(string(text), "== ")[1:] {
				request, want, _ := strings.Cut(c, "\n--\n")
				title, _, _ := strings.Cut(request, "\n")
				h := parseHostile(t, request)
				theirs := firstStatus(t, addr, h)
				own := strings.Fields(want + " 0")[0]
				accepted := own[0] == '1' || own[0] == '2' || own == "404"
				switch {
				case theirs == 400 || theirs == 501 || theirs == 505 || theirs == 417 || theirs == 431 || theirs == 0:
					refused++
					if accepted && !slices.Contains(ours[proxy.name], title) {
						t.Errorf("%s: %s answers %d, this server %s", title, proxy.name, theirs, own)
					}
				case !accepted:
					stricter++
				}
			}
			t.Logf("%s refuses %d; %d more are refused here", proxy.name, refused, stricter)
		})
	}
}

func startProxy(t *testing.T, bin, conf, upstream string, args []string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_ = ln.Close()
	dir := t.TempDir()
	user := ""
	if os.Getuid() == 0 {
		user = "user root;"
	}
	fill := strings.NewReplacer("DIR", dir, "ADDR", addr, "UPSTREAM", upstream, "USER", user)
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte(fill.Replace(conf)), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var own []string
	for _, a := range args {
		own = append(own, fill.Replace(a))
	}
	cmd := exec.CommandContext(ctx, bin, own...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(patience); ; {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
			return addr
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not listen: %v\n%s", bin, err, out.String())
		}
	}
}

// firstStatus is the status of a proxy's first answer; 0: it closed the connection, and
// 200 for what it has passed on and this server has refused.
func firstStatus(t *testing.T, addr string, h hostile) int {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	go func() {
		_, _ = io.WriteString(c, h.wire)
		if h.end {
			_ = c.(*net.TCPConn).CloseWrite()
		}
	}()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); strings.HasPrefix(string(body), `{"error"`) {
		return 200
	}
	return res.StatusCode
}
