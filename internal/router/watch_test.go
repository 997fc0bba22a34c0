package router

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// received reads what a connection gets, unguarded.
type received struct{ *clientConn }

func (r received) Read(p []byte) (int, error) { return r.receive(p) }

// A watch notices that the client leaves, at the very instant, and loses
// nothing of what it sends.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		conn := connOf(server, 64*time.Second, 64*time.Second, 64*time.Second)
		if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		var left time.Time
		watch := func() { conn.watch(func() { left = time.Now() }) }

		watch()
		if _, err := io.WriteString(client, "abc"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // on synctest's clock; the read deadline passes
		conn.endWatch()
		watch()
		conn.endWatch()
		if !left.IsZero() {
			t.Error("a client that is there has left")
		}
		watch()
		if _, err := io.WriteString(client, "def"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		conn.endWatch()
		got := make([]byte, 2)
		for _, want := range []string{"ab", "cd", "ef"} {
			if _, err := io.ReadFull(received{conn}, got); err != nil || string(got) != want {
				t.Errorf("read %q, %v; want %q", got, err, want)
			}
		}

		began := time.Now()
		if err := conn.SetReadDeadline(began.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.receive(got); err == nil || time.Since(began) < 59*time.Second {
			t.Errorf("after a watch, a read with a minute to go ended after %v with %v", time.Since(began), err)
		}
		watch()
		time.Sleep(time.Minute)
		closed := time.Now()
		_ = client.Close()
		synctest.Wait()
		if !left.Equal(closed) {
			t.Errorf("the client left at %v, noticed at %v", closed, left)
		}
		conn.endWatch()
		if _, err := conn.receive(got); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a read from a client that left gives %v", err)
		}
	})
}

// What a client sends without waiting is bounded.
func TestWatchIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		conn := connOf(server, time.Minute, time.Minute, time.Minute)
		conn.watch(func() {})
		wrote := make(chan int)
		go func() {
			n, _ := client.Write(make([]byte, 3*aheadSize))
			wrote <- n
		}()
		synctest.Wait()
		conn.endWatch()
		if len(conn.ahead) != aheadSize {
			t.Errorf("the watch took in %d bytes, want %d", len(conn.ahead), aheadSize)
		}
		if _, err := io.ReadFull(received{conn}, make([]byte, 3*aheadSize)); err != nil {
			t.Error(err)
		}
		if n := <-wrote; n != 3*aheadSize {
			t.Errorf("%d bytes were taken", n)
		}
	})
}
