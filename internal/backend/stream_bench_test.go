package backend

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"strconv"
	"testing"

	"motley/internal/oip"
)

// BenchmarkRemoteStaged: a ramp and the last exit over a loopback socket, both
// ends; the worker's answer stands ready.
func BenchmarkRemoteStaged(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	answer := []byte(streamHead + "Transfer-Encoding: chunked\r\n\r\n" + chunked(doubleRamp+doubleFinal, 4096))
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		for br := bufio.NewReader(c); ; {
			body := 0
			for {
				line, err := br.ReadSlice('\n')
				if err != nil {
					return
				}
				if n, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
					body, _ = strconv.Atoi(string(bytes.TrimSpace(n)))
				}
				if len(line) == 2 {
					break
				}
			}
			if _, err := br.Discard(body); err != nil {
				return
			}
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	}()
	r, err := NewRemote(RemoteConfig{URL: "http://" + l.Addr().String()})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	withRamp(r)
	q := new(oip.Request)
	if err := q.Parse([]byte(`{"id":"a","inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}]}`), -1, nil); err != nil {
		b.Fatal(err)
	}
	calls := []*Call{{Request: q}}
	b.ReportAllocs()
	for b.Loop() {
		if err := r.RunStaged(context.Background(), "double", calls, leaver{5}); err != nil {
			b.Fatal(err)
		}
	}
}
