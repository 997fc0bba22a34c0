package backend

import (
	"errors"
	"net"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// deadlineConn notes how far away the deadlines are that it is given.
type deadlineConn struct {
	net.Conn
	set []time.Duration
}

func (c *deadlineConn) SetDeadline(t time.Time) error {
	c.set = append(c.set, time.Until(t))
	return c.Conn.SetDeadline(t)
}

// A deadline that is nearly right is kept. What is kept is never later than
// the one asked for, and takes at most a 64th off the time that is left.
func TestEndBy(t *testing.T) {
	type step struct {
		wait, left time.Duration // first wait, then ask for a deadline so far away
		moved      bool
	}
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"kept while it takes little off", []step{{0, 64 * time.Second, true}, {time.Second, 64 * time.Second, false}, {time.Millisecond, 64 * time.Second, true}}},
		{"what is taken off does not add up", []step{{0, 64 * time.Second, true}, {600 * time.Millisecond, 64 * time.Second, false}, {600 * time.Millisecond, 64 * time.Second, true}}},
		{"never later than asked", []step{{0, 64 * time.Second, true}, {0, 64*time.Second - 1, true}}},
		{"a short time is not cut to nothing", []step{{0, 90 * time.Millisecond, true}, {100 * time.Millisecond, 50 * time.Millisecond, true}}},
		{"little left, little taken", []step{{0, 64 * time.Millisecond, true}, {time.Millisecond, 64 * time.Millisecond, false}, {time.Millisecond, 64 * time.Millisecond, true}}},
		{"long after the last", []step{{0, time.Second, true}, {time.Hour, time.Second, true}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				defer ours.Close()
				defer theirs.Close()
				raw := &deadlineConn{Conn: ours}
				conn := newConn(raw)
				var want []time.Duration
				for _, s := range c.steps {
					time.Sleep(s.wait)
					if err := conn.endBy(time.Now().Add(s.left)); err != nil {
						t.Fatal(err)
					}
					if s.moved {
						want = append(want, s.left)
					}
				}
				if !slices.Equal(raw.set, want) {
					t.Errorf("deadlines set: %v, want %v", raw.set, want)
				}
				began, last := time.Now(), c.steps[len(c.steps)-1].left
				_, err := conn.Read(make([]byte, 1))
				if took := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || took > last || took < last-last/64 {
					t.Errorf("a read with %v to go ended after %v with %v", last, took, err)
				}
			})
		})
	}
}
