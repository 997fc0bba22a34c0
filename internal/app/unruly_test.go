package app

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// unruly is a worker that gives back what it is sent and, for a share of the requests, does
// not keep to the protocol.
type unruly struct {
	net.Listener
	conns sync.WaitGroup
	mu    sync.Mutex
	open  map[net.Conn]bool
}

func newUnruly(t *testing.T) *unruly {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &unruly{Listener: ln, open: map[net.Conn]bool{}}
	u.conns.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			u.mu.Lock()
			u.open[c] = true
			u.mu.Unlock()
			u.conns.Go(func() {
				u.serve(c)
				_ = c.Close()
				u.mu.Lock()
				delete(u.open, c)
				u.mu.Unlock()
			})
		}
	})
	return u
}

func (u *unruly) stop() {
	_ = u.Close()
	u.mu.Lock()
	for c := range u.open {
		_ = c.Close()
	}
	u.mu.Unlock()
	u.conns.Wait()
}

func (u *unruly) serve(c net.Conn) {
	r := bufio.NewReader(c)
	for {
		early := rand.IntN(40) == 0
		q, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		infer := strings.HasSuffix(q.URL.Path, "/infer")
		if early && infer { // before the request is there
			_, _ = io.WriteString(c, "HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\n{}")
			return
		}
		var in struct {
			ID     string
			Inputs []struct {
				Shape []int
				Data  []json.Number
			}
		}
		body, err := io.ReadAll(q.Body)
		if err != nil {
			return
		}
		out := "{}"
		switch {
		case infer:
			if err := json.Unmarshal(body, &in); err != nil || len(in.Inputs) != 1 {
				return
			}
			data, _ := json.Marshal(in.Inputs[0].Data)
			out = fmt.Sprintf(`{"model_name":"m","id":%q,"outputs":[{"name":"y","datatype":"FP32","shape":[%d,1],"data":%s}]}`, in.ID, in.Inputs[0].Shape[0], data)
		case q.URL.Path == "/v2/models/m":
			out = `{"name":"m","inputs":[{"name":"x","datatype":"FP32","shape":[-1,1]}],"outputs":[{"name":"y","datatype":"FP32","shape":[-1,1]}]}`
		}
		whole := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(out), out)
		if !infer {
			if _, err := io.WriteString(c, whole); err != nil {
				return
			}
			continue
		}
		switch rand.IntN(24) {
		case 0: // says nothing
			return
		case 1: // resets
			_ = c.(*net.TCPConn).SetLinger(0)
			return
		case 2: // breaks off
			_, _ = io.WriteString(c, whole[:rand.IntN(len(whole))])
			return
		case 3: // answers twice
			_, _ = io.WriteString(c, whole+whole)
			continue
		case 4: // closes without having said so
			_, _ = io.WriteString(c, whole)
			return
		case 5: // in pieces
			for len(whole) > 0 {
				n := min(len(whole), 1+rand.IntN(40))
				if _, err := io.WriteString(c, whole[:n]); err != nil {
					return
				}
				whole = whole[n:]
				runtime.Gosched()
			}
			continue
		case 6:
			whole = fmt.Sprintf("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(out), out)
		case 7: // ends its side, but goes on
			_, _ = io.WriteString(c, whole)
			_ = c.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, r)
			return
		case 8:
			whole = "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"
		case 9:
			<-time.After(time.Duration(rand.IntN(5)) * time.Millisecond)
		}
		if _, err := io.WriteString(c, whole); err != nil {
			return
		}
	}
}
