package router

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"motley/internal/live"
)

// TestFrontSlowAndGone: among clients that take large answers in slowly, or leave within
// them, each that stays gets its own answers, whole, and no descriptor is left.
func TestFrontSlowAndGone(t *testing.T) {
	if !onReactors {
		t.Skip("no reactors in this round")
	}
	count := func() int {
		d, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip("cannot count descriptors: ", err)
		}
		return len(d)
	}
	f := newFixture(t, nil)
	f.loop.set(func(r *live.Request) error {
		runtime.Gosched()
		return answerWith(strings.Repeat("x", 1+rand.IntN(2<<20)), -1)(r)
	})
	before := count()
	one := func(me, round int) error {
		conn, err := f.connect()
		if err != nil {
			return err
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_ = conn.(*net.TCPConn).SetReadBuffer(256 << 10)
		const n = 3
		var all strings.Builder
		for i := range n {
			all.WriteString(post(validInfer, fmt.Sprintf("X-Request-Id: %d.%d.%d", me, round, i)))
		}
		if _, err := io.WriteString(conn, all.String()); err != nil {
			return err
		}
		r := bufio.NewReaderSize(conn, 16<<10)
		leave := rand.IntN(5)
		for i := range n {
			if leave == i {
				_, _ = r.Peek(1) // the answer has begun
				_ = conn.(*net.TCPConn).SetLinger(rand.IntN(2) - 1)
				return nil
			}
			res, err := http.ReadResponse(r, nil)
			if err != nil {
				return fmt.Errorf("answer %d: %w", i, err)
			}
			body, err := io.ReadAll(res.Body)
			if want := fmt.Sprintf("%d.%d.%d", me, round, i); err != nil || res.StatusCode != 200 || res.Header.Get("X-Request-Id") != want {
				return fmt.Errorf("answer %s: status %d, %d bytes, %v, for %s", want, res.StatusCode, len(body), err, res.Header.Get("X-Request-Id"))
			}
		}
		return nil
	}
	var clients sync.WaitGroup
	for me := range 10 {
		clients.Go(func() {
			for round := range 6 {
				if err := one(me, round); err != nil {
					t.Errorf("client %d, round %d: %v", me, round, err)
					return
				}
			}
		})
	}
	clients.Wait()
	for deadline := time.Now().Add(5 * time.Second); count() > before || f.server.open.Load() > 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d descriptors, there were %d; %d connections", count(), before, f.server.open.Load())
		}
	}
}
