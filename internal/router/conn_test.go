package router

import (
	"errors"
	"net"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// recordingConn notes the deadlines that it is given.
type recordingConn struct {
	net.Conn
	read, write []time.Time
	err         error
}

func (c *recordingConn) Read([]byte) (int, error) { return 1, nil }
func (c *recordingConn) SetReadDeadline(t time.Time) error {
	c.read = append(c.read, t)
	return c.err
}

func (c *recordingConn) SetWriteDeadline(t time.Time) error {
	c.write = append(c.write, t)
	return c.err
}

// connOf is a connection with such timeouts.
func connOf(c net.Conn, read, idle, write time.Duration) *clientConn {
	return newClientConn(c, &Server{cfg: Config{ReadTimeout: read, IdleTimeout: idle, WriteTimeout: write}, started: time.Now()})
}

func at(ms int) time.Time { return time.UnixMilli(int64(1_000_000 + ms)) }

func TestClientConnReadDeadlines(t *testing.T) {
	type step struct {
		want time.Time
		read bool
	}
	// The slack is 6400 ms / 64 = 100 ms.
	for _, c := range []struct {
		name  string
		steps []step
		moved []time.Time
	}{
		{"no read, no move", []step{{at(0), false}, {at(5), false}}, nil},
		{"the last one before a read counts", []step{{at(900), false}, {at(500), true}}, []time.Time{at(500)}},
		{"early within the slack", []step{{at(0), true}, {at(60), true}, {at(100), true}}, []time.Time{at(0)}},
		{"early beyond the slack", []step{{at(0), true}, {at(101), true}}, []time.Time{at(0), at(101)}},
		{"never late", []step{{at(50), true}, {at(49), true}}, []time.Time{at(50), at(49)}},
		{"the slack does not add up", []step{{at(0), true}, {at(80), true}, {at(160), true}}, []time.Time{at(0), at(160)}},
		{"taken away, and set again", []step{{at(0), true}, {time.Time{}, true}, {time.Time{}, true}, {at(0), true}}, []time.Time{at(0), {}, at(0)}},
		{"none at all", []step{{time.Time{}, true}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw := &recordingConn{}
			conn := connOf(raw, 6400*time.Millisecond, 12*time.Second, time.Second)
			for _, s := range c.steps {
				if err := conn.SetReadDeadline(s.want); err != nil {
					t.Fatal(err)
				}
				if s.read {
					if _, err := conn.receive(nil); err != nil {
						t.Fatal(err)
					}
				}
			}
			if !slices.Equal(raw.read, c.moved) {
				t.Errorf("read deadlines %v, want %v", raw.read, c.moved)
			}
		})
	}
}

func TestClientConnWriteDeadlines(t *testing.T) {
	raw := &recordingConn{}
	conn := connOf(raw, time.Minute, time.Minute, 640*time.Millisecond)
	for _, ms := range []int{0, 10, 11, 20, 5} {
		if err := conn.SetWriteDeadline(at(ms)); err != nil {
			t.Fatal(err)
		}
	}
	if want := []time.Time{at(0), at(11), at(5)}; !slices.Equal(raw.write, want) {
		t.Errorf("write deadlines %v, want %v", raw.write, want)
	}
	raw.err = net.ErrClosed
	if err := conn.SetDeadline(at(99)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("SetDeadline gives %v, want %v", err, net.ErrClosed)
	}
	if _, err := conn.receive(nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read with a deadline that cannot be set gives %v, want %v", err, net.ErrClosed)
	}
}

// A silent client is noticed in time: at the deadline, or early by the slack.
func TestClientConnDeadlineHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		defer server.Close()
		conn := connOf(server, 64*time.Second, 64*time.Second, 64*time.Second)
		for _, wait := range []time.Duration{64 * time.Second, 900 * time.Millisecond, 64 * time.Second} {
			began := time.Now()
			if err := conn.SetReadDeadline(began.Add(wait)); err != nil {
				t.Fatal(err)
			}
			_, err := conn.receive(make([]byte, 1))
			took := time.Since(began)
			if !errors.Is(err, os.ErrDeadlineExceeded) || took > wait || took < wait-time.Second {
				t.Errorf("a read with %v to go ended after %v with %v", wait, took, err)
			}
		}
	})
}
