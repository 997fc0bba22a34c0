//go:build !race

package backend

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"motley/internal/oip"
)

// frugal answers every request with the same bytes and allocates nothing, so
// that the counts are the client's alone.
func frugal(raw string) func(int, net.Conn, *bufio.Reader) {
	return func(_ int, c net.Conn, br *bufio.Reader) {
		out, field, length := []byte(raw), []byte("Content-Length: "), 0
		for {
			line, err := br.ReadSlice('\n')
			if err != nil {
				return
			}
			if value, ok := bytes.CutPrefix(line, field); ok {
				length = 0
				for _, d := range bytes.TrimSpace(value) {
					length = 10*length + int(d-'0')
				}
			}
			if len(line) > 2 {
				continue
			}
			if _, err := br.Discard(length); err != nil {
				return
			}
			if _, err := c.Write(out); err != nil {
				return
			}
		}
	}
}

// What a Run allocates on a warm connection: nothing, but for the abort that
// it registers with a context that can end. Each such Run has a context of
// its own here, whose making is the caller's and not counted; three of the five
// are what a context makes when something is first registered with it.
func TestRemoteAllocations(t *testing.T) {
	y := make([]byte, 0, 64)
	y = appendFloats(y, 2, 4, 6, 8)
	binaryHead := `{"model_name":"double","outputs":[{"name":"y","datatype":"FP32","shape":[2,2],"parameters":{"binary_data_size":16}}]}`
	binaryAnswer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nInference-Header-Content-Length: %d\r\nContent-Length: %d\r\n\r\n%s%s",
		len(binaryHead), len(binaryHead)+16, binaryHead, y)
	for _, tc := range []struct {
		name   string
		answer string
		calls  []*Call
		cancel bool
		max    float64
	}{
		{"single JSON", httpReply(200, goodAnswer), []*Call{named(jsonCall(t, "a", "", [2]float32{1, 2}), "run-7", exampleTrace, "x=1")}, false, 0},
		{"single JSON, cancellable", httpReply(200, goodAnswer), []*Call{jsonCall(t, "a", "", [2]float32{1, 2})}, true, 5},
		{"single binary, cancellable", binaryAnswer, []*Call{binaryCall(t, "a", [2]float32{1, 2}, [2]float32{3, 4})}, true, 5},
		{"merged binary, cancellable", binaryAnswer, []*Call{binaryCall(t, "a", [2]float32{1, 2}), binaryCall(t, "b", [2]float32{3, 4})}, true, 5},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRemote(t, RemoteConfig{URL: rawServer(t, frugal(tc.answer)), Binary: "on"})
			const model = "a-model-with-a-name-of-a-length-that-is-not-unheard-of-elsewhere"
			ctx := context.Background()
			run := func() {
				if err := r.Run(ctx, model, tc.calls); err != nil {
					t.Fatal(err)
				}
			}
			run()
			own := 0.0
			work := run
			if tc.cancel {
				own = testing.AllocsPerRun(200, func() {
					_, cancel := context.WithCancel(context.Background())
					cancel()
				})
				work = func() {
					var cancel context.CancelFunc
					ctx, cancel = context.WithCancel(context.Background())
					run()
					cancel()
				}
			}
			got := testing.AllocsPerRun(500, work) - own
			t.Logf("%.1f allocations per Run, %.0f in the context's making", got, own)
			if got > tc.max {
				t.Errorf("%.1f allocations per Run, want at most %.0f", got, tc.max)
			}
			var resp oip.Response
			if err := resp.Parse(tc.calls[0].Response.Body, tc.calls[0].Response.HeadLength, nil); err != nil {
				t.Error(err)
			}
		})
	}
}

// On a context that others use as well.
func TestRemoteAllocationsOnASharedContext(t *testing.T) {
	r := newRemote(t, RemoteConfig{URL: rawServer(t, frugal(httpReply(200, goodAnswer)))})
	calls := []*Call{jsonCall(t, "a", "", [2]float32{1, 2})}
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	run := func() {
		if err := r.Run(ctx, "double", calls); err != nil {
			t.Fatal(err)
		}
	}
	run()
	got := testing.AllocsPerRun(500, run)
	t.Logf("%.1f allocations per Run", got)
	if got > 2 {
		t.Errorf("%.1f allocations per Run, want at most 2", got)
	}
}
