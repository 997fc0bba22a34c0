package backend_test

import (
	"bytes"
	"net"
	"sync"
	"testing"

	"motley/internal/backend"
	"motley/internal/backend/backendtest"
	"motley/internal/oip"
)

// recorder keeps what is written to connections.
type recorder struct {
	mu  sync.Mutex
	all []byte
}

func (r *recorder) dial(addr string) (net.Conn, error) {
	c, err := net.Dial("tcp", addr)
	return recorded{c, r}, err
}

type recorded struct {
	net.Conn
	r *recorder
}

func (c recorded) Write(p []byte) (int, error) {
	c.r.mu.Lock()
	c.r.all = append(c.r.all, p...)
	c.r.mu.Unlock()
	return c.Conn.Write(p)
}

// Staged executions are called by their names, too.
func TestRemoteStagedNamesTheBatch(t *testing.T) {
	for _, mode := range []string{oip.ModeDecoupled, oip.ModeMultiOutput} {
		var sent recorder
		r := ramped(t, &backendtest.Ramped{Properties: map[string]string{oip.MetaMode: mode}}, backend.RemoteConfig{Dial: sent.dial})
		calls := []*backend.Call{rampedCall(t, false, "", four(0, 3)), rampedCall(t, false, "", four(1, 3))}
		calls[0].ID = []byte("batch-1")
		calls[0].Trace.Parse([]byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
		if err := r.RunStaged(t.Context(), "ramped", calls, &watcher{calls: calls}); err != nil {
			t.Fatal(mode, err)
		}
		if n := bytes.Count(sent.all, []byte("\r\nX-Request-Id: batch-1\r\nTraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n")); n != 1 {
			t.Errorf("%s: the names were sent %d times:\n%s", mode, n, sent.all)
		}
	}
}
