package app

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"motley/internal/config"
)

// descriptors is how many this process has.
func descriptors(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("cannot count descriptors: ", err)
	}
	return len(d)
}

// storm is a client that is right in what it asks, and careless in all else.
func storm(addr string, me, rounds int) error {
	var conn net.Conn
	var r *bufio.Reader
	defer func() {
		if conn != nil {
			_ = conn.Close()
		}
	}()
	for round := range rounds {
		if conn == nil {
			var err error
			if conn, err = net.Dial("tcp", addr); err != nil {
				return err
			}
			_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
			r = bufio.NewReader(conn)
		}
		var all strings.Builder
		n := 1 + rand.IntN(4)
		var want []string // the number that the answer has; "" = not an inference
		for i := range n {
			value := strconv.Itoa(me*10000 + round*10 + i)
			pad := ""
			switch rand.IntN(12) {
			case 0:
				all.WriteString("GET /v2/health/live HTTP/1.1\r\nHost: h\r\n\r\n")
				want = append(want, "")
				continue
			case 1:
				pad = strings.Repeat(" ", 130<<10)
			case 2:
				pad = strings.Repeat(" ", 3<<10)
			}
			body := `{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":[` + value + `]}]}` + pad
			want = append(want, "["+value+"]")
			if rand.IntN(20) == 0 {
				fmt.Fprintf(&all, "POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body)
			} else {
				fmt.Fprintf(&all, "POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			}
		}
		how := rand.IntN(10)
		text := all.String()
		if how == 0 { // leaves in the middle, or before the answer
			_, _ = io.WriteString(conn, text[:rand.IntN(len(text)+1)])
			if rand.IntN(2) == 0 {
				_ = conn.(*net.TCPConn).SetLinger(0)
			}
			_ = conn.Close()
			conn = nil
			continue
		}
		wrote := make(chan error, 1)
		go func(c net.Conn) {
			for len(text) > 0 {
				n := len(text)
				if how == 1 {
					n = min(n, 1+rand.IntN(1+len(all.String())/8))
				}
				if _, err := io.WriteString(c, text[:n]); err != nil {
					wrote <- err
					return
				}
				text = text[n:]
			}
			wrote <- nil
		}(conn)
		for i, w := range want {
			res, err := http.ReadResponse(r, nil)
			if err != nil {
				return fmt.Errorf("client %d, round %d, answer %d of %d: %w", me, round, i, n, err)
			}
			body, err := io.ReadAll(res.Body)
			switch {
			case err != nil:
				return err
			case w == "" && (res.StatusCode != 200 || len(body) > 0),
				w != "" && res.StatusCode == 200 && !strings.Contains(string(body), w),
				w != "" && res.StatusCode < 500 && res.StatusCode != 200:
				return fmt.Errorf("client %d, round %d, answer %d of %d: %d: %s; want %s", me, round, i, n, res.StatusCode, body, w)
			}
		}
		if err := <-wrote; err != nil {
			return err
		}
	}
	return nil
}

// TestStorm: among clients that leave at any moment and workers that do not keep to the
// protocol every request is answered, with its own answer or an error, and no
// descriptor and no goroutine is left in the end.
func TestStorm(t *testing.T) {
	fds, routines := descriptors(t), runtime.NumGoroutine()
	workers := ""
	var all []*unruly
	for i := range 3 {
		u := newUnruly(t)
		all = append(all, u)
		workers += fmt.Sprintf("  - {name: w%d, type: t, models: [m], remote: {url: \"http://%s\", connections: 4}}\n", i, u.Addr())
	}
	cfg, err := config.Parse("storm", []byte("models: [{name: m, qos: {target: 5s}}]\ninstance_types: [{name: t}]\nworkers:\n"+workers))
	if err != nil {
		t.Fatal(err)
	}
	s := serveConfig(t, cfg, Options{})
	var clients sync.WaitGroup
	errs := make(chan error, 100)
	for c := range 24 {
		clients.Go(func() {
			if err := storm(s.addr, c, 20); err != nil {
				errs <- err
			}
		})
	}
	clients.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	s.stop(t)
	for _, u := range all {
		u.stop()
	}
	for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		f, n := descriptors(t), runtime.NumGoroutine()
		if f <= fds && n <= routines+1 { // the HTTP library keeps one for the date
			break
		}
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d descriptors, there were %d; %d goroutines, there were %d\n%s", f, fds, n, routines, buf[:runtime.Stack(buf, true)])
		}
	}
}
