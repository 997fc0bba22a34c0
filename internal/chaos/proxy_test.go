package chaos

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// echo is a server that gives back what it gets.
func echo(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() { _ = ln.Close(); all.Wait() })
	return ln.Addr().String()
}

func proxied(t *testing.T, plan Plan) (*Proxy, net.Conn, error) {
	t.Helper()
	p, err := NewProxy("127.0.0.1:0", echo(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	p.Set(plan)
	c, err := net.Dial("tcp", p.Address())
	if err != nil {
		return p, nil, err
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(200 * time.Millisecond))
	return p, c, nil
}

// TestProxy holds what the two ends see of each injury.
func TestProxy(t *testing.T) {
	said := bytes.Repeat([]byte("0123456789"), 20)
	for _, c := range []struct {
		name    string
		plan    Plan
		injured bool
		ok      func(got []byte, err error, took time.Duration) bool
	}{
		{"nothing", Plan{}, false, func(got []byte, err error, _ time.Duration) bool { return err == nil && bytes.Equal(got, said) }},
		{"late", Plan{Delay: 20 * time.Millisecond, Jitter: time.Millisecond}, false, func(got []byte, err error, took time.Duration) bool {
			return err == nil && bytes.Equal(got, said) && took >= 40*time.Millisecond
		}},
		{"in pieces", Plan{Chunk: 7}, false, func(got []byte, err error, _ time.Duration) bool { return err == nil && bytes.Equal(got, said) }},
		{"stalled", Plan{Stall: 1}, true, func(got []byte, err error, _ time.Duration) bool {
			return len(got) == 0 && errors.Is(err, os.ErrDeadlineExceeded)
		}},
		{"cut", Plan{Cut: 1}, true, func(got []byte, err error, _ time.Duration) bool {
			return len(got) < len(said) && err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
		}},
		{"ended", Plan{End: 1}, true, func(got []byte, err error, _ time.Duration) bool {
			return len(got) < len(said) && err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
		}},
		{"refused", Plan{Refuse: true}, true, func(got []byte, err error, _ time.Duration) bool {
			return len(got) == 0 && err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
		}},
	} {
		began := time.Now()
		p, conn, err := proxied(t, c.plan)
		got := make([]byte, len(said))
		n := 0
		if err == nil {
			_, err = conn.Write(said)
		}
		if err == nil {
			n, err = io.ReadFull(conn, got)
		}
		if took := time.Since(began); !c.ok(got[:n], err, took) || p.Injured() > 0 != c.injured {
			t.Errorf("%s: %d bytes, %v, after %v; %d injuries", c.name, n, err, took, p.Injured())
		}
	}
}

// TestProxySevers: connections there are end, new ones pass.
func TestProxySevers(t *testing.T) {
	p, c, err := proxied(t, Plan{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		t.Fatal(err)
	}
	p.Sever()
	if _, err := c.Read(b[:]); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection lives: %v", err)
	}
	again, err := net.Dial("tcp", p.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	_ = again.SetDeadline(time.Now().Add(time.Second))
	if _, err := again.Write([]byte("y")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(again, b[:]); err != nil || b[0] != 'y' {
		t.Errorf("%q, %v", b, err)
	}
}
